"""JSON: an object a change, with the keys of `COLUMNS`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring as quoted

from auditcli.export.form import Columns, by_value, json_text

_OBJECT = (
    '{"id":%d,"transaction_id":%s,"timestamp":"%s","actor":%s,"schema":%s,"table":%s,"row_id":%s,"old_row_id":%s,'
    '"event_type":"%s","changed":%s,"before":%s,"after":%s,"source":"%s","reason":%s,"context":%s}'
)


def json_lines(columns: Columns) -> Iterable[str]:
    """Changes as objects, each on a line of its own."""
    return _objects(_OBJECT + "\n", columns)


def json_objects(columns: Columns) -> Iterable[str]:
    """Changes as objects: what `json` makes of `change_to_json`, without looking into the images."""
    return _objects(_OBJECT, columns)


def _objects(template: str, columns: Columns) -> Iterable[str]:
    (ids, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = (
        columns
    )
    values = (
        *(ids, by_value(by, _text), moment, *(by_value(each, _text) for each in (actor, schema, table))),
        *(_texts(row), by_value(old_row, _text), event, by_value(changed, json_text)),
        *([text or "null" for text in before], [text or "null" for text in after]),
        *(source, by_value(reason, _text), context),
    )
    return map(template.__mod__, zip(*values, strict=True))


def _text(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def _texts(texts: Sequence[str | None]) -> Iterable[str]:
    """Texts that differ."""
    return map(_text, texts)
