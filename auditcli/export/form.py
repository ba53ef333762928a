"""The one form of a change for other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from auditcli import codec
from auditcli.model import Change, EventType

COLUMNS = (
    "id",
    "transaction_id",
    "timestamp",
    "actor",
    "schema",
    "table",
    "row_id",
    "old_row_id",
    "event_type",
    "changed",
    "before",
    "after",
    "source",
    "reason",
    "context",
)
"""The keys of a change, in order."""


def change_to_json(change: Change) -> dict[str, Any]:
    """A change as a JSON object with the keys `COLUMNS`; images hold values in the form of `auditcli.codec`."""
    return {
        "id": change.id,
        "transaction_id": change.transaction_id,
        "timestamp": utc_text(change.timestamp),
        "actor": change.actor,
        "schema": change.table.schema,
        "table": change.table.name,
        "row_id": change.row_id,
        "old_row_id": change.old_row_id,
        "event_type": change.event_type.value,
        "changed": changed_columns(change),
        "before": change.before,
        "after": change.after,
        "source": change.source.value,
        "reason": change.reason,
        "context": dict(change.context),
    }


def changed_columns(change: Change) -> list[str]:
    """The columns that the change wrote: all of them where the row came or went, none for a baseline row."""
    if change.event_type is EventType.SNAPSHOT:
        return []
    return list(codec.differing_columns(change.before, change.after))


def utc_text(moment: datetime) -> str:
    """A time in UTC with microseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
