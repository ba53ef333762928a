"""From a plan to its outcome: show it, ask for what it is worth, apply it, say how to take it back."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from auditcli.cli.context import AppContext
from auditcli.cli.options import ApplyOptions, WhoOptions
from auditcli.cli.who import actor_of, check_reason
from auditcli.errors import ConflictError, Declined, ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.apply import Outcome
    from auditcli.config import Target
    from auditcli.connect import Database
    from auditcli.plan import Plan, PlanOptions

_MANY_ROWS = 100
"""Plans for more rows than this want a word typed, not a key pressed."""

_OPPOSITE = {"undo": "redo", "redo": "undo"}


def check_options(target: Target, how: ApplyOptions, who: WhoOptions, *, writes: bool = True) -> None:
    """Raise before anything is read where the options can't be meant together, or the target forbids it."""
    from auditcli.connect import refuse_read_only

    for other, is_set in (("--skip-conflicts", how.skip_conflicts), ("--cascade", how.cascade)):
        if how.force and is_set:
            raise UsageError(f"--force and {other} contradict each other", hint="give one of them")
    if how.dry_run and how.rehearse:
        raise UsageError("--dry-run and --rehearse contradict each other", hint="--dry-run writes nothing at all")
    if writes and not how.dry_run:
        refuse_read_only(target)
    if writes and not (how.dry_run or how.rehearse):
        check_reason(target, who)


def apply_options(how: ApplyOptions) -> PlanOptions:
    """The options of a command line as the planner takes them."""
    from auditcli.plan import PlanOptions

    return PlanOptions(how.force, how.skip_conflicts, tuple(how.only or ()), how.exact, how.cascade)


def carry_out(
    app: AppContext,
    database: Database,
    plan: Plan,
    how: ApplyOptions,
    who: WhoOptions,
    command: str,
    ways_on: str | None = None,
) -> ExitCode:
    """Show the plan and, unless it is a dry run or refused, ask and apply it; `ways_on` is said of a refused one."""
    from auditcli.present import plan_lines, plan_summary

    plan = replace(plan, target=database.target.masked_url)
    app.out.note(f"target: {plan.target}")
    app.out.lines([*plan_lines(plan), plan_summary(plan)])
    app.out.flush()
    if plan.nothing_but_already:
        app.out.note("nothing to write: all of it is as it was already")
        return ExitCode.DONE
    if plan.refused or plan.is_empty:
        raise conflict_error(plan, ways_on)
    if how.dry_run:
        to_apply = _next_command(command, plan, database.target, how) + app.same_database
        app.out.note(f"a dry run: nothing was written; to apply: {to_apply}")
        return ExitCode.DONE
    if how.rehearse:
        _rehearse(app, database, plan, how, who)
        app.out.note(f"nothing of it stayed; to apply: {_next_command(command, plan, database.target, how)}")
        return ExitCode.DONE
    _ask(app, plan, database.target, how)
    if plan.seconds_expected >= 1:
        app.out.note(f"writing {plan.rows:,} rows, about {plan.seconds_expected:.0f} s …")
    outcome = _apply(app, database, plan, how, who)
    _tell(app, outcome)
    return ExitCode.PARTLY_APPLIED if outcome.is_partial else ExitCode.DONE


def conflict_error(plan: Plan, ways_on: str | None = None) -> ConflictError:
    """What a plan that can't be applied as it is ends with."""
    return ConflictError("the plan has conflicts; nothing was written", hint=ways_on or _ways_on(plan))


def _apply(app: AppContext, database: Database, plan: Plan, how: ApplyOptions, who: WhoOptions) -> Outcome:
    from auditcli.apply import PlanConflict, apply_plan
    from auditcli.capture.context import context
    from auditcli.present import conflict_lines

    try:
        with context(actor=actor_of(who), reason=who.reason):
            return apply_plan(
                database.engine,
                plan,
                tables=database.tables,
                lock_timeout=how.lock_timeout,
                read_only=database.target.read_only,
            )
    except PlanConflict as conflict:
        app.out.lines(conflict_lines(conflict.conflicts))
        raise


def _rehearse(app: AppContext, database: Database, plan: Plan, how: ApplyOptions, who: WhoOptions) -> None:
    from auditcli.apply import PlanConflict, rehearse_plan
    from auditcli.capture.context import context
    from auditcli.present import conflict_lines, rehearsal_lines

    try:
        with context(actor=actor_of(who), reason=who.reason):
            rehearsal = rehearse_plan(
                database.engine,
                plan,
                tables=database.tables,
                lock_timeout=how.lock_timeout,
                read_only=database.target.read_only,
            )
    except PlanConflict as conflict:
        app.out.lines(conflict_lines(conflict.conflicts))
        raise
    app.out.lines(rehearsal_lines(rehearsal))
    app.out.flush()


def _ask(app: AppContext, plan: Plan, target: Target, how: ApplyOptions) -> None:
    """Raise Declined unless the answer is yes; what is large or protected wants its word."""
    from auditcli.present import counted

    word = _word(plan, target)
    question = f"{plan.kind} {counted(plan.rows, 'row')} in {plan.target}"
    if plan.seconds_expected >= 1:
        question += f" (about {plan.seconds_expected:.0f} s)"
    if how.confirm is not None and word is not None:
        _check_word(how.confirm, word)
        return
    if word is None and how.yes:
        return
    way_out = "--yes answers it" if word is None else f"--confirm {word} answers it"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Declined(f"would have to ask: {question}?", hint=f"{way_out}; --dry-run only looks")
    answer = app.out.ask(f"{question}? {'[y/N]' if word is None else f'type {word} to apply:'} ")
    if word is not None:
        _check_word(answer, word)
    elif answer.lower() not in ("y", "yes"):
        raise Declined("declined; nothing was written")


def _word(plan: Plan, target: Target) -> str | None:
    """The word to type: the name of what is protected, or the number of rows where they are many, or all there is."""
    if target.protected:
        return target.profile or "protected"
    return str(plan.rows) if plan.rows > _MANY_ROWS or plan.of_everything else None


def _check_word(given: str, word: str) -> None:
    if given.strip() != word:
        raise Declined(f"{given.strip()!r} is not the word; nothing was written", hint=f"the word is {word}")


def _tell(app: AppContext, outcome: Outcome) -> None:
    from auditcli.present import SHORT_ID, counted

    plan = outcome.plan
    left = f"; {counted(len(plan.conflicts), 'conflict')} left as they are" if outcome.is_partial else ""
    app.out.note(f"{plan.kind}: {counted(outcome.rows, 'row')} written and read back{left}")
    if outcome.corrected:
        app.out.note(f"{counted(outcome.corrected, 'row')} had to be set again, since a trigger moved them")
    if outcome.stepwise:
        app.out.note("the rows went back change by change, since the net steps were in each other's way")
    for note in outcome.notes:
        app.out.note(f"note: {note}")
    if outcome.transaction_id is not None:
        way_back = f"audit {_OPPOSITE[plan.kind]} tx:{outcome.transaction_id[:SHORT_ID]}{app.same_database}"
        app.out.note(f"to take it back: {way_back}")


def _next_command(command: str, plan: Plan, target: Target, how: ApplyOptions) -> str:
    word = _word(plan, target)
    given = [
        *(f"--only {column}" for column in how.only or ()),
        *(
            name
            for name, is_set in (("--exact", how.exact), ("--cascade", how.cascade), ("--force", how.force))
            if is_set
        ),
        *(["--skip-conflicts"] if how.skip_conflicts else []),
        *(['-m "why"'] if target.protected else []),
        "--yes" if word is None else f"--confirm {word}",
    ]
    return " ".join([command, *given])


def _ways_on(plan: Plan) -> str:
    look = "`audit row ROW` shows what happened to a row"
    ways = [
        *(["--skip-conflicts does the rest"] if not plan.is_empty else []),
        *(["--cascade takes back what came later too"] if not (plan.options.cascade or plan.options.force) else []),
        *(["--force overwrites where that is possible"] if not (plan.options.force or plan.options.cascade) else []),
    ]
    return "; ".join([*([", ".join(ways)] if ways else []), look])
