"""`audit apply`: a saved plan, checked against its file, its database and the rows as they are now."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.applying import check_options
from auditcli.cli.context import AppContext
from auditcli.cli.options import ApplyOptions, SavingOptions, WhoOptions
from auditcli.cli.saving import check_saving, finish, writes

if TYPE_CHECKING:
    from auditcli.connect import Database
    from auditcli.plan import Plan
    from auditcli.planning.savedplan import SavedPlan


_WAYS_ON = (
    "--skip-conflicts does the rest; to decide the others, save the plan anew; `audit row ROW` shows what happened"
)


def apply(
    app: AppContext,
    who: WhoOptions,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What --save wrote, with its decisions.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    confirm: Annotated[str | None, typer.Option(metavar="WORD", help="The word that a large plan asks for.")] = None,
    skip_conflicts: Annotated[bool, typer.Option("--skip-conflicts", help="Keep what is not decided.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the plan as a script, write nothing.")] = False,
    lock_timeout: Annotated[
        float, typer.Option("--lock-timeout", min=0, metavar="SECONDS", help="How long to wait for a lock.")
    ] = 5.0,
) -> int:
    """Apply a saved plan as it was decided, unless the world has moved since.

    Examples:
      audit undo tx:1f3a9c --save plan.json
      audit apply plan.json --dry-run
      audit apply plan.json -m 'reviewed by dora'
      audit apply plan.json --sql > undo.sql
    """
    from auditcli.saved import read_plan

    how = ApplyOptions(
        dry_run=dry_run, yes=yes, confirm=confirm, skip_conflicts=skip_conflicts, lock_timeout=lock_timeout
    )
    keep = SavingOptions(sql=sql)
    check_options(app.target, how, who, writes=writes(how, keep))
    check_saving(how, keep)
    saved = read_plan(Path(file))
    with app.database(writing=writes(how, keep), lock_timeout=lock_timeout) as database:
        plan = _checked(app, database, saved, file, keep_undecided=skip_conflicts)
        command = f"audit apply {shlex.quote(file)}"
        return finish(app, database, plan, how, keep, who, command, ways_on=_WAYS_ON)


def _checked(app: AppContext, database: Database, saved: SavedPlan, file: str, *, keep_undecided: bool) -> Plan:
    """The plan as it is to be applied now."""
    from auditcli.planning.savedplan import decided
    from auditcli.present import counted, time_text, visible
    from auditcli.recheck import recheck
    from auditcli.saved import check_origin

    origin = saved.origin
    with database.log() as reader:
        check_origin(reader, origin, file, database.target.masked_url)
        app.out.note(
            visible(f"{file}: {origin.words}, saved by {origin.made_by} at ")
            + time_text(origin.made_at, utc=app.out.utc)
        )
        if saved.kept:
            app.out.note(f"decided: {counted(saved.kept, 'decision')} to leave things as they are")
        plan = recheck(reader, decided(saved, keep_undecided=keep_undecided), origin.position)
        return replace(plan, target=database.target.masked_url)
