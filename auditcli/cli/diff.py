"""`audit diff`: what is different between two positions, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.diff import NetChange, TableStat
    from auditcli.log.reader import LogReader

_COLUMNS = (
    "schema",
    "table",
    "row_id",
    "old_row_id",
    "event_type",
    "changed",
    "before",
    "after",
    "changes",
    "first_id",
    "last_id",
    "actors",
)
_STAT_COLUMNS = ("table", "inserted", "updated", "deleted", "columns")


@dataclass(frozen=True)
class DiffOptions:
    """In which form differences are shown."""

    stat: Annotated[bool, typer.Option("--stat", help="Sum up by table.")] = False
    name_only: Annotated[bool, typer.Option("--name-only", help="Only which rows differ, one a line.")] = False
    sql: Annotated[bool, typer.Option("--sql", help="As SQL that makes the same changes elsewhere.")] = False
    inverse: Annotated[bool, typer.Option("--inverse", help="With --sql: SQL that takes them back.")] = False
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where there are differences.")] = False


def diff(
    app: AppContext,
    selecting: SelectionOptions,
    listing: ListOptions,
    how: DiffOptions,
    words: Words = None,
) -> int:
    """Show what changes amount to: one net change a row, [-before-] and {+after+}.

    Examples:
      audit diff --since 1h
      audit diff table:orders --since @before-import --until @after-import
      audit diff tx:1f3a9c --stat
      audit diff --since 1h --sql > patch.sql
    """
    if not words and not selecting.is_given:
        raise UsageError("diff needs to know what to compare", hint="for example --since 1h, tx:ID or table:orders")
    _check(listing, how)
    from auditcli.diff import diff as net_changes

    with app.log() as reader:
        chosen = app.choose(reader, words, selecting)
        found = _Counted(net_changes(reader, chosen.selection, chosen.window))
        with app.out.paged():
            _print_as(app, reader, listing, how, found)
    return ExitCode.DIFFERENCES if how.exit_code and found.any else ExitCode.DONE


def _check(listing: ListOptions, how: DiffOptions) -> None:
    """Raise UsageError where the options don't go together."""
    if listing.reverse:
        raise UsageError("a diff has no order to reverse", hint="leave --reverse out, or add --sql --inverse")
    forms = [
        name for name, given in (("--stat", how.stat), ("--name-only", how.name_only), ("--sql", how.sql)) if given
    ]
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(forms)} are different forms", hint="choose one of them")
    if how.inverse and not how.sql:
        raise UsageError("--inverse is for SQL", hint="add --sql")
    if listing.format is not None and (how.sql or how.name_only):
        raise UsageError(f"{forms[0]} is a form of its own", hint="leave --format out")


def _print_as(
    app: AppContext, reader: LogReader, listing: ListOptions, how: DiffOptions, found: Iterable[NetChange]
) -> None:
    from auditcli.diff import diff_stat

    if how.stat:
        _print_stat(app, listing.format, diff_stat(found))
        return
    some = islice(found, listing.limit)
    if how.sql:
        _print_sql(app, reader, how, some)
    elif how.name_only:
        for each in some:
            app.out.line(str(each.change.row or each.change.table))
    else:
        _print(app, listing.format, some)


def _print_sql(app: AppContext, reader: LogReader, how: DiffOptions, found: Iterable[NetChange]) -> None:
    from auditcli.clock import utc_now
    from auditcli.patch import Patch

    changes = (each.change for each in found)
    for line in Patch(reader).of_net_changes(changes, inverted=how.inverse, now=utc_now()):
        app.out.text(f"{line}\n")


class _Counted:
    """Net changes as they come, and whether there were any."""

    def __init__(self, found: Iterable[NetChange]) -> None:
        self.any = False
        self._found = found

    def __iter__(self) -> Iterator[NetChange]:
        for net_change in self._found:
            self.any = True
            yield net_change


def _print(app: AppContext, asked: str | None, found: Iterable[NetChange]) -> None:
    from auditcli.present import change_lines, interruption_lines, net_heading

    if app.out.format(asked) is not Format.TABLE:
        app.out.records(asked, _COLUMNS, map(_record, found))
        return
    for each in found:
        app.out.lines(
            [
                net_heading(each.change, each.count, each.actors),
                *change_lines(each.change),
                *interruption_lines(each.interrupted),
            ]
        )


def _print_stat(app: AppContext, asked: str | None, stats: Iterable[TableStat]) -> None:
    from auditcli.present import column_counts

    is_table = app.out.format(asked) is Format.TABLE
    records: list[dict[str, Any]] = [
        {
            "table": str(each.table),
            "inserted": each.inserted,
            "updated": each.updated,
            "deleted": each.deleted,
            "columns": column_counts(each.columns) if is_table else dict(each.columns),
        }
        for each in stats
    ]
    app.out.records(asked, _STAT_COLUMNS, records)


def _record(each: NetChange) -> dict[str, Any]:
    change = each.change
    return {
        "schema": change.table.schema,
        "table": change.table.name,
        "row_id": change.row_id,
        "old_row_id": change.old_row_id,
        "event_type": change.event_type.value,
        "changed": each.columns,
        "before": change.before,
        "after": change.after,
        "changes": each.count,
        "first_id": each.first_id,
        "last_id": each.last_id,
        "actors": each.actors,
    }
