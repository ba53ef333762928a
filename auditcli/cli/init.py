"""`audit init`: create or upgrade the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions
from auditcli.cli.who import check_reason
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.init import Preparation

_Many = list[str] | None


def init(
    app: AppContext,
    who: WhoOptions,
    tables: Annotated[_Many, typer.Option(metavar="PATTERN", help="Track only these tables; * stands for any.")] = None,
    exclude: Annotated[_Many, typer.Option(metavar="PATTERN", help="Don't track these tables.")] = None,
    exclude_column: Annotated[_Many, typer.Option(metavar="T.C", help="Keep this column out of the log.")] = None,
    bookkeeping: Annotated[_Many, typer.Option(metavar="T.C", help="A column that moves by itself.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove capture triggers.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, write nothing.")] = False,
) -> None:
    """Create the change log, or upgrade it in place, and settle which tables it is for.

    Examples:
      audit init -u shop.db
      audit init --tables 'order*' --exclude order_cache
      audit init --exclude-column customer.password --bookkeeping orders.version
    """
    from auditcli.clock import utc_now
    from auditcli.init import Wishes, columns_by_table, plan_preparation, prepare

    if remove:
        raise UsageError("there are no capture triggers to remove", hint="they come with a later version of auditcli")
    wishes = Wishes(
        tables=tuple(tables) if tables else None,
        exclude_tables=tuple(exclude) if exclude else None,
        exclude_columns=columns_by_table(exclude_column, "--exclude-column") if exclude_column else None,
        bookkeeping=columns_by_table(bookkeeping, "--bookkeeping") if bookkeeping else None,
    )
    if not dry_run:
        check_reason(app.target, who)
    with app.database(writing=not dry_run) as database, database.engine.connect() as connection:
        app.out.note(f"target: {database.target.masked_url}")
        if dry_run:
            planned = plan_preparation(connection, database.tables, database.dialect, wishes)
            for statement in planned.statements:
                app.out.text(statement + ";\n")
        else:
            planned = prepare(connection, database.tables, database.dialect, wishes, now=utc_now())
        _tell(app, planned, dry_run=dry_run)


def _tell(app: AppContext, planned: Preparation, *, dry_run: bool) -> None:
    from auditcli.present import counted, wrapped_names

    done = "would be" if dry_run else "was"
    verb = "created" if planned.from_version is None else "brought up to date"
    app.out.note(f"the log {done} {verb}; it covers {counted(len(planned.tracked), 'table')}")
    if planned.tracked:
        app.out.note(f"tables: {wrapped_names(planned.tracked)}")
    for table, columns in planned.proposed.items():
        app.out.note(f"bookkeeping: {table}.{', '.join(columns)} (proposed by name; --bookkeeping says otherwise)")
    app.out.note("nothing is recorded until the application calls auditcli.track(…); triggers come later")
