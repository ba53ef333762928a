"""The full-screen explorer as a Textual application: thin, for the screens do the work."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import App, SystemCommand
from textual.screen import Screen

from auditcli.tui.explorer.screen import Explorer
from auditcli.tui.palette import Palette
from auditcli.tui.queries import Queries, QueryAnswered, QueryFailed
from auditcli.tui.screens.undo_plan import UndoPlan
from auditcli.tui.undoing import UNDO, Author

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.connect import Database


class ExplorerApp(App[int]):
    """One database, explored."""

    TITLE = "audit"
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, target: Target, author: Author, words: Sequence[str] = (), *, utc: bool = False) -> None:
        super().__init__()
        self._target = target
        self._author = author
        self._words = " ".join(map(shlex.quote, words))
        self._utc = utc
        self.queries = Queries(self, self._open)

    async def on_mount(self) -> None:
        palette = Palette(self.get_css_variables())
        await self.push_screen(Explorer(self.queries, palette, self._target, self._author, self._words, utc=self._utc))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        if isinstance(screen, Explorer):
            yield from screen.commands()

    def on_unmount(self) -> None:
        self.queries.close()

    @on(QueryFailed)
    def _failed(self, event: QueryFailed) -> None:
        """What workers have to say reaches the application, which knows who asked."""
        if isinstance(self.screen, UndoPlan) and event.kind == UNDO:
            self.screen.fail(event)
        else:
            self._explorer.fail(event)

    @on(QueryAnswered)
    def _answered(self) -> None:
        self._explorer.recover()

    @property
    def _explorer(self) -> Explorer:
        return next(screen for screen in self.screen_stack if isinstance(screen, Explorer))

    def _open(self) -> Database:
        from auditcli.connect import open_database

        return open_database(self._target)
