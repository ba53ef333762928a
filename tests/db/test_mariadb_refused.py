"""What listeners can't record exactly on MariaDB is refused before it runs, with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, delete, insert, text, update
from sqlalchemy.orm import Session, registry

import auditcli
from auditcli.apply import PlanConflict, apply_plan
from auditcli.errors import AuditError, CaptureError, UnrecordableWrite
from auditcli.log.tables import log_tables
from auditcli.plan import ConflictKind
from auditcli.undo import plan_undo
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


def _flush(connection: Connection, table: Table) -> None:
    row = type("Row", (), {})
    registry().map_imperatively(row, table)
    with Session(connection) as session:
        session.add(row())
        session.flush()


WRITES: dict[str, Callable[[Connection, Table], Any]] = {
    "insert": lambda c, t: c.execute(insert(t).values(n=2)),
    "insert of many": lambda c, t: c.execute(insert(t), [{"n": 2}, {"n": 3}]),
    "update": lambda c, t: c.execute(update(t).values(n=2)),
    "delete": lambda c, t: c.execute(delete(t).where(t.c.id == 1)),
    "flush": _flush,
}


@pytest.mark.parametrize("how", WRITES)
def test_a_write_that_a_rollback_would_leave_without_its_record_is_refused(engine: Engine, how: str) -> None:
    watched = Watched(engine, "CREATE TABLE old (id INT PRIMARY KEY AUTO_INCREMENT, n INT) ENGINE = MyISAM")
    watched.write("INSERT INTO old VALUES (1, 1)")
    watched.init(triggers=False)
    known = watched.events()
    auditcli.track(engine)

    with engine.connect() as connection, pytest.raises(UnrecordableWrite) as refused:
        WRITES[how](connection, watched.table("old"))

    assert refused.value.message == (
        "a write to old can't be recorded by listeners: its engine has no transactions, "
        "so a rollback would take the record back and leave the rows"
    )
    assert str(refused.value.hint).startswith("ALTER TABLE `old` ENGINE = InnoDB, ")
    assert watched.query("SELECT * FROM old") == [(1, 1)]
    assert watched.events() == known


@pytest.mark.parametrize("storage", ["Aria", "MEMORY", "MyISAM PARTITION BY HASH (id) PARTITIONS 2"])
def test_any_engine_without_transactions_is_known(engine: Engine, storage: str) -> None:
    watched = Watched(engine, f"CREATE TABLE old (id INT PRIMARY KEY) ENGINE = {storage}", triggers=False)
    auditcli.track(engine)

    with engine.begin() as connection, pytest.raises(UnrecordableWrite, match="no transactions"):
        connection.execute(watched.table("old").insert(), [{"id": 1}])

    assert watched.changes() == []


def test_an_engine_without_transactions_is_no_matter_where_nothing_is_recorded(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM",
        "CREATE TABLE cache (id INT PRIMARY KEY) ENGINE = MEMORY",
        triggers=False,
        exclude_tables=("cache",),
    )
    auditcli.track(engine)

    with engine.begin() as connection:
        connection.execute(watched.table("cache").insert(), [{"id": 1}])
        with auditcli.untracked("a cache"):
            connection.execute(watched.table("old").insert(), [{"id": 1}])

    assert watched.changes() == []
    assert watched.query("SELECT table_name FROM changelog_gap") == [("old",)]


def test_a_table_that_gets_transactions_is_recorded_from_then_on(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE old (id INT PRIMARY KEY) ENGINE = Aria", triggers=False)
    auditcli.track(engine)
    with engine.connect() as connection, pytest.raises(UnrecordableWrite):
        connection.execute(watched.table("old").insert(), [{"id": 1}])

    watched.write("ALTER TABLE old ENGINE = InnoDB")
    with engine.begin() as connection:
        connection.execute(watched.table("old").insert(), [{"id": 1}])

    watched.check()
    assert watched.events() == [("INSERT", "old", "1")]


@pytest.mark.parametrize("triggers", [True, False])
def test_an_undo_that_could_stay_half_done_is_refused(engine: Engine, *, triggers: bool) -> None:
    watched = Watched(engine, "CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM")
    watched.write("INSERT INTO old VALUES (1)")
    watched.init(triggers=triggers)

    with engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=[1])
        connection.rollback()

        with pytest.raises(PlanConflict):
            apply_plan(connection, plan)

    [conflict] = plan.conflicts
    assert conflict.kind is ConflictKind.CONSTRAINT
    assert conflict.message == (
        "old/1: its engine has no transactions, so half of an undo could stay: ALTER TABLE `old` ENGINE = InnoDB"
    )
    assert watched.query("SELECT * FROM old") == [(1,)]


def test_a_value_that_is_too_long_for_its_record_is_not_recorded_as_nothing(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE doc (id INT PRIMARY KEY, photo LONGBLOB)", triggers=False)
    auditcli.track(engine)
    long_photo = text("REPEAT('x', @@max_allowed_packet DIV 2 + 10)")

    with engine.connect() as connection:
        with pytest.raises(CaptureError, match="a row of doc is longer than max_allowed_packet lets its record be"):
            connection.execute(insert(watched.table("doc")).values(id=1, photo=long_photo))
        with pytest.raises(CaptureError, match="can't be committed"):
            connection.commit()

    assert watched.query("SELECT COUNT(*) FROM doc") == [(0,)]
    assert watched.changes() == []


def test_a_row_that_is_too_long_to_be_read_is_no_row_with_nothing_in_it(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE doc (id INT PRIMARY KEY, photo LONGBLOB)", triggers=False)
    auditcli.track(engine)
    with engine.begin() as connection:
        connection.execute(insert(watched.table("doc")).values(id=1))
        with auditcli.untracked("photos"):
            connection.exec_driver_sql("UPDATE doc SET photo = REPEAT('x', @@max_allowed_packet DIV 2 + 10)")

    with pytest.raises(AuditError, match="photo of a row is longer than max_allowed_packet lets it be read"):
        watched.differences()


@pytest.mark.parametrize("how", ["insert", "update"])
def test_a_write_to_a_table_without_a_key_is_refused_for_the_reason_that_holds_here(engine: Engine, how: str) -> None:
    watched = Watched(engine, "CREATE TABLE loose (id INT, n INT)", triggers=False)
    auditcli.track(engine)

    with engine.connect() as connection, pytest.raises(UnrecordableWrite) as refused:
        WRITES[how](connection, watched.table("loose"))

    assert refused.value.message == (
        "loose has no primary key, and here nothing else addresses a row: its rows can't be told apart"
    )
    assert "audit init" in str(refused.value.hint)


def test_the_way_out_of_that_is_a_trigger(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE loose (id INT, n INT)")
    auditcli.track(engine)

    with engine.begin() as connection:
        connection.execute(insert(watched.table("loose")), [{"n": 1}, {"n": 1}])
        connection.execute(update(watched.table("loose")).values(n=2))

    watched.check()
    assert [event for event, _, _ in watched.events()] == ["INSERT", "INSERT", "UPDATE", "UPDATE"]
