"""What can't be known of a table as it was at a position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from auditcli.model import TableName
from auditcli.shape import TableShape

if TYPE_CHECKING:
    from auditcli.log.records import Gap


class Doubt(StrEnum):
    """Why rows may have been other than they are shown.

    `gap`: changes may be missing since. `later`: recording began after the position, and rows that were not changed
    since are shown as they were then. `unrecorded`: nothing is recorded of the table, or nothing any more.
    `dropped`: the table is gone, and only rows that the log speaks of are known. `added`: the columns came later, and
    what stood for them is unknown. `lost`: the columns are gone, and for `rows` rows their values are unknown.
    `retyped`: the columns had another type. `hidden`: the columns are masked, or left out of the log.
    """

    GAP = "gap"
    LATER = "later"
    UNRECORDED = "unrecorded"
    DROPPED = "dropped"
    ADDED = "added"
    LOST = "lost"
    RETYPED = "retyped"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Caveat:
    """One doubt about a table; `since` is when its recording began."""

    doubt: Doubt
    table: TableName
    columns: tuple[str, ...] = ()
    rows: int = 0
    gap: Gap | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shapes:
    """One table's columns as they were at a position and as they are now, or were last; None where nobody knows.

    `hidden` are those whose values the log does not hold.
    """

    then: TableShape | None
    now: TableShape | None
    hidden: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that the rows had, as far as they can be told."""
        shape = self.then or self.now
        return None if shape is None else tuple(name for name in shape.column_names if name not in self.hidden)

    @property
    def lost(self) -> tuple[str, ...]:
        """The columns that are there no more, under their names."""
        return self._only_in(self.then, self.now)

    @property
    def added(self) -> tuple[str, ...]:
        """The columns that came since."""
        return self._only_in(self.now, self.then)

    @property
    def comparable(self) -> frozenset[str] | None:
        """The columns that rows have always had."""
        if self.now is None or self.then is None:
            return None
        return frozenset(self.now.column_names) & frozenset(self.then.column_names) - self.hidden

    def keys(self, others: Sequence[TableShape]) -> tuple[tuple[str, ...], ...]:
        """The keys by which a row is found: the one of then first, and those that it was renamed to."""
        shape = self.then or self.now
        if shape is None or not shape.primary_key:
            return ()
        known = [shape, *([self.now] if self.now else ()), *others]
        width = len(shape.primary_key)
        return tuple(dict.fromkeys(each.primary_key for each in known if len(each.primary_key) == width))

    def _only_in(self, one: TableShape | None, other: TableShape | None) -> tuple[str, ...]:
        if one is None or other is None:
            return ()
        return tuple(name for name in one.column_names if other.column(name) is None and name not in self.hidden)

    def retyped(self) -> tuple[str, ...]:
        """The columns that had another type."""
        if self.then is None or self.now is None:
            return ()
        pairs = ((column, self.now.column(column.name)) for column in self.then.columns)
        return tuple(then.name for then, now in pairs if now is not None and now.type != then.type)


def of_columns(table: TableName, shapes: Shapes, unknown_rows: int) -> Iterator[Caveat]:
    """What the columns' history leaves unknown; `unknown_rows` lack values of columns that are there no more."""
    if shapes.added:
        yield Caveat(Doubt.ADDED, table, shapes.added)
    if shapes.lost and unknown_rows:
        yield Caveat(Doubt.LOST, table, shapes.lost, rows=unknown_rows)
    if shapes.retyped():
        yield Caveat(Doubt.RETYPED, table, shapes.retyped())
    if shapes.hidden:
        yield Caveat(Doubt.HIDDEN, table, tuple(sorted(shapes.hidden)))
