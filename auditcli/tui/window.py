"""The part of an endless list that is in memory: pages around a cursor, thrown away where nobody looks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from auditcli.model import Change

MOST = 4096
"""How many rows are kept."""

_AHEAD = 128
"""How many rows before the end of what is there the next page is asked for."""


class Side(StrEnum):
    """Where a page belongs: above, or below."""

    NEWER = "newer"
    OLDER = "older"


class PageLike(Protocol):
    """What is needed of a page: its changes, newest first, and where the next one that way begins."""

    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def edge_id(self) -> int: ...
    @property
    def is_last(self) -> bool: ...


class Window:
    """Rows newest first, the one under the cursor and the one at the top of the screen, by their numbers in `rows`."""

    def __init__(self) -> None:
        self.rows: list[Change] = []
        self.cursor = 0
        self.top = 0
        self.edges = {Side.NEWER: 0, Side.OLDER: 0}
        self.is_last = {Side.NEWER: True, Side.OLDER: True}

    @property
    def current(self) -> Change | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.rows else None

    @property
    def is_at_newest(self) -> bool:
        """Whether the screen begins with the newest row there is."""
        return self.top == 0 and self.is_last[Side.NEWER]

    def begin(self, older: PageLike, newer: PageLike | None = None) -> None:
        """Start anew with the page below a place and, unless that is the newest one, the page above it."""
        above = newer.changes if newer is not None else ()
        self.rows = [*above, *older.changes]
        self.cursor = self.top = min(len(above), max(len(self.rows) - 1, 0))
        self._set_edge(Side.OLDER, older)
        self.is_last[Side.NEWER] = True
        self.edges[Side.NEWER] = older.changes[0].id if older.changes else 0
        if newer is not None:
            self._set_edge(Side.NEWER, newer)

    def extend(self, side: Side, page: PageLike) -> None:
        """Add the next page of a side; the row under the cursor stays where it is on the screen."""
        self._set_edge(side, page)
        if side is Side.OLDER:
            self.rows += page.changes
            spare = min(len(self.rows) - MOST, self.top - _AHEAD)
            if spare > 0:
                self._drop_newest(spare)
            return
        if self.rows:
            self.cursor += len(page.changes)
            self.top += len(page.changes)
        self.rows[:0] = page.changes
        spare = min(len(self.rows) - MOST, len(self.rows) - self.top - 2 * _AHEAD)
        if spare > 0:
            self._drop_oldest(spare)

    def add_newest(self, changes: Sequence[Change], *, follow: bool) -> None:
        """Add changes that were committed just now; `follow` moves the cursor onto the newest one.

        Where several writers run at once their ids may be lower than those of rows that are there.
        """
        at_cursor, at_top = self.current, self.rows[self.top] if self.rows else None
        known = {row.id for row in self.rows}
        self.rows += (change for change in changes if change.id not in known)
        self.rows.sort(key=lambda row: -row.id)
        if follow or at_cursor is None or at_top is None:
            self.cursor = self.top = 0
        else:
            self.cursor, self.top = self.rows.index(at_cursor), self.rows.index(at_top)
        if len(self.rows) > MOST and self.top + 2 * _AHEAD < MOST:
            self._drop_oldest(len(self.rows) - MOST)

    def move_to(self, cursor: int, height: int) -> None:
        """Put the cursor on a row that is there, and the screen around it."""
        self.cursor = max(0, min(cursor, len(self.rows) - 1))
        self.top = max(min(self.top, self.cursor), self.cursor - height + 1, 0)

    def scroll(self, rows: int, height: int) -> None:
        """Move the screen; the cursor stays on it."""
        self.top = max(0, min(self.top + rows, len(self.rows) - height))
        self.cursor = max(self.top, min(self.cursor, self.top + height - 1))

    def wanted(self, height: int) -> Side | None:
        """The side of which the screen will need the next page soon."""
        if not self.is_last[Side.OLDER] and len(self.rows) - (self.top + height) < _AHEAD:
            return Side.OLDER
        if not self.is_last[Side.NEWER] and self.top < _AHEAD:
            return Side.NEWER
        return None

    def _set_edge(self, side: Side, page: PageLike) -> None:
        self.edges[side] = page.edge_id
        self.is_last[side] = page.is_last

    def _drop_newest(self, rows: int) -> None:
        del self.rows[:rows]
        self.top -= rows
        self.cursor = max(self.cursor - rows, 0)
        self.edges[Side.NEWER], self.is_last[Side.NEWER] = self.rows[0].id, False

    def _drop_oldest(self, rows: int) -> None:
        del self.rows[len(self.rows) - rows :]
        self.cursor = min(self.cursor, len(self.rows) - 1)
        self.edges[Side.OLDER], self.is_last[Side.OLDER] = self.rows[-1].id, False
