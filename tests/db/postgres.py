"""A PostgreSQL database that any client writes, with auditcli's triggers as the only witnesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.driver import define
from auditcli.init import Preparation, Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.model import Change
from auditcli.verify import Difference, Verification
from tests.databases import scratch_url

POSTGRESQL = dialect_named("postgresql")

HOSTILE: Mapping[str, str] = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "lc_monetary": "C.utf8",
    "xmloption": "document",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "search_path": '"$user", public, pg_catalog',
}
"""Settings of a session that change how values are written, read or compared."""

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
            return prepare(connection, log_tables(), POSTGRESQL, wanted, now=utc_now())

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


@contextmanager
def scratch_engine(kind: str = "postgresql") -> Iterator[Engine]:
    """An empty database on one of the PostgreSQL servers."""
    with scratch_url(kind, Path()) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def be_hostile(connection: Connection) -> None:
    """Give a session settings that nobody expects."""
    for name, value in HOSTILE.items():
        define(connection, f"""SET {name} = {value if name == "search_path" else f"'{value}'"}""")


def settings_of(connection: Connection) -> list[str]:
    """What those settings are now."""
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in HOSTILE]


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
