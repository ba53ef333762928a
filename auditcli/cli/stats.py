"""`audit stats`: how many changes, by table, actor, event or time."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.cli.render import choice

_EVENTS = ("inserts", "updates", "deletes")
_BAR = ""
"""The title of the bars."""

_SHORTEST_BAR, _LONGEST_BAR = 8, 40

if TYPE_CHECKING:
    from auditcli.stats import StatBy, StatLine


def stats(
    app: AppContext,
    selecting: SelectionOptions,
    listing: ListOptions,
    words: Words = None,
    by: Annotated[str, typer.Option(metavar="KEY", help="table, actor, event, hour or day.")] = "table",
) -> None:
    """Count changes by table, actor, event, hour or day; on a terminal with bars.

    Examples:
      audit stats
      audit stats --by actor --since 7d
      audit stats --by hour table:orders event:delete -o json
    """
    from auditcli.stats import StatBy, count_changes

    key = choice(by, StatBy, "--by")
    with app.log() as reader:
        chosen = app.choose(reader, words, selecting)
        zone = UTC if app.out.utc else None
        with app.watching(reader, "counted"):
            lines = count_changes(reader, key, chosen.selection, chosen.window, zone=zone)
        ordered = lines[::-1] if listing.reverse else lines
        records = [_record(key, line) for line in ordered[: listing.limit]]
    columns: tuple[str, ...] = (key.value, "changes", *_EVENTS)
    if app.out.format(listing.format) is Format.TABLE:
        columns, records = _with_bars(app, columns, records)
    with app.out.paged():
        app.out.records(listing.format, columns, records)


def _with_bars(
    app: AppContext, columns: tuple[str, ...], records: list[dict[str, Any]]
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The table with a bar beside each number; where there is no room for both, the bar is what stays."""
    from auditcli.present import bar

    room = app.out.room_beside(columns, records)
    if room < _SHORTEST_BAR:
        columns = columns[:2]
        room = app.out.room_beside(columns, records)
    most = max((record["changes"] for record in records), default=0)
    width, plain = min(room, _LONGEST_BAR), not app.out.can_show("█▏")
    drawn = [{**record, _BAR: bar(record["changes"], most, width, plain=plain)} for record in records]
    return (*columns, _BAR), drawn


def _record(by: StatBy, line: StatLine) -> dict[str, Any]:
    from auditcli.model import EventType

    shown = line.key if line.key is None or hasattr(line.key, "tzinfo") else str(line.key)
    removed = sum(count for event, count in line.counts.items() if event.removes)
    return {
        by.value: shown,
        "changes": line.total,
        "inserts": line.counts.get(EventType.INSERT, 0),
        "updates": line.counts.get(EventType.UPDATE, 0),
        "deletes": removed,
    }
