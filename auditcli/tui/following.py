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
    from auditcli.following.news import News

_FEED = "feed"


class Following:
    """Tells what is committed from now on; it survives a lost connection."""

    def __init__(
        self,
        app: App[Any],
        queries: Queries,
        *,
        began: Callable[[], None],
        arrived: Callable[[Sequence[Change]], None],
        tell: Callable[[News], None],
    ) -> None:
        self._app = app
        self._queries = queries
        self._began = began
        self._arrived = arrived
        self._tell = tell

    def start(self, chosen: Chosen) -> None:
        """Follow what is selected: `began` is called when nothing that is committed later can be missed any more.

        What is in the list already may come once more.
        """
        place: Place | None = None

        def follow(database: Database, stop: Event) -> None:
            from auditcli import follow as library
            from auditcli.following.start import certain_place

            nonlocal place
            if place is None:
                place = certain_place(database)
                self._call(stop, self._began)
            following = library.Following(
                database, place, chosen.selection, stop=stop, tell=lambda news: self._call(stop, self._tell, news)
            )
            for batch in following.batches():
                changes = [change for delivered in batch for change in delivered.changes]
                self._call(stop, self._arrived, changes)
                # Begun again after a failure, it goes on from here.
                place = batch[-1].place

        self._queries.follow(_FEED, follow)

    def stop(self) -> None:
        """Follow nothing any more."""
        self._queries.give_up(_FEED)

    def _call(self, stop: Event, callback: Callable[..., None], *arguments: object) -> None:
        """Call back on the UI's thread, unless something else is followed by then."""

        def call() -> None:
            if not stop.is_set():
                callback(*arguments)

        if not stop.is_set():
            self._app.call_from_thread(call)
