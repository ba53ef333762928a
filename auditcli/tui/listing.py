"""Fills the list of changes: pages, counts, places; every question is asked in a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from auditcli.tui.queries import Queries
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.window import Side

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.log.reader import LogReader
    from auditcli.paging import Page, Paging

_PAGE = "page"
_COUNT = "count"


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a list begins with."""

    older: Page
    newer: Page | None
    log_ids: tuple[int, int]


class Listing:
    """One list and the selection that it shows.

    `begun` is called when it has begun anew: until then `is_beginning`, and what is committed meanwhile it may lack.
    `counted` is told how many changes match, when that is known.
    """

    def __init__(
        self,
        queries: Queries,
        changes: ChangeList,
        *,
        begun: Callable[[], None],
        counted: Callable[[int | None, int], None],
    ) -> None:
        self._queries = queries
        self._changes = changes
        self._begun = begun
        self._counted = counted
        self.chosen: Chosen | None = None
        self.is_beginning = False

    def choose(self, chosen: Chosen) -> None:
        """Show another selection from its newest change on."""
        self.chosen = chosen
        self.begin_at(None)
        self._count(chosen)

    def begin_at(self, place: int | datetime | float | None) -> None:
        """Begin anew at a log id, at a moment, at a part of the log, or without one at its newest change."""
        if self.chosen is None:
            return
        chosen = self.chosen
        self._changes.wait()
        self.is_beginning = True

        def read(reader: LogReader) -> _Beginning:
            log_ids = (reader.first_id(), reader.last_id())
            log_id = _log_id(reader, place, log_ids)
            pages = self._paging(reader, chosen)
            if log_id is None:
                return _Beginning(pages.older(), None, log_ids)
            return _Beginning(pages.older(log_id + 1), pages.newer(log_id), log_ids)

        def show(beginning: _Beginning) -> None:
            self._changes.log_ids = beginning.log_ids
            self._changes.begin(beginning.older, beginning.newer)
            self.is_beginning = False
            self._begun()

        self._queries.ask(_PAGE, read, show)

    def begin_at_end(self, side: Side) -> None:
        """Begin anew at one of the ends."""
        if side is Side.NEWER:
            self.begin_at(None)
            return
        if self.chosen is None:
            return
        chosen = self.chosen

        def show(page: Page) -> None:
            oldest = page.changes[-1].id if page.changes else 0
            self._changes.begin(_Nothing(oldest), page)
            self.is_beginning = False
            self._changes.action_oldest()

        self._queries.ask(_PAGE, lambda reader: self._paging(reader, chosen).newer(0), show)

    def extend(self, side: Side, edge_id: int) -> None:
        """Read the next page of a side."""
        if self.chosen is None:
            return
        chosen = self.chosen

        def read(reader: LogReader) -> Page:
            pages = self._paging(reader, chosen)
            return pages.older(edge_id) if side is Side.OLDER else pages.newer(edge_id)

        self._queries.ask(_PAGE, read, lambda page: self._changes.extend(side, page))

    def _paging(self, reader: LogReader, chosen: Chosen) -> Paging:
        from auditcli.paging import Paging

        return Paging(reader, chosen.selection, chosen.open_window, is_wanted=self._queries.is_wanted)

    def _count(self, chosen: Chosen) -> None:
        def count(reader: LogReader) -> tuple[int, int]:
            from auditcli.paging import about_all

            everything = about_all(reader)
            is_all = chosen.selection.is_empty and not chosen.is_bounded
            return (everything if is_all else self._paging(reader, chosen).count()), everything

        self._queries.ask(_COUNT, count, lambda counts: self._counted(*counts))


@dataclass(frozen=True, slots=True)
class _Nothing:
    """The page below the oldest change."""

    edge_id: int
    changes: tuple[()] = ()
    is_last: bool = True


def _log_id(reader: LogReader, place: int | datetime | float | None, log_ids: tuple[int, int]) -> int | None:
    if isinstance(place, datetime):
        return reader.last_id_stamped_before(place)
    if isinstance(place, float):
        first, last = log_ids
        return None if place <= 0 else max(first, last - round(place * (last - first)))
    return place
