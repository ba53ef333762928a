"""Records of the log as values: the columns that are read of them, and what becomes of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Row, type_coerce

from auditcli import codec
from auditcli.errors import LogError
from auditcli.log.images import ReadImages
from auditcli.log.tables import LogTables, StoredText
from auditcli.model import Change, EventType, Image, JsonValue, Source, TableName

_EVENTS = {event.value: event for event in EventType}
_SOURCES = {source.value: source for source in Source}


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the log in which changes of a table may be missing; without an end it is still open."""

    id: int
    table: TableName
    after_id: int
    until_id: int | None
    timestamp: datetime
    until_timestamp: datetime | None
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a transaction besides its records."""

    reason: str | None = None
    context: Mapping[str, JsonValue] | None = None
    db_user: str | None = None
    client: str | None = None
    application: str | None = None

    def amended(self, later: Header) -> Header:
        """This header with what was said later in the same transaction."""
        told = {field.name: getattr(later, field.name) for field in fields(later)}
        return replace(self, **{name: value for name, value in told.items() if value is not None})


NO_HEADER = Header()


def record_columns(tables: LogTables) -> tuple[ColumnElement[Any], ...]:
    """What is read of a record to make it a change, in the order that `change_of` expects."""
    log = tables.changelog.c
    return (
        *(log.id, log.transaction_id, log.timestamp, log.actor, log.table_schema, log.table_name),
        *(
            type_coerce(log.row_id, StoredText).label("row_id"),
            type_coerce(log.old_row_id, StoredText).label("old_row_id"),
        ),
        *(log.event_type, log.source),
        # As text: the reader of images parses both at once, and only of records that are wanted.
        *(
            type_coerce(log.before, StoredText).label("before_text"),
            type_coerce(log.after, StoredText).label("after_text"),
        ),
    )


def change_of(row: Sequence[Any], header: Header, read_images: ReadImages) -> Change:
    """The change that a record is, with what its transaction has to say; raises LogError for a damaged record."""
    (change_id, transaction_id, timestamp, actor, schema, name, row_id, old_row_id, event, source, before, after) = row
    try:
        old, new = map(_object, read_images(change_id, before, after))
        event_type, written_by = _EVENTS[event], _SOURCES[source]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LogError(
            f"change {change_id} of the log can't be read: {error}",
            hint="it was not written by this program, or was changed since; compare the log with a backup",
        ) from error
    return Change(
        id=change_id,
        timestamp=timestamp,
        table=table_of(name, schema),
        row_id=codec.valid_row_id(row_id),
        event_type=event_type,
        before=old,
        after=new,
        transaction_id=transaction_id,
        actor=actor,
        old_row_id=codec.valid_row_id(old_row_id),
        source=written_by,
        reason=header.reason,
        context=header.context or {},
    )


def _object(image: Image | None) -> Image | None:
    if image is not None and not isinstance(image, dict):
        raise TypeError("an image of a row is no JSON object")
    return image


def gap_of(row: Row[*tuple[Any, ...]]) -> Gap:
    """The gap that a row of its table describes."""
    return Gap(
        id=row.id,
        table=TableName(row.table_name, row.table_schema),
        after_id=row.after_id,
        until_id=row.until_id,
        timestamp=row.timestamp,
        until_timestamp=row.until_timestamp,
        actor=row.actor,
        reason=row.reason,
    )


@lru_cache(maxsize=1024)
def table_of(name: str, schema: str | None) -> TableName:
    """The table that a record is about."""
    return TableName(name, schema)
