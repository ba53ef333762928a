"""A database that any client writes, with auditcli's triggers, or its listeners, as the only witnesses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, MetaData, Table

from auditcli.clock import utc_now
from auditcli.driver import define, dialect_of
from auditcli.init import Preparation, Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.model import Change
from auditcli.verify import Difference, Verification

Step = tuple[str, Any, Any]


class Watched:
    """A database with some tables and a log that triggers write."""

    def __init__(self, engine: Engine, *tables: str, **wishes: Any) -> None:
        self.engine = engine
        self.write(*tables)
        self.init(**wishes)

    def init(self, **wishes: Any) -> Preparation:
        """Install the triggers, or bring them up to date."""
        with self.engine.connect() as connection:
            wanted = Wishes(**{"triggers": True, **wishes})
            return prepare(connection, log_tables(), dialect_of(connection), wanted, now=utc_now())

    def write(self, *statements: str) -> None:
        """Run statements in one transaction, each as it stands."""
        with self.engine.begin() as connection:
            for statement in statements:
                define(connection, statement)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
            return [tuple(row) for row in rows]

    def changes(self) -> list[Change]:
        """All that was recorded."""
        with self.engine.connect() as connection:
            return list(LogReader(connection, log_tables()).changes())

    def steps(self) -> list[Step]:
        """The same as event, image before and image after."""
        return [(change.event_type.value, change.before, change.after) for change in self.changes()]

    def events(self) -> list[tuple[str, str, str | None]]:
        """The same as event, table and row."""
        return [(change.event_type.value, str(change.table), change.row_id) for change in self.changes()]

    def table(self, name: str) -> Table:
        """A table as SQLAlchemy finds it."""
        return Table(name, MetaData(), autoload_with=self.engine)

    def differences(self) -> list[Difference]:
        """Where the log, folded, is not what is there."""
        return differences(self.engine)

    def check(self) -> None:
        """Fail unless the log, folded from empty tables on, gives the rows that are there."""
        with self.engine.connect() as connection:
            verification = Verification(LogReader(connection, log_tables()))
            assert list(verification.differences()) == []
        assert {table: tally.not_covered for table, tally in verification.tallies.items() if tally.not_covered} == {}


def differences(engine: Engine) -> list[Difference]:
    """Where the log, folded, is not what is there."""
    with engine.connect() as connection:
        return list(Verification(LogReader(connection, log_tables())).differences())
