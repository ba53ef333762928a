"""When to look: soon after somebody has committed, without burdening a database in which nothing happens."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, func, select

from auditcli.connect import Database
from auditcli.driver import run

BUSY_INTERVAL = 0.02
"""Seconds between two looks while something is coming."""

IDLE_INTERVAL = 0.05
"""Seconds between two looks where nothing has come for a while."""

_IDLE_AFTER = 5.0


class Watch:
    """Asks whether anybody has committed: something cheap, over a connection of its own that has no transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._counted: Any = None
        self._moved_at = time.monotonic()

    @property
    def interval(self) -> float:
        """Seconds until it is worth asking again."""
        return IDLE_INTERVAL if time.monotonic() - self._moved_at > _IDLE_AFTER else BUSY_INTERVAL

    def count(self) -> None:
        """Note how things are, before a look: what is committed meanwhile is then seen by the next one."""
        counted = self._count()
        if counted != self._counted:
            self._counted, self._moved_at = counted, time.monotonic()

    def has_moved(self) -> bool:
        """Whether anybody has committed since."""
        return bool(self._count() != self._counted)

    def close(self) -> None:
        """Let the connection go; it may be lost."""
        if self._connection is not None:
            # Else closing it would say so again.
            self._connection.invalidate()
            self._connection.close()
        self._connection = None

    def _count(self) -> Any:
        if self._connection is None:
            # Without a transaction a question is one round trip, and each sees what is committed by then.
            self._connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if self._database.dialect.change_counter_sql is not None:
            return run(self._connection, self._database.dialect.change_counter_sql).scalar()
        return self._connection.scalar(select(func.max(self._database.tables.changelog.c.id)))
