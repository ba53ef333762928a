"""`audit undo` and `audit redo`: plan, ask, apply."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.applying import apply_options, check_options
from auditcli.cli.context import AppContext
from auditcli.cli.options import ApplyOptions, SavingOptions, SelectionOptions, WhoOptions
from auditcli.cli.saving import check_saving, draft, finish, writes
from auditcli.cli.who import actor_of
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader
    from auditcli.plan import Plan, PlanOptions
    from auditcli.selection import Selection

_LATEST = "@latest"


def undo(
    app: AppContext,
    selecting: SelectionOptions,
    how: ApplyOptions,
    keep: SavingOptions,
    who: WhoOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...|tx:ID|WORD...", help="Change ids, a transaction, a selection."),
    ] = None,
) -> int:
    """Take changes back: show the plan, ask, apply it, and read the rows back.

    Examples:
      audit undo 42 --dry-run
      audit undo tx:1f3a9c -m 'bad import'
      audit undo table:orders actor:bob --since 1h --only status
      audit undo tx:1f3a9c --skip-conflicts --yes
      audit undo tx:1f3a9c --save plan.json
      audit undo tx:1f3a9c --sql > undo.sql
    """
    if not words and not selecting.is_given:
        raise UsageError("undo needs to know what to take back", hint="give change ids, tx:ID, or words of a selection")
    if words and _LATEST in words and (how.yes or how.confirm is not None):
        raise UsageError(
            f"{_LATEST} unasked might take back a stranger's work", hint="look with --dry-run, then undo it by its id"
        )
    check_options(app.target, how, who, writes=writes(how, keep))
    check_saving(how, keep)
    with app.database(writing=writes(how, keep), lock_timeout=how.lock_timeout) as database:
        with database.log() as reader:
            plan_with, understood = _planner(app, reader, words or [], selecting)
            plan = plan_with(apply_options(how))
            command = f"audit undo {understood}"
            saved = None if keep.save is None else draft(app, reader, plan, who, command, plan_with)
        return finish(app, database, plan, how, keep, who, command, saved)


def redo(
    app: AppContext,
    how: ApplyOptions,
    keep: SavingOptions,
    who: WhoOptions,
    word: Annotated[str | None, typer.Argument(metavar="[tx:ID]", help="The undo; else your own last one.")] = None,
) -> int:
    """Undo an undo: your own last one, or the one named.

    Examples:
      audit redo
      audit redo tx:8c02d1 --dry-run
    """
    from auditcli.undo import plan_redo

    check_options(app.target, how, who, writes=writes(how, keep))
    check_saving(how, keep)
    transaction = None if word is None else _transaction_prefix(app, word)
    command = f"audit redo {shlex.quote(word)}" if word else "audit redo"
    with app.database(writing=writes(how, keep), lock_timeout=how.lock_timeout) as database:
        with database.log() as reader:

            def plan_with(options: PlanOptions) -> Plan:
                actor = None if word is not None else actor_of(who)
                return plan_redo(
                    reader.connection, reader.tables, actor=actor, transaction=transaction, options=options
                )

            plan = plan_with(apply_options(how))
            saved = None if keep.save is None else draft(app, reader, plan, who, command, plan_with)
        return finish(app, database, plan, how, keep, who, command, saved)


def _planner(
    app: AppContext, reader: LogReader, words: list[str], selecting: SelectionOptions
) -> tuple[Callable[[PlanOptions], Plan], str]:
    """What plans to take back what the words select, and words that select the same again."""
    from auditcli.undo import plan_undo

    chosen = app.choose(reader, [_resolved(app, reader, word) for word in words], selecting)
    selection = chosen.selection
    if selection.ids:
        _refuse_mixture(selection, bounded=chosen.is_bounded)
        plan = partial(plan_undo, reader.connection, reader.tables, ids=selection.ids.any_of)
        return lambda options: plan(options=options), chosen.words
    plan = partial(plan_undo, reader.connection, reader.tables, selection=selection, window=chosen.window)

    def plan_selected(options: PlanOptions) -> Plan:
        planned = plan(options=options)
        return replace(planned, of_everything=not reader.has_more_changes_than(planned.selected))

    return (lambda options: plan(options=options)) if selection.names_changes_only else plan_selected, chosen.words


def _resolved(app: AppContext, reader: LogReader, word: str) -> str:
    """`@latest` as the transaction that it is now; other words as they are."""
    if word != _LATEST:
        return word
    from auditcli.log.positions import latest

    last = latest(reader)
    resolved = str(last.id) if last.transaction_id is None else f"tx:{last.transaction_id}"
    app.out.note(f"{_LATEST} is {resolved}")
    return resolved


def _refuse_mixture(selection: Selection, *, bounded: bool) -> None:
    if bounded or selection.transactions or not selection.names_changes_only:
        raise UsageError("ids and filters don't mix", hint="give ids alone, or a selection without ids")


def _transaction_prefix(app: AppContext, word: str) -> str:
    from auditcli.position import AtTransaction

    if word.lower().startswith("tx:"):
        match app.position(word):
            case AtTransaction(prefix):
                return prefix
    raise UsageError(f"{word!r} is no transaction", hint="redo takes tx:ID; `audit log --transactions` lists them")
