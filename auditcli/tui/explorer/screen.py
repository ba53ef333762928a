"""The explorer: all families of its actions together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType

from auditcli.tui.explorer.carrying_off import CarryingOff
from auditcli.tui.explorer.places import Places
from auditcli.tui.explorer.taking_back import TakingBack
from auditcli.tui.screens.help import Help
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail


class Explorer(Places, TakingBack, CarryingOff):
    """The screen that is always there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
    ]

    def action_help(self) -> None:
        groups = [
            ("everywhere", bindings_of(type(self))),
            ("in the list", bindings_of(ChangeList)),
            ("in the details", bindings_of(Detail)),
            ("in the activity", bindings_of(Activity)),
        ]
        self.app.push_screen(Help(self.palette, groups))

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        for binding in bindings_of(type(self)):
            if binding.description and self.check_action(binding.action.partition("(")[0], ()):
                yield SystemCommand(binding.description, f"key {binding.key}", self._runner(binding.action))

    def _runner(self, action: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self.run_action(action)

        return run


def bindings_of(kind: type) -> list[Binding]:
    """The bindings of a widget or a screen and of what it is made from, one key each."""
    own = [
        each
        for base in kind.__mro__
        if base.__module__.startswith("auditcli.")
        for each in vars(base).get("BINDINGS", ())
    ]
    return list(Binding.make_bindings(own))
