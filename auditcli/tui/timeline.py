"""Fills the activity: bars of a stretch of time counted one by one, the newest first; what was counted is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from textual.app import App

from auditcli.tui.queries import Queries
from auditcli.tui.widgets.activity import Activity

if TYPE_CHECKING:
    from auditcli.activity import Counts, Period
    from auditcli.chosen import Chosen
    from auditcli.log.reader import LogReader

_BARS = "bars"
_MOST_KEPT = 5000
_SMALL = 200_000
"""Logs of so many changes are shown whole at first; of larger ones the last day."""

RANGES = {
    "1": ("15 minutes", timedelta(minutes=15)),
    "2": ("an hour", timedelta(hours=1)),
    "3": ("a day", timedelta(days=1)),
    "4": ("a week", timedelta(days=7)),
    "5": ("30 days", timedelta(days=30)),
    "6": ("all", None),
}
"""How much time each key shows, in words; None for all of it."""


class Timeline:
    """One activity and the selection that it counts."""

    def __init__(self, app: App[Any], queries: Queries, activity: Activity) -> None:
        self._app = app
        self._queries = queries
        self._activity = activity
        self._chosen: Chosen | None = None
        self._period: Period | None = None
        self._kept: dict[tuple[str, Period], Counts] = {}
        self._is_outdated = False
        # Up to the newest change, so much or all; None where somebody zoomed to what does not move.
        self._range: tuple[timedelta | None] | None = None
        self._newest: datetime | None = None

    def choose(self, chosen: Chosen) -> None:
        """Count another selection."""
        self._chosen = chosen
        self.redraw()

    def zoom(self, period: Period) -> None:
        """Show another stretch of time."""
        self._period, self._range = period, None
        self.redraw()

    def show_last(self, length: timedelta | None) -> None:
        """Show so much time up to the newest change, or all of it."""
        self._ask_for_range(lambda _reader: length)

    def redraw(self) -> None:
        """Count the bars that fit now."""
        if self._chosen is None:
            return
        if self._period is None:
            self._ask_for_range(_first_length)
            return
        self._period = self._gone_on(self._period)
        self._count(self._chosen, self._period)

    def grown(self, oldest: datetime, newest: datetime) -> None:
        """Something was committed, stamped between these: count the bars that it belongs to again."""
        self._kept = {key: counts for key, counts in self._kept.items() if key[1].end <= oldest}
        self._newest = newest
        if self._queries.is_busy(_BARS):
            # What is being counted goes on: a busy log would never see the end of it.
            self._is_outdated = True
        else:
            self.redraw()

    def _gone_on(self, period: Period) -> Period:
        """What reached up to the newest change, up to the one that is it now."""
        if self._range is None or self._newest is None or self._newest < period.end:
            return period
        [length] = self._range
        end = self._newest + timedelta(microseconds=1)
        return replace(period, start=period.start if length is None else end - length, end=end)

    def _ask_for_range(self, length_of: Callable[[LogReader], timedelta | None]) -> None:
        def find(reader: LogReader) -> tuple[timedelta | None, Period | None]:
            length = length_of(reader)
            return length, _last(reader, length)

        def show(found: tuple[timedelta | None, Period | None]) -> None:
            length, period = found
            if period is not None:
                self._period, self._range = period, (length,)
                self.redraw()

        self._queries.ask(_BARS, find, show)

    def _count(self, chosen: Chosen, period: Period) -> None:
        from auditcli.activity import bars_of

        bars = bars_of(period, self._activity.room)
        self._activity.show(
            bars, {bar: self._kept[chosen.words, bar] for bar in bars if (chosen.words, bar) in self._kept}
        )
        # The newest bar may have grown since.
        missing = [bar for bar in bars if bar not in self._activity.counts or bar is bars[-1]][::-1]

        def count(reader: LogReader) -> None:
            from auditcli.activity import count_bar

            for bar in missing:
                if not self._queries.is_wanted():
                    return
                counted = count_bar(reader, chosen.selection, bar, chosen.open_window)
                self._app.call_from_thread(self._keep, chosen, bar, counted)

        self._is_outdated = False
        self._queries.ask(_BARS, count, lambda _: self.redraw() if self._is_outdated else None)

    def _keep(self, chosen: Chosen, bar: Period, counted: Counts) -> None:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        if chosen is not self._chosen:
            return
        self._kept[chosen.words, bar] = counted
        if bar in self._activity.bars:
            self._activity.add(bar, counted)


def _first_length(reader: LogReader) -> timedelta | None:
    from auditcli.paging import about_all

    return None if about_all(reader) <= _SMALL else timedelta(days=1)


def _last(reader: LogReader, length: timedelta | None) -> Period | None:
    from auditcli.activity import Period, whole_period

    whole = whole_period(reader)
    if whole is None or length is None:
        return whole
    return Period(max(whole.end - length, whole.start), whole.end)
