"""`audit diff`: what is different between two positions, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.diff import NetChange, TableStat

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


def diff(
    app: AppContext,
    selecting: SelectionOptions,
    listing: ListOptions,
    words: Words = None,
    stat: Annotated[bool, typer.Option("--stat", help="Sum up by table.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where there are differences.")] = False,
) -> int:
    """Show what changes amount to: one net change a row, [-before-] and {+after+}.

    Examples:
      audit diff --since 1h
      audit diff table:orders --since @before-import --until @after-import
      audit diff tx:1f3a9c --stat
    """
    if not words and not selecting.is_given:
        raise UsageError("diff needs to know what to compare", hint="for example --since 1h, tx:ID or table:orders")
    if listing.reverse:
        raise UsageError("a diff has no order to reverse", hint="leave --reverse out")
    from auditcli.diff import diff as net_changes
    from auditcli.diff import diff_stat

    with app.log() as reader:
        chosen = app.choose(reader, words, selecting)
        found = _Counted(net_changes(reader, chosen.selection, chosen.window))
        with app.out.paged():
            if stat:
                _print_stat(app, listing.format, diff_stat(found))
            else:
                _print(app, listing.format, islice(found, listing.limit))
    return ExitCode.DIFFERENCES if exit_code and found.any else ExitCode.DONE


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
