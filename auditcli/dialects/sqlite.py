"""SQLite 3.37 and later: typed per value, one writer at a time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from auditcli import codec
from auditcli.dialects import sqlite_context, sqlite_portable, sqlite_script, sqlite_triggers
from auditcli.dialects.base import MARK, Dialect, Fragment
from auditcli.dialects.capture import CAPTURE_PREFIX, CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.lexis import Lexis, quoted_by
from auditcli.dialects.netting import Netting
from auditcli.dialects.script import ScriptStep
from auditcli.dialects.sqlite_indexes import index_terms
from auditcli.dialects.sqlite_netting import SQLiteNetting
from auditcli.model import JsonValue, TableName
from auditcli.portable import Portable
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape, UniqueIndex

_COLUMNS_SQL = """
SELECT t.schema, t.name, t.wr, c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden, m.sql
FROM pragma_table_list AS t
CROSS JOIN pragma_table_xinfo(t.name, t.schema) AS c
LEFT JOIN main.sqlite_master AS m ON t.schema = 'main' AND m.type = 'table' AND m.name = t.name
WHERE t.type = 'table' AND t.schema <> 'temp' AND substr(t.name, 1, 7) <> 'sqlite_'
ORDER BY t.schema, t.name, c.cid"""

_FOREIGN_KEYS_SQL = """
SELECT t.schema, t.name, f.id, f."table", f."from", f."to", f.on_delete, f.on_update
FROM pragma_table_list AS t
CROSS JOIN pragma_foreign_key_list(t.name, t.schema) AS f
WHERE t.type = 'table' AND t.schema <> 'temp'
ORDER BY t.schema, t.name, f.id, f.seq"""

_UNIQUE_INDEXES_SQL = """
SELECT t.schema, t.name, i.name, i.origin, i.partial, x.cid, x.name, x.coll, m.sql
FROM pragma_table_list AS t
CROSS JOIN pragma_index_list(t.name, t.schema) AS i
CROSS JOIN pragma_index_xinfo(i.name, t.schema) AS x
LEFT JOIN main.sqlite_master AS m ON t.schema = 'main' AND m.type = 'index' AND m.name = i.name
WHERE t.type = 'table' AND t.schema <> 'temp' AND i."unique" AND x.key
ORDER BY t.schema, t.name, i.name, x.seqno"""

_ROW_ID_NAMES = ("rowid", "_rowid_", "oid")
_LEXIS = Lexis(name="|".join([quoted_by('"'), quoted_by("`"), r"\[[^\]]*\]"]))
_REPLACES = re.compile(r"\bON\s+CONFLICT\s+(?:REPLACE|IGNORE|FAIL|ROLLBACK)\b", re.IGNORECASE)


class SQLite(Dialect):
    """Facts and SQL text of SQLite."""

    quarters_sql: ClassVar[str] = "strftime('%s', {}) / 900"
    name: ClassVar[str] = "sqlite"
    netting: ClassVar[Netting | None] = SQLiteNetting()
    log_ids_follow_commits: ClassVar[bool] = True
    locks_whole_database: ClassVar[bool] = True
    limits_text: ClassVar[bool] = False
    savepoint_needs_begin: ClassVar[bool] = True
    most_marks: ClassVar[int] = 2000
    without_locator: ClassVar[str] = "its columns take every name of its row id"
    client: ClassVar[str] = "sqlite3 FILE"
    capture_limits: ClassVar[tuple[str, ...]] = (
        "programs that auditcli does not track have no transaction id: their records of one moment are shown together",
        "a negative zero is recorded as zero",
    )
    row_list_word: ClassVar[str] = "VALUES "
    ordered_join: ClassVar[str] = "CROSS JOIN"
    change_counter_sql: ClassVar[str | None] = "PRAGMA data_version"
    begin_snapshot_sql: ClassVar[str | None] = "BEGIN"
    begin_write_sql: ClassVar[str | None] = "BEGIN IMMEDIATE"
    defer_constraints_sql: ClassVar[str | None] = "PRAGMA defer_foreign_keys = ON"
    enforce_foreign_keys_sql: ClassVar[str | None] = "PRAGMA foreign_keys = ON"
    read_only_sql: ClassVar[str | None] = "PRAGMA query_only = ON"
    lock_timeout_sql: ClassVar[str | None] = "PRAGMA busy_timeout"
    foreign_key_check_sql: ClassVar[str | None] = "PRAGMA foreign_key_check"
    adds_foreign_keys: ClassVar[bool] = False
    cascades_spellings: ClassVar[bool] = False

    def lock_sql(self, log_table: TableName) -> str:
        # A read first would fail with "database is locked" in WAL mode once another connection has written.
        return f"UPDATE {self.table_sql(log_table)} SET id = id WHERE 0"

    def in_transaction(self, driver_connection: Any) -> bool:
        return bool(driver_connection.in_transaction)

    def end_statement(self, driver_connection: Any) -> str | None:
        driver_connection.interrupt()
        return None

    def lexis(self, driver_connection: Any) -> Lexis:
        return _LEXIS

    def scene_sql(self, meta_table: TableName) -> str:
        return f"""
SELECT 'shapes', NULL, CAST(schema_version AS TEXT) FROM pragma_schema_version
UNION ALL SELECT 'setting', name, value FROM {self.table_sql(meta_table)} WHERE name = 'tracking'
UNION ALL {sqlite_triggers.triggered_sql(meta_table)}"""

    def capture_objects(self, log: LogNames, tables: Sequence[CaptureTable]) -> list[CaptureObject]:
        return sqlite_triggers.capture_objects(log, tables)

    def installed_capture_sql(self, log: LogNames) -> str:
        return sqlite_triggers.installed_sql(log)

    def send_context(self, log: LogNames, context: CaptureContext) -> list[Fragment]:
        return [Fragment(*statement) for statement in sqlite_context.send_context(log, context)]

    def clear_context(self) -> list[Fragment]:
        return [Fragment(sqlite_context.clear_context())]

    def relation_kind_sql(self) -> str:
        return (
            "SELECT CASE WHEN schema = 'temp' THEN 'temporary' ELSE type END FROM pragma_table_list "
            f"WHERE name = {MARK} COLLATE NOCASE ORDER BY schema = 'temp' DESC"
        )

    def shape_queries(self) -> tuple[str, ...]:
        return (_COLUMNS_SQL, _FOREIGN_KEYS_SQL, _UNIQUE_INDEXES_SQL)

    def shapes(self, answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
        columns, foreign_keys, unique_indexes = (_by_table(rows) for rows in answers)
        keys = {table: _primary_key(rows) for table, rows in columns.items()}
        return [
            _shape(table, rows, foreign_keys.get(table, []), unique_indexes.get(table, []), keys)
            for table, rows in columns.items()
        ]

    def locator_sql(self, shape: TableShape) -> list[str]:
        # The sign as in `value_sql`; row ids have no declared type and need their index.
        columns = [(name, self._column(shape, name)) for name in shape.locator]
        return [f"+{column}" if shape.column(name) else column for name, column in columns]

    def value_sql(self, shape: TableShape, *, as_bytes: bool = False) -> list[str]:
        columns = [self._column(shape, name) for name in shape.column_names]
        if not as_bytes:
            # The sign keeps the driver from converting by declared type (`detect_types`); SQLite ignores it.
            return [f"+{column}" for column in columns]
        return [
            expression
            for column in columns
            for expression in (
                f"typeof({column})",
                f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END",
            )
        ]

    def values_from_bytes(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(_text(value) if kind == "text" else value for kind, value in zip(row[::2], row[1::2], strict=True))

    def is_broken_text(self, error: BaseException) -> bool:
        return "Could not decode to UTF-8" in str(error)

    def bind(self, value: JsonValue, column: ColumnShape) -> Fragment:
        stored = codec.decode(value)
        if isinstance(stored, codec.BrokenText):
            return Fragment(f"CAST({MARK} AS TEXT)", (stored.data,))
        return Fragment(MARK, (stored,))

    def guard(self, column: ColumnShape, value: JsonValue) -> Fragment:
        name = self.quote(column.name)
        if value is None:
            return Fragment(f"{name} IS NULL")
        bound = self.bind(value, column)
        # `=` alone takes 1 for 1.0, and what NOCASE or RTRIM call equal.
        return Fragment(
            f"(typeof({name}) = '{_storage_class(value)}' AND {name} = {bound.sql} COLLATE BINARY)", bound.values
        )

    def insert_words(self, shape: TableShape) -> str:
        # Only where the table's own DDL would replace rows: OR ABORT reaches into the bodies of triggers as well.
        return "INSERT OR ABORT INTO" if shape.replaces else "INSERT INTO"

    def update_words(self, shape: TableShape) -> str:
        return "UPDATE OR ABORT" if shape.replaces else "UPDATE"

    def set_lock_timeout_sql(self, milliseconds: int) -> str:
        return f"PRAGMA busy_timeout = {milliseconds:d}"

    def is_lock_timeout(self, error: BaseException) -> bool:
        return "database is locked" in str(error) or "database table is locked" in str(error)

    def is_read_only(self, error: BaseException) -> bool:
        return "readonly database" in str(error)

    def is_full(self, error: BaseException) -> bool:
        return "disk is full" in str(error)

    def trigger_names_sql(self) -> str:
        ours = f"substr(name, 1, {len(CAPTURE_PREFIX)}) = '{CAPTURE_PREFIX}'"
        return (
            "SELECT name FROM (SELECT name, type, tbl_name FROM main.sqlite_master "
            "UNION ALL SELECT name, type, tbl_name FROM temp.sqlite_master) "
            f"WHERE type = 'trigger' AND tbl_name = {MARK} COLLATE NOCASE AND NOT {ours} ORDER BY name"
        )

    def literal(self, value: Any) -> str:
        return sqlite_script.literal(value)

    def script(
        self,
        steps: Iterable[ScriptStep],
        settings: Mapping[str, str],
        lock_timeout: int,
        closing: Iterable[str] = (),
        *,
        checked: bool = True,
    ) -> Iterator[str]:
        return sqlite_script.script(steps, lock_timeout, closing, checked=checked)

    def lock_holder_hint(self) -> str:
        return (
            "another connection is writing; SQLite can't tell which: `lsof FILE` lists the programs that have it open"
        )

    def portable(self, column: ColumnShape) -> Portable:
        return sqlite_portable.portable(column)

    def portable_sql(self, type_: Portable, *, is_key: bool) -> str:
        return sqlite_portable.type_sql(type_)

    def carried(self, value: JsonValue, column: ColumnShape) -> JsonValue:
        return sqlite_portable.carried(value, column)

    def is_broken_reference(self, error: BaseException) -> bool:
        return "FOREIGN KEY constraint failed" in str(error)

    def is_refused_value(self, error: BaseException) -> bool:
        # The driver's own, and what a STRICT table says.
        return isinstance(error, OverflowError | UnicodeEncodeError) or "cannot store" in str(error)

    def _column(self, shape: TableShape, name: str) -> str:
        hidden = name in _ROW_ID_NAMES and name not in shape.column_names
        return f"{self.quote(shape.table.name)}.{name if hidden else self.quote(name)}"


def _storage_class(value: JsonValue) -> str:
    stored = codec.decode(value)
    if isinstance(stored, bytes):
        return "blob"
    if isinstance(stored, str | codec.BrokenText):
        return "text"
    return "real" if isinstance(stored, float) else "integer"


def _text(data: bytes) -> str | codec.BrokenText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return codec.BrokenText(data)


def _table(schema: str, name: str) -> TableName:
    return TableName(name, None if schema == "main" else schema)


def _by_table(rows: Sequence[Sequence[Any]]) -> dict[TableName, list[Sequence[Any]]]:
    grouped: dict[TableName, list[Sequence[Any]]] = defaultdict(list)
    for schema, name, *rest in rows:
        grouped[_table(schema, name)].append(rest)
    return grouped


def _primary_key(columns: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    positions = sorted((position, name) for _, name, _, _, _, position, _, _ in columns if position)
    return tuple(name for _, name in positions)


def _shape(
    table: TableName,
    columns: Sequence[Sequence[Any]],
    foreign_keys: Sequence[Sequence[Any]],
    unique_indexes: Sequence[Sequence[Any]],
    keys: dict[TableName, tuple[str, ...]],
) -> TableShape:
    names = tuple(row[1] for row in columns)
    without_row_id = bool(columns[0][0])
    primary_key = keys[table]
    has_key_index = any(origin == "pk" for _, origin, *_ in unique_indexes)
    row_id = next((name for name in _ROW_ID_NAMES if name not in {column.lower() for column in names}), None)
    unique, opaque = _unique_keys(unique_indexes)
    # A primary key without an index of its own is the row id.
    row_id_key = primary_key if primary_key and not (without_row_id or has_key_index) else ()
    return TableShape(
        table=table,
        columns=tuple(
            ColumnShape(name, type_, not notnull, hidden in (2, 3), default, counts=name in row_id_key)
            for _, name, type_, notnull, default, _, hidden, _ in columns
        ),
        primary_key=primary_key,
        foreign_keys=_foreign_keys(table, foreign_keys, keys),
        unique_keys=unique,
        unique_indexes=_unique_indexes(unique_indexes),
        has_opaque_unique_index=opaque,
        replaces=bool(_REPLACES.search(columns[0][-1] or "")),
        locator=(row_id,) if row_id and not without_row_id else primary_key,
        # A primary key without an index of its own is the row id.
        moved_by=primary_key if without_row_id or row_id is None or not has_key_index else (),
    )


def _unique_keys(rows: Sequence[Sequence[Any]]) -> tuple[tuple[tuple[str, ...], ...], bool]:
    """The plain unique keys beside the primary key, and whether there are others that names can't describe."""
    columns: dict[str, list[str | None]] = defaultdict(list)
    opaque: set[str] = set()
    for index, origin, partial, column_id, column, collation, _ in rows:
        if origin == "pk":
            continue
        columns[index].append(column)
        # A constraint has the collation of its column, by which rows are looked for; an index may have any.
        if partial or column_id < 0 or (origin == "c" and collation != "BINARY"):
            opaque.add(index)
    plain = tuple(tuple(str(name) for name in names) for index, names in columns.items() if index not in opaque)
    return plain, bool(opaque)


def _unique_indexes(rows: Sequence[Sequence[Any]]) -> tuple[UniqueIndex, ...]:
    """All unique indexes beside the primary key's, as SQL."""
    grouped: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for row in rows:
        if row[1] != "pk":
            grouped[row[0]].append(row)
    return tuple(_unique_index(parts) for parts in grouped.values())


def _unique_index(parts: Sequence[Sequence[Any]]) -> UniqueIndex:
    sql = parts[0][-1]
    is_opaque = any(partial or column_id < 0 for _, _, partial, column_id, *_ in parts)
    if is_opaque and sql:
        terms, condition = index_terms(sql)
        return UniqueIndex(terms, condition, is_opaque=True)
    quote = SQLite().quote
    return UniqueIndex(tuple(f"{quote(name)} COLLATE {quote(coll)}" for *_, name, coll, _ in parts))


def _foreign_keys(
    table: TableName, rows: Sequence[Sequence[Any]], keys: dict[TableName, tuple[str, ...]]
) -> tuple[ForeignKeyShape, ...]:
    grouped: dict[int, list[Sequence[Any]]] = defaultdict(list)
    for number, *rest in rows:
        grouped[number].append(rest)
    found = []
    for parts in grouped.values():
        referred_name, _, first_target, on_delete, on_update = parts[0]
        referred = _same_name(TableName(referred_name, table.schema), keys)
        targets = keys.get(referred, ()) if first_target is None else tuple(part[2] for part in parts)
        found.append(ForeignKeyShape(table, tuple(part[1] for part in parts), referred, targets, on_delete, on_update))
    return tuple(found)


def _same_name(table: TableName, known: dict[TableName, tuple[str, ...]]) -> TableName:
    """The table as it is spelled where it is defined; references may spell it in another case."""
    wanted = table.name.lower()
    return next((name for name in known if name.schema == table.schema and name.name.lower() == wanted), table)
