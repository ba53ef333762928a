"""`audit log`: the changes, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.model import Transaction

_COLUMNS = (
    "timestamp",
    "transaction_id",
    "last_id",
    "actor",
    "db_user",
    "client",
    "application",
    "tables",
    "inserts",
    "updates",
    "deletes",
    "reason",
)
_TABLE_COLUMNS = ("time", "transaction", "actor", "db_user", "client", "rows", "tables", "reason")


def log(
    app: AppContext,
    selecting: SelectionOptions,
    listing: ListOptions,
    words: Words = None,
    transactions: Annotated[bool, typer.Option("--transactions", help="One line a transaction.")] = False,
    sort: Annotated[str | None, typer.Option(metavar="ORDER", help="With --transactions: time or rows.")] = None,
) -> None:
    """List changes, newest first; on a terminal grouped by transaction and paged.

    Examples:
      audit log -n 20
      audit log table:orders event:update actor:bob --since yesterday
      audit log --transactions --sort rows --since 7d      find the change that touched too much
      audit log status:pending..shipped -o jsonl | jq .after
    """
    if sort is not None and not transactions:
        raise UsageError("--sort orders transactions", hint="add --transactions")
    with app.log() as reader:
        chosen = app.choose(reader, words, selecting)
        with app.out.paged(), app.watching(reader):
            if transactions:
                found = reader.transactions(chosen.selection, chosen.window, sort=sort or "time", limit=listing.limit)
                _print_transactions(app, listing.format, _ordered(found, listing))
                return
            changes = reader.changes(
                chosen.selection,
                chosen.window,
                newest_first=not listing.reverse or listing.limit is not None,
                limit=listing.limit,
            )
            print_changes(app, listing.format, _ordered(changes, listing) if listing.limit is not None else changes)


def _ordered(newest_first: Iterable[Any], listing: ListOptions) -> Iterable[Any]:
    """The same ones the other way round, where that was asked for: the last N stay the last N."""
    return reversed(list(newest_first)) if listing.reverse else newest_first


def _print_transactions(app: AppContext, asked: str | None, found: Iterable[Transaction]) -> None:
    if app.out.format(asked) is Format.TABLE:
        records = list(_table_records(found))
        columns = [name for name in _TABLE_COLUMNS if any(record[name] is not None for record in records)]
        app.out.records(asked, columns, records)
    else:
        app.out.records(asked, _COLUMNS, (_record(transaction) for transaction in found))


def _table_records(found: Iterable[Transaction]) -> Iterator[dict[str, Any]]:
    from auditcli.present import SHORT_ID, rows_by_event, wrapped_names

    for transaction in found:
        yield {
            "time": transaction.timestamp,
            "transaction": f"tx:{transaction.id[:SHORT_ID]}" if transaction.id else f"#{transaction.last_id}",
            "actor": transaction.actor,
            "db_user": transaction.db_user,
            "client": transaction.client,
            "rows": rows_by_event(transaction),
            "tables": wrapped_names(transaction.tables),
            "reason": transaction.reason,
        }


def _record(transaction: Transaction) -> dict[str, Any]:
    named = {name: getattr(transaction, name) for name in _COLUMNS if name not in ("transaction_id", "tables")}
    return {**named, "transaction_id": transaction.id, "tables": [str(table) for table in transaction.tables]}
