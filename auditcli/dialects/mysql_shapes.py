"""How MariaDB's and MySQL's information schema describes the tables of a database."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from auditcli.model import TableName
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape

_HERE = "table_schema = DATABASE()"

IS_TRANSACTIONAL = "(t.engine IN (SELECT e.engine FROM information_schema.engines AS e WHERE e.transactions = 'YES'))"
"""Whether a rollback takes back what was written to a table `t` of the information schema."""

_COLUMNS_SQL = f"""
SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable, c.column_default, c.extra, t.engine,
  {IS_TRANSACTIONAL}
FROM information_schema.columns AS c JOIN information_schema.tables AS t
  ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.{_HERE} AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
  AND COALESCE(c.generation_expression, '') NOT IN ('ROW START', 'ROW END')
ORDER BY c.table_name, c.ordinal_position"""

_KEYS_SQL = f"""
SELECT table_name, index_name, column_name, sub_part IS NOT NULL FROM information_schema.statistics
WHERE {_HERE} AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index"""

_FOREIGN_KEYS_SQL = """
SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_name, k.referenced_column_name,
  r.delete_rule, r.update_rule
FROM information_schema.key_column_usage AS k JOIN information_schema.referential_constraints AS r
  ON r.constraint_schema = k.constraint_schema AND r.table_name = k.table_name
  AND r.constraint_name = k.constraint_name
WHERE k.constraint_schema = DATABASE() AND k.referenced_table_schema = DATABASE()
ORDER BY k.table_name, k.constraint_name, k.ordinal_position"""

SHAPE_QUERIES = (_COLUMNS_SQL, _KEYS_SQL, _FOREIGN_KEYS_SQL)

SHAPES_SQL = f"""CONCAT_WS(' ',
(SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT_WS(' ', table_name, column_name, ordinal_position, column_type,
  is_nullable, extra))), 0)) FROM information_schema.columns WHERE {_HERE}),
(SELECT COALESCE(SUM(CRC32(CONCAT_WS(' ', table_name, create_time, engine))), 0) FROM information_schema.tables
  WHERE {_HERE}),
(SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name,
  sub_part))), 0)) FROM information_schema.statistics WHERE {_HERE} AND non_unique = 0),
(SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT_WS(' ', table_name, constraint_name, referenced_table_name,
  delete_rule, update_rule))), 0)) FROM information_schema.referential_constraints
  WHERE constraint_schema = DATABASE()),
DATABASE())"""
"""A text that changes with every definition of a table, a column, a unique key or a foreign key."""

_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), "integer"),
    **dict.fromkeys(("float", "double", "real"), "float"),
    **dict.fromkeys(("decimal", "numeric"), "decimal"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"), "bytes"),
    **dict.fromkeys(("varchar", "tinytext", "text", "mediumtext", "longtext", "json"), "text"),
    **dict.fromkeys(("date", "datetime", "time"), "time"),
    **dict.fromkeys(
        ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"), "geometry"
    ),
    **dict.fromkeys(("geometrycollection", "geomcollection"), "geometry"),
    "bit": "bit",
    "char": "char",
    "enum": "enum",
    "timestamp": "moment",
}
"""How values of a type are written; others are words (SET, INET6, UUID)."""

_EMPTY_MEMBER = re.compile(r"[(,]''[,)]")
_DIGITS = re.compile(r"\((\d)\)")


def shapes(answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
    """The tables that the answers to `SHAPE_QUERIES` describe."""
    columns, keys, foreign_keys = (_by_table(rows) for rows in answers)
    return [_shape(table, rows, keys.get(table, []), foreign_keys.get(table, [])) for table, rows in columns.items()]


def digits(column: ColumnShape) -> int:
    """How many digits of a second a column keeps."""
    found = _DIGITS.search(column.type)
    return int(found[1]) if found else 0


def _by_table(rows: Sequence[Sequence[Any]]) -> dict[TableName, list[Sequence[Any]]]:
    grouped: dict[TableName, list[Sequence[Any]]] = defaultdict(list)
    for name, *rest in rows:
        grouped[TableName(name)].append(rest)
    return grouped


def _shape(
    table: TableName,
    columns: Sequence[Sequence[Any]],
    keys: Sequence[Sequence[Any]],
    foreign_keys: Sequence[Sequence[Any]],
) -> TableShape:
    by_index: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for index, *part in keys:
        by_index[index].append(part)
    primary_key = tuple(name for name, _ in by_index.pop("PRIMARY", []))
    opaque = {index for index, parts in by_index.items() if any(name is None or prefix for name, prefix in parts)}
    return TableShape(
        table=table,
        columns=tuple(
            _column(name, data_type, type_, nullable, default, extra)
            for name, data_type, type_, nullable, default, extra, *_ in columns
        ),
        primary_key=primary_key,
        foreign_keys=_foreign_keys(table, foreign_keys),
        unique_keys=tuple(tuple(name for name, _ in parts) for index, parts in by_index.items() if index not in opaque),
        has_opaque_unique_index=bool(opaque),
        locator=primary_key,
        moved_by=primary_key,
        # The engine, on which it depends whether a record and its change are one transaction.
        signature=str(columns[0][-2]),
        is_transactional=bool(columns[0][-1]),
    )


def _column(name: str, data_type: str, type_: str, nullable: str, default: str | None, extra: str) -> ColumnShape:
    return ColumnShape(
        name,
        type_,
        nullable == "YES",
        "GENERATED" in extra.upper(),
        default,
        _kind(data_type, type_),
        counts="auto_increment" in extra.lower(),
    )


def _kind(data_type: str, type_: str) -> str:
    # The words of such a set don't tell its values apart.
    return "flags" if data_type == "set" and _EMPTY_MEMBER.search(type_) else _KINDS.get(data_type, "word")


def _foreign_keys(table: TableName, rows: Sequence[Sequence[Any]]) -> tuple[ForeignKeyShape, ...]:
    grouped: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for name, *rest in rows:
        grouped[name].append(rest)
    return tuple(
        ForeignKeyShape(
            table,
            tuple(column for column, *_ in parts),
            TableName(parts[0][1]),
            tuple(referred for _, _, referred, _, _ in parts),
            parts[0][3],
            parts[0][4],
        )
        for parts in grouped.values()
    )
