"""Follows the log through the feed, in a thread of its own: each commit once, in an order valid for every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from textual.app import App

from auditcli.model import Change
from auditcli.tui.queries import Queries

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.connect import Database

_FEED = "feed"
_MOST_AT_ONCE = 500


class Following:
    """Tells what is committed after a place; paused, it only counts."""

    def __init__(self, app: App[Any], queries: Queries, arrived: Callable[[Sequence[Change]], None]) -> None:
        self._app = app
        self._queries = queries
        self._arrived = arrived
        self._stop = Event()

    def start(self, chosen: Chosen, after_id: int) -> None:
        """Follow what is committed after a log id and selected."""
        self.stop()
        stop = self._stop = Event()

        def follow(database: Database, is_wanted: Callable[[], bool]) -> None:
            from auditcli.feed import Feed

            feed = Feed(database.engine, database.tables, database.dialect, after_id)
            for committed in feed.follow(chosen.selection, stop=stop):
                if not is_wanted():
                    return
                self._app.call_from_thread(self._arrived, committed)

        self._queries.ask_on(_FEED, follow, lambda _: None)

    def stop(self) -> None:
        """Follow nothing any more."""
        self._stop.set()
        self._queries.give_up(_FEED)
