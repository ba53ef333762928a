"""SQLite's capture triggers as text.

An INSERT OR REPLACE, or whatever replaces, removes rows without firing their DELETE triggers unless the connection asks
for it. So the rows that may be in the way of a new one are put aside before it comes, and those that are gone once it
is there are recorded. What is put aside is harmless when the write never happens: it is checked again each time.

No table that a trigger writes has a unique key but its own row id, since the outer statement's OR REPLACE reaches into
the bodies of triggers and would delete records.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditcli import codec
from auditcli.dialects.base import MARK
from auditcli.dialects.capture import CAPTURE_PREFIX, CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.model import TableName
from auditcli.shape import UniqueIndex

CONTEXT_TABLE = "auditcli_context"
_CONTEXT_TRIGGER = "auditcli_hand_over"
_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_MASK = '{"$masked":true}'
_KEPT_ASIDE = 30
"""Rows whose replacement never happened stay aside; of so many at the most."""


def capture_objects(log: LogNames, tables: Iterable[CaptureTable]) -> list[CaptureObject]:
    """All triggers, and the table of rows put aside."""
    aside = _aside(log)
    shared = CaptureObject(
        "table",
        aside,
        None,
        (f"CREATE TABLE IF NOT EXISTS {_quoted(aside)} (table_name TEXT, place, row_id TEXT, image TEXT)",),
        f"DROP TABLE IF EXISTS {_quoted(aside)}",
    )
    own = [table for table in tables if table.shape.table.schema is None]
    return [shared, *(trigger for table in own for trigger in _Triggers(log, table).all())]


def installed_sql(log: LogNames) -> str:
    """Lists what is installed for a log."""
    start = _literal(_trigger_start(log))
    return (
        "SELECT type, NULL, CASE type WHEN 'trigger' THEN tbl_name END, name, 1 FROM main.sqlite_master "
        f"WHERE (type = 'trigger' AND substr(name, 1, {len(_trigger_start(log))}) = {start}) "
        f"OR (type = 'table' AND name = {_literal(_aside(log))})"
    )


def send_context(log: LogNames, context: CaptureContext) -> list[tuple[str, tuple[str | None, ...]]]:
    """Statements that put a context where only this connection's writes find it."""
    changelog, header = _quoted(log.changelog.name), _quoted(log.transaction.name)
    trigger = f"""CREATE TEMP TRIGGER IF NOT EXISTS {_quoted(f"{_CONTEXT_TRIGGER}_{log.changelog.name}")}
AFTER INSERT ON main.{changelog}
WHEN NEW.transaction_id IS NULL AND NEW.source = 'trigger' AND EXISTS (SELECT 1 FROM {CONTEXT_TABLE})
BEGIN
  UPDATE {changelog} SET transaction_id = (SELECT transaction_id FROM {CONTEXT_TABLE}),
    actor = (SELECT actor FROM {CONTEXT_TABLE}) WHERE id = NEW.id;
  INSERT INTO {header} (transaction_id, timestamp, reason, context, client, application)
    SELECT c.transaction_id, NEW.timestamp, c.reason, c.context, c.client, c.application FROM {CONTEXT_TABLE} AS c
    WHERE NOT EXISTS (SELECT 1 FROM {header} AS h WHERE h.transaction_id = c.transaction_id);
END"""
    values = (
        context.transaction_id,
        context.actor or None,
        context.reason or None,
        context.context,
        context.client,
        context.application,
    )
    columns = "transaction_id TEXT, actor TEXT, reason TEXT, context TEXT, client TEXT, application TEXT"
    return [
        (f"CREATE TEMP TABLE IF NOT EXISTS {CONTEXT_TABLE} ({columns})", ()),
        (trigger, ()),
        (f"DELETE FROM temp.{CONTEXT_TABLE}", ()),
        (f"INSERT INTO temp.{CONTEXT_TABLE} VALUES ({', '.join([MARK] * len(values))})", values),
    ]


class _Triggers:
    """The triggers of one table."""

    def __init__(self, log: LogNames, table: CaptureTable) -> None:
        self._log = log
        self._table = table
        self._shape = table.shape
        self._name = table.shape.table.name
        self._aside = _quoted(_aside(log))
        self._of_table = f"table_name = {_literal(self._name)}"

    def all(self) -> list[CaptureObject]:
        """The triggers, in the order of creation."""
        clashes = self._clashes()
        found = [
            self._trigger("after_insert", "AFTER INSERT", None, self._inserted(can_replace=bool(clashes))),
            self._trigger("after_delete", "AFTER DELETE", None, self._deleted(can_replace=bool(clashes))),
        ]
        if not clashes:
            return [*found, self._trigger("after_update", "AFTER UPDATE", self._differs(), [self._update()])]
        # Only a row whose key changes can replace another one: the many other updates are spared the search.
        key = self._clashing_columns()
        moves = self._differs(key)
        stays = f"NOT ({moves}) AND ({self._differs()})"
        before = f"{self._place('t')} IS NOT {self._place('OLD')}"
        return [
            *found,
            self._trigger("after_update", "AFTER UPDATE", stays, [self._update()]),
            self._trigger("moved", "AFTER UPDATE", moves, self._moved()),
            self._trigger("before_insert", "BEFORE INSERT", None, self._put_aside(clashes, "1")),
            self._trigger("before_move", "BEFORE UPDATE", moves, self._put_aside(clashes, before)),
        ]

    def _trigger(self, what: str, event: str, condition: str | None, body: list[str]) -> CaptureObject:
        name = f"{_trigger_start(self._log)}{what}_{self._name}"
        when = f"\nWHEN {condition}" if condition else ""
        statements = "".join(f"\n  {statement};" for statement in body)
        create = f"CREATE TRIGGER {_quoted(name)} {event} ON {_quoted(self._name)}{when}\nBEGIN{statements}\nEND"
        drop = f"DROP TRIGGER IF EXISTS {_quoted(name)}"
        return CaptureObject("trigger", name, self._shape.table, (drop, create), drop)

    # Bodies.

    def _put_aside(self, clashes: list[str], condition: str) -> list[str]:
        source = f"FROM {_quoted(self._name)} AS t WHERE {condition} AND ({' OR '.join(clashes)})"
        known = f"DELETE FROM {self._aside} WHERE {self._of_table} AND place IN (SELECT {self._place('t')} {source})"
        limit = f"DELETE FROM {self._aside} WHERE rowid <= (SELECT max(rowid) FROM {self._aside}) - {_KEPT_ASIDE}"
        fields = f"{_literal(self._name)}, {self._place('t')}, {self._row_id('t')}, {self._image('t')}"
        return [known, limit, f"INSERT INTO {self._aside} (table_name, place, row_id, image) SELECT {fields} {source}"]

    def _inserted(self, *, can_replace: bool) -> list[str]:
        new = self._image("NEW")
        if not can_replace:
            return [self._record("INSERT", self._row_id("NEW"), "NULL", "NULL", new)]
        same_key = f"a.row_id IS {self._row_id('NEW')}" if self._shape.primary_key else "0"
        replaced = f"FROM {self._aside} AS a WHERE {self._gone()} AND {same_key}"
        return [
            self._record("DELETE", "a.row_id", "NULL", "a.image", "NULL", f"{self._from_gone()} AND NOT ({same_key})"),
            self._record("UPDATE", "a.row_id", "NULL", "a.image", new, f"{replaced} AND a.image IS NOT {new}"),
            self._record("INSERT", self._row_id("NEW"), "NULL", "NULL", new, f"WHERE NOT EXISTS (SELECT 1 {replaced})"),
            self._forget_gone(),
        ]

    def _update(self, condition: str = "") -> str:
        old_key, new_key = self._row_id("OLD"), self._row_id("NEW")
        moved = f"CASE WHEN {old_key} IS NOT {new_key} THEN {old_key} END" if self._shape.primary_key else "NULL"
        return self._record("UPDATE", new_key, moved, self._image("OLD"), self._image("NEW", since="OLD"), condition)

    def _moved(self) -> list[str]:
        return [
            f"DELETE FROM {self._aside} WHERE {self._of_table} AND place IS {self._place('OLD')}",
            self._record("DELETE", "a.row_id", "NULL", "a.image", "NULL", self._from_gone()),
            self._forget_gone(),
            self._update(f"WHERE {self._differs()}"),
        ]

    def _deleted(self, *, can_replace: bool) -> list[str]:
        record = self._record("DELETE", self._row_id("OLD"), "NULL", self._image("OLD"), "NULL")
        forget = f"DELETE FROM {self._aside} WHERE {self._of_table} AND place IS {self._place('OLD')}"
        return [forget, record] if can_replace else [record]

    def _record(self, event: str, row_id: str, old_row_id: str, before: str, after: str, source: str = "") -> str:
        columns = "timestamp, table_name, row_id, old_row_id, event_type, before, after, source"
        values = f"{_NOW}, {_literal(self._name)}, {row_id}, {old_row_id}, '{event}', {before}, {after}, 'trigger'"
        return f"INSERT INTO {_quoted(self._log.changelog.name)} ({columns}) SELECT {values} {source}".rstrip()

    # Rows put aside that are gone.

    def _gone(self) -> str:
        there = f"SELECT 1 FROM {_quoted(self._name)} AS t WHERE {self._place('t')} IS a.place"
        return f"a.{self._of_table} AND (a.place IS {self._place('NEW')} OR NOT EXISTS ({there}))"

    def _from_gone(self) -> str:
        return f"FROM {self._aside} AS a WHERE {self._gone()}"

    def _forget_gone(self) -> str:
        return f"DELETE FROM {self._aside} WHERE rowid IN (SELECT a.rowid {self._from_gone()})"

    # Expressions over a row: `t`, `NEW` or `OLD`.

    def _place(self, row: str) -> str:
        """What tells the row from all others: its row id, or its key where it has none."""
        locator = self._shape.locator
        if len(locator) == 1:
            known = self._shape.column(locator[0]) is not None
            return f"{row}.{_quoted(locator[0]) if known else locator[0]}"
        return self._array(row, locator)

    def _row_id(self, row: str) -> str:
        key = self._shape.primary_key
        if not key:
            return "NULL"
        if len(key) > 1:
            text = self._array(row, key)
        else:
            column = f"{row}.{_quoted(key[0])}"
            text = f"CASE typeof({column}) WHEN 'text' THEN {column} ELSE {encoded(column)} END"
        return f"substr({text}, 1, {codec.ROW_ID_LIMIT})"

    def _array(self, row: str, columns: Iterable[str]) -> str:
        parts = " || ',' || ".join(encoded(f"{row}.{_quoted(column)}") for column in columns)
        return f"'[' || {parts} || ']'"

    def _image(self, row: str, since: str | None = None) -> str:
        """The row's image; long values that `since` has as well are not repeated."""
        parts = [
            f"{_literal(codec.dump(name) + ':')} || {self._value(row, name, since)}" for name in self._table.recorded
        ]
        return f"'{{' || {_joined(parts)} || '}}'"

    def _value(self, row: str, name: str, since: str | None) -> str:
        if name in self._table.masked:
            return _literal(_MASK)
        column = f"{row}.{_quoted(name)}"
        if since is None:
            return encoded(column)
        before = f"{since}.{_quoted(name)}"
        stayed = f"length({column}) > {codec.SAME_OVER} AND {_same(before, column)}"
        return f"CASE WHEN {stayed} THEN '{{\"$same\":true}}' ELSE {encoded(column)} END"

    def _differs(self, columns: Iterable[str] | None = None) -> str:
        names = self._table.recorded if columns is None else columns
        pairs = [(f"OLD.{_quoted(name)}", f"NEW.{_quoted(name)}") for name in names]
        return " OR ".join(f"NOT ({_same(old, new)})" for old, new in pairs)

    # What may be in the way of a new row.

    def _clashes(self) -> list[str]:
        keys = [self._key_clash()] if self._shape.primary_key else []
        row_id = self._row_id_clash()
        return [*keys, *([row_id] if row_id else []), *(self._clash(index) for index in self._shape.unique_indexes)]

    def _key_clash(self) -> str:
        return " AND ".join(f"t.{_quoted(name)} = NEW.{_quoted(name)}" for name in self._shape.primary_key)

    def _row_id_clash(self) -> str | None:
        """A row id of its own, beside or without a key, can be given and replaced as well."""
        locator = self._shape.locator
        if len(locator) == 1 and self._shape.column(locator[0]) is None:
            return f"t.{locator[0]} = NEW.{locator[0]}"
        return None

    def _clash(self, index: UniqueIndex) -> str:
        names = ", ".join(f"NEW.{_quoted(name)} AS {_quoted(name)}" for name in self._shape.column_names)
        terms = [f"{term} = (SELECT {term} FROM (SELECT {names}))" for term in index.terms]
        conditions = terms if index.condition is None else [*terms, f"({index.condition})"]
        return f"({' AND '.join(conditions)})"

    def _clashing_columns(self) -> list[str]:
        """The columns whose change can bring a row into another one's way: any, where an index has expressions."""
        if any(index.is_opaque for index in self._shape.unique_indexes):
            return list(self._shape.column_names)
        columns = [*self._shape.primary_key, *(name for key in self._shape.unique_keys for name in key)]
        return list(dict.fromkeys(columns)) or list(self._shape.column_names)


def encoded(column: str) -> str:
    """A stored value as the text that an image holds for it; text that is not valid UTF-8 stays as it is."""
    # Seventeen digits are not enough in SQLite's own printing of doubles.
    real = (
        f'CASE {column} WHEN 9e999 THEN \'{{"$float":"Infinity"}}\' WHEN -9e999 THEN \'{{"$float":"-Infinity"}}\' '
        f"ELSE printf('%!.20e', {column}) END"
    )
    return (
        f"CASE typeof({column}) WHEN 'text' THEN json_quote({column}) WHEN 'integer' THEN CAST({column} AS TEXT) "
        f"WHEN 'null' THEN 'null' WHEN 'real' THEN {real} "
        f"ELSE '{{\"$hex\":\"' || lower(hex({column})) || '\"}}' END"
    )


def _same(old: str, new: str) -> str:
    """Whether two values are the same stored value, whatever the column's collation calls equal."""
    return f"{old} IS {new} COLLATE BINARY AND typeof({old}) = typeof({new})"


def _joined(parts: list[str]) -> str:
    return " || ',' || ".join(parts)


def _aside(log: LogNames) -> str:
    return f"{log.changelog.name}_replaced"


def _trigger_start(log: LogNames) -> str:
    return f"{CAPTURE_PREFIX}{log.changelog.name}_"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def triggered_sql(meta_table: TableName) -> str:
    """Lists the tables whose triggers are complete, for the log that has this table."""
    log = meta_table.name.removesuffix("_meta")
    start = f"{CAPTURE_PREFIX}{log}_"
    after = f"{start}after_"
    return (
        "SELECT 'triggered', NULL, tbl_name FROM main.sqlite_master WHERE type = 'trigger' "
        f"AND substr(name, 1, {len(after)}) = {_literal(after)} GROUP BY tbl_name HAVING count(*) = 3"
    )
