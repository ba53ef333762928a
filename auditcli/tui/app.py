"""The full-screen explorer as a Textual application: thin, for the screens do the work."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import WorkerFailed

from auditcli.errors import ExitCode
from auditcli.tui.explorer.screen import Explorer
from auditcli.tui.palette import Palette
from auditcli.tui.queries import Queries, QueryAnswered, QueryFailed
from auditcli.tui.screens.undo_plan import UndoPlan
from auditcli.tui.undoing import UNDO, Author

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.connect import Database

_LOOK_AT_TERMINAL = 5.0


class ExplorerApp(App[int]):
    """One database, explored."""

    TITLE = "audit"
    ENABLE_COMMAND_PALETTE = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
    ]

    def __init__(self, target: Target, author: Author, words: Sequence[str] = (), *, utc: bool = False) -> None:
        super().__init__()
        self._target = target
        self._author = author
        self._words = " ".join(map(shlex.quote, words))
        self._utc = utc
        self.queries = Queries(self, self._open)
        self.failure: Exception | None = None
        """What ended it, if it did not end well; whoever ran it has to say so."""

    async def on_mount(self) -> None:
        if not self.is_headless and _has_terminal():
            self.set_interval(_LOOK_AT_TERMINAL, self._leave_without_terminal)
        palette = Palette(self.get_css_variables())
        await self.push_screen(Explorer(self.queries, palette, self._target, self._author, self._words, utc=self._utc))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        if isinstance(screen, Explorer):
            yield from screen.commands()

    def _leave_without_terminal(self) -> None:
        """A window that was closed says so by a signal, but not to every program that was started in it."""
        if not _has_terminal():
            self.exit(return_code=ExitCode.FAILURE)

    def on_unmount(self) -> None:
        self.queries.close()

    @on(QueryFailed)
    def _failed(self, event: QueryFailed) -> None:
        """What workers have to say reaches the application, which knows who asked."""
        begins = self._explorer.chosen is None and event.kind == Explorer.filter_kind
        if begins and not self.is_web:
            # Without a log, or with first words that select nothing, there is nothing to look at; a browser has no
            # terminal behind it that could say so.
            self.failure = event.error
            self.exit()
        elif isinstance(self.screen, UndoPlan) and event.kind == UNDO:
            self.screen.fail(event)
        else:
            self._explorer.fail(event)

    @on(QueryAnswered)
    def _answered(self) -> None:
        self._explorer.recover()

    def action_interrupt(self) -> None:
        """Copy what is selected by mouse, as terminals do; without that, leave."""
        selected = self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
        else:
            self.exit(return_code=ExitCode.INTERRUPTED)

    def _handle_exception(self, error: Exception) -> None:
        self.failure = self.failure or (error.error if isinstance(error, WorkerFailed) else error)  # type: ignore[assignment]  # it is an Exception
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        """Print no traceback: `failure` is told as any command's."""
        self._exit_renderables.clear()

    @property
    def _explorer(self) -> Explorer:
        return next(screen for screen in self.screen_stack if isinstance(screen, Explorer))

    def _open(self) -> Database:
        from auditcli.connect import open_database

        return open_database(self._target)


def _has_terminal() -> bool:
    return os.isatty(sys.__stdin__.fileno()) if sys.__stdin__ is not None else False
