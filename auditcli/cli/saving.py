"""Plans that are kept for later, and plans as scripts: what `undo`, `redo` and `apply` share of both."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.cli.applying import carry_out, conflict_error
from auditcli.cli.context import AppContext
from auditcli.cli.options import ApplyOptions, SavingOptions, WhoOptions
from auditcli.cli.who import actor_of
from auditcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.plan import Plan, PlanOptions
    from auditcli.planning.savedplan import SavedPlan


def check_saving(how: ApplyOptions, keep: SavingOptions) -> None:
    """Raise UsageError where a plan can't be kept, or printed, as the options say."""
    if keep.save is None and not keep.sql:
        return
    if keep.save is not None and keep.sql:
        raise UsageError("--save and --sql are two things", hint="save the plan, then `audit apply FILE --sql`")
    applies = keep.save is not None and how.skip_conflicts
    if not applies and (how.yes or how.confirm is not None):
        raise UsageError(
            f"{'--sql' if keep.sql else '--save'} writes nothing to the database, so there is nothing to confirm",
            hint="leave --yes and --confirm out",
        )
    if applies and how.dry_run:
        raise UsageError("a dry run leaves nothing over to be saved", hint="leave --dry-run or --skip-conflicts out")
    if keep.save is not None:
        from auditcli.saved import check_free

        check_free(Path(keep.save))


def writes(how: ApplyOptions, keep: SavingOptions) -> bool:
    """Whether the command may write to the database."""
    return not (how.dry_run or keep.sql or (keep.save is not None and not how.skip_conflicts))


def draft(
    app: AppContext,
    reader: LogReader,
    plan: Plan,
    who: WhoOptions,
    words: str,
    plan_with: Callable[[PlanOptions], Plan],
) -> SavedPlan:
    """The plan as it is saved; `plan_with` plans the same again."""
    from auditcli.clock import utc_now
    from auditcli.planning.savedplan import plan_to_save
    from auditcli.saved import origin_of

    target = app.target.masked_url
    origin = origin_of(reader, target, made_by=actor_of(who), words=words, now=utc_now())
    options = replace(plan.options, force=True, skip_conflicts=False)
    forced = plan_with(options) if plan.conflicts else None
    return plan_to_save(replace(plan, target=target), forced, origin)


def finish(
    app: AppContext,
    database: Database,
    plan: Plan,
    how: ApplyOptions,
    keep: SavingOptions,
    who: WhoOptions,
    command: str,
    saved: SavedPlan | None = None,
    ways_on: str | None = None,
) -> ExitCode:
    """Print a plan as a script, save it, or carry it out and save what it leaves."""
    if keep.sql:
        return _print_script(app, database, plan, how, ways_on)
    if keep.save is None or saved is None or plan.nothing_but_already:
        return carry_out(app, database, plan, how, who, command, ways_on)
    if how.skip_conflicts:
        with _rest(app, saved, keep.save):
            return carry_out(app, database, plan, how, who, command)
    return _save(app, saved, keep.save)


def _print_script(app: AppContext, database: Database, plan: Plan, how: ApplyOptions, ways_on: str | None) -> ExitCode:
    """The plan as a script on stdout, and what it amounts to on stderr."""
    from auditcli.applying.script import plan_script
    from auditcli.clock import utc_now
    from auditcli.present import conflict_lines, plain, plan_summary

    plan = replace(plan, target=database.target.masked_url)
    if plan.nothing_but_already:
        app.out.note("nothing to write: all of it is as it was already")
        return ExitCode.DONE
    if plan.refused or plan.is_empty:
        for conflicting in conflict_lines(plan.conflicts):
            app.out.note(plain(conflicting))
        raise conflict_error(plan, ways_on)
    with database.engine.connect() as connection:
        for line in plan_script(connection, plan, now=utc_now(), lock_timeout=how.lock_timeout):
            app.out.text(f"{line}\n")
    app.out.note(plain(plan_summary(plan)))
    app.out.note(f"nothing was written; to run it: {database.dialect.client} < the file that this was written to")
    return ExitCode.DONE


def _save(app: AppContext, saved: SavedPlan, name: str) -> ExitCode:
    from auditcli.present import counted, plan_lines, plan_summary
    from auditcli.saved import saving

    plan = saved.plan
    app.out.note(f"target: {plan.target}")
    app.out.lines([*plan_lines(plan), plan_summary(plan)])
    app.out.flush()
    with saving(Path(name), saved):
        pass
    app.out.note(
        f"{name}: {counted(plan.rows, 'step')} and {counted(len(plan.conflicts), 'conflict')}; nothing was done"
    )
    if plan.conflicts:
        app.out.note('decide each conflict in the file: "take_back" or "keep" in the place of null')
    app.out.note(f"to apply it: {_next(app, name)}")
    return ExitCode.DONE


@contextmanager
def _rest(app: AppContext, saved: SavedPlan, name: str) -> Iterator[None]:
    """Save what a plan leaves, once the block has done the rest."""
    if not saved.plan.conflicts:
        app.out.note(f"no conflicts: nothing will be left, {name} is not written")
        yield
        return
    from auditcli.planning.savedplan import rest_of
    from auditcli.saved import saving

    with saving(Path(name), rest_of(saved)):
        yield
    app.out.note(f"what was left is in {name}; decided, it is applied by: {_next(app, name)}")


def _next(app: AppContext, name: str) -> str:
    return f"audit apply {shlex.quote(name)}{app.same_database}"
