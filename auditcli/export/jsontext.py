"""JSON: an object a change, with the keys of `COLUMNS`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from json.encoder import encode_basestring as quoted
from typing import Any

from auditcli.export.form import Columns, by_value, json_text


def json_lines(columns: Columns) -> Iterable[str]:
    """Changes as objects, each on a line of its own."""
    return _objects(columns, "}\n")


def json_objects(columns: Columns) -> Iterable[str]:
    """Changes as objects: what `json` makes of `change_to_json`, without looking into the images."""
    return _objects(columns, "}")


def _objects(columns: Columns, end: str) -> Iterable[str]:
    (ids, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = (
        columns
    )
    # Keys and signs stand in the texts of values that many changes share, so that there is less to join.
    parts = (
        *(repeat('{"id":', len(ids)), map(str, ids), _shared(',"transaction_id":', by, ',"timestamp":"'), moment),
        *(_shared('","actor":', actor), _shared(',"schema":', schema), _shared(',"table":', table, ',"row_id":')),
        *(map(_text, row), _shared(',"old_row_id":', old_row), _shared(',"event_type":', event)),
        *(_shared(',"changed":', changed, ',"before":'), [text or "null" for text in before]),
        *(repeat(',"after":', len(ids)), [text or "null" for text in after], _shared(',"source":', source)),
        *(_shared(',"reason":', reason, ',"context":'), context, repeat(end, len(ids))),
    )
    return map("".join, zip(*parts, strict=True))


def _shared(key: str, values: Any, further: str = "") -> Iterable[str]:
    return by_value(values, lambda value: f"{key}{_text(value)}{further}")


def _text(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else json_text(value)
