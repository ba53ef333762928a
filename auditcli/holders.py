"""Who has written and not ended yet: whoever holds up readers of the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from auditcli.dialects import Dialect
from auditcli.driver import run


@dataclass(frozen=True, slots=True)
class Holder:
    """An open transaction; what the user may not see of it is None."""

    key: str
    session: str
    seconds: float | None
    began: datetime | None
    user: str | None = None
    client: str | None = None
    state: str | None = None
    query: str | None = None


def open_writers(connection: Connection, dialect: Dialect) -> list[Holder] | None:
    """The open transactions that have written, the oldest first; None where they may not be seen."""
    if dialect.open_writers_sql is None or not _may_see(connection, dialect):
        return None
    found = [_holder(*row) for row in run(connection, dialect.open_writers_sql)]
    return sorted(found, key=lambda holder: -(holder.seconds or 0))


def _may_see(connection: Connection, dialect: Dialect) -> bool:
    return dialect.sees_writers_sql is None or bool(run(connection, dialect.sees_writers_sql).scalar())


def _holder(key: str, session: str, seconds: float | None, began: datetime | None, *known: Any) -> Holder:
    return Holder(key, session, seconds, None if began is None else began.replace(tzinfo=UTC), *known)
