"""The full-screen explorer as a Textual application: thin, for the screens do the work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import App

from auditcli.tui.palette import Palette
from auditcli.tui.queries import Queries, QueryAnswered, QueryFailed
from auditcli.tui.screens.explorer import Explorer
from auditcli.tui.widgets.heading import Standing

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.connect import Database


class ExplorerApp(App[int]):
    """One database, explored."""

    TITLE = "audit"
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, target: Target, words: Sequence[str] = (), *, utc: bool = False) -> None:
        super().__init__()
        self._target = target
        self._words = " ".join(map(shlex.quote, words))
        self._utc = utc
        self.queries = Queries(self, self._open)

    async def on_mount(self) -> None:
        standing = Standing(
            target=self._target.masked_url,
            profile=self._target.profile,
            read_only=self._target.read_only,
            protected=self._target.protected,
            utc=self._utc,
        )
        await self.push_screen(Explorer(self.queries, Palette(self.get_css_variables()), standing, self._words))

    def on_unmount(self) -> None:
        self.queries.close()

    @on(QueryFailed)
    @on(QueryAnswered)
    def _to_the_screen(self, event: QueryFailed | QueryAnswered) -> None:
        """What workers have to say reaches the application; the explorer is below any dialog."""
        explorer = next((screen for screen in self.screen_stack if isinstance(screen, Explorer)), None)
        if explorer is not None:
            explorer.hear(event)

    def _open(self) -> Database:
        from auditcli.connect import open_database

        return open_database(self._target)
