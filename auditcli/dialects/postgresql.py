"""PostgreSQL 14 and later: typed columns, rows locked one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from auditcli.dialects import (
    postgresql_checks,
    postgresql_portable,
    postgresql_script,
    postgresql_shapes,
    postgresql_triggers,
    postgresql_values,
    postgresql_writers,
)
from auditcli.dialects.base import MARK, Dialect, Fragment, Images
from auditcli.dialects.capture import CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.checks import Check
from auditcli.dialects.lexis import Lexis
from auditcli.dialects.postgresql_text import LEXIS, LEXIS_WITH_ESCAPES
from auditcli.dialects.script import ScriptStep
from auditcli.model import JsonValue, TableName
from auditcli.portable import Portable
from auditcli.shape import ColumnShape, TableShape

_NUL = "\N{SYMBOL FOR NULL}"


class PostgreSQL(Dialect):
    """Facts and SQL text of PostgreSQL."""

    name: ClassVar[str] = "postgresql"
    most_marks: ClassVar[int] = 2000
    images_need_types: ClassVar[bool] = True
    values_are_json: ClassVar[bool] = True
    functions_may_write: ClassVar[bool] = True
    upserts_race: ClassVar[bool] = True
    inserted_sql: ClassVar[str] = "(xmax = 0)"
    trigger_right: ClassVar[str] = "it takes the table's owner, or a member of that role"
    row_lock_sql: ClassVar[str] = "FOR UPDATE"
    row_share_sql: ClassVar[str] = "FOR SHARE"
    begin_snapshot_sql: ClassVar[str | None] = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    defer_constraints_sql: ClassVar[str | None] = "SET CONSTRAINTS ALL DEFERRED"
    check_deferred_sql: ClassVar[str | None] = "SET CONSTRAINTS ALL IMMEDIATE"
    creation_lock_sql: ClassVar[str | None] = "SELECT pg_advisory_xact_lock(7165066918273)"
    read_only_sql: ClassVar[str | None] = (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    )
    foreign_key_words: ClassVar[str] = " DEFERRABLE"
    running_writers_sql: ClassVar[str | None] = postgresql_writers.RUNNING
    hides_writers_sql: ClassVar[str | None] = "SELECT pg_is_in_recovery()"
    open_writers_sql: ClassVar[str | None] = postgresql_writers.OPEN
    lock_timeout_sql: ClassVar[str | None] = "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'"
    writing_settings: ClassVar[Mapping[str, str]] = postgresql_values.WRITING_SETTINGS
    client: ClassVar[str] = "psql -X URL"
    capture_limits: ClassVar[tuple[str, ...]] = (
        "rows that come or go with ATTACH and DETACH PARTITION are not recorded",
        "a TRUNCATE outside READ COMMITTED is refused, since some of its rows might not be seen",
        "a row that an UPDATE moves to another partition is recorded as a DELETE and an INSERT",
        'a trigger that sorts before "Ra_auditcli_capture" and changes the row again has its change recorded first',
        "foreign tables have no triggers that see what is written elsewhere",
    )

    def lock_sql(self, log_table: TableName) -> str | None:
        return None

    def in_transaction(self, driver_connection: Any) -> bool:
        asynchronous = getattr(driver_connection, "is_in_transaction", None)
        if asynchronous is not None:
            return bool(asynchronous())
        # Of psycopg; 0 is idle.
        return bool(driver_connection.info.transaction_status != 0)

    def lexis(self, driver_connection: Any) -> Lexis:
        asynchronous = getattr(driver_connection, "get_settings", None)
        standard = (
            asynchronous().standard_conforming_strings
            if asynchronous is not None
            else driver_connection.info.parameter_status("standard_conforming_strings")
        )
        return LEXIS_WITH_ESCAPES if standard == "off" else LEXIS

    def scene_sql(self, meta_table: TableName) -> str:
        return f"""
SELECT 'shapes', NULL, {postgresql_shapes.SHAPES_SQL}
UNION ALL SELECT 'setting', name, value FROM {self.table_sql(meta_table)} WHERE name = 'tracking'
UNION ALL {postgresql_triggers.triggered_sql(meta_table)}"""

    def capture_objects(self, log: LogNames, tables: Sequence[CaptureTable]) -> list[CaptureObject]:
        return postgresql_triggers.capture_objects(log, tables)

    def installed_capture_sql(self, log: LogNames) -> str:
        return postgresql_triggers.installed_sql(log)

    def drop_capture_sql(self, log: LogNames, kind: str, name: str, table: TableName | None) -> str:
        return postgresql_triggers.drop_sql(kind, name, table, log)

    def checks(self, log: LogNames, shapes: Sequence[TableShape]) -> list[Check]:
        return postgresql_checks.checks(log, postgresql_triggers.ROW_TRIGGER, postgresql_triggers.TRUNCATE_TRIGGER)

    def send_context(self, log: LogNames, context: CaptureContext) -> list[Fragment]:
        sent = postgresql_triggers.send_context(context)
        return [Fragment(sent.sql, tuple(map(self.storable, sent.values)))]

    def clear_context(self) -> list[Fragment]:
        # It ended with the transaction.
        return []

    def adopted_transaction_sql(self) -> str | None:
        return f"SELECT NULLIF(current_setting('{postgresql_triggers.TRANSACTION_SETTING}', true), '')"

    def storable(self, text: str) -> str:
        return text.replace("\0", _NUL)

    def relation_kind_sql(self) -> str:
        return (
            "SELECT CASE WHEN relpersistence = 't' THEN 'temporary' WHEN relispartition THEN 'partition' "
            "WHEN relkind IN ('v', 'm') THEN 'view' WHEN relkind = 'f' THEN 'foreign table' ELSE 'table' END "
            "FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(oid) "
            f"AND lower(relname) = lower({MARK})"
        )

    def shape_queries(self) -> tuple[str, ...]:
        return postgresql_shapes.SHAPE_QUERIES

    def shapes(self, answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
        return postgresql_shapes.shapes(answers)

    def locator_sql(self, shape: TableShape) -> list[str]:
        return [f"{self.quote(shape.table.name)}.{self._column(shape, name)}" for name in shape.locator]

    def value_sql(self, shape: TableShape, *, as_bytes: bool = False) -> list[str]:
        table = self.quote(shape.table.name)
        return [postgresql_values.json_sql(column, f"{table}.{self.quote(column.name)}") for column in shape.columns]

    def values_from_bytes(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(row)

    def is_broken_text(self, error: BaseException) -> bool:
        return False

    def image_value(self, column: ColumnShape, stored: Any) -> JsonValue:
        return postgresql_values.read_value(column, stored)

    def image_reader(self, shapes: Sequence[TableShape]) -> Callable[[str | None, str | None], Images]:
        return postgresql_values.image_reader(shapes)

    def reading_settings(self, shape: TableShape) -> dict[str, str]:
        return postgresql_values.needed_settings(shape)

    def change_settings_sql(self, settings: Mapping[str, str]) -> Fragment:
        before = ", ".join([f"current_setting({MARK})"] * len(settings))
        changes = ", ".join([f"set_config({MARK}, {MARK}, true)"] * len(settings))
        return Fragment(
            f"WITH found AS MATERIALIZED (SELECT {before}) SELECT found.*, {changes} FROM found",
            (*settings, *chain.from_iterable(settings.items())),
        )

    def bind(self, value: JsonValue, column: ColumnShape) -> Fragment:
        return postgresql_values.bind(value, column)

    def guard(self, column: ColumnShape, value: JsonValue) -> Fragment:
        return postgresql_values.guard(column, self.quote(column.name), value)

    def set_lock_timeout_sql(self, milliseconds: int) -> str:
        return f"SET lock_timeout = {milliseconds:d}"

    def is_lock_timeout(self, error: BaseException) -> bool:
        return "lock timeout" in str(error)

    def trigger_names_sql(self) -> str:
        prefix = postgresql_triggers.TRIGGER_PREFIX
        return (
            "SELECT t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid "
            f"WHERE c.relname = {MARK} AND NOT t.tgisinternal AND NOT starts_with(t.tgname, '{prefix}') ORDER BY 1"
        )

    def literal(self, value: Any) -> str:
        return postgresql_script.literal(value)

    def script(self, steps: Iterable[ScriptStep], settings: Mapping[str, str], lock_timeout: int) -> Iterator[str]:
        return postgresql_script.script(steps, settings, lock_timeout)

    def lock_holder_hint(self) -> str:
        return "who holds locks: SELECT pid, usename, state, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL"

    def portable(self, column: ColumnShape) -> Portable:
        return postgresql_portable.portable(column)

    def portable_sql(self, type_: Portable, *, is_key: bool) -> str:
        return postgresql_portable.type_sql(type_)

    def own_type(self, column: ColumnShape) -> str:
        return postgresql_portable.own_type(column)

    def carried(self, value: JsonValue, column: ColumnShape) -> JsonValue:
        return postgresql_portable.carried(value, column)

    def is_broken_reference(self, error: BaseException) -> bool:
        return getattr(getattr(error, "orig", error), "sqlstate", None) == "23503"

    def is_refused_value(self, error: BaseException) -> bool:
        original = getattr(error, "orig", error)
        # Class 22 is of data; what the driver itself refuses has no number.
        state = getattr(original, "sqlstate", None)
        return isinstance(original, UnicodeEncodeError) or (
            type(original).__name__ == "DataError" if state is None else state.startswith("22")
        )

    def _column(self, shape: TableShape, name: str) -> str:
        return self.quote(name) if shape.column(name) else name
