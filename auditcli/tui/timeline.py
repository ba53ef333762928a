"""Fills the activity: bars of a stretch of time counted one by one, the newest first; what was counted is kept."""

from __future__ import annotations

from collections.abc import Callable
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

    def choose(self, chosen: Chosen) -> None:
        """Count another selection."""
        self._chosen = chosen
        self.redraw()

    def zoom(self, period: Period) -> None:
        """Show another stretch of time."""
        self._period = period
        self.redraw()

    def show_last(self, length: timedelta | None) -> None:
        """Show so much time up to the newest change, or all of it."""
        self._queries.ask(_BARS, lambda reader: _last(reader, length), self._zoom_if_any)

    def redraw(self) -> None:
        """Count the bars that fit now."""
        if self._chosen is None:
            return
        if self._period is None:
            self._queries.ask(_BARS, _beginning, self._zoom_if_any)
            return
        self._count(self._chosen, self._period)

    def grown(self, newest: datetime) -> None:
        """Something was committed: count the bar that it belongs to again."""
        bars = self._activity.bars
        if self._period is None or not bars or self._queries.is_busy(_BARS):
            return
        if newest >= bars[-1].end:
            self._period = type(self._period)(
                self._period.start + (newest - bars[-1].start), bars[-1].end + bars[-1].width
            )
        self.redraw()

    def _zoom_if_any(self, period: Period | None) -> None:
        if period is not None:
            self.zoom(period)

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

            is_wanted = self._queries.is_wanted(_BARS)
            for bar in missing:
                if not is_wanted():
                    return
                counted = count_bar(reader, chosen.selection, bar, chosen.window)
                self._app.call_from_thread(self._keep, is_wanted, chosen, bar, counted)

        self._queries.ask(_BARS, count, lambda _: None)

    def _keep(self, is_wanted: Callable[[], bool], chosen: Chosen, bar: Period, counted: Counts) -> None:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[chosen.words, bar] = counted
        if is_wanted():
            self._activity.add(bar, counted)


def _beginning(reader: LogReader) -> Period | None:
    from auditcli.paging import about_all

    return _last(reader, None if about_all(reader) <= _SMALL else timedelta(days=1))


def _last(reader: LogReader, length: timedelta | None) -> Period | None:
    from auditcli.activity import Period, whole_period

    whole = whole_period(reader)
    if whole is None or length is None:
        return whole
    return Period(max(whole.end - length, whole.start), whole.end)
