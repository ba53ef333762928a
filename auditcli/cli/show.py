"""`audit show`: one change or transaction, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import FormatOptions
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader, UndoEntry
    from auditcli.model import Change
    from auditcli.present import GroupKey, Line

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
    from auditcli.present import changes_summary, full_lines, group_key, heading_of, hint_line

    coming = iter(changes)
    first = list(islice(coming, _MOST_IN_FULL + 1))
    about = _about(reader, first)
    if everything or len(first) <= _MOST_IN_FULL:
        app.out.lines(full_lines(chain(first, coming), now=utc_now(), utc=app.out.utc, about=about))
        return
    app.out.lines([heading_of(first[0], now=utc_now(), utc=app.out.utc)])
    app.out.lines(about[group_key(first[0])])
    app.out.lines(changes_summary(chain(first, coming)))
    app.out.lines([hint_line("--all shows every row")])


def _about(reader: LogReader, changes: Sequence[Change]) -> dict[GroupKey, list[Line]]:
    """Where transactions came from, as far as the server knows, what they took back, and what took them back."""
    from auditcli.present import group_key, origin_lines

    ids: dict[GroupKey, list[int]] = {}
    for change in changes:
        ids.setdefault(group_key(change), []).append(change.id)
    transactions = {change.transaction_id for change in changes if change.transaction_id}
    headers, entries = reader.headers(transactions), reader.undo_runs(transactions)
    about: dict[GroupKey, list[Line]] = {}
    for key, own in ids.items():
        header, entry = headers.get(str(key)), entries.get(str(key))
        origin = origin_lines(header.db_user, header.client, header.application) if header is not None else []
        about[key] = [*origin, *_links(reader, entry, own)]
    return about


def _links(reader: LogReader, entry: UndoEntry | None, ids: Sequence[int]) -> Iterator[Line]:
    from auditcli.present import taken_back_line, took_back_line

    if entry is not None:
        yield took_back_line(entry.kind, reader.taken_back_of(entry))
    by_kind: dict[str, list[str]] = {}
    for taker in reader.taken_back_by(ids):
        by_kind.setdefault(taker.kind, []).append(taker.transaction_id)
    yield from (taken_back_line(kind, takers) for kind, takers in by_kind.items())
