"""Rows without a key have no address on MariaDB: triggers record them, and an undo takes back one of equals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from auditcli.apply import apply_plan
from auditcli.errors import UnrecordableWrite
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

LOOSE = "CREATE TABLE loose (a INT, b VARCHAR(5))"
ROWS = "INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (1, 'x'), (1, 'X'), (NULL, NULL), (NULL, NULL)"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


def _undo(watched: Watched, known: int) -> None:
    """Take back what was recorded since there were so many records."""
    with watched.engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=[change.id for change in watched.changes()[known:]])
    assert plan.conflicts == ()
    apply_plan(watched.engine, plan)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE loose SET a = 5 WHERE a = 1 LIMIT 2",
        "UPDATE loose SET a = 5",
        "DELETE FROM loose WHERE a IS NULL LIMIT 1",
        "DELETE FROM loose",
        "INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (2, NULL)",
    ],
)
def test_an_undo_takes_back_as_many_equal_rows_as_were_changed(engine: Engine, statement: str) -> None:
    watched = Watched(engine, LOOSE)
    watched.write(ROWS)
    beginning = sorted(watched.query("SELECT * FROM loose"), key=str)
    known = len(watched.changes())
    watched.write(statement)

    _undo(watched, known)

    assert sorted(watched.query("SELECT * FROM loose"), key=str) == beginning
    watched.check()


def test_rows_come_back_with_the_children_that_refer_to_their_unique_column(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE p (u INT NULL UNIQUE)",
        "CREATE TABLE c (id INT PRIMARY KEY, u INT, FOREIGN KEY (u) REFERENCES p (u) ON DELETE CASCADE)",
    )
    watched.write("INSERT INTO p VALUES (1), (2), (NULL)", "INSERT INTO c VALUES (1, 1), (2, 2)")
    known = len(watched.changes())
    watched.write("DELETE FROM p WHERE u = 1")

    _undo(watched, known)
    assert watched.query("SELECT * FROM c ORDER BY id") == [(1, 1), (2, 2)]
    watched.check()

    _undo(watched, known + 2)
    assert watched.query("SELECT * FROM c") == [(2, 2)]
    watched.check()


def test_an_undo_that_listeners_would_have_to_record_is_refused(engine: Engine) -> None:
    watched = Watched(engine, LOOSE)
    watched.write(ROWS)
    watched.init(triggers=False)

    with pytest.raises(UnrecordableWrite, match="loose has no primary key, and here nothing else addresses a row"):
        _undo(watched, 0)

    assert watched.query("SELECT COUNT(*) FROM loose") == [(6,)]


def test_an_undo_is_refused_where_equal_rows_can_not_be_told_apart_at_all() -> None:
    engine = create_engine("sqlite:///odd.db")
    watched = Watched(engine, "CREATE TABLE odd (rowid INT, oid INT, _rowid_ INT)")
    watched.write("INSERT INTO odd VALUES (1, 1, 1), (1, 1, 1)")

    with pytest.raises(UnrecordableWrite, match="odd has no primary key, and its columns take every name"):
        _undo(watched, 1)

    engine.dispose()
    assert watched.query("SELECT COUNT(*) FROM odd") == [(2,)]
    engine.dispose()


@pytest.mark.parametrize("action", ["SET NULL", "CASCADE"])
def test_equal_children_are_recorded_as_often_as_they_are_there(engine: Engine, action: str) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE p (id INT PRIMARY KEY)",
        f"CREATE TABLE c (p_id INT, FOREIGN KEY (p_id) REFERENCES p (id) ON DELETE {action} ON UPDATE {action})",
    )
    watched.write("INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1), (1), (1)")

    watched.write("DELETE FROM p")
    assert len(watched.changes()) == 8
    _undo(watched, 4)
    assert watched.query("SELECT * FROM c") == [(1,), (1,), (1,)]
    watched.check()


def test_rows_whose_generated_column_follows_what_is_taken_back_come_back(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE c (v VARCHAR(5), w VARCHAR(9) AS (CONCAT(v, '!')) VIRTUAL)")
    watched.write("INSERT INTO c (v) VALUES ('x'), ('x')")
    watched.write("UPDATE c SET v = 'y'")

    _undo(watched, 2)

    assert watched.query("SELECT * FROM c") == [("x", "x!"), ("x", "x!")]
