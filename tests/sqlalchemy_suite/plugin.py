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

import pytest
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
from auditcli.capture.writing import Writing  # noqa: E402
from auditcli.log.tables import log_tables  # noqa: E402
from auditcli.log.upgrade import init_log  # noqa: E402
from tests.sqlalchemy_suite.witness import Witness  # noqa: E402

_write = Recorder.write
_writing = Tracker._writing
_committed = Tracker._committed
_rollback = Tracker._rollback
_complaints: list[str] = []
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


def _leave_gap(self: Tracker, connection: Connection, names: frozenset[str]) -> None:  # noqa: ARG001
    """Plain SQL, of which the tests write a lot, can't be recorded, as the error says that applications get for it."""
    if witness := _witness(self, connection):
        witness.is_blind = True


def _watched_writing(self: Tracker, connection: Connection) -> Writing | None:
    writing = _writing(self, connection)
    if writing is not None and connection.dialect.name == "sqlite" and not hasattr(writing, "witness"):
        writing.witness = Witness.of(connection, log_tables(schema=LOG_SCHEMA))  # type: ignore[attr-defined]
    return writing


def _watched_commit(self: Tracker, connection: Connection) -> None:
    _ask(_witness(self, connection), connection)
    _committed(self, connection)


def _watched_rollback(self: Tracker, connection: Connection) -> None:
    writing = self._current(connection)
    is_whole = writing is not None and not writing.running and writing.flush is None and writing.unlogged is None
    if is_whole and not connection.invalidated:
        _ask(_witness(self, connection), connection)
    _rollback(self, connection)


def _ask(witness: Witness | None, connection: Connection) -> None:
    """Note what the witness complains of: to raise here would break more than the test."""
    if witness is not None and connection.connection.is_valid:
        with _unobserved(connection):
            _complaints.extend(filter(None, [witness.complaint()]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail a test whose changes are not recorded as what they were; most end their transactions only here."""
    outcome = yield
    complaints = "; ".join(_complaints)
    _complaints.clear()
    assert not complaints, complaints
    return outcome


def _witness(tracker: Tracker, connection: Connection) -> Witness | None:
    return getattr(tracker._current(connection), "witness", None)


def pytest_configure() -> None:
    """Track what is created from here on."""
    DefaultDialect.engine_created = staticmethod(_engine_created)  # type: ignore[method-assign]
    Recorder.write = _counted_write  # type: ignore[method-assign]
    Tracker._look_at_text = _leave_gap  # type: ignore[method-assign]
    Tracker._writing = _watched_writing  # type: ignore[method-assign]
    Tracker._committed = _watched_commit  # type: ignore[method-assign]
    Tracker._rollback = _watched_rollback  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    """Add this process's records to the file that counts them."""
    if COUNT_FILE in os.environ:
        with Path(os.environ[COUNT_FILE]).open("a") as file:
            file.write(f"{sum(_counts)}\n")
