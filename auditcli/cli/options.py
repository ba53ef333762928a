"""Options that several commands share, and how a plain function becomes a command.

A command is a function whose parameters are its arguments and options. Two kinds of parameters are special:
`AppContext` is handed in, and a dataclass is a group of options, each of its fields one. The global options are added
to every command, so that they work on either side of its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

from auditcli.cli.context import AppContext, GlobalOptions

if TYPE_CHECKING:
    from auditcli.selection import SelectionOptions as SelectionWords

Words: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[WORD]...", help="A selection: table:orders event:update actor:bob, an ID, tx:ID, a ROW."),
]


@dataclass(frozen=True)
class SelectionOptions:
    """Which changes; the same as the positional words."""

    table: Annotated[list[str] | None, typer.Option(metavar="TABLE", help="Changes of this table.")] = None
    row: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Changes of this row: table/key.")] = None
    column: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Changes that touched it.")] = None
    event: Annotated[list[str] | None, typer.Option(metavar="EVENT", help="insert, update or delete.")] = None
    actor: Annotated[list[str] | None, typer.Option(metavar="ACTOR", help="Made by them; * stands for any.")] = None
    tx: Annotated[list[str] | None, typer.Option(metavar="ID", help="Of this transaction.")] = None
    grep: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="With this text, or /regex/, in it.")] = None
    since: Annotated[
        list[str] | None, typer.Option(metavar="POSITION", help="After: 15m, a time, an ID, tx:ID, @mark.")
    ] = None
    until: Annotated[list[str] | None, typer.Option(metavar="POSITION", help="Up to and including.")] = None

    @property
    def is_given(self) -> bool:
        """Whether any of them was used."""
        return any(getattr(self, field.name) for field in fields(self))

    def as_words(self) -> SelectionWords:
        """The options as the library takes them."""
        from auditcli.selection import SelectionOptions as SelectionWords

        return SelectionWords(**{field.name: tuple(getattr(self, field.name) or ()) for field in fields(self)})


@dataclass(frozen=True)
class FormatOptions:
    """How to print what a command lists."""

    format: Annotated[
        str | None,
        typer.Option("--format", "-o", metavar="FORMAT", help="table, tsv, csv, json or jsonl."),
    ] = None


@dataclass(frozen=True)
class ListOptions(FormatOptions):
    """How much of it, in which order, and how."""

    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="At most so many.")] = None
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round: oldest first.")] = False


@dataclass(frozen=True)
class WhoOptions:
    """In whose name, and why."""

    acting_as: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who does it; else $AUDIT_ACTOR, else the OS user.")
    ] = None
    reason: Annotated[str | None, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it is recorded.")] = None


@dataclass(frozen=True)
class ApplyOptions:
    """How to take changes back."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, write nothing.")] = False
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Do it, say what constraints and triggers did, roll it back.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False
    confirm: Annotated[str | None, typer.Option(metavar="WORD", help="The word that a large plan asks for.")] = None
    only: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Take back this column alone.")] = None
    exact: Annotated[bool, typer.Option("--exact", help="Restore bookkeeping columns too.")] = False
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Also take back later writes of the same cells, and rows that refer.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Overwrite what changed since.")] = False
    skip_conflicts: Annotated[bool, typer.Option("--skip-conflicts", help="Do the rest.")] = False
    lock_timeout: Annotated[
        float, typer.Option("--lock-timeout", min=0, metavar="SECONDS", help="How long to wait for a lock.")
    ] = 5.0


@dataclass(frozen=True)
class SavingOptions:
    """What to do with a plan instead of applying it."""

    save: Annotated[
        str | None,
        typer.Option(
            "--save", metavar="FILE", help="Keep the plan for `audit apply`; or what --skip-conflicts leaves."
        ),
    ] = None
    sql: Annotated[bool, typer.Option("--sql", help="Print the plan as a script, write nothing.")] = False


@dataclass(frozen=True)
class Invocation:
    """A command line that was understood: what to run, under which global options."""

    run: Callable[[AppContext], object]
    options: GlobalOptions


def as_command(function: Callable[..., object]) -> Callable[..., Invocation]:
    """The function in the form that Typer reads: it only parses, and returns what is to be run."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    app_name = next(name for name, kind in hints.items() if kind is AppContext)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind) and name != app_name}

    def parse(typer_context: typer.Context, **values: Any) -> Invocation:
        options = _take_group(GlobalOptions, values).over(typer_context.obj)
        arguments = {name: _take_group(kind, values) for name, kind in groups.items()}
        call = partial(function, **arguments, **values)
        return Invocation(lambda app: call(**{app_name: app}), options)

    _spell_out(parse, function, hints, {*groups, app_name})
    return parse


def global_parameters(*, hidden: bool) -> list[inspect.Parameter]:
    """The global options as parameters of a function."""
    parameters = _group_parameters(GlobalOptions)
    if not hidden:
        return parameters
    return [parameter.replace(annotation=_hidden(parameter.annotation)) for parameter in parameters]


def set_signature(function: Callable[..., object], parameters: list[inspect.Parameter]) -> None:
    """Give a function the parameters that Typer is to read."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def context_parameter(name: str = "typer_context") -> inspect.Parameter:
    """The parameter that Typer fills with its own context."""
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def _spell_out(
    parse: Callable[..., object], function: Callable[..., object], hints: Mapping[str, Any], special: set[str]
) -> None:
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in special
    ]
    groups = [hints[name] for name in hints if name in special and hints[name] is not AppContext]
    grouped = [parameter for group in groups for parameter in _group_parameters(group)]
    set_signature(parse, [context_parameter(), *own, *grouped, *global_parameters(hidden=True)])


def _group_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(group)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _take_group(group: Any, values: dict[str, Any]) -> Any:
    return group(**{field.name: values.pop(field.name) for field in fields(group)})


def _hidden(annotation: Any) -> Any:
    kind, option = annotation.__origin__, annotation.__metadata__[0]
    names = option.param_decls or ()
    first, *more = (option.default, *names) if option.default is not ... else names
    return Annotated[kind, typer.Option(first, *more, hidden=True, metavar=option.metavar)]
