"""A SQLite database that other programs write, with auditcli's triggers as the only witnesses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from auditcli.clock import utc_now
from auditcli.dialects import MARK, dialect_named
from auditcli.dialects.capture import CaptureContext, LogNames
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.model import Change, TableName
from auditcli.verify import Difference, Verification

SQLITE = dialect_named("sqlite")
NAMES = LogNames(log_tables().changelog_name, TableName(log_tables().transaction.name))


class Plain:
    """One database file with some tables and a log."""

    def __init__(self, path: Path, *tables: str) -> None:
        self.path = path
        self.engine = create_engine(f"sqlite:///{path}")
        self.write(*tables)
        with self.engine.connect() as connection:
            prepare(connection, log_tables(), SQLITE, Wishes(triggers=True), now=utc_now())

    def connect(self, *settings: str) -> sqlite3.Connection:
        """A connection in autocommit mode, as other programs have it."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        for setting in settings:
            connection.execute(setting)
        return connection

    def write(self, *statements: str, values: Iterable[Any] = (), settings: Iterable[str] = ()) -> None:
        """Run statements, each with the values where there are some."""
        with closing(self.connect(*settings)) as connection:
            for statement in statements:
                connection.execute(statement, tuple(values))

    def changes(self) -> list[Change]:
        """All that was recorded."""
        with self.engine.connect() as connection:
            return list(LogReader(connection, log_tables()).changes())

    def steps(self) -> list[tuple[str, Any, Any]]:
        """The same as event, image before and image after."""
        return [(change.event_type.value, change.before, change.after) for change in self.changes()]

    def differences(self) -> list[Difference]:
        """Where the log, folded, is not what is there."""
        with self.engine.connect() as connection:
            return list(Verification(LogReader(connection, log_tables())).differences())


def give_context(connection: sqlite3.Connection, context: CaptureContext) -> None:
    """Tell the triggers who is behind a connection, as a tracked one does."""
    for sent in SQLITE.send_context(NAMES, context):
        connection.execute(sent.sql.replace(MARK, "?"), sent.values)
