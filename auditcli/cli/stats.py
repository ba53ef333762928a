"""`audit stats`: how many changes, by table, actor, event or time."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.cli.render import choice

if TYPE_CHECKING:
    from auditcli.stats import StatBy, StatLine


def stats(
    app: AppContext,
    selecting: SelectionOptions,
    listing: ListOptions,
    words: Words = None,
    by: Annotated[str, typer.Option(metavar="KEY", help="table, actor, event, hour or day.")] = "table",
) -> None:
    """Count changes by table, actor, event, hour or day.

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
        app.out.records(listing.format, (key.value, "changes", "inserts", "updates", "deletes"), records)


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
