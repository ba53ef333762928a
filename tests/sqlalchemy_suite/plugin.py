"""A plugin of pytest that tracks each engine that the tests of SQLAlchemy create.

The log is a schema of its own, out of sight of the tests, which look through whole databases and empty them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

from auditcli.capture import scene

LOG_SCHEMA = "auditlog"
COUNT_FILE = "AUDIT_SUITE_COUNT"
_PLAIN = "auditcli_plain"
_ATTACH = f"ATTACH ':memory:' AS {LOG_SCHEMA}"

_quiet = scene.quiet


@contextmanager
def _unobserved(connection: Connection) -> Iterator[None]:
    """Our own statements, hidden from the tests, which count what is executed and compare each text."""
    engine = connection.engine
    watched: list[Any] = [connection, engine, getattr(engine, "_proxied", engine)]
    outer = [each.__dict__.get("_has_events", False) for each in watched]
    try:
        for each in watched:
            each._has_events = False
        with _quiet(connection):
            yield
    finally:
        for each, has_events in zip(watched, outer, strict=True):
            each._has_events = has_events


# Before others take the name from there.
scene.quiet = _unobserved

from auditcli.capture.listeners import Tracker, track  # noqa: E402
from auditcli.capture.recorder import Recorder  # noqa: E402
from auditcli.log.tables import log_tables  # noqa: E402
from auditcli.log.upgrade import init_log  # noqa: E402

_write = Recorder.write
_counts: list[int] = []


def _engine_created(engine: Engine) -> None:
    if _PLAIN in engine.get_execution_options() or engine.dialect.is_async:
        return
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _attach_log)
    elif engine.dialect.name in ("postgresql", "mysql", "mariadb"):
        _create_log(engine.url)
    else:
        return
    track(engine, log_schema=LOG_SCHEMA)


def _attach_log(connection: Any, _record: Any) -> None:
    connection.execute(_ATTACH)
    connection.deserialize(_sqlite_log(), name=LOG_SCHEMA)


@cache
def _sqlite_log() -> bytes:
    engine = sa.create_engine("sqlite://", execution_options={_PLAIN: True})
    with engine.begin() as connection:
        connection.exec_driver_sql(_ATTACH)
        init_log(connection, log_tables(schema=LOG_SCHEMA))
        driver: Any = connection.connection.driver_connection
        driver.commit()
        return bytes(driver.serialize(name=LOG_SCHEMA))


@cache
def _create_log(url: sa.URL) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, execution_options={_PLAIN: True})
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {LOG_SCHEMA}")
        init_log(connection, log_tables(schema=LOG_SCHEMA))


def _counted_write(self: Recorder, records: Any, context: Any) -> None:
    _counts.append(len(records))
    _write(self, records, context)


def _leave_gap(self: Tracker, connection: Connection, names: frozenset[str]) -> None:
    """Plain SQL can't be recorded, as the error says that applications get for it; the tests write a lot of it."""


def pytest_configure() -> None:
    """Track what is created from here on."""
    DefaultDialect.engine_created = staticmethod(_engine_created)  # type: ignore[method-assign]
    Recorder.write = _counted_write  # type: ignore[method-assign]
    Tracker._look_at_text = _leave_gap  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    """Add this process's records to the file that counts them."""
    if COUNT_FILE in os.environ:
        with Path(os.environ[COUNT_FILE]).open("a") as file:
            file.write(f"{sum(_counts)}\n")
