"""JSON: an object a change, with the keys of `COLUMNS`."""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring

from auditcli.export.form import Texts, json_text


def json_line(texts: Texts) -> str:
    """A change as an object on a line of its own."""
    return json_object(texts) + "\n"


def json_object(texts: Texts) -> str:
    """A change as an object: what `json` makes of `change_to_json`, without looking into the images."""
    change_id, transaction_id, timestamp, actor, schema, table, row_id, old_row_id, event = texts[:9]
    changed, before, after, source, reason, context = texts[9:]
    return (
        f'{{"id":{change_id},"transaction_id":{_quoted(transaction_id)},"timestamp":"{timestamp}",'
        f'"actor":{_quoted(actor)},"schema":{_quoted(schema)},"table":{_quoted(table)},"row_id":{_quoted(row_id)},'
        f'"old_row_id":{_quoted(old_row_id)},"event_type":"{event}","changed":{_names(changed)},'
        f'"before":{before or "null"},"after":{after or "null"},"source":"{source}","reason":{_quoted(reason)},'
        f'"context":{context}}}'
    )


def _quoted(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


@lru_cache(maxsize=4096)
def _names(changed: tuple[str, ...]) -> str:
    return json_text(changed)
