"""SQLite's capture triggers as text.

An INSERT OR REPLACE, or whatever replaces, removes rows without firing their DELETE triggers unless the connection asks
for it. So the rows that may be in the way of a new one are put aside before it comes, and those that are gone once it
is there are recorded. What is put aside is harmless when the write never happens: it is checked again each time.

No table that a trigger writes has a unique key but its own row id, since the outer statement's OR REPLACE reaches into
the bodies of triggers and would delete records.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditcli.dialects.capture import CAPTURE_PREFIX, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.sqlite_images import RowTexts, literal, quoted
from auditcli.model import TableName
from auditcli.shape import UniqueIndex

_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_ROW_ID_NAMES = ("rowid", "_rowid_", "oid")
_KEPT_ASIDE = 30
"""Rows whose replacement never happened stay aside; of so many at the most."""


def capture_objects(log: LogNames, tables: Iterable[CaptureTable]) -> list[CaptureObject]:
    """All triggers, and the table of rows put aside."""
    drop = f"DROP TABLE IF EXISTS {quoted(_aside(log))}"
    create = f"CREATE TABLE {quoted(_aside(log))} (table_name TEXT, place, row_key TEXT, row_id TEXT, image TEXT)"
    shared = CaptureObject("table", _aside(log), None, (drop, create), drop)
    own = [table for table in tables if table.shape.table.schema is None]
    return [shared, *(trigger for table in own for trigger in _Triggers(log, table).all())]


def installed_sql(log: LogNames) -> str:
    """Lists what is installed for a log."""
    start = literal(_trigger_start(log))
    return (
        "SELECT type, NULL, CASE type WHEN 'trigger' THEN tbl_name END, name, 1 FROM main.sqlite_master "
        f"WHERE (type = 'trigger' AND substr(name, 1, {len(_trigger_start(log))}) = {start}) "
        f"OR (type = 'table' AND name = {literal(_aside(log))})"
    )


class _Triggers:
    """The triggers of one table."""

    def __init__(self, log: LogNames, table: CaptureTable) -> None:
        self._log = log
        self._table = table
        self._shape = table.shape
        self._name = table.shape.table.name
        self._texts = RowTexts(table.shape, table.recorded, table.masked)
        self._aside = quoted(_aside(log))
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
                self._trigger("after_update", "AFTER UPDATE", self._differs(), [self._update()]),
            ]
        # Each condition spares the many writes that replace nothing what follows it. An UPDATE can only do it where it
        # gives a row another key.
        replaces, comes = f"EXISTS (SELECT 1 {self._from_gone()})", f"NOT EXISTS (SELECT 1 {self._from_gone_or_done()})"
        stays, moves = f"{self._stays()} AND {self._differs()}", f"NOT ({self._stays()})"
        moving = f"UPDATE{self._of_clashing_columns()}"
        others = f"{self._texts.place('t')} IS NOT {self._texts.place('OLD')}"
        was_aside = f"EXISTS (SELECT 1 FROM {self._aside} WHERE {self._of_old_place()})"
        return [
            self._trigger("replaced", "AFTER INSERT", replaces, self._replaced()),
            self._trigger("after_insert", "AFTER INSERT", comes, [new]),
            self._trigger("after_delete", "AFTER DELETE", None, [old]),
            self._trigger("after_update", "AFTER UPDATE", stays, [self._update()]),
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
        name = f"{_trigger_start(self._log)}{what}_{self._name}"
        when = f"\nWHEN {condition}" if condition else ""
        statements = "".join(f"\n  {statement};" for statement in body)
        create = f"CREATE TRIGGER {quoted(name)} {event} ON {quoted(self._name)}{when}\nBEGIN{statements}\nEND"
        drop = f"DROP TRIGGER IF EXISTS {quoted(name)}"
        return CaptureObject("trigger", name, self._shape.table, (drop, create), drop)

    # Bodies.

    def _put_aside(self, clashes: list[str], condition: str = "1") -> list[str]:
        texts = self._texts
        source = self._clashing(clashes, condition)
        known = f"DELETE FROM {self._aside} WHERE {self._of_table} AND place IN (SELECT {texts.place('t')} {source})"
        limit = f"DELETE FROM {self._aside} WHERE rowid <= (SELECT max(rowid) FROM {self._aside}) - {_KEPT_ASIDE}"
        fields = ", ".join((literal(self._name), *(of("t") for of in (texts.place, texts.key, texts.row_id, texts.image))))
        put = f"INSERT INTO {self._aside} (table_name, place, row_key, row_id, image) SELECT {fields} {source}"
        return [known, limit, put]

    def _replaced(self) -> list[str]:
        """The records of a new row in whose way others were."""
        row_id, new = self._texts.row_id("NEW"), self._texts.image("NEW")
        same_key = f"a.row_key IS {self._texts.key('NEW')}" if self._shape.primary_key else "0"
        replaced = f"{self._from_gone()} AND {same_key}"
        gone = f"{self._from_gone()} AND NOT ({same_key})"
        return [
            self._record("DELETE", "a.row_id", "a.image", "NULL", source=gone),
            self._record("UPDATE", "a.row_id", "a.image", new, source=f"{replaced} AND a.image IS NOT {new}"),
            self._record("INSERT", row_id, "NULL", new, source=f"WHERE NOT EXISTS (SELECT 1 {replaced})"),
            f"DELETE FROM {self._aside} WHERE {self._of_table} AND image IS NULL",
            self._forget_gone(),
            # Whichever of the two triggers of an INSERT fires first, only one of them records it.
            f"INSERT INTO {self._aside} (table_name, place) VALUES ({literal(self._name)}, {self._texts.place('NEW')})",
        ]

    def _update(self, old_row_id: str = "NULL", source: str | None = None) -> str:
        texts = self._texts
        before, after = texts.image("OLD"), texts.image("NEW", since="OLD")
        return self._record("UPDATE", texts.row_id("NEW"), before, after, old_row_id, source)

    def _moved(self) -> list[str]:
        texts = self._texts
        old_row_id = f"CASE WHEN {texts.key('OLD')} IS NOT {texts.key('NEW')} THEN {texts.row_id('OLD')} END"
        return [
            self._forget_old(),
            self._record("DELETE", "a.row_id", "a.image", "NULL", source=self._from_gone()),
            self._forget_gone(),
            self._update(old_row_id if self._shape.primary_key else "NULL", f"WHERE {self._differs(all_columns=True)}"),
        ]

    def _record(
        self, event: str, row_id: str, before: str, after: str, old_row_id: str = "NULL", source: str | None = None
    ) -> str:
        """One record; or one for each row of a source, which costs more."""
        columns = "timestamp, table_name, row_id, old_row_id, event_type, before, after, source"
        values = f"{_NOW}, {literal(self._name)}, {row_id}, {old_row_id}, '{event}', {before}, {after}, 'trigger'"
        rows = f"VALUES ({values})" if source is None else f"SELECT {values} {source}"
        return f"INSERT INTO {quoted(self._log.changelog.name)} ({columns}) {rows}"

    # Rows put aside that are gone, and the mark (without an image) that they have been recorded.

    def _from_gone(self) -> str:
        return f"{self._from_gone_or_done()} AND a.image IS NOT NULL"

    def _from_gone_or_done(self) -> str:
        place = self._texts.place
        there = f"SELECT 1 FROM {quoted(self._name)} AS t WHERE {place('t')} IS a.place"
        return f"FROM {self._aside} AS a WHERE a.{self._of_table} AND (a.place IS {place('NEW')} OR NOT EXISTS ({there}))"

    def _forget_gone(self) -> str:
        return f"DELETE FROM {self._aside} WHERE rowid IN (SELECT a.rowid {self._from_gone()})"

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


def _trigger_start(log: LogNames) -> str:
    return f"{CAPTURE_PREFIX}{log.changelog.name}_"


def triggered_sql(meta_table: TableName) -> str:
    """Lists the tables whose triggers are complete, for the log that has this table."""
    log = meta_table.name.removesuffix("_meta")
    start = f"{CAPTURE_PREFIX}{log}_"
    after = f"{start}after_"
    return (
        "SELECT 'triggered', NULL, tbl_name FROM main.sqlite_master WHERE type = 'trigger' "
        f"AND substr(name, 1, {len(after)}) = {literal(after)} GROUP BY tbl_name HAVING count(*) = 3"
    )
