"""`audit show`: one change or transaction, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import FormatOptions
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader
    from auditcli.model import Change
    from auditcli.present import Line

_MOST_IN_FULL = 50


def show(
    app: AppContext,
    form: FormatOptions,
    words: Annotated[list[str], typer.Argument(metavar="ID|tx:ID...", help="Change ids, transactions, @latest.")],
    everything: Annotated[bool, typer.Option("--all", help="Every row of a large transaction.")] = False,
) -> None:
    """Show changes or transactions, column by column; a large one is summed up.

    Examples:
      audit show 42
      audit show tx:1f3a9c
      audit show @latest --all
    """
    with app.log() as reader:
        changes = chain.from_iterable([_named(app, reader, word) for word in words])
        if app.out.format(form.format) is not Format.TABLE:
            print_changes(app, form.format, changes)
            return
        with app.out.paged():
            _print(app, changes, reader, everything=everything)


def _named(app: AppContext, reader: LogReader, word: str) -> Iterable[Change]:
    from auditcli.position import AtChange, AtLatest, AtTransaction

    match app.position(word):
        case AtChange(change_id):
            return [reader.change(change_id)]
        case AtTransaction(prefix):
            return reader.transaction_changes(reader.find_transaction(prefix))
        case AtLatest():
            return _latest(reader)
    raise UsageError(f"{word!r} is neither a change nor a transaction", hint="write an id, tx:ID or @latest")


def _latest(reader: LogReader) -> Iterable[Change]:
    from auditcli.log.positions import latest

    last = latest(reader)
    return [last] if last.transaction_id is None else reader.transaction_changes(last.transaction_id)


def _print(app: AppContext, changes: Iterable[Change], reader: LogReader, *, everything: bool) -> None:
    from auditcli.clock import utc_now
    from auditcli.present import changes_summary, full_lines, heading_of, hint_line

    coming = iter(changes)
    first = list(islice(coming, _MOST_IN_FULL + 1))
    origins = _origins(reader, first)
    if everything or len(first) <= _MOST_IN_FULL:
        app.out.lines(full_lines(chain(first, coming), now=utc_now(), utc=app.out.utc, origins=origins))
        return
    app.out.lines([heading_of(first[0], now=utc_now(), utc=app.out.utc)])
    app.out.lines(origins.get(first[0].transaction_id or "", ()))
    app.out.lines(changes_summary(chain(first, coming)))
    app.out.lines([hint_line("--all shows every row")])


def _origins(reader: LogReader, changes: Iterable[Change]) -> dict[str, list[Line]]:
    """Where transactions came from, as far as the server knows."""
    from auditcli.present import origin_lines

    headers = reader.headers({change.transaction_id for change in changes if change.transaction_id})
    return {each: origin_lines(known.db_user, known.client, known.application) for each, known in headers.items()}
