"""`audit pause` and `audit resume`: leave tables unrecorded for a while, with a gap in the log that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.init import record_rows
from auditcli.cli.options import WhoOptions
from auditcli.cli.who import actor_of, check_reason

if TYPE_CHECKING:
    from auditcli.pause import PauseOutcome

Tables = Annotated[list[str], typer.Argument(metavar="TABLE...", help="The tables, as they are tracked.")]


def pause(app: AppContext, who: WhoOptions, tables: Tables) -> None:
    """Stop recording tables, for a bulk load say; a gap in the log says so until `audit resume`.

    Examples:
      audit pause orders -m 'nightly import'
      audit pause orders order_line
    """
    from auditcli.clock import utc_now
    from auditcli.pause import pause as pause_tables

    check_reason(app.target, who)
    with app.database(writing=True) as database, database.engine.connect() as connection:
        app.out.note(f"target: {database.target.masked_url}")
        actor = actor_of(who)
        done = pause_tables(
            connection, database.tables, database.dialect, tables, now=utc_now(), actor=actor, reason=who.reason
        )
        _tell(app, done, "paused")
        if done.tables:
            app.out.note("changes of these tables are not recorded from now on; `audit resume` ends that")


def resume(
    app: AppContext,
    who: WhoOptions,
    tables: Tables,
    baseline: Annotated[bool, typer.Option("--baseline", help="Record all tables' rows as they are.")] = False,
) -> None:
    """Record paused tables again, and close their gap.

    Examples:
      audit resume orders
      audit resume orders order_line --baseline
    """
    from auditcli.clock import utc_now
    from auditcli.pause import resume as resume_tables

    check_reason(app.target, who)
    with app.database(writing=True) as database:
        app.out.note(f"target: {database.target.masked_url}")
        with database.engine.connect() as connection:
            done = resume_tables(connection, database.tables, database.dialect, tables, now=utc_now())
        _tell(app, done, "recorded again")
        if baseline:
            record_rows(app, database)
        elif done.tables:
            app.out.note("what happened in between is not in the log; --baseline records the rows as they are now")


def _tell(app: AppContext, done: PauseOutcome, verb: str) -> None:
    from auditcli.present import wrapped_names

    if done.tables:
        app.out.note(f"{verb} after change {done.after_id}: {wrapped_names(done.tables)}")
    if done.already:
        app.out.note(f"nothing to do, {verb} already: {wrapped_names(done.already)}")
