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
    from auditcli.feed import Place

_FEED = "feed"


class Following:
    """Tells what is committed after a place."""

    def __init__(self, app: App[Any], queries: Queries, arrived: Callable[[Sequence[Change]], None]) -> None:
        self._app = app
        self._queries = queries
        self._arrived = arrived

    def start(self, chosen: Chosen, after_id: int) -> None:
        """Follow what is committed after a log id and selected."""
        place: Place | int = after_id

        def follow(database: Database, stop: Event) -> None:
            from auditcli.feed import Feed

            nonlocal place
            feed = Feed(database.engine, database.tables, database.dialect, place)
            for committed in feed.follow(chosen.selection, stop=stop):
                place = feed.place
                self._app.call_from_thread(self._arrived, committed)

        self._queries.follow(_FEED, follow)

    def stop(self) -> None:
        """Follow nothing any more."""
        self._queries.give_up(_FEED)
