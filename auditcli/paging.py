"""Pages of a log on both sides of a log id, for a reader who may change their mind: no page costs more than its rows.

What SQL alone decides is read by one walk along the index. Where values decide, the log is read in stretches, so that
a search that finds nothing can be given up, and says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from sqlalchemy import func, select

from auditcli.log.reader import ALL, LogReader, Window
from auditcli.model import Change
from auditcli.position import LARGEST_ID
from auditcli.selection import Selection

SIZE = 256
"""How many changes a page holds."""

_STRETCH = 5_000
"""How many log ids are read between two looks at whether the page is still wanted."""

_FAR = 50_000
"""How many log ids one page reads at the most before it says what it found so far."""


@dataclass(frozen=True, slots=True)
class Page:
    """Neighbouring changes, newest first; `edge_id` is where the next page that way begins, if this is not the last."""

    changes: tuple[Change, ...]
    edge_id: int
    is_last: bool


def about_all(reader: LogReader) -> int:
    """How many changes the log holds, as its ids tell: those that were rolled back are counted."""
    last = reader.last_id()
    return last - reader.first_id() + 1 if last else 0


@dataclass(frozen=True)
class Paging:
    """The pages of a selection."""

    reader: LogReader
    selection: Selection
    window: Window = ALL
    size: int = SIZE
    is_wanted: Callable[[], bool] = lambda: True

    def older(self, before_id: int | None = None) -> Page:
        """The changes before a log id, which is not one of them; without one, the newest that there are."""
        top = self.reader.last_id() if before_id is None else before_id - 1
        lowest = self.reader.first_id() - 1
        furthest = lowest if self._is_exact else max(lowest, top - _FAR)
        stretches = ((max(each - self._stretch, furthest), each) for each in range(top, furthest, -self._stretch))
        found, reached = self._gathered(stretches, top, newest_first=True)
        is_full = len(found) == self.size
        return Page(found, found[-1].id if is_full else reached + 1, not is_full and reached <= lowest)

    def newer(self, after_id: int) -> Page:
        """The changes after a log id."""
        highest = self.reader.last_id()
        furthest = highest if self._is_exact else min(highest, after_id + _FAR)
        stretches = ((each, min(each + self._stretch, furthest)) for each in range(after_id, furthest, self._stretch))
        found, reached = self._gathered(stretches, after_id, newest_first=False)
        is_full = len(found) == self.size
        return Page(found[::-1], found[-1].id if is_full else reached, not is_full and reached >= highest)

    def count(self) -> int:
        """How many changes are selected, or were found until they were not wanted any more."""
        criteria = self.reader.criteria(self.selection, self.window)
        if criteria.exact:
            log = self.reader.tables.changelog
            return int(self.reader.scalar(select(func.count()).select_from(log).where(criteria.where())) or 0)
        changes = self.reader.changes(self.selection, self.window)
        return sum(1 for _ in takewhile(lambda _: self.is_wanted(), changes))

    @cached_property
    def _is_exact(self) -> bool:
        return self.reader.criteria(self.selection, self.window).exact

    @property
    def _stretch(self) -> int:
        return LARGEST_ID if self._is_exact else _STRETCH

    def _gathered(
        self, stretches: Iterator[tuple[int, int]], reached: int, *, newest_first: bool
    ) -> tuple[tuple[Change, ...], int]:
        """What the stretches hold until the page is full or no longer wanted, and the id up to which they were read."""
        found: tuple[Change, ...] = ()
        for after_id, until_id in stretches:
            if not self.is_wanted() or len(found) == self.size:
                break
            found += tuple(
                self.reader.changes(
                    self.selection,
                    self.window,
                    after_id=after_id,
                    until_id=until_id,
                    newest_first=newest_first,
                    limit=self.size - len(found),
                )
            )
            reached = after_id if newest_first else until_id
        return found, reached
