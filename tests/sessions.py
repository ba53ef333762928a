"""The sessions of a server that work on one database, and their end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

_ON_POSTGRESQL = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_ON_MARIADB = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
_A_MOMENT = 0.05


def other_sessions(engine: Engine) -> set[int]:
    """The sessions of the database but for the one that asks."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.name == "postgresql":
            return set(connection.scalars(text(_ON_POSTGRESQL)))
        # MariaDB shows a session for a moment with each database whose triggers or tables it looks through.
        found = set(connection.scalars(text(_ON_MARIADB)))
        time.sleep(_A_MOMENT)
        return found & set(connection.scalars(text(_ON_MARIADB)))


def end_sessions(engine: Engine, sessions: Iterable[int]) -> None:
    """End some sessions; one may have ended by itself."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for session in sessions:
            ending = f"SELECT pg_terminate_backend({session})" if engine.name == "postgresql" else f"KILL {session}"
            with suppress(DBAPIError):
                connection.execute(text(ending))


def end_other_sessions(engine: Engine) -> None:
    """End every session of the database but the one that does it."""
    end_sessions(engine, other_sessions(engine))
