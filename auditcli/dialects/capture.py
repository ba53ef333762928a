"""What a dialect is told of a log and its tables to make capture triggers, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from auditcli.model import TableName
from auditcli.shape import ForeignKeyShape, TableShape

CAPTURE_PREFIX = "auditcli_capture_"
"""How the names of all capture objects begin, unless a database needs another order of triggers."""


@dataclass(frozen=True, slots=True)
class LogNames:
    """The log's tables that triggers write."""

    changelog: TableName
    transaction: TableName


@dataclass(frozen=True, slots=True)
class CaptureTable:
    """A table that triggers are made for.

    `shape` is the whole table; columns that are `excluded` never reach the log, `masked` ones do so unreadable.
    `children` are the foreign keys by which the database itself changes rows of other captured tables; one that is not
    recorded itself is there for their sake.
    """

    shape: TableShape
    excluded: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    children: tuple[ForeignKeyShape, ...] = ()
    is_recorded: bool = True

    @property
    def recorded(self) -> tuple[str, ...]:
        """The columns that images have."""
        return tuple(name for name in self.shape.column_names if name not in self.excluded)


@dataclass(frozen=True, slots=True)
class CaptureObject:
    """One thing in the database that capture consists of; `kind` is `trigger`, `function` or `table`.

    `table` is the captured table, None for what all of them share.
    """

    kind: str
    name: str
    table: TableName | None
    create: tuple[str, ...]
    drop: str


@dataclass(frozen=True, slots=True)
class CaptureContext:
    """Who and why, as the connection of a tracked application hands it to triggers."""

    transaction_id: str
    actor: str | None = None
    reason: str | None = None
    context: str | None = None
    application: str | None = None
    client: str | None = None
