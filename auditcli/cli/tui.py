"""`audit tui`: the full-screen explorer."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions, Words
from auditcli.cli.who import actor_of
from auditcli.errors import UsageError

_DRIVER_VARIABLE = "TEXTUAL_DRIVER"
"""Names what takes the place of the terminal: a browser, for one."""

_CANNOT_DRAW = ("dumb", "unknown", "")


def tui(
    app: AppContext,
    who: WhoOptions,
    words: Words = None,
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every write, whoever asks for it.")] = False,
) -> int:
    """Explore the log full-screen: live, filtered, row by row; undo what went wrong.

    Examples:
      audit tui
      audit tui table:orders actor:svc-*
      audit tui --read-only
    """
    hint = "`audit log` and `audit tail` print the same"
    if not os.environ.get(_DRIVER_VARIABLE):
        if not on_terminal():
            raise UsageError("the explorer needs a terminal", hint=hint)
        if not _can_draw():
            raise UsageError("the explorer can't draw on this terminal (TERM is dumb)", hint=hint)
    target = replace(app.target, read_only=read_only or app.target.read_only)

    from auditcli.tui.app import ExplorerApp
    from auditcli.tui.undoing import Author

    explorer = ExplorerApp(target, Author(actor_of(who), who.reason), words or (), utc=app.out.utc)
    explorer.run()
    if explorer.failure is not None:
        raise explorer.failure
    return explorer.return_code or 0


def on_terminal() -> bool:
    """Whether a person can see a full screen, and press keys."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _can_draw() -> bool:
    return os.environ.get("TERM", "dumb") not in _CANNOT_DRAW
