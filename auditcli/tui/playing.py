"""A stretch of the log played back: which rows stand how after each change, and when the next one is due."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from auditcli.changeset import touched_columns
from auditcli.model import Change, RowKey, TableName

SPEEDS = (1.0, 10.0, 60.0, 600.0, 3600.0)
"""How many seconds of the log pass in one."""

_LONGEST_PAUSE = 2.0
"""Nobody watches a night in which nothing happens."""

_MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """A row after a change, with the columns that it touched; the row is gone where its last change removed it."""

    change: Change
    touched: frozenset[str]


class Playing:
    """Changes in the order of the log, some of them played."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.position = 0
        self.rows: OrderedDict[RowKey | TableName, Shown] = OrderedDict()

    @property
    def last(self) -> Change | None:
        """The change that was played last."""
        return self.changes[self.position - 1] if self.position else None

    @property
    def next(self) -> Change | None:
        """The change that is played next."""
        return self.changes[self.position] if self.position < len(self.changes) else None

    def add(self, changes: Sequence[Change]) -> None:
        """More of the log, oldest first."""
        self.changes += changes

    def step(self) -> None:
        """Play one change; its row comes to the top."""
        change = self.next
        if change is None:
            return
        self.position += 1
        self._show(change)

    def back(self) -> None:
        """Play all but the last one."""
        if self.position:
            self.position -= 1
            self.rows.clear()
            for change in self.changes[max(0, self.position - _MOST_ROWS) : self.position]:
                self._show(change)

    def due_in(self, speed: float) -> float:
        """In how many seconds the next change is due, after the last one."""
        if self.next is None or self.last is None:
            return 0.0
        passed = (self.next.timestamp - self.last.timestamp).total_seconds()
        return max(0.0, min(passed / speed, _LONGEST_PAUSE))

    def _show(self, change: Change) -> None:
        key = change.row or change.table
        self.rows[key] = Shown(change, frozenset(touched_columns(change)))
        self.rows.move_to_end(key, last=False)
        while len(self.rows) > _MOST_ROWS:
            self.rows.popitem()
