"""`audit init`: create or upgrade the log, install the triggers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions
from auditcli.cli.who import check_reason
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.capture.triggers import CaptureWork
    from auditcli.connect import Database
    from auditcli.init import Preparation, Wishes
    from auditcli.model import TableName

_Many = list[str] | None


@dataclass(frozen=True)
class TrackingOptions:
    """What belongs into the log."""

    tables: Annotated[_Many, typer.Option(metavar="PATTERN", help="Track only these tables; * stands for any.")] = None
    exclude: Annotated[_Many, typer.Option(metavar="PATTERN", help="Don't track these tables; '' for none.")] = None
    exclude_column: Annotated[
        _Many, typer.Option(metavar="T.C", help="Keep this column out of the log; '' for none.")
    ] = None
    mask: Annotated[_Many, typer.Option(metavar="T.C", help="Record that this column changed, not its value.")] = None
    bookkeeping: Annotated[_Many, typer.Option(metavar="T.C", help="A column that moves by itself.")] = None

    def wishes(self, *, triggers: bool) -> Wishes:
        """The same as the library takes it."""
        from auditcli.init import Wishes, columns_by_table

        return Wishes(
            tables=tuple(self.tables) if self.tables else None,
            exclude_tables=tuple(filter(None, self.exclude)) if self.exclude else None,
            exclude_columns=columns_by_table(self.exclude_column, "--exclude-column") if self.exclude_column else None,
            mask_columns=columns_by_table(self.mask, "--mask") if self.mask else None,
            bookkeeping=columns_by_table(self.bookkeeping, "--bookkeeping") if self.bookkeeping else None,
            triggers=triggers,
        )


def init(
    app: AppContext,
    who: WhoOptions,
    tracking: TrackingOptions,
    listeners: Annotated[bool, typer.Option("--listeners", help="No triggers: auditcli.track() records.")] = False,
    baseline: Annotated[bool, typer.Option("--baseline", help="Record all rows as they are, too.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the triggers, keep the log.")] = False,
    lock_timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Wait so long for a lock.")] = 2.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, write nothing.")] = False,
) -> None:
    """Create the change log and the triggers that fill it, or bring both up to date.

    Examples:
      audit init -u shop.db
      audit init --tables 'order*' --exclude order_cache
      audit init --exclude-column customer.password --mask customer.email
      audit init --baseline
    """
    _check_words(remove=remove, listeners=listeners, baseline=baseline)
    wishes = tracking.wishes(triggers=not (remove or listeners))
    if not dry_run:
        check_reason(app.target, who)
    with app.database(writing=not dry_run, lock_timeout=lock_timeout) as database:
        app.out.note(f"target: {database.target.masked_url}")
        if remove and _is_log_gone(database):
            _remove_leftovers(app, database, dry_run=dry_run, lock_timeout=lock_timeout)
            return
        planned = _prepared(database, wishes, dry_run=dry_run, lock_timeout=lock_timeout)
        if dry_run:
            for statement in planned.sql(database.dialect):
                app.out.text(database.dialect.script_sql(statement) + "\n")
        _tell(app, planned, dry_run=dry_run)
        if baseline and not dry_run:
            record_rows(app, database)
        if not remove:
            app.out.note(_next_step(planned))


def _is_log_gone(database: Database) -> bool:
    from auditcli.log.upgrade import find_log

    with database.engine.connect() as connection:
        return find_log(connection, database.tables) is None


def _remove_leftovers(app: AppContext, database: Database, *, dry_run: bool, lock_timeout: float) -> None:
    from auditcli.init import remove_leftovers

    tables, dialect = database.tables, database.dialect
    with database.engine.connect() as connection:
        work = remove_leftovers(connection, tables, dialect, lock_timeout=lock_timeout, dry_run=dry_run)
    if dry_run:
        for statement in work.statements(dialect):
            app.out.text(dialect.script_sql(statement) + "\n")
    app.out.note(f"the log {tables.changelog_name} is gone; what captured for it is left")
    _tell_triggers(app, work, dry_run=dry_run)


def _prepared(database: Database, wishes: Wishes, *, dry_run: bool, lock_timeout: float) -> Preparation:
    from auditcli.clock import utc_now
    from auditcli.init import plan_preparation, prepare

    tables, dialect = database.tables, database.dialect
    with database.engine.connect() as connection:
        if dry_run:
            return plan_preparation(connection, tables, dialect, wishes)
        return prepare(connection, tables, dialect, wishes, now=utc_now(), lock_timeout=lock_timeout)


def _check_words(*, remove: bool, listeners: bool, baseline: bool) -> None:
    if remove and (listeners or baseline):
        raise UsageError("--remove takes neither --listeners nor --baseline", hint="remove first, then init again")


def _tell(app: AppContext, planned: Preparation, *, dry_run: bool) -> None:
    from auditcli.present import counted, wrapped_names

    done = "would be" if dry_run else "was"
    verb = "created" if planned.from_version is None else "brought up to date"
    app.out.note(f"the log {done} {verb}; it covers {counted(len(planned.tracked), 'table')}")
    if planned.tracked:
        app.out.note(f"tables: {wrapped_names(planned.tracked)}")
    for table, columns in planned.proposed.items():
        app.out.note(f"bookkeeping: {table}.{', '.join(columns)} (proposed by name; --bookkeeping says otherwise)")
    for table, columns in planned.gone.items():
        named = ", ".join(f"{table}.{column}" for column in columns)
        app.out.note(f"warning: {named}, left out or masked, is gone; if it has another name now, name that one")
    _tell_triggers(app, planned.capture, dry_run=dry_run)


def _tell_triggers(app: AppContext, work: CaptureWork, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for word, objects in (("installed", work.create), ("removed", work.drop), ("up to date", work.unchanged)):
        count = sum(each.kind == "trigger" for each in objects)
        if count:
            app.out.note(f"triggers: {count} {word if word == 'up to date' else would + word}")


def record_rows(app: AppContext, database: Database) -> None:
    """Record all rows as they are, and tell a person how far that has come."""
    from auditcli.baseline import BaselineProgress, record_baseline
    from auditcli.present import counted

    rows: dict[TableName, int] = {}
    begun = time.monotonic()
    with app.out.progress() as tell:

        def on_progress(reached: BaselineProgress) -> None:
            rows[reached.table] = reached.rows
            rate = sum(rows.values()) / max(time.monotonic() - begun, 0.001)
            tell(f"baseline: {reached.table}, {counted(reached.rows, 'row')}, {rate:,.0f} a second")

        def on_resume() -> None:
            app.out.note("baseline: going on where an earlier run stopped")

        found = record_baseline(database.engine, tables=database.tables, on_progress=on_progress, on_resume=on_resume)
    app.out.note(f"baseline: {counted(sum(found.rows.values()), 'row')} recorded as they are")


def _next_step(planned: Preparation) -> str:
    if planned.tracking.triggers:
        return "what any program changes is recorded from now on; `audit doctor` says what can't be"
    return "nothing is recorded until the application calls auditcli.track(…)"
