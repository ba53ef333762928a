"""A row's log written by hand, for tests of folds and plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from auditcli import codec
from auditcli.fold import RowFold, fold
from auditcli.model import Change, EventType, Image, JsonValue, TableName
from auditcli.planning.planner import TableRules
from auditcli.shape import ColumnShape, TableShape

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TABLE = TableName("item")
SHAPE = TableShape(
    TABLE,
    (ColumnShape("id", "INTEGER"), ColumnShape("name", "TEXT"), ColumnShape("price", "REAL"), ColumnShape("stamp", "")),
    primary_key=("id",),
    locator=("rowid",),
)
RULES = TableRules(TABLE, SHAPE)


@dataclass
class RowLog:
    """Writes records of one row and remembers what it looks like."""

    image: Image | None = None
    key: tuple[str, ...] = ("id",)
    records: list[Change] = field(default_factory=list)
    undone_by: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def insert(self, actor: str = "alice", undoes: Iterable[int] = (), **values: JsonValue) -> int:
        return self._write(actor, values, EventType.INSERT, undoes)

    def update(self, actor: str = "alice", undoes: Iterable[int] = (), **values: JsonValue) -> int:
        return self.set_to(values, actor, undoes)

    def set_to(self, values: Image, actor: str = "alice", undoes: Iterable[int] = ()) -> int:
        return self._write(actor, {**(self.image or {}), **values}, EventType.UPDATE, undoes)

    def delete(self, actor: str = "alice", undoes: Iterable[int] = ()) -> int:
        return self._write(actor, None, EventType.DELETE, undoes)

    def snapshot(self) -> int:
        return self._write("", self.image, EventType.SNAPSHOT, ())

    def fold(self, *selected: int) -> RowFold:
        """The fold from the first selected record on."""
        return fold([change for change in self.records if change.id >= min(selected)], selected, self.undone_by)

    def change(self, log_id: int) -> Change:
        return self.records[log_id - 1]

    def _write(self, actor: str, after: Image | None, event: EventType, undoes: Iterable[int]) -> int:
        before, self.image = self.image, after
        log_id = len(self.records) + 1
        old = None if before is None else codec.row_id_of(before, self.key)
        new = None if after is None else codec.row_id_of(after, self.key)
        self.records.append(
            Change(
                id=log_id,
                timestamp=NOON,
                table=TABLE,
                row_id=old if after is None else new,
                event_type=event,
                before=before,
                after=after,
                transaction_id=f"tx{log_id}",
                actor=actor,
                old_row_id=old if before is not None and after is not None and old != new else None,
            )
        )
        if undoes:
            self.undone_by[log_id] = tuple(undoes)
        return log_id


def item(**values: JsonValue) -> RowLog:
    """The log of an item that was there before."""
    return RowLog({"id": 1, "name": "a", "price": 1.0, "stamp": None, **values})
