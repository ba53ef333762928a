"""What `audit` understands: its commands, its global options, and its own words for a command line that it doesn't."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from auditcli import __version__
from auditcli.cli.apply import apply
from auditcli.cli.at import at
from auditcli.cli.completion import completion
from auditcli.cli.context import AppContext, GlobalOptions
from auditcli.cli.demo import demo
from auditcli.cli.diff import diff
from auditcli.cli.doctor import doctor
from auditcli.cli.export import export
from auditcli.cli.init import init
from auditcli.cli.log import log
from auditcli.cli.mark import mark
from auditcli.cli.options import (
    Invocation,
    WhoOptions,
    as_command,
    context_parameter,
    global_parameters,
    set_signature,
)
from auditcli.cli.pause import pause, resume
from auditcli.cli.profile import profile
from auditcli.cli.replay import replay
from auditcli.cli.row import blame, row
from auditcli.cli.serve import serve
from auditcli.cli.show import show
from auditcli.cli.stats import stats
from auditcli.cli.status import status
from auditcli.cli.tail import tail
from auditcli.cli.tui import on_terminal, tui
from auditcli.cli.undo import redo, undo
from auditcli.cli.verify import verify
from auditcli.errors import ExitCode, NoDatabase, UsageError

_PROGRAM = "audit"
_COMMANDS: tuple[Callable[..., object], ...] = (
    demo,
    init,
    status,
    log,
    show,
    tail,
    diff,
    row,
    blame,
    at,
    undo,
    redo,
    replay,
    apply,
    export,
    mark,
    stats,
    doctor,
    verify,
    pause,
    resume,
    profile,
    tui,
    serve,
    completion,
)

_ABOUT = """Who changed this row, when, from what to what; and put it back, safely.

Examples:
  audit demo                       a sample database, and its story
  audit                            explore, on a terminal, the database that is configured
  audit log table:orders           what happened to a table
  audit diff --since 1h            what is different from an hour ago
  audit undo 42 --dry-run          what taking change 42 back would do

The database: --url, --profile, $AUDIT_DATABASE_URL, $AUDIT_PROFILE, audit.toml or pyproject.toml, your config file.
"""

_VALUES_LEFT_OUT = {"--related": "--related=1"}

# Typer has been carrying its own copy of click, so its errors are found by the one that it exports.
_BadUsage: type[Exception] = typer.BadParameter.__mro__[1]

_EXAMPLES = re.compile(r"^(?=Examples:$)", re.MULTILINE)
_NO_SUCH = re.compile(r"No such (option|command):? ['\"]?([^'\" ]+)")


def run_words(words: Sequence[str]) -> int:
    """Understand a command line, run it, and return its exit code."""
    understood = _understand(_with_values(words))
    if not isinstance(understood, Invocation):
        return int(understood or ExitCode.DONE)
    outcome = understood.run(AppContext(understood.options))
    return int(outcome) if isinstance(outcome, int) else ExitCode.DONE


def _with_values(words: Sequence[str]) -> list[str]:
    """The words, an option whose value may be left out with the one that it then has: Typer knows no such options."""
    end = words.index("--") if "--" in words else len(words)
    return [*(_VALUES_LEFT_OUT.get(word, word) for word in words[:end]), *words[end:]]


def command_tree(words: Collection[str]) -> Any:
    """The program as Typer's tree of commands; a command has its parameters where the words name it."""
    return typer.main.get_command(_program(words))


def _understand(words: list[str]) -> Any:
    """An Invocation, or the exit code of a command line that ends with its own help."""
    program = _program(words)
    try:
        return program(args=words, prog_name=_PROGRAM, standalone_mode=False)
    except _BadUsage as error:
        raise _usage_error(error, words) from error
    except SystemExit as left:
        # The one way in which Typer ends a program by itself here: nobody reads the help that it prints.
        raise BrokenPipeError from left


def _program(words: Collection[str]) -> typer.Typer:
    program = typer.Typer(
        name=_PROGRAM,
        help=_help_text(_ABOUT),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    program.callback(invoke_without_command=True)(_start())
    for function in _COMMANDS:
        name = _name_of(function)
        text = _help_text(inspect.getdoc(function) or "")
        # Reading the options of a command takes time, and no other one's are asked for.
        parse = as_command(function) if name in words else _not_asked_for
        program.command(name, help=text, epilog="Global options (-u, -P, --utc, …): audit --help")(parse)
    return program


def _not_asked_for() -> None:
    """Stands for a command in the list of commands."""


def _start() -> Callable[..., object]:
    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--version", help="Show the version.")],
    )

    def start(typer_context: typer.Context, *, version: bool, **options: Any) -> Invocation | int | None:
        typer_context.obj = GlobalOptions(**options)
        if version:
            sys.stdout.write(f"auditcli {__version__}\n")
            raise typer.Exit
        if typer_context.invoked_subcommand is None:
            return _explorer(typer_context.obj) or _help(typer_context)
        return None

    set_signature(start, [context_parameter(), version, *global_parameters(hidden=False)])
    return start


def _explorer(options: GlobalOptions) -> Invocation | None:
    """What a person means who names no command: the explorer, where there is a database to explore."""
    if not on_terminal():
        return None
    app = AppContext(options)
    try:
        app.target  # noqa: B018  # looked up, and then known
    except NoDatabase:
        return None
    return Invocation(lambda _app: tui(app, WhoOptions()), options)


def _help(typer_context: typer.Context) -> int:
    sys.stdout.write(typer_context.get_help() + "\n")
    return ExitCode.DONE if sys.stdout.isatty() else ExitCode.USAGE


def _help_text(text: str) -> str:
    """The text with its examples left as they are; Typer would fill them into a paragraph."""
    return _EXAMPLES.sub("\b\n", text)


def _usage_error(error: Exception, words: list[str]) -> UsageError:
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    command = next((word for word in words if word in _command_names()), None)
    help_hint = f"`{_PROGRAM} {command} --help`" if command else f"`{_PROGRAM} --help`"
    found = _NO_SUCH.search(message)
    if found is None:
        return UsageError(_first_line(message), hint=help_hint)
    kind, word = found.groups()
    known = _command_names() if kind == "command" else list(getattr(error, "possibilities", None) or ())
    bare = {name.lstrip("-"): name for name in known}
    close = get_close_matches(word.lstrip("-"), bare, n=1)
    return UsageError(f"no such {kind}: {word}", hint=f"did you mean {bare[close[0]]}?" if close else help_hint)


def _first_line(message: str) -> str:
    text = message.strip().splitlines()[0].rstrip(".")
    return text[:1].lower() + text[1:]


def _command_names() -> list[str]:
    return [_name_of(function) for function in _COMMANDS]


def _name_of(function: Callable[..., object]) -> str:
    return function.__name__.replace("_", "-")
