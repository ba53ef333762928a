"""`audit tui`: the full-screen explorer."""

from __future__ import annotations

import os
import sys

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions, Words
from auditcli.cli.who import actor_of
from auditcli.errors import UsageError

_CANNOT_DRAW = ("dumb", "unknown", "")


def tui(app: AppContext, who: WhoOptions, words: Words = None) -> int:
    """Explore the log full-screen: live, filtered, row by row; undo what went wrong.

    Examples:
      audit tui
      audit tui table:orders actor:svc-*
    """
    hint = "`audit log` and `audit tail` print the same"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the explorer needs a terminal", hint=hint)
    if os.environ.get("TERM", "dumb") in _CANNOT_DRAW:
        raise UsageError("the explorer can't draw on this terminal (TERM is dumb)", hint=hint)
    target = app.target

    from auditcli.tui.app import ExplorerApp
    from auditcli.tui.undoing import Author

    explorer = ExplorerApp(target, Author(actor_of(who), who.reason), words or (), utc=app.out.utc)
    explorer.run()
    if explorer.failure is not None:
        raise explorer.failure
    return explorer.return_code or 0
