"""How PostgreSQL's catalog describes tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from auditcli.model import TableName
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape

_OWN = """c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"""
_SCHEMA = "NULLIF(n.nspname, current_schema())"

BASE_TYPE = """(WITH RECURSIVE base AS (
  SELECT y.oid, y.typtype, y.typbasetype FROM pg_catalog.pg_type AS y WHERE y.oid = a.atttypid
  UNION ALL SELECT y.oid, y.typtype, y.typbasetype FROM base
  JOIN pg_catalog.pg_type AS y ON y.oid = base.typbasetype WHERE base.typtype = 'd'
) SELECT base.oid FROM base WHERE base.typtype <> 'd')"""
"""The type of the column `a`, the one below it where it is a domain."""

KIND = """CASE
WHEN b.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer'
WHEN b.oid IN ('float4'::regtype, 'float8'::regtype) THEN 'float'
WHEN b.oid = 'numeric'::regtype THEN 'decimal'
WHEN b.oid = 'bool'::regtype THEN 'boolean'
WHEN b.oid = 'bytea'::regtype THEN 'bytes'
WHEN b.oid = 'timestamptz'::regtype THEN 'moment'
WHEN b.oid = 'interval'::regtype THEN 'interval'
WHEN b.oid = 'money'::regtype THEN 'money'
WHEN b.oid IN ('regclass'::regtype, 'regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype,
  'regnamespace'::regtype, 'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype,
  'regrole'::regtype, 'regtype'::regtype) THEN 'reference'
WHEN b.typcategory = 'G' AND b.oid < 16384 THEN 'geometric'
WHEN b.oid IN ('json'::regtype, 'jsonb'::regtype) OR b.typcategory = 'A' OR b.typtype = 'c'
  OR b.oid >= 16384 AND b.typtype = 'b' AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_cast AS k WHERE k.castsource = b.oid AND k.casttarget = 'json'::regtype
  ) THEN 'nested'
WHEN b.typtype IN ('r', 'm') OR b.oid >= 16384 AND b.typtype = 'b' THEN 'other'
ELSE 'text' END"""
"""How values of the base type `b` are written.

`nested` is what JSON would take apart, `other` what settings change, `reference` a number whose text is a name that
depends on the search path.
"""

STORED = "a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'"
"""Whether the column `a` has a value of its own in each row."""

SIGNATURE = f"""
SELECT string_agg(a.attname || ' ' || a.atttypid, ',' ORDER BY a.attnum) || ' ' || ARRAY(
  SELECT i.indkey FROM pg_index AS i WHERE i.indrelid = {{0}} AND i.indisprimary)::text
FROM pg_attribute AS a WHERE a.attrelid = {{0}} AND {STORED}"""
"""A text that changes when the names or types of a table's columns do, or its primary key: a query by the table."""

_COUNTER = """CASE WHEN a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' THEN (
  SELECT format('%I.%I', sn.nspname, s.relname) FROM pg_class AS s JOIN pg_namespace AS sn ON sn.oid = s.relnamespace
  JOIN pg_depend AS o ON (o.classid, o.objid, o.refclassid, o.refobjid, o.refobjsubid, o.deptype)
      = ('pg_class'::regclass, s.oid, 'pg_class'::regclass, c.oid, a.attnum, 'i')
    OR (o.classid, o.objid, o.refclassid, o.refobjid) = ('pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, s.oid)
  WHERE s.relkind = 'S' LIMIT 1) END"""
"""The sequence that gives the column `a` its numbers: of an identity, of `serial`, or named by a default."""

_COLUMNS_SQL = f"""
SELECT {_SCHEMA}, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
  a.attgenerated <> '', pg_get_expr(d.adbin, d.adrelid), {KIND}, a.attidentity = 'a', {_COUNTER}, a.atttypid
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND {STORED}
JOIN pg_type AS b ON b.oid = {BASE_TYPE}
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE {_OWN} ORDER BY n.nspname, c.relname, a.attnum"""

_KEYS_SQL = f"""
SELECT {_SCHEMA}, c.relname, i.indisprimary, i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    OR coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true',
  ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE {_OWN} AND i.indisunique ORDER BY n.nspname, c.relname, i.indexrelid"""

_FOREIGN_KEYS_SQL = f"""
SELECT {_SCHEMA}, c.relname, NULLIF(rn.nspname, current_schema()), r.relname, f.confdeltype::text, f.confupdtype::text,
  ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number ORDER BY k.place),
  ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.number ORDER BY k.place)
FROM pg_constraint AS f JOIN pg_class AS c ON c.oid = f.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS r ON r.oid = f.confrelid JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND {_OWN} ORDER BY n.nspname, c.relname, f.conname"""

SHAPE_QUERIES = (_COLUMNS_SQL, _KEYS_SQL, _FOREIGN_KEYS_SQL)

SHAPES_SQL = """concat_ws(' ',
(SELECT count(*) || ' ' || coalesce(sum(a.xmin::text::bigint), 0) FROM pg_attribute AS a
  WHERE a.attrelid >= 16384 AND a.attnum > 0
  AND a.attrelid NOT IN (SELECT t.oid FROM pg_class AS t WHERE t.relpersistence = 't')),
(SELECT count(*) || ' ' || coalesce(sum(f.xmin::text::bigint), 0) FROM pg_constraint AS f WHERE f.conrelid >= 16384),
(SELECT count(*) || ' ' || coalesce(sum(i.xmin::text::bigint), 0) FROM pg_index AS i WHERE i.indrelid >= 16384
  AND i.indisunique AND i.indrelid NOT IN (SELECT t.oid FROM pg_class AS t WHERE t.relpersistence = 't')),
current_schema())"""
"""A text that changes with every definition of a table, a constraint or a unique index; temporary ones don't count."""

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def shapes(answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
    """The tables that the answers to `SHAPE_QUERIES` describe."""
    columns, keys, foreign_keys = (_by_table(rows) for rows in answers)
    return [_shape(table, rows, keys.get(table, []), foreign_keys.get(table, [])) for table, rows in columns.items()]


def _by_table(rows: Sequence[Sequence[Any]]) -> dict[TableName, list[Sequence[Any]]]:
    grouped: dict[TableName, list[Sequence[Any]]] = defaultdict(list)
    for schema, name, *rest in rows:
        grouped[TableName(name, schema)].append(rest)
    return grouped


def _shape(
    table: TableName,
    columns: Sequence[Sequence[Any]],
    keys: Sequence[Sequence[Any]],
    foreign_keys: Sequence[Sequence[Any]],
) -> TableShape:
    primary_key = next((tuple(names) for is_primary, _, names in keys if is_primary), ())
    return TableShape(
        table=table,
        columns=tuple(
            ColumnShape(name, type_, nullable, generated, default, kind, assigned, counter, counter is not None)
            for name, type_, nullable, generated, default, kind, assigned, counter, _ in columns
        ),
        primary_key=primary_key,
        foreign_keys=tuple(_foreign_key(table, row) for row in foreign_keys),
        unique_keys=tuple(tuple(names) for is_primary, opaque, names in keys if not (is_primary or opaque)),
        has_opaque_unique_index=any(opaque for _, opaque, _ in keys),
        # Rows of a table without a key have a place, which every UPDATE gives them anew.
        locator=primary_key or ("ctid",),
        moved_by=primary_key or tuple(row[0] for row in columns),
        signature=",".join(f"{row[0]} {row[-1]}" for row in columns),
    )


def _foreign_key(table: TableName, row: Sequence[Any]) -> ForeignKeyShape:
    schema, name, on_delete, on_update, columns, referred = row
    return ForeignKeyShape(
        table, tuple(columns), TableName(name, schema), tuple(referred), _ACTIONS[on_delete], _ACTIONS[on_update]
    )
