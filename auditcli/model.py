"""The words of the change log as frozen values; nothing here knows a database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""One encoded value of an image; a dict is always a tag such as `{"$hex": "00ff"}`."""

Image: TypeAlias = Mapping[str, JsonValue]
"""A full row, keyed by column name, in the table's column order."""

_PLAIN_NAME = re.compile(r"[^\W\d]\w*")


class EventType(StrEnum):
    """What happened to the row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    TRUNCATE = "TRUNCATE"
    SNAPSHOT = "SNAPSHOT"

    @property
    def letter(self) -> str:
        """The sign that stands beside the colour of this event."""
        return {"INSERT": "I", "UPDATE": "U", "DELETE": "D", "TRUNCATE": "T", "SNAPSHOT": "S"}[self]

    @property
    def removes(self) -> bool:
        """Whether the row is gone afterwards."""
        return self in (EventType.DELETE, EventType.TRUNCATE)


class Source(StrEnum):
    """Which way of capture wrote a record."""

    LISTENER = "listener"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table as it is tracked; `schema` is empty for the database's default one."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return ".".join(_quoted(part) for part in (self.schema, self.name) if part is not None)


@dataclass(frozen=True, slots=True)
class RowKey:
    """A row by its table and its key as text, as `table/key` shows it."""

    table: TableName
    row_id: str

    def __str__(self) -> str:
        return f"{self.table}/{_row_word(self.row_id)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One row's step from `before` to `after`; None means that the row did not exist."""

    id: int
    timestamp: datetime
    table: TableName
    row_id: str | None
    event_type: EventType
    before: Image | None
    after: Image | None
    transaction_id: str | None = None
    actor: str | None = None
    old_row_id: str | None = None
    source: Source = Source.LISTENER
    reason: str | None = None
    context: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def row(self) -> RowKey | None:
        """The row's key after this change; None for a row of a table without a key."""
        return None if self.row_id is None else RowKey(self.table, self.row_id)

    @property
    def image(self) -> Image:
        """What the row looked like: `after`, or `before` where it is gone."""
        return (self.after if self.after is not None else self.before) or {}


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one database transaction committed, summed up; its place is its highest log id.

    `id` is None for a group of records whose writer could not tell its transaction.
    """

    id: str | None
    last_id: int
    first_id: int
    timestamp: datetime
    actor: str | None
    tables: tuple[TableName, ...]
    inserts: int
    updates: int
    deletes: int
    reason: str | None = None
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    db_user: str | None = None
    client: str | None = None
    application: str | None = None

    @property
    def rows(self) -> int:
        """How many changes it holds."""
        return self.inserts + self.updates + self.deletes


def _quoted(part: str) -> str:
    """A name as a ROW word spells it: quoted only where it is odd."""
    return part if _PLAIN_NAME.fullmatch(part) else '"' + part.replace('"', '""') + '"'


def _row_word(row_id: str) -> str:
    """The key as a person types it: a plain composite key loses its brackets."""
    if not row_id.startswith("["):
        return row_id
    try:
        values = json.loads(row_id)
    except ValueError:
        return row_id
    plain = (
        isinstance(values, list)
        and len(values) > 1
        and all(
            isinstance(value, int | str) and not isinstance(value, bool) and "," not in str(value) for value in values
        )
    )
    return ",".join(str(value) for value in values) if plain else row_id
