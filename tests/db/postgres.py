"""A PostgreSQL database that any client writes, with auditcli's triggers as the only witnesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine

from auditcli.dialects import dialect_named
from auditcli.driver import define
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


WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
"""Whether somebody waits for a lock in this database; in others other tests do."""


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
