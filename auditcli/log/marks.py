"""Marks: positions of the log that have a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from auditcli.errors import NotFound, UsageError
from auditcli.log.tables import LogTables
from auditcli.position import valid_mark_name

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """A name for the boundary after a log id."""

    name: str
    change_id: int
    timestamp: datetime
    actor: str | None = None
    reason: str | None = None


def set_mark(
    connection: Connection,
    tables: LogTables,
    name: str,
    change_id: int,
    *,
    now: datetime,
    actor: str | None = None,
    reason: str | None = None,
) -> Mark:
    """Name a boundary; raises UsageError for a name that is taken or can't be one. The caller commits."""
    valid_mark_name(name)
    if any(mark.name == name for mark in list_marks(connection, tables)):
        raise _taken(name)
    mark = Mark(name, change_id, now, actor, reason)
    values = {"name": name, "change_id": change_id, "timestamp": now, "actor": actor, "reason": reason}
    try:
        connection.execute(insert(tables.mark).values(values))
    except IntegrityError as error:
        raise _taken(name) from error
    return mark


def list_marks(connection: Connection, tables: LogTables) -> list[Mark]:
    """All marks, by the place that they name."""
    mark = tables.mark.c
    statement = select(mark.name, mark.change_id, mark.timestamp, mark.actor, mark.reason)
    rows = connection.execute(statement.order_by(mark.change_id, mark.id))
    return [Mark(*row) for row in rows]


def delete_mark(connection: Connection, tables: LogTables, name: str) -> Mark:
    """Forget a mark and return it; raises NotFound where there is none. The caller commits."""
    mark = _find(list_marks(connection, tables), name)
    connection.execute(delete(tables.mark).where(tables.mark.c.name == name))
    return mark


def mark_position(connection: Connection, tables: LogTables, name: str) -> int:
    """The log id that a mark names; raises NotFound where there is none."""
    return _find(list_marks(connection, tables), name).change_id


def _find(marks: Iterable[Mark], name: str) -> Mark:
    by_name = {mark.name: mark for mark in marks}
    if name in by_name:
        return by_name[name]
    known = ", ".join(f"@{other}" for other in list(by_name)[-_SHOWN:])
    hint = f"marks: {known}" if known else "there are none; `audit mark NAME` sets one"
    raise NotFound(f"no mark @{name}", hint=hint)


def _taken(name: str) -> UsageError:
    return UsageError(
        f"there is a mark @{name} already",
        hint=f"choose another name, or first remove it with `audit mark --delete {name}`",
    )
