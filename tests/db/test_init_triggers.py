"""Capture triggers are installed, refreshed and removed, and nothing else is touched."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, MetaData, Table, Text, create_engine, insert, text

import auditcli
from auditcli.capture.triggers import CaptureWork
from auditcli.clock import utc_now
from auditcli.connect import LOCK_TIMEOUT
from auditcli.dialects import dialect_named
from auditcli.dialects.capture import CaptureObject, CaptureTable, LogNames
from auditcli.dialects.sqlite import SQLite
from auditcli.errors import AuditError, UsageError
from auditcli.init import Wishes, plan_preparation, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.status import count_tables

pytestmark = pytest.mark.thorough

TABLES = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT, password TEXT);
CREATE TABLE "o'd ""%s :x" ("k%" INTEGER PRIMARY KEY, "a ""b" TEXT);
"""
ODD = """ "o'd ""%s :x" """


@pytest.fixture
def path(engine: Engine) -> Path:
    path = Path(str(engine.url.database))
    run(path, TABLES)
    return path


def run(path: Path, script: str) -> None:
    """What another program does, without SQLAlchemy."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def names(path: Path, kind: str) -> set[str]:
    connection = sqlite3.connect(path)
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))}
    connection.close()
    return found


def init(engine: Engine, dialect: SQLite | None = None, **wishes: object) -> CaptureWork:
    with engine.connect() as connection:
        wanted = Wishes(**{"triggers": True, **wishes})  # type: ignore[arg-type]
        return prepare(connection, log_tables(), dialect or SQLite(), wanted, now=utc_now()).capture


def log(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT table_name, event_type, before, after FROM changelog ORDER BY id")
        return [tuple(row) for row in rows]


def capture(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        found = count_tables(LogReader(connection, log_tables(), dialect=dialect_named("sqlite")))
        return {each.table.name: each.capture for each in found}


def test_what_another_program_writes_is_in_the_log(engine: Engine, path: Path) -> None:
    init(engine)

    run(path, f"INSERT INTO customer VALUES (1, 'a@b', 'x'); INSERT INTO {ODD} VALUES (1, 'q')")

    assert [(row[0], row[1]) for row in log(engine)] == [("customer", "INSERT"), ("o'd \"%s :x", "INSERT")]


@pytest.mark.usefixtures("path")
def test_a_second_init_does_nothing(engine: Engine) -> None:
    first = init(engine)

    second = init(engine)

    assert (second.create, second.drop) == ((), ())
    assert set(second.unchanged) == set(first.create)


def test_only_the_table_that_has_another_column_is_refreshed(engine: Engine, path: Path) -> None:
    init(engine)
    run(path, "ALTER TABLE customer ADD COLUMN city TEXT")

    stale = capture(engine)
    work = init(engine)
    run(path, "INSERT INTO customer VALUES (1, 'a@b', 'x', 'Graz')")

    assert stale == {"customer": "triggers (stale)", "o'd \"%s :x": "triggers"}
    assert {str(table) for table in work.tables()} == {"customer"}
    assert '"city":"Graz"' in str(log(engine)[-1][3])
    assert set(capture(engine).values()) == {"triggers"}


def test_a_trigger_that_somebody_dropped_comes_back(engine: Engine, path: Path) -> None:
    init(engine)
    lost = min(names(path, "trigger"))
    run(path, f'DROP TRIGGER "{lost.replace(chr(34), chr(34) * 2)}"')

    assert "triggers (stale)" in capture(engine).values()
    work = init(engine)

    assert [each.name for each in work.create] == [lost]


def test_the_triggers_of_a_renamed_table_are_made_anew_under_its_name(engine: Engine, path: Path) -> None:
    init(engine)
    run(path, "ALTER TABLE customer RENAME TO client")

    init(engine)
    run(path, "INSERT INTO client VALUES (1, 'a@b', 'x')")

    assert [row[0] for row in log(engine)] == ["client"]
    assert not any("customer" in name for name in names(path, "trigger"))
    assert capture(engine)["customer"] == "dropped"


def test_a_table_that_is_no_longer_covered_loses_its_triggers(engine: Engine, path: Path) -> None:
    init(engine)

    init(engine, tables=("customer",))

    assert not any("%s" in name for name in names(path, "trigger"))
    assert any("customer" in name for name in names(path, "trigger"))


def test_removing_leaves_the_log_and_the_applications_own_triggers(engine: Engine, path: Path) -> None:
    run(path, "CREATE TRIGGER own AFTER INSERT ON customer BEGIN SELECT 1; END")
    init(engine)
    run(path, "INSERT INTO customer VALUES (1, 'a@b', 'x')")

    init(engine, triggers=False)
    run(path, "INSERT INTO customer VALUES (2, 'a@b', 'x')")

    assert names(path, "trigger") == {"own"}
    assert len(log(engine)) == 1
    assert capture(engine)["customer"] == "listeners"


def test_a_secret_reaches_no_record(engine: Engine, path: Path) -> None:
    init(engine, exclude_columns={"customer": ("password",)}, mask_columns={"customer": ("email",)})

    run(path, "INSERT INTO customer VALUES (1, 'm1', 'secret'); UPDATE customer SET email = 'm2', password = 's2'")
    run(path, "DELETE FROM customer")

    told = str(log(engine))
    assert len(log(engine)) == 3
    assert not any(secret in told for secret in ("m1", "m2", "secret", "s2", "password"))


@pytest.mark.parametrize(
    "wishes",
    [
        {"mask_columns": {"customer": ("id",)}},
        {"mask_columns": {"customer": ("email",)}, "exclude_columns": {"customer": ("email",)}},
    ],
)
def test_a_mask_that_can_not_be_meant_is_refused(engine: Engine, path: Path, wishes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        init(engine, **wishes)

    assert "changelog" not in names(path, "table")


def test_a_dropped_table_that_has_settings_does_not_stop_init(engine: Engine, path: Path) -> None:
    init(engine, bookkeeping={"customer": ("email",)})
    run(path, "DROP TABLE customer")

    work = init(engine)

    assert (work.create, work.drop) == ((), ())


def test_a_plan_writes_nothing(engine: Engine, path: Path) -> None:
    before = path.read_bytes()

    with engine.connect() as connection:
        planned = plan_preparation(connection, log_tables(), SQLite(), Wishes(triggers=True))

    assert any(statement.startswith("CREATE TRIGGER") for statement in planned.sql(SQLite()))
    assert path.read_bytes() == before


class Refusing(SQLite):
    """A database that refuses the last trigger."""

    def capture_objects(self, log: LogNames, tables: Sequence[CaptureTable]) -> list[CaptureObject]:
        *first, last = super().capture_objects(log, tables)
        return [*first, replace(last, create=("CREATE TRIGGER x AFTER INSERT ON nowhere BEGIN SELECT 1; END",))]


def test_a_refusal_in_the_middle_leaves_nothing_half_installed(engine: Engine, path: Path) -> None:
    with pytest.raises(AuditError, match=r"nothing was changed\. The database says: ") as refused:
        init(engine, Refusing())

    assert str(refused.value.hint).startswith("it takes the right to create triggers")
    assert names(path, "trigger") == set()
    assert "changelog" not in names(path, "table")


@pytest.mark.usefixtures("path")
def test_the_connections_own_lock_timeout_is_put_back(engine: Engine) -> None:
    own = create_engine(engine.url, connect_args={"timeout": LOCK_TIMEOUT})
    with own.connect() as connection:
        prepare(connection, log_tables(), SQLite(), Wishes(triggers=True), now=utc_now(), lock_timeout=0.1)

        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == LOCK_TIMEOUT * 1000
    own.dispose()


def test_text_that_is_not_valid_does_not_make_the_log_unreadable(engine: Engine) -> None:
    broken = [b"\xc3\x28", b"\xe5\x82", "\u00a9".encode()]
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named("sqlite"), Wishes(triggers=True), now=utc_now())
    with engine.begin() as connection:
        for data in broken:
            connection.exec_driver_sql("INSERT INTO note (body) VALUES (CAST(? AS TEXT))", (data,))

    with engine.connect() as connection:
        changes = list(LogReader(connection, log_tables()).changes())

    assert [change.image["body"] for change in changes] == [{"$text": "c328"}, {"$text": "e582"}, "\u00a9"]


def test_an_autocommit_engine_and_a_view_are_no_hindrance_where_triggers_record(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
        connection.exec_driver_sql("CREATE VIEW notes AS SELECT * FROM note")
        connection.exec_driver_sql(
            "CREATE TRIGGER through INSTEAD OF INSERT ON notes BEGIN INSERT INTO note (body) VALUES (NEW.body); END"
        )
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named("sqlite"), Wishes(triggers=True), now=utc_now())
    notes = Table("notes", MetaData(), Column("body", Text))
    autocommit = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    auditcli.track(autocommit)

    with auditcli.context(actor="alice"), autocommit.connect() as connection:
        connection.execute(insert(notes).values(body="a"))
        connection.commit()
    with autocommit.connect() as connection:
        connection.execute(text("INSERT INTO note (body) VALUES ('b')"))
    autocommit.dispose()

    with engine.connect() as connection:
        changes = list(LogReader(connection, log_tables()).changes())
    assert [(change.image["body"], change.actor) for change in changes] == [("a", "alice"), ("b", None)]
