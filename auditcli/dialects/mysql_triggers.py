"""MariaDB's and MySQL's capture triggers as text.

A transaction is told by the number that the engine gives it: MariaDB writes it into each row of a system-versioned
table, of which every connection has one. A context that an earlier transaction on the same connection left behind is
known by that, and nobody is accused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from auditcli import codec
from auditcli.dialects.base import MARK, Fragment
from auditcli.dialects.capture import CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.mysql_cascades import LOCK, CascadedRows, Cascades, moved_variable, old_variable
from auditcli.dialects.mysql_text import literal, quoted
from auditcli.dialects.mysql_values import json_sql, may_be_long, same_sql
from auditcli.model import TableName
from auditcli.shape import ColumnShape

TRANSACTION_VARIABLE = "@auditcli_transaction_id"
TRIGGER_PREFIX = "auditcli_"

_LONGEST_NAME = 64
_MASK = "'{\"$masked\":true}'"
_SAME = "'{\"$same\":true}'"
_NOW = "TIMESTAMPADD(MICROSECOND, TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)), UTC_TIMESTAMP(6))"
"""The clock, in UTC, whatever the session's time zone is."""

_COLUMNS = "transaction_id, `timestamp`, actor, table_name, row_id, old_row_id, event_type, `before`, `after`, source"

_NUMBERS_TABLE = """CREATE TABLE IF NOT EXISTS {table} (
  connection BIGINT UNSIGNED PRIMARY KEY, writes BIGINT NOT NULL DEFAULT 0
  /*M!, row_start BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, row_end BIGINT UNSIGNED GENERATED ALWAYS AS ROW END,
  PERIOD FOR SYSTEM_TIME (row_start, row_end) */
) ENGINE = InnoDB /*M! WITH SYSTEM VERSIONING */"""

_TRANSACTION = """
  /*M! INSERT INTO {numbers} (connection) VALUES (CONNECTION_ID()) ON DUPLICATE KEY UPDATE writes = writes + 1; */
  /*M! SELECT row_start INTO _number FROM {numbers} WHERE connection = CONNECTION_ID(); */
  SET _is_told = COALESCE(@auditcli_transaction_id, '') <> ''
    AND (NOT (@auditcli_transaction_id <=> @auditcli_used) OR @auditcli_used_number <=> _number);
  IF _is_told THEN
    SET @auditcli_used = @auditcli_transaction_id;
    SET @auditcli_used_number = _number;
  END IF;
  IF _number IS NULL THEN
    SET @auditcli_transaction = IF(_is_told, @auditcli_transaction_id, NULL);
  ELSEIF NOT (@auditcli_number <=> _number) THEN
    SET @auditcli_number = _number;
    SET @auditcli_transaction = IF(_is_told, @auditcli_transaction_id, UUID());
  END IF;
  SET _transaction = CONVERT(@auditcli_transaction USING utf8mb4) COLLATE utf8mb4_bin;
  SET _actor = LEFT(IF(_is_told AND COALESCE(@auditcli_actor, '') <> '', @auditcli_actor, USER()), 255);
  SELECT COUNT(*) INTO _headers FROM {header} WHERE id = @auditcli_header AND transaction_id = _transaction;
  IF _transaction IS NOT NULL AND _headers = 0 THEN
    INSERT INTO {header} (transaction_id, `timestamp`, reason, context, db_user, client, application) VALUES (
      _transaction, {now}, IF(_is_told, NULLIF(@auditcli_reason, ''), NULL),
      IF(_is_told, NULLIF(@auditcli_context, ''), NULL), LEFT(USER(), 255),
      LEFT(IF(_is_told AND COALESCE(@auditcli_client, '') <> '', @auditcli_client, SUBSTRING_INDEX(USER(), '@', -1)),
        255),
      IF(_is_told, LEFT(NULLIF(@auditcli_application, ''), 255), NULL));
    SET @auditcli_header = LAST_INSERT_ID();
  END IF;"""

_VARIABLES = """
  DECLARE _number BIGINT UNSIGNED;
  DECLARE _is_told BOOLEAN;
  DECLARE _headers INT;
  DECLARE _transaction, _actor VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE _before, _after LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"""

_CHECK = """
  IF {images} IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'auditcli: a row is longer than max_allowed_packet lets its record be';
  END IF;"""

_CONTEXT = ("transaction_id", "actor", "reason", "context", "application", "client")


def capture_objects(log: LogNames, tables: Iterable[CaptureTable]) -> list[CaptureObject]:
    """The table of transactions' numbers, and the triggers of each table."""
    known = {table.shape.table: table for table in tables}
    numbers = numbers_table(log)
    shared = CaptureObject(
        "table",
        numbers,
        None,
        (_NUMBERS_TABLE.format(table=quoted(numbers)),),
        drop_sql("table", numbers),
    )
    cascades = Cascades(known)
    return [shared, *(trigger for table in known.values() for trigger in _Triggers(log, table, cascades).all())]


def numbers_table(log: LogNames) -> str:
    """Where the engine's numbers of transactions are read from."""
    return f"{log.changelog.name}_number"


def drop_sql(kind: str, name: str) -> str:
    """Drops one of the objects that `installed_sql` lists."""
    return f"DROP {kind.upper()} IF EXISTS {quoted(name)}"


def installed_sql(log: LogNames) -> str:
    """Lists what is installed for a log."""
    start = trigger_start(log)
    return f"""
SELECT 'trigger', NULL, event_object_table, trigger_name, 1, CONCAT(sql_mode, ' ', action_statement)
FROM information_schema.triggers
WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, {len(start)}) = {literal(start)}
UNION ALL SELECT 'table', NULL, NULL, table_name, 1, '' FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = {literal(numbers_table(log))}"""


def triggered_sql(meta_table: TableName) -> str:
    """Lists the tables whose triggers are complete, for the log that has this table."""
    log = LogNames(TableName(meta_table.name.removesuffix("_meta")), meta_table)
    start = f"{trigger_start(log)}a"
    return f"""
SELECT 'triggered', NULL, event_object_table FROM information_schema.triggers
WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, {len(start)}) = {literal(start)}
GROUP BY event_object_table HAVING COUNT(*) = 3"""


def send_context(context: CaptureContext) -> Fragment:
    """Tells the triggers of this session who writes and why."""
    told = [getattr(context, name) for name in _CONTEXT]
    assigned = ", ".join(f"@auditcli_{name} = {MARK}" for name in _CONTEXT)
    return Fragment(f"SET {assigned}, @auditcli_header = NULL", tuple(told))


def clear_context() -> Fragment:
    """Takes back what `send_context` told."""
    return Fragment("SET " + ", ".join(f"@auditcli_{name} = NULL" for name in _CONTEXT))


def trigger_start(log: LogNames) -> str:
    """How the names of a log's triggers begin: they are unique in a database, whatever their tables."""
    return f"{TRIGGER_PREFIX}{hashlib.sha256(log.changelog.name.encode()).hexdigest()[:6]}_"


class _Triggers:
    """The triggers of one table."""

    def __init__(self, log: LogNames, table: CaptureTable, cascades: Cascades) -> None:
        self._log = log
        self._table = table
        self._shape = table.shape
        self._start = trigger_start(log)
        self._cascades = cascades
        self._transaction = _TRANSACTION.format(
            numbers=quoted(numbers_table(log)), header=quoted(log.transaction.name), now=_NOW
        )

    def all(self) -> list[CaptureObject]:
        """The triggers, in the order of creation."""
        found = [*self._before_delete(), *self._before_update()]
        if self._table.is_recorded:
            found += [self._after_insert(), self._after_update(), self._after_delete()]
        return found

    def _trigger(self, what: str, event: str, body: str) -> CaptureObject:
        name = f"{self._start}{what}_{self._shape.table.name}"
        if len(name) > _LONGEST_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()[:12]
            name = f"{name[: _LONGEST_NAME - 13]}_{digest}"
        table = quoted(self._shape.table.name)
        create = f"CREATE TRIGGER {quoted(name)} {event} ON {table} FOR EACH ROW\nBEGIN{_VARIABLES}{body}\nEND"
        # Under STRICT: else an image too long for its variable or column would be NULL without a word.
        strict = f"/*M! SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR */ {create}"
        drop = drop_sql("trigger", name)
        return CaptureObject("trigger", name, self._shape.table, (drop, strict), drop)

    # Triggers.

    def _after_insert(self) -> CaptureObject:
        image = f"\n  SET _after = {self._image('NEW')};" + _CHECK.format(images="_after")
        record = self._own_record("INSERT", self._row_id("NEW"), "NULL", "NULL", "_after")
        return self._trigger("ai", "AFTER INSERT", image + self._transaction + record)

    def _after_delete(self) -> CaptureObject:
        image = f"\n  SET _before = {self._image('OLD')};" + _CHECK.format(images="_before")
        record = self._own_record("DELETE", self._row_id("OLD"), "NULL", "_before", "NULL")
        return self._trigger("ad", "AFTER DELETE", image + self._transaction + record)

    def _after_update(self) -> CaptureObject:
        images = f"\n  SET _before = {self._image('OLD')}, _after = {self._image('NEW', since='OLD')};"
        check = _CHECK.format(images="CONCAT(LEFT(_before, 1), LEFT(_after, 1))")
        old, new = self._row_id("OLD"), self._row_id("NEW")
        moved = _unless_same(old, new) if self._shape.primary_key else "NULL"
        record = self._own_record("UPDATE", new, moved, "_before", "_after")
        body = f"{images}{check}{self._transaction}{record}"
        names = [column.name for column in self._recorded()]
        changed = f"{self._differs(names)}{self._happened()}"
        return self._trigger("au", "AFTER UPDATE", f"\n  IF {changed} THEN{body}\n  END IF;")

    def _happened(self) -> str:
        """A condition that is false where UPDATE IGNORE passed over the row, for which MariaDB fires the trigger too.

        Only keys and references can be refused then, so only rows whose keys change are looked up.
        """
        shape = self._shape
        own = [*shape.primary_key, *(name for key in (*shape.unique_keys, *self._references()) for name in key)]
        names = list(shape.column_names if shape.has_opaque_unique_index else dict.fromkeys(own))
        if not names:
            return ""
        there = " AND ".join(f"({self._same(name, 't', 'NEW')})" for name in names)
        found = f"EXISTS (SELECT 1 FROM {quoted(shape.table.name)} AS t WHERE {self._at_new_key('t')} AND {there})"
        return f" AND (NOT ({self._differs(names)}) OR {found})"

    def _references(self) -> list[tuple[str, ...]]:
        return [
            *(key.columns for key in self._shape.foreign_keys),
            *(key.referred_columns for key in self._table.children),
        ]

    def _at_new_key(self, alias: str) -> str:
        """The plain comparison, which an index serves."""
        key = self._shape.primary_key
        return " AND ".join(f"{alias}.{quoted(name)} = NEW.{quoted(name)}" for name in key) or "TRUE"

    def _same(self, name: str, old: str, new: str) -> str:
        return same_sql(self._shape.known_column(name), f"{old}.{quoted(name)}", f"{new}.{quoted(name)}")

    def _before_delete(self) -> list[CaptureObject]:
        records = "".join(self._cascaded(rows) for rows in self._cascades.of_delete(self._shape.table))
        if not records:
            return []
        body = f"\n  IF @@foreign_key_checks THEN{self._transaction}{records}\n  END IF;"
        return [self._trigger("bd", "BEFORE DELETE", self._old_values() + body)]

    def _before_update(self) -> list[CaptureObject]:
        followers = list(self._cascades.of_update(self._shape.table))
        if not followers:
            return []
        moved = [
            (moved_variable(place), self._differs(key.referred_columns))
            for place, key in enumerate(self._cascades.moving_keys(self._shape.table))
        ]
        declared = "".join(f"\n  DECLARE {variable} BOOLEAN;" for variable, _ in moved)
        noted = "".join(f"\n  SET {variable} = {differs};" for variable, differs in moved)
        records = "".join(
            f"\n  IF {_any_moved(rows.because_of)} THEN{self._cascaded(rows)}\n  END IF;" for rows in followers
        )
        some = _any_moved(range(len(moved)))
        body = f"{noted}\n  IF @@foreign_key_checks AND ({some}) THEN{self._transaction}{records}\n  END IF;"
        return [self._trigger("bu", "BEFORE UPDATE", declared + self._old_values() + body)]

    def _old_values(self) -> str:
        """What tells the row and what others refer to, in variables of the columns' own types and collations."""
        referred = {name for key in self._table.children for name in key.referred_columns}
        needed = referred | set(self._shape.primary_key or self._shape.column_names)
        declared, filled = "", ""
        for place, column in enumerate(self._shape.columns):
            if column.name not in needed:
                continue
            variable, name = old_variable(place), quoted(column.name)
            typed = f"TYPE OF {quoted(self._shape.table.name)}.{name}"
            declared += f"\n  /*M! DECLARE {variable} {typed}; */ /*!80000 DECLARE {variable} {column.type}; */"
            filled += f"\n  SET {variable} = OLD.{name};"
        return declared + filled

    # Records.

    def _own_record(self, event: str, row_id: str, old_row_id: str, before: str, after: str) -> str:
        return self._record(self._shape.table, event, row_id, old_row_id, before, after)

    def _record(self, table: TableName, event: str, row_id: str, old_row_id: str, before: str, after: str) -> str:
        named = literal(table.name)
        values = (
            f"_transaction, {_NOW}, _actor, {named}, {row_id}, {old_row_id}, '{event}', {before}, {after}, 'trigger'"
        )
        return f"\n  INSERT INTO {quoted(self._log.changelog.name)} ({_COLUMNS}) VALUES ({values});"

    def _cascaded(self, rows: CascadedRows) -> str:
        """Records, and locks, all rows of a table that the database is about to change.

        One by one: INSERT ... SELECT would keep everybody from the log's counter until the whole statement ends.
        """
        of = _Rows(rows.table)
        old, before = of.row_id("t"), of.image("t")
        event, new, moved, after, images = "DELETE", old, "NULL", "NULL", "_before"
        if rows.assigned:
            event, new, after = "UPDATE", of.row_id("t", rows.assigned), of.image("t", rows.assigned)
            moved = _unless_same(old, new) if rows.table.shape.primary_key else "NULL"
            images = "CONCAT(LEFT(_before, 1), LEFT(_after, 1))"
        record = self._record(rows.table.shape.table, event, "_row_id", "_old_row_id", "_before", "_after")
        query = f"{rows.before}SELECT {new}, {moved}, {before}, {after} FROM {rows.source} {LOCK}"
        return f"""
  BEGIN
    DECLARE _row_id, _old_row_id VARCHAR({codec.ROW_ID_LIMIT}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    DECLARE _is_last BOOLEAN DEFAULT FALSE;
    DECLARE _rows CURSOR FOR {query};
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET _is_last = TRUE;
    OPEN _rows;
    FETCH _rows INTO _row_id, _old_row_id, _before, _after;
    WHILE NOT _is_last DO{_CHECK.format(images=images)}{record}
      FETCH _rows INTO _row_id, _old_row_id, _before, _after;
    END WHILE;
    CLOSE _rows;
  END;"""

    # Expressions over the row `OLD` or `NEW`.

    def _recorded(self) -> list[ColumnShape]:
        return [self._shape.known_column(name) for name in self._table.recorded]

    def _image(self, row: str, since: str | None = None) -> str:
        return _Rows(self._table).image(row, since=since)

    def _row_id(self, row: str) -> str:
        return _Rows(self._table).row_id(row)

    def _differs(self, names: Sequence[str]) -> str:
        same = (self._same(name, "OLD", "NEW") for name in names)
        return f"NOT ({' AND '.join(f'({each})' for each in same)})"


def _any_moved(places: Iterable[int]) -> str:
    return " OR ".join(map(moved_variable, places))


class _Rows:
    """Images and keys of one table's rows, as SQL over an alias."""

    def __init__(self, table: CaptureTable) -> None:
        self._table = table
        self._shape = table.shape

    def image(
        self, row: str, assigned: Sequence[tuple[str, Mapping[str, str]]] = (), *, since: str | None = None
    ) -> str:
        """The row's image, with new values where some are assigned; long values that `since` has are not repeated."""
        parts: list[str] = []
        for name in self._table.recorded:
            parts += [literal(f"{',' if parts else '{'}{codec.dump(name)}:"), self._value(row, name, assigned, since)]
        return f"CONCAT({', '.join(parts)}, '}}')"

    def row_id(self, row: str, assigned: Sequence[tuple[str, Mapping[str, str]]] = ()) -> str:
        """The row's look-up key."""
        key = [self._shape.known_column(name) for name in self._shape.primary_key]
        if not key:
            return "NULL"
        parts = [self._encoded(column, row, assigned) for column in key]
        if len(parts) > 1:
            text = "CONCAT('[', " + ", ',', ".join(parts) + ", ']')"
        elif key[0].kind in ("integer", "bit", "decimal", "float", "bytes", "geometry"):
            [text] = parts
        else:
            text = f"JSON_UNQUOTE({parts[0]})"
        start = f"LEFT(SUBSTRING_INDEX({text}, CHAR(0), 1), {codec.LONG_KEY_START})"
        return f"IF(LENGTH({text}) > {codec.ROW_ID_LIMIT}, CONCAT('{codec.LONG_KEY}', {start}), {text})"

    def _value(self, row: str, name: str, assigned: Sequence[tuple[str, Mapping[str, str]]], since: str | None) -> str:
        if name in self._table.masked:
            return _MASK
        column = self._shape.known_column(name)
        encoded = self._encoded(column, row, assigned)
        if since is None or not may_be_long(column):
            return encoded
        new, old = f"{row}.{quoted(name)}", f"{since}.{quoted(name)}"
        return f"IF(LENGTH({new}) > {codec.SAME_OVER} AND {same_sql(column, old, new)}, {_SAME}, {encoded})"

    def _encoded(self, column: ColumnShape, row: str, assigned: Sequence[tuple[str, Mapping[str, str]]]) -> str:
        own = f"{row}.{quoted(column.name)}"
        # Not COALESCE: what is too long to be written is NULL as well, and must not pass for it.
        encoded = f"IF({own} IS NULL, 'null', {json_sql(column, own)})"
        for condition, values in assigned:
            if column.name in values:
                value = values[column.name]
                new = "'null'" if value == "NULL" else f"IF({value} IS NULL, 'null', {json_sql(column, value)})"
                encoded = f"IF({condition}, {new}, {encoded})"
        return encoded


def _unless_same(old: str, new: str) -> str:
    """The former look-up key, NULL where the present one is the same; some collations take different ones for equal."""
    return f"IF(CAST({old} AS BINARY) <=> CAST({new} AS BINARY), NULL, {old})"
