"""`audit serve`: the explorer in a browser of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions, Words
from auditcli.cli.who import actor_of
from auditcli.errors import ExitCode, UsageError


def serve(
    app: AppContext,
    who: WhoOptions,
    words: Words = None,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 is any that is free.")] = 8000,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="An address of this machine alone.")] = "127.0.0.1",
    write: Annotated[bool, typer.Option("--write", help="Let pages write: undo, redo, name places.")] = False,
) -> int:
    """Explore the log in a browser, read-only unless told otherwise; whoever has the printed address comes in.

    Examples:
      audit serve
      audit serve table:orders --port 9000
      audit serve --write --as alice
    """
    title = f"audit {app.target.profile or app.target.masked_url}"
    command = [*_program(app), "tui", *_tui_options(who, write=write), "--", *(words or ())]
    try:
        from auditcli.tui.web.server import ExplorerServer, listen
    except ModuleNotFoundError as error:
        raise UsageError("textual-serve is not installed", hint="pip install 'auditcli[serve]'") from error

    import asyncio

    def ready(address: str) -> None:
        stdout.write(f"{address}\n")
        stdout.flush()
        app.out.note(f"{app.target.masked_url}, {'for writing too' if write else 'read-only'}; ^C ends it")

    stdout = sys.stdout
    with listen(host, port) as listening, _environment(app), redirect_stdout(sys.stderr):
        asyncio.run(ExplorerServer(command, listening, title=title).run(ready))
    app.out.note("no longer served")
    return ExitCode.INTERRUPTED


def _program(app: AppContext) -> list[str]:
    """This program and its global options, without a URL where that can be left to the environment."""
    url, profile = app.options.url, app.options.profile
    if url is not None and profile is not None and app.target.url.render_as_string(False) != app.target.masked_url:
        raise UsageError(
            "the URL's password would be seen in the list of processes",
            hint="leave --profile out, or write the URL into the profile",
        )
    # -P: a module in the folder where this is started is none of the program's.
    return [
        *(sys.executable, "-P", "-m", "auditcli"),
        *([f"--profile={profile}"] if profile is not None else []),
        *([f"--url={url}"] if url is not None and profile is not None else []),
        *(["--utc"] if app.options.utc else []),
    ]


def _tui_options(who: WhoOptions, *, write: bool) -> Sequence[str]:
    reason = [] if who.reason is None else [f"--reason={who.reason}"]
    return [f"--as={actor_of(who)}", *reason, *([] if write else ["--read-only"])]


@contextmanager
def _environment(app: AppContext) -> Iterator[None]:
    """Tell the explorers which database an option named: a password must not stand in the list of processes."""
    from auditcli.config import URL_VARIABLE

    before = os.environ.get(URL_VARIABLE)
    if app.options.url is not None:
        os.environ[URL_VARIABLE] = app.options.url
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(URL_VARIABLE, None)
        else:
            os.environ[URL_VARIABLE] = before
