"""The one form of a change for other programs: a JSON object, or the texts by which its parts stand in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

from auditcli import codec
from auditcli.clock import utc_text
from auditcli.model import Change, EventType, Image

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


Texts: TypeAlias = tuple[
    int,
    str | None,
    str,
    str | None,
    str | None,
    str,
    str | None,
    str | None,
    str,
    tuple[str, ...],
    str | None,
    str | None,
    str,
    str | None,
    str,
]
"""A change by the columns `COLUMNS`; images and context are JSON texts, and `changed` holds names."""

Columns: TypeAlias = Sequence[Sequence[Any]]
"""Many changes by column: what the same place of their `Texts` holds."""

Lines: TypeAlias = Callable[[Columns], Iterable[str]]
"""Makes the text of each of many changes; at least one."""


def by_value(values: Sequence[Hashable], spell: Callable[[Any], str]) -> Iterable[str]:
    """What is made of each of many values, of which few differ."""
    if values.count(values[0]) == len(values):
        return repeat(spell(values[0]), len(values))
    known = {value: spell(value) for value in set(values)}
    return map(known.__getitem__, values)


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
        "changed": list(changed_columns(change)),
        "before": change.before,
        "after": change.after,
        "source": change.source.value,
        "reason": change.reason,
        "context": dict(change.context),
    }


def texts_of(change: Change) -> Texts:
    """The parts of a change as they stand in a file."""
    return (
        change.id,
        change.transaction_id,
        utc_text(change.timestamp),
        change.actor,
        change.table.schema,
        change.table.name,
        change.row_id,
        change.old_row_id,
        change.event_type.value,
        changed_columns(change),
        image_text(change.before),
        image_text(change.after),
        change.source.value,
        change.reason,
        json_text(dict(change.context)),
    )


def changed_columns(change: Change) -> tuple[str, ...]:
    """The columns that the change wrote: all of them where the row came or went, none for a baseline row."""
    if change.event_type is EventType.SNAPSHOT:
        return ()
    return codec.differing_columns(change.before, change.after)


json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""A value as JSON without spaces."""


def image_text(image: Image | None) -> str | None:
    """An image as JSON without spaces; nothing for a row that is not there."""
    return None if image is None else json_text(image)
