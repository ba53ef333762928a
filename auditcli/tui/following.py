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
    from auditcli.following.news import News

_FEED = "feed"


class Following:
    """Tells what is committed from now on; it survives a lost connection."""

    def __init__(
        self, app: App[Any], queries: Queries, arrived: Callable[[Sequence[Change]], None], tell: Callable[[News], None]
    ) -> None:
        self._app = app
        self._queries = queries
        self._arrived = arrived
        self._tell = tell

    def start(self, chosen: Chosen) -> None:
        """Follow what is selected; what is in the list already may come once more."""

        def follow(database: Database, stop: Event) -> None:
            from auditcli import follow as library
            from auditcli.following.start import certain_place

            place = certain_place(database)
            following = library.Following(database, place, chosen.selection, stop=stop, tell=self._told)
            for batch in following.batches():
                changes = [change for delivered in batch for change in delivered.changes]
                self._app.call_from_thread(self._arrived, changes)

        self._queries.follow(_FEED, follow)

    def stop(self) -> None:
        """Follow nothing any more."""
        self._queries.give_up(_FEED)

    def _told(self, news: News) -> None:
        self._app.call_from_thread(self._tell, news)
