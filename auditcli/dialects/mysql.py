"""MariaDB 10.6 and later, and MySQL 8: typed columns, rows locked one by one, definitions that commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from auditcli.dialects import (
    mysql_checks,
    mysql_locks,
    mysql_order,
    mysql_portable,
    mysql_script,
    mysql_shapes,
    mysql_triggers,
    mysql_values,
    mysql_writers,
)
from auditcli.dialects.base import MARK, Dialect, Fragment
from auditcli.dialects.capture import CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.checks import Check
from auditcli.dialects.lexis import Lexis
from auditcli.dialects.mysql_netting import MySQLNetting
from auditcli.dialects.mysql_text import LEXIS, LEXIS_WITHOUT_ESCAPES, literal, quoted
from auditcli.dialects.netting import Netting
from auditcli.dialects.script import ScriptStep
from auditcli.errors import UnrecordableWrite
from auditcli.model import JsonValue, TableName
from auditcli.portable import Portable
from auditcli.shape import ColumnShape, TableShape

_CASCADES_INTO_DUPLICATES = frozenset({1557, 1761, 1762})
"""What a row that follows another one's key would do to a unique key."""

_BROKEN_REFERENCES = frozenset({1216, 1217, 1451, 1452})
_REFUSED_VALUES = frozenset({1048, 1264, 1265, 1292, 1366, 1406, 1411, 3140, 4025, 1690, 1367, 1916})
_LOST_RACES = frozenset({1020, 1213})
_DENIED = frozenset({1044, 1045, 1142, 1227})
_READ_ONLY = frozenset({1036, 1290, 1792, 1836})
_FULL = frozenset({1021, 1041, 1114, 3019})
"""The server's numbers of errors."""

_IN_TRANSACTION = 1
"""SERVER_STATUS_IN_TRANS of the protocol."""

_NO_BACKSLASH_ESCAPES = 512
"""SERVER_STATUS_NO_BACKSLASH_ESCAPES of the protocol."""


class MySQL(Dialect):
    """Facts and SQL text of MariaDB, and of MySQL, on which it is untested."""

    name: ClassVar[str] = "mysql"
    netting: ClassVar[Netting | None] = MySQLNetting()
    most_marks: ClassVar[int] = 2000
    # Its driver reads value by value in Python. MariaDB joins a megabyte without being told to, which pages keep below.
    gathering_words: ClassVar[str | None] = "/*+ SET_VAR(group_concat_max_len = 16777216) */"
    joins_as_written: ClassVar[str] = "STRAIGHT_JOIN"
    values_are_json: ClassVar[bool] = True
    functions_may_write: ClassVar[bool] = True
    trigger_right: ClassVar[str] = "it takes the right to create triggers (GRANT TRIGGER ON DATABASE.* TO USER)"
    one_row_sql: ClassVar[str] = "LIMIT 1"
    make_transactional_sql: ClassVar[str] = mysql_checks.MAKE_TRANSACTIONAL
    transactional_ddl: ClassVar[bool] = False
    cascades_fire_triggers: ClassVar[bool] = False
    triggered_age: ClassVar[float] = 0.2
    context_outlives_transactions: ClassVar[bool] = True
    tell_driver_sql: ClassVar[str | None] = "DO 0"
    writes_see_latest: ClassVar[bool] = True
    updates_joined_tables: ClassVar[bool] = True
    forget_met_sql: ClassVar[str] = "SET @auditcli_met = NULL"
    met_sql: ClassVar[str] = "SELECT CONVERT(@auditcli_met USING utf8mb4)"
    any_value_sql: ClassVar[str | None] = mysql_values.ANY_VALUE_SQL
    own_numbers_sql: ClassVar[str | None] = mysql_values.OWN_NUMBERS_SQL
    counting_words: ClassVar[str] = " AUTO_INCREMENT"
    usual_values_sql: ClassVar[str | None] = mysql_values.USUAL_VALUES_SQL
    row_lock_sql: ClassVar[str] = "FOR UPDATE"
    row_share_sql: ClassVar[str] = "LOCK IN SHARE MODE"
    begin_snapshot_sql: ClassVar[str | None] = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    creation_lock_sql: ClassVar[str | None] = "SELECT GET_LOCK(LEFT(CONCAT('auditcli.', DATABASE()), 64), 10)"
    creation_unlock_sql: ClassVar[str | None] = "SELECT RELEASE_LOCK(LEFT(CONCAT('auditcli.', DATABASE()), 64))"
    read_only_sql: ClassVar[str | None] = "SET SESSION TRANSACTION READ ONLY"
    dirty_read_sql: ClassVar[str | None] = "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"
    gap_grace: ClassVar[float] = 0.5
    running_writers_sql: ClassVar[str | None] = mysql_order.RUNNING_WRITERS_SQL
    open_writers_sql: ClassVar[str | None] = mysql_writers.OPEN
    sees_writers_sql: ClassVar[str | None] = mysql_writers.SEES_OPEN
    see_writers_right: ClassVar[str] = "GRANT PROCESS ON *.* TO this user"
    quarters_sql: ClassVar[str] = "timestampdiff(SECOND, '1970-01-01', {}) DIV 900"
    lock_timeout_sql: ClassVar[str | None] = "SELECT @@innodb_lock_wait_timeout * 1000"
    client: ClassVar[str] = "mariadb DATABASE"
    capture_limits: ClassVar[tuple[str, ...]] = (
        "TRUNCATE, DROP PARTITION and EXCHANGE PARTITION fire no triggers: their rows go unseen",
        "with foreign_key_checks = 0 no row cascades, and rows that break a reference are not checked later",
        "DELETE IGNORE and UPDATE IGNORE of a row that is refused may leave records of cascades that did not happen",
        "an UPDATE of joined tables that gives NULL to a NOT NULL column may store 0 instead of failing, unrecorded",
        "on MySQL, which is untested, programs that auditcli does not track have no transaction id",
        "triggers run with the rights of the user who installed them, who has to stay",
    )

    def quote(self, name: str) -> str:
        return quoted(name)

    def lock_sql(self, log_table: TableName) -> str | None:
        return None

    def in_transaction(self, driver_connection: Any) -> bool:
        return bool(driver_connection.server_status & _IN_TRANSACTION)

    def end_statement(self, driver_connection: Any) -> str | None:
        return f"KILL QUERY {driver_connection.thread_id()}"

    def lexis(self, driver_connection: Any) -> Lexis:
        without_escapes = driver_connection.server_status & _NO_BACKSLASH_ESCAPES
        return LEXIS_WITHOUT_ESCAPES if without_escapes else LEXIS

    def scene_sql(self, meta_table: TableName) -> str:
        return f"""
SELECT 'shapes', NULL, CONCAT_WS(' ', {mysql_shapes.SHAPES_SQL},
  (SELECT MD5(value) FROM {self.table_sql(meta_table)} WHERE name = 'capture'))
UNION ALL SELECT 'setting', name, value FROM {self.table_sql(meta_table)} WHERE name = 'tracking'"""

    def triggered_sql(self, meta_table: TableName) -> str:
        return mysql_triggers.triggered_sql(meta_table)

    def capture_objects(self, log: LogNames, tables: Sequence[CaptureTable]) -> list[CaptureObject]:
        return mysql_triggers.capture_objects(log, [table for table in tables if table.shape.table.schema is None])

    def installed_capture_sql(self, log: LogNames) -> str:
        return mysql_triggers.installed_sql(log)

    def drop_capture_sql(self, log: LogNames, kind: str, name: str, table: TableName | None) -> str:
        return mysql_triggers.drop_sql(kind, name)

    def checks(self, log: LogNames, shapes: Sequence[TableShape]) -> list[Check]:
        return mysql_checks.checks(shapes)

    def send_context(self, log: LogNames, context: CaptureContext) -> list[Fragment]:
        return [mysql_triggers.send_context(context)]

    def clear_context(self) -> list[Fragment]:
        return [mysql_triggers.clear_context()]

    def script_sql(self, statement: str) -> str:
        # The client would end a trigger at its first semicolon.
        return f"DELIMITER $$\n{statement}$$\nDELIMITER ;" if ";" in statement else f"{statement};"

    def relation_kind_sql(self) -> str:
        return (
            "SELECT CASE table_type WHEN 'VIEW' THEN 'view' WHEN 'TEMPORARY' THEN 'temporary' ELSE 'table' END "
            "FROM information_schema.tables WHERE table_schema = DATABASE() "
            f"AND LOWER(table_name) = LOWER({MARK})"
        )

    def note_met_sql(self, shape: TableShape) -> str:
        values = dict(zip(shape.column_names, self.value_sql(shape), strict=True))
        key = ", ',', ".join(values[name] for name in shape.primary_key)
        return f"(@auditcli_met := CONCAT_WS(CHAR(10), @auditcli_met, CONCAT({key})))"

    def hidden_reads(self, names: Sequence[str]) -> Fragment:
        listed = f"IN ({self.marks(len(names))})"
        return Fragment(
            f"""SELECT table_name FROM information_schema.views WHERE LOWER(table_name) {listed}
              AND (table_schema = DATABASE() OR LOWER(table_schema) {listed})
            UNION SELECT routine_name FROM information_schema.routines WHERE LOWER(routine_name) {listed}
              AND routine_type = 'FUNCTION' AND (routine_schema = DATABASE() OR LOWER(routine_schema) {listed})""",
            tuple(names) * 4,
        )

    def shape_queries(self) -> tuple[str, ...]:
        return mysql_shapes.SHAPE_QUERIES

    def shapes(self, answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
        return mysql_shapes.shapes(answers)

    def locator_sql(self, shape: TableShape) -> list[str]:
        return [f"{quoted(shape.table.name)}.{quoted(name)}" for name in shape.locator]

    def value_sql(self, shape: TableShape, *, as_bytes: bool = False) -> list[str]:
        table = quoted(shape.table.name)
        return [mysql_values.read_sql(column, f"{table}.{quoted(column.name)}") for column in shape.columns]

    def values_from_bytes(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(row)

    def is_broken_text(self, error: BaseException) -> bool:
        return False

    def image_value(self, column: ColumnShape, stored: Any) -> JsonValue:
        return mysql_values.read_value(column, stored)

    def image_writer(self, shape: TableShape) -> Callable[[Sequence[Any]], str]:
        join = super().image_writer(shape)

        def write(values: Sequence[Any]) -> str:
            if mysql_values.TOO_LONG in values:
                message = f"a row of {shape.table} is longer than max_allowed_packet lets its record be"
                raise UnrecordableWrite(message, hint=mysql_values.LONGER_PACKETS)
            return join(values)

        return write

    def bind(self, value: JsonValue, column: ColumnShape) -> Fragment:
        return mysql_values.bind(value, column)

    def guard(self, column: ColumnShape, value: JsonValue) -> Fragment:
        return mysql_values.guard(column, quoted(column.name), value)

    def set_lock_timeout_sql(self, milliseconds: int) -> str:
        seconds = max(1, round(milliseconds / 1000))
        return f"SET SESSION innodb_lock_wait_timeout = {seconds:d}, lock_wait_timeout = {seconds:d}"

    def is_lock_timeout(self, error: BaseException) -> bool:
        # By its number: the words are in the server's language.
        return "(1205," in str(error) or "Lock wait timeout exceeded" in str(error)

    def is_read_only(self, error: BaseException) -> bool:
        return _number(error) in _READ_ONLY

    def is_full(self, error: BaseException) -> bool:
        return _number(error) in _FULL

    def lock_holders_sql(self, tables: Sequence[TableName]) -> Fragment:
        return Fragment(mysql_locks.HOLDERS)

    def lost_race(self, error: BaseException) -> bool:
        return _number(error) in _LOST_RACES

    def trigger_names_sql(self) -> str:
        prefix = mysql_triggers.TRIGGER_PREFIX
        return (
            "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() "
            f"AND event_object_table = {MARK} AND LEFT(trigger_name, {len(prefix)}) <> {literal(prefix)} ORDER BY 1"
        )

    def literal(self, value: Any) -> str:
        return mysql_script.literal(value)

    def script(
        self,
        steps: Iterable[ScriptStep],
        settings: Mapping[str, str],
        lock_timeout: int,
        closing: Iterable[str] = (),
        *,
        checked: bool = True,
    ) -> Iterator[str]:
        return mysql_script.script(steps, lock_timeout, closing, checked=checked)

    def lock_holder_hint(self) -> str:
        return "who holds locks: SELECT * FROM information_schema.innodb_trx, and SHOW FULL PROCESSLIST"

    def portable(self, column: ColumnShape) -> Portable:
        return mysql_portable.portable(column)

    def portable_sql(self, type_: Portable, *, is_key: bool) -> str:
        return mysql_portable.type_sql(type_, is_key=is_key)

    def carried(self, value: JsonValue, column: ColumnShape) -> JsonValue:
        return mysql_portable.carried(value, column)

    def is_broken_reference(self, error: BaseException) -> bool:
        return _number(error) in _BROKEN_REFERENCES

    def is_denied(self, error: BaseException) -> bool:
        return _number(error) in _DENIED

    def order_obstacles_sql(self, log_table: TableName) -> str | None:
        return mysql_order.obstacles_sql(log_table)

    def is_hidden_refusal(self, error: BaseException) -> bool:
        return _number(error) in _CASCADES_INTO_DUPLICATES

    def is_refused_value(self, error: BaseException) -> bool:
        # The driver's own words for infinities.
        return _number(error) in _REFUSED_VALUES or "can not be used with MySQL" in str(error)


def _number(error: BaseException) -> Any:
    arguments = getattr(getattr(error, "orig", error), "args", ())
    return arguments[0] if arguments else None
