"""`audit verify`: the proof that nothing was missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import FormatOptions
from auditcli.errors import ExitCode, NotFound, ReadOnly, UsageError

if TYPE_CHECKING:
    from auditcli.against import Comparison, RowDifference
    from auditcli.log.reader import LogReader
    from auditcli.model import TableName
    from auditcli.verify import Difference, Tally, Verification

_COMPARED = ("difference", "table", "row", "column", "source", "target")
_COLUMNS = ("difference", "table", "row", "column", "logged", "found", "last_change", "timestamp", "actor")


def verify(
    app: AppContext,
    form: FormatOptions,
    tables: Annotated[
        list[str] | None, typer.Option("--table", metavar="TABLE", help="Only this table; may be repeated.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="URL", help="Compare the rows with those of another database instead.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fold on from what the last run kept in this file, and keep it there."),
    ] = None,
) -> int:
    """Fold the log and compare it with all rows that are there; exit 1 where they differ.

    What a run over all tables comes to is kept in the log, for `audit status` and the manifests of exports.

    Examples:
      audit verify
      audit verify --table orders
      audit verify --checkpoint shop.checkpoint
      audit verify -o json
      audit verify --against copy.db           compare row by row with what was replayed
    """
    from auditcli.present import counted
    from auditcli.verify import Verification

    if tables and checkpoint is not None:
        raise UsageError("a checkpoint is of all tables", hint="leave out --table, or --checkpoint")
    if against is not None:
        if checkpoint is not None:
            raise UsageError("a checkpoint is of the log, which --against does not fold", hint="give one of them")
        return _compare(app, form, tables, against)
    with app.log() as reader:
        wanted = _named(reader, tables) if tables else None
        reader.connection.rollback()
        with app.out.progress() as tell:

            def on_progress(table: TableName, tally: Tally) -> None:
                tell(f"verify: {table}, {counted(tally.records, 'change')}, {counted(tally.rows, 'row')}")

            run = Verification(reader, wanted, on_progress, checkpoint=checkpoint)
            app.out.records(form.format, _COLUMNS, map(_record, run.differences()))
        _tell(app, run)
    if wanted is None:
        _keep(app, run)
    return ExitCode.DIFFERENCES if any(tally.differences for tally in run.tallies.values()) else ExitCode.DONE


def _keep(app: AppContext, run: Verification) -> None:
    """Leave the outcome in the log; a database that takes no writes is verified all the same."""
    from sqlalchemy.exc import DBAPIError

    from auditcli.clock import utc_now
    from auditcli.failure import explained
    from auditcli.log.verified import Verified, write_verified
    from auditcli.verify import totals

    whole = totals(run.tallies)
    verified = Verified(utc_now(), run.until_id, whole.differences, whole.in_gaps, whole.not_covered)
    try:
        with app.database(writing=True) as database, database.engine.begin() as connection:
            write_verified(connection, database.tables, verified)
    except (ReadOnly, DBAPIError) as error:
        app.out.note(f"this outcome is not kept in the log: {explained(error)}")


def _named(reader: LogReader, words: list[str]) -> frozenset[TableName]:
    known = {str(table): table for table in reader.tracked_tables()}
    for word in words:
        if word not in known:
            raise NotFound(f"no tracked table {word!r}", hint=f"tracked tables: {', '.join(sorted(known)) or 'none'}")
    return frozenset(known[word] for word in words)


def _record(found: Difference) -> dict[str, Any]:
    return {
        "difference": f"{found.kind} (known gap)" if found.is_known_gap else str(found.kind),
        "table": str(found.table),
        "row": None if found.row is None else str(found.row),
        "column": found.column,
        "logged": found.logged,
        "found": found.found,
        "last_change": found.change_id,
        "timestamp": found.timestamp,
        "actor": found.actor,
    }


def _tell(app: AppContext, run: Verification) -> None:
    from auditcli.present import counted, wrapped_names
    from auditcli.verify import totals

    whole = totals(run.tallies)
    looked_at = f"{counted(whole.rows, 'row')} of {counted(len(run.tallies), 'table')}"
    after = "" if run.start is None else f" after change {run.start.log_id}, where the checkpoint ends"
    app.out.note(f"compared {looked_at} with {counted(whole.records, 'change')}{after}")
    if run.end is not None:
        app.out.note(f"the checkpoint now ends with change {run.end.log_id}")
    open_tables = [f"{table} {tally.not_covered:,}" for table, tally in run.tallies.items() if tally.not_covered]
    if open_tables:
        app.out.note(f"{counted(whole.not_covered, 'row')} not covered: neither a change nor a baseline speaks of them")
        app.out.note(f"  {wrapped_names(open_tables)}")
        app.out.note("  `audit init --baseline` records them as they are")
    for table, tally in run.tallies.items():
        if tally.unknown_columns:
            app.out.note(f"{table}: not in the log for all rows: {', '.join(sorted(tally.unknown_columns))}")
    if whole.in_gaps:
        app.out.note(f"{counted(whole.in_gaps, 'difference')} explained by recorded gaps (`audit pause`, `untracked`)")
    if whole.differences:
        app.out.note(f"{counted(whole.differences, 'difference')}: changes are missing in the log")
    else:
        app.out.note("nothing was missed: every covered row is as the log says")


def _compare(app: AppContext, form: FormatOptions, tables: list[str] | None, against: str) -> int:
    import os

    from auditcli.against import Comparison
    from auditcli.config import find_other
    from auditcli.connect import open_database
    from auditcli.present import counted

    named = find_other(against, "--against", os.environ, Path.cwd())
    with app.database() as source, closing(open_database(named)) as other:
        with source.log() as reader:
            wanted = _named(reader, tables) if tables else None
        count = 0

        def records(run: Comparison) -> Iterator[dict[str, Any]]:
            nonlocal count
            for found in run.differences():
                count += 1
                yield _compared(found)

        with app.out.progress() as tell:
            run = Comparison(
                source, other, wanted, lambda table, rows: tell(f"verify: {table}, {counted(rows, 'row')}")
            )
            app.out.records(form.format, _COMPARED, records(run))
        rows = sum(run.rows.values())
        app.out.note(
            f"compared {counted(rows, 'row')} of {counted(len(run.rows), 'table')} with {other.target.masked_url}"
        )
        app.out.note(
            counted(count, "difference") if count else "nothing differs: every row is there, and means the same"
        )
    return ExitCode.DIFFERENCES if count else ExitCode.DONE


def _compared(found: RowDifference) -> dict[str, Any]:
    return {
        "difference": str(found.kind),
        "table": str(found.table),
        "row": None if found.row is None else str(found.row),
        "column": found.column,
        "source": found.source,
        "target": found.target,
    }
