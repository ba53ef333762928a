"""SQLite's capture triggers as text.

An INSERT OR REPLACE, or whatever replaces, removes rows without firing their DELETE triggers unless the connection asks
for it. So the rows that may be in the way of a new one are put aside before it comes, and those that are gone once it
is there are recorded. What is put aside is harmless when the write never happens: it is checked again each time.

No table that a trigger writes has a unique key but its own row id, since the outer statement's OR REPLACE reaches into
the bodies of triggers and would delete records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from auditcli.dialects.capture import CAPTURE_PREFIX, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.sqlite_aside import GONE, NEW, REPLACED, aside_name, aside_objects, record_sql, trigger_start
from auditcli.dialects.sqlite_images import RowTexts, literal, quoted
from auditcli.dialects.sqlite_nested import come_back_to, put_later_steps_behind
from auditcli.model import TableName
from auditcli.shape import UniqueIndex

_ROW_ID_NAMES = ("rowid", "_rowid_", "oid")


def capture_objects(log: LogNames, tables: Iterable[CaptureTable]) -> list[CaptureObject]:
    """All triggers, and the table of rows put aside with its own."""
    own = [table for table in tables if table.shape.table.schema is None]
    again = come_back_to(own)
    triggers = (_Triggers(log, table, is_met_again=table.shape.table in again) for table in own)
    return [*aside_objects(log), *(trigger for each in triggers for trigger in each.all())]


def installed_sql(log: LogNames) -> str:
    """Lists what is installed for a log."""
    start, aside = literal(trigger_start(log)), literal(aside_name(log))
    return (
        f"SELECT type, NULL, CASE WHEN type = 'trigger' AND tbl_name <> {aside} THEN tbl_name END, name, 1, sql "
        "FROM main.sqlite_master "
        f"WHERE (type = 'trigger' AND substr(name, 1, {len(trigger_start(log))}) = {start}) "
        f"OR (type = 'table' AND name = {aside})"
    )


class _Triggers:
    """The triggers of one table."""

    def __init__(self, log: LogNames, table: CaptureTable, *, is_met_again: bool) -> None:
        self._log = log
        self._table = table
        self._shape = table.shape
        self._name = table.shape.table.name
        self._texts = RowTexts(table.shape, table.recorded, table.masked)
        self._aside = quoted(aside_name(log))
        self._then = put_later_steps_behind(log, table.shape, self._texts) if is_met_again else []
        self._of_table = f"table_name = {literal(self._name)}"

    def all(self) -> list[CaptureObject]:
        """The triggers, in the order of creation."""
        clashes = self._clashes()
        new = self._record("INSERT", self._texts.row_id("NEW"), "NULL", self._texts.image("NEW"))
        old = self._record("DELETE", self._texts.row_id("OLD"), self._texts.image("OLD"), "NULL")
        if not clashes:
            return [
                self._trigger("after_insert", "AFTER INSERT", None, [new]),
                self._trigger("after_delete", "AFTER DELETE", None, [old]),
                self._trigger("after_update", "AFTER UPDATE", self._differs(), [self._update(), *self._then]),
            ]
        # Each condition spares the many writes that replace nothing what follows it. An UPDATE can only do it where it
        # gives a row another key.
        replaces = f"EXISTS (SELECT 1 {self._from_gone()})"
        # Whichever of the two triggers of an INSERT fires first, only one of them records it.
        comes = f"NOT EXISTS (SELECT 1 {self._from_gone_or_done()})"
        stays, moves = f"{self._stays()} AND {self._differs()}", f"NOT ({self._stays()})"
        moving = f"UPDATE{self._of_clashing_columns()}"
        others = f"{self._texts.place('t')} IS NOT {self._texts.place('OLD')}"
        was_aside = f"EXISTS (SELECT 1 FROM {self._aside} WHERE {self._of_old_place()})"
        return [
            self._afresh(self._trigger("replaced", "AFTER INSERT", replaces, self._replaced())),
            self._trigger("after_insert", "AFTER INSERT", comes, [new]),
            self._trigger("after_delete", "AFTER DELETE", None, [old]),
            self._trigger("after_update", "AFTER UPDATE", stays, [self._update(), *self._then]),
            self._trigger("moved", f"AFTER {moving}", moves, self._moved()),
            self._trigger("gone", "AFTER DELETE", was_aside, [self._forget_old()]),
            self._trigger("before_insert", "BEFORE INSERT", self._exists(clashes), self._put_aside(clashes)),
            self._trigger(
                "before_move",
                f"BEFORE {moving}",
                f"{moves} AND {self._exists(clashes, others)}",
                self._put_aside(clashes, others),
            ),
        ]

    def _trigger(self, what: str, event: str, condition: str | None, body: list[str]) -> CaptureObject:
        name = f"{trigger_start(self._log)}{what}_{self._name}"
        when = f"\nWHEN {condition}" if condition else ""
        statements = "".join(f"\n  {statement};" for statement in body)
        create = f"CREATE TRIGGER {quoted(name)} {event} ON {quoted(self._name)}{when}\nBEGIN{statements}\nEND"
        drop = f"DROP TRIGGER IF EXISTS {quoted(name)}"
        return CaptureObject("trigger", name, self._shape.table, (drop, create), drop)

    def _afresh(self, trigger: CaptureObject) -> CaptureObject:
        """Made together with forgetting what was put aside of a table that had the name before."""
        drop, create = trigger.create
        return replace(trigger, create=(drop, f"DELETE FROM {self._aside} WHERE {self._of_table}", create))

    # Bodies.

    def _put_aside(self, clashes: list[str], condition: str = "1") -> list[str]:
        source = self._clashing(clashes, condition)
        columns = "table_name, place, row_key, row_id, image"
        return [f"INSERT INTO {self._aside} ({columns}) SELECT {self._facts('t')} {source}"]

    def _replaced(self) -> list[str]:
        """A new row in whose way others were: what is to be recorded, the table of rows put aside knows."""
        same_key = f"row_key IS {self._texts.key('NEW')}" if self._shape.primary_key else "0"
        columns = "table_name, place, row_key, row_id, image, state"
        return [
            self._set_state(f"CASE WHEN {same_key} THEN '{REPLACED}' ELSE '{GONE}' END"),
            f"INSERT INTO {self._aside} ({columns}) VALUES ({self._facts('NEW')}, '{NEW}')",
        ]

    def _facts(self, row: str) -> str:
        """What is known of a row that is put aside."""
        texts = self._texts
        facts = (texts.place(row), texts.key(row), texts.row_id(row), texts.image(row))
        return ", ".join((literal(self._name), *facts))

    def _update(self, old_row_id: str = "NULL", source: str | None = None) -> str:
        texts = self._texts
        before, after = texts.image("OLD"), texts.image("NEW", since="OLD")
        return self._record("UPDATE", texts.row_id("NEW"), before, after, old_row_id, source)

    def _moved(self) -> list[str]:
        texts = self._texts
        old_row_id = f"CASE WHEN {texts.key('OLD')} IS NOT {texts.key('NEW')} THEN {texts.row_id('OLD')} END"
        return [
            self._forget_old(),
            self._set_state(f"'{GONE}'"),
            self._update(old_row_id if self._shape.primary_key else "NULL", f"WHERE {self._differs(all_columns=True)}"),
            *self._then,
        ]

    def _record(
        self, event: str, row_id: str, before: str, after: str, old_row_id: str = "NULL", source: str | None = None
    ) -> str:
        return record_sql(self._log, (literal(self._name), row_id, old_row_id, f"'{event}'", before, after), source)

    # Rows put aside.

    def _from_gone(self) -> str:
        return f"{self._from_gone_or_done()} AND a.state IS NULL"

    def _from_gone_or_done(self) -> str:
        """Those that are not there any more, and the one that has just been recorded as new."""
        place = self._texts.place
        there = f"SELECT 1 FROM {quoted(self._name)} AS t WHERE {place('t')} IS a.place"
        is_gone = f"(a.place IS {place('NEW')} OR NOT EXISTS ({there}))"
        return f"FROM {self._aside} AS a WHERE a.{self._of_table} AND {is_gone}"

    def _set_state(self, state: str) -> str:
        return f"UPDATE {self._aside} SET state = {state} WHERE rowid IN (SELECT a.rowid {self._from_gone()})"

    def _of_old_place(self) -> str:
        return f"{self._of_table} AND place IS {self._texts.place('OLD')}"

    def _forget_old(self) -> str:
        return f"DELETE FROM {self._aside} WHERE {self._of_old_place()}"

    # Whether an UPDATE changed anything, and whether it gave the row another key.

    def _differs(self, *, all_columns: bool = False) -> str:
        """Whether a recorded column differs; of a row that stays where it is, without asking for its key again."""
        known = () if all_columns else self._clashing_columns()
        columns = [name for name in self._table.recorded if name not in known]
        return f"NOT ({self._texts.same('OLD', 'NEW', columns)})" if columns else "0"

    def _stays(self) -> str:
        columns = self._clashing_columns()
        same = self._texts.same("OLD", "NEW", columns)
        if not self._has_row_id or self._texts.row_id_alias in columns:
            return same
        place = self._texts.place
        return " AND ".join(part for part in (f"{place('OLD')} IS {place('NEW')}", same) if part)

    # What may be in the way of a new row.

    @property
    def _has_row_id(self) -> bool:
        """Whether the rows have a row id beside their columns, or one of these as its other name."""
        locator = self._shape.locator
        return len(locator) == 1 and self._shape.column(locator[0]) is None

    def _clashing(self, clashes: list[str], condition: str = "1") -> str:
        return f"FROM {quoted(self._name)} AS t WHERE {condition} AND ({' OR '.join(clashes)})"

    def _exists(self, clashes: list[str], condition: str = "1") -> str:
        return f"EXISTS (SELECT 1 {self._clashing(clashes, condition)})"

    def _clashes(self) -> list[str]:
        locator = self._shape.locator
        row_id = [f"t.{locator[0]} = NEW.{locator[0]}"] if self._has_row_id else []
        keys = [] if not self._shape.primary_key or self._texts.row_id_alias else [self._key_clash()]
        return [*keys, *row_id, *(self._clash(index) for index in self._shape.unique_indexes)]

    def _key_clash(self) -> str:
        return " AND ".join(f"t.{quoted(name)} = NEW.{quoted(name)}" for name in self._shape.primary_key)

    def _clash(self, index: UniqueIndex) -> str:
        names = ", ".join(f"NEW.{quoted(name)} AS {quoted(name)}" for name in self._shape.column_names)
        terms = [f"{term} = (SELECT {term} FROM (SELECT {names}))" for term in index.terms]
        conditions = terms if index.condition is None else [*terms, f"({index.condition})"]
        return f"({' AND '.join(conditions)})"

    def _clashing_columns(self) -> list[str]:
        """The columns whose change can bring a row into another one's way: any, where an index has expressions."""
        if any(index.is_opaque for index in self._shape.unique_indexes):
            return list(self._shape.column_names)
        columns = [*self._shape.primary_key, *(name for key in self._shape.unique_keys for name in key)]
        return list(dict.fromkeys(columns))

    def _of_clashing_columns(self) -> str:
        """Limits a trigger to updates that name such a column, in any way: the others don't pay for it."""
        columns = self._clashing_columns()
        if set(columns) == set(self._shape.column_names) or any(self._is_generated(name) for name in columns):
            return ""
        names = [*map(quoted, columns), *(_ROW_ID_NAMES if self._has_row_id else ())]
        return f" OF {', '.join(names)}"

    def _is_generated(self, name: str) -> bool:
        return self._shape.known_column(name).generated


def _aside(log: LogNames) -> str:
    return f"{log.changelog.name}_replaced"


def triggered_sql(meta_table: TableName) -> str:
    """Lists the tables whose triggers are complete, for the log that has this table."""
    log = meta_table.name.removesuffix("_meta")
    start = f"{CAPTURE_PREFIX}{log}_"
    after = f"{start}after_"
    return (
        "SELECT 'triggered', NULL, tbl_name FROM main.sqlite_master WHERE type = 'trigger' "
        f"AND substr(name, 1, {len(after)}) = {literal(after)} GROUP BY tbl_name HAVING count(*) = 3"
    )
