"""JSON: an object a change, with the keys of `COLUMNS`."""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring as quoted

from auditcli.export.form import Texts, json_text


def json_line(texts: Texts) -> str:
    """A change as an object on a line of its own."""
    return json_object(texts) + "\n"


def json_object(texts: Texts) -> str:
    """A change as an object: what `json` makes of `change_to_json`, without looking into the images."""
    # Spelled out, since a million of these are written at a time.
    (at, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = texts
    return (
        f'{{"id":{at},"transaction_id":{"null" if by is None else quoted(by)},"timestamp":"{moment}",'
        f'"actor":{"null" if actor is None else quoted(actor)},"schema":{"null" if schema is None else quoted(schema)},'
        f'"table":{quoted(table)},"row_id":{"null" if row is None else quoted(row)},'
        f'"old_row_id":{"null" if old_row is None else quoted(old_row)},"event_type":"{event}",'
        f'"changed":{_names(changed)},"before":{before or "null"},"after":{after or "null"},"source":"{source}",'
        f'"reason":{"null" if reason is None else quoted(reason)},"context":{context}}}'
    )


@lru_cache(maxsize=4096)
def _names(changed: tuple[str, ...]) -> str:
    return json_text(changed)
