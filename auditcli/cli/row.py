"""`audit row` and `audit blame`: one row through time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import FormatOptions, ListOptions
from auditcli.cli.pasts import print_members
from auditcli.errors import NotFound
from auditcli.model import EventType

if TYPE_CHECKING:
    from auditcli.history import RowState
    from auditcli.log.reader import LogReader
    from auditcli.model import Change, RowKey

_BLAME_COLUMNS = ("column", "value", "change", "timestamp", "actor", "transaction_id", "reason")

_Row = Annotated[str, typer.Argument(metavar="ROW", help="table/key, as in orders/57 or PlaylistTrack/1,42.")]


def row(
    app: AppContext,
    listing: ListOptions,
    word: _Row,
    at: Annotated[str | None, typer.Option(metavar="POSITION", help="The row as it was then.")] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "--related", min=1, metavar="[=DEPTH]", help="Rows that refer to it too; =2 those that refer to them, …"
        ),
    ] = None,
) -> None:
    """List a row's changes, newest first, through changes of its key; or show it as it was at a time.

    Examples:
      audit row orders/57
      audit row orders/57 --at 'yesterday 14:00'
      audit row customer/42 --related=2          her orders and their lines too, deleted ones included
      audit row PlaylistTrack/1,42 -o jsonl
    """
    from auditcli.chosen import find_row
    from auditcli.history import row_history, row_state

    with app.log() as reader:
        key = find_row(reader, word)
        place = None if at is None else app.boundary(reader, app.position(at))
        if depth is not None:
            _print_related(app, listing, reader, key, depth, place)
        elif place is not None:
            _print_state(app, listing, str(key), row_state(reader, key, place))
        else:
            _print_history(app, listing, row_history(reader, key))


def blame(
    app: AppContext,
    form: FormatOptions,
    word: _Row,
    at: Annotated[str | None, typer.Option(metavar="POSITION", help="Who had last written it by then.")] = None,
) -> None:
    """Say of each column of a row who wrote it last, when and why.

    Examples:
      audit blame orders/57
      audit blame orders/57 --at @before-import
      audit blame orders/57 -o json
    """
    from auditcli.chosen import find_row
    from auditcli.history import blame as blame_columns
    from auditcli.history import row_state
    from auditcli.present import SHORT_ID, value_text

    with app.log() as reader:
        is_table = app.out.format(form.format) is Format.TABLE
        key = find_row(reader, word)
        place = None if at is None else app.boundary(reader, app.position(at))
        if place is not None:
            state = row_state(reader, key, place)
            if state.image is None and state.since is None:
                raise _absent(app, str(key), state)
        records = [
            {
                "column": line.column,
                "value": value_text(line.value) if is_table else line.value,
                "change": line.change and (f"#{line.change.id}" if is_table else line.change.id),
                "timestamp": line.change and line.change.timestamp,
                "actor": line.change and line.change.actor,
                "transaction_id": line.change and (line.change.transaction_id or "")[: SHORT_ID if is_table else None],
                "reason": line.change and line.change.reason,
            }
            for line in blame_columns(reader, key, place)
        ]
        app.out.records(form.format, _BLAME_COLUMNS, records)


def _print_state(app: AppContext, form: FormatOptions, key: str, state: RowState) -> None:
    from auditcli.present import value_text

    image = state.image
    if image is None:
        raise _absent(app, key, state)
    app.out.note(_became(app, state.since))
    chosen = app.out.format(form.format)
    if chosen is Format.TABLE:
        records = [{"column": column, "value": value_text(value)} for column, value in image.items()]
        app.out.records(form.format, ("column", "value"), records)
    else:
        app.out.records(form.format, tuple(image), [image])


def _print_history(app: AppContext, listing: ListOptions, oldest_first: Sequence[Change]) -> None:
    changes = oldest_first[::-1]
    chosen = changes if listing.limit is None else changes[: listing.limit]
    with app.out.paged():
        print_changes(app, listing.format, chosen[::-1] if listing.reverse else chosen)


def _print_related(
    app: AppContext, listing: ListOptions, reader: LogReader, key: RowKey, depth: int, place: int | None
) -> None:
    from auditcli.history import row_state
    from auditcli.present import caveat_texts, counted, wrapped_names
    from auditcli.related import related
    from auditcli.rewinding.caveats import Caveat, Doubt

    with app.out.progress() as tell:
        family = related(reader, key, depth, tell=tell)
    if place is None:
        silent = [member.row for member in family.members if member.live is not None]
        if silent:
            app.out.note(f"{counted(len(silent), 'row')} without a recorded change: {wrapped_names(silent)}")
        _print_history(app, listing, family.changes)
        return
    found = family.at(place, reader.straddling(place))
    if not found:
        raise _absent(app, str(key), row_state(reader, key, place))
    gaps = reader.gaps(after_id=place, tables={member.table for member, _ in found})
    for text in caveat_texts((Caveat(Doubt.GAP, gap.table, gap=gap) for gap in gaps), utc=app.out.utc):
        app.out.note(f"note: {text}")
    chosen = found[::-1] if listing.reverse else found
    print_members(app, listing.format, chosen if listing.limit is None else chosen[: listing.limit])


def _absent(app: AppContext, key: str, state: RowState) -> NotFound:
    return NotFound(f"{key} did not exist then{_why_absent(app, state)}", hint=f"`audit row {key}` lists its changes")


def _why_absent(app: AppContext, state: RowState) -> str:
    if state.since is not None:
        return f": deleted by {_author(app, state.since)}"
    return "" if state.until is None else f": first made later, by {_author(app, state.until)}"


def _became(app: AppContext, change: Change | None) -> str:
    if change is None:
        return "so since before the log knew the row"
    if change.event_type is EventType.SNAPSHOT:
        return f"so in the baseline, #{change.id}, and perhaps before it"
    return f"so since {change.event_type} by {_author(app, change)}"


def _author(app: AppContext, change: Change) -> str:
    from auditcli.present import time_text, visible

    actor = "an unknown actor" if change.actor is None else visible(change.actor)
    return f"{actor}, {time_text(change.timestamp, utc=app.out.utc)}, #{change.id}"
