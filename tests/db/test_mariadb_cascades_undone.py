"""Rows that foreign keys change on MariaDB are recorded in both ways of capture, and an undo brings them back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pymysql
import pytest
from sqlalchemy import Engine, delete, insert, update
from sqlalchemy.exc import OperationalError

import auditcli
from auditcli.apply import apply_plan
from auditcli.log.tables import log_tables
from auditcli.plan import Plan
from auditcli.undo import plan_undo
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

CHAIN = 10


@dataclass(frozen=True)
class Case:
    """Tables with rows, one row of them that is deleted, or changed where values are given, and what comes of it."""

    tables: Sequence[str]
    rows: Sequence[str]
    table: str
    key: dict[str, Any]
    expected: Sequence[tuple[str, str, str | None]]
    values: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()


FAMILY = (
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
)
WORDS = (
    "CREATE TABLE p (k VARCHAR(10) COLLATE utf8mb4_general_ci PRIMARY KEY)",
    """CREATE TABLE c (id INT PRIMARY KEY, k VARCHAR(10) COLLATE utf8mb4_general_ci,
      FOREIGN KEY (k) REFERENCES p (k) ON DELETE CASCADE ON UPDATE CASCADE)""",
)
WORD_ROWS = ("INSERT INTO p VALUES ('Ab'), ('b')", "INSERT INTO c VALUES (1, 'aB'), (2, 'AB'), (3, 'b')")
CASES: dict[str, Case] = {
    "a circle of rows": Case(
        ["CREATE TABLE node (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES node (id) ON DELETE CASCADE)"],
        ["INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (9, 9)", "UPDATE node SET up = 4 WHERE id = 1"],
        "node",
        {"id": 3},
        [("DELETE", "node", str(key)) for key in (1, 2, 3, 4)],
    ),
    "a chain of tables": Case(
        [
            "CREATE TABLE t0 (id INT PRIMARY KEY)",
            *(
                f"""CREATE TABLE t{place} (id INT PRIMARY KEY, up INT,
                FOREIGN KEY (up) REFERENCES t{place - 1} (id) ON DELETE CASCADE)"""
                for place in range(1, CHAIN)
            ),
        ],
        ["INSERT INTO t0 VALUES (1), (2)", *(f"INSERT INTO t{n} VALUES (1, 1), (2, 2)" for n in range(1, CHAIN))],
        "t0",
        {"id": 1},
        [("DELETE", f"t{place}", "1") for place in range(CHAIN)],
    ),
    "a diamond that deletes and clears": Case(
        [
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE l (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
            "CREATE TABLE r (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
            """CREATE TABLE b (id INT PRIMARY KEY, l INT, r INT,
              FOREIGN KEY (l) REFERENCES l (id) ON DELETE CASCADE,
              FOREIGN KEY (r) REFERENCES r (id) ON DELETE SET NULL)""",
        ],
        [
            "INSERT INTO p VALUES (1), (2)",
            "INSERT INTO l VALUES (1, 1), (2, 2)",
            "INSERT INTO r VALUES (1, 1), (2, 2)",
            "INSERT INTO b VALUES (1, 1, 1), (2, NULL, 1), (3, 2, 1), (4, 1, 2), (5, 2, 2), (6, 1, NULL)",
        ],
        "p",
        {"id": 1},
        [
            ("DELETE", "b", "1"),
            ("DELETE", "b", "4"),
            ("DELETE", "b", "6"),
            ("DELETE", "l", "1"),
            ("DELETE", "p", "1"),
            ("DELETE", "r", "1"),
            ("UPDATE", "b", "2"),
            ("UPDATE", "b", "3"),
        ],
    ),
    "a diamond whose ways meet in one row": Case(
        [
            *FAMILY,
            """CREATE TABLE b (id INT PRIMARY KEY, c INT, p INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE SET NULL,
              FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)""",
        ],
        [
            "INSERT INTO p VALUES (1), (2)",
            "INSERT INTO c VALUES (1, 1), (2, 2)",
            "INSERT INTO b VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)",
        ],
        "p",
        {"id": 1},
        [
            ("DELETE", "b", "1"),
            ("DELETE", "b", "3"),
            ("DELETE", "c", "1"),
            ("DELETE", "p", "1"),
            ("UPDATE", "b", "2"),
        ],
    ),
    "keys that differ in case, deleted": Case(
        WORDS, WORD_ROWS, "p", {"k": "Ab"}, [("DELETE", "c", "1"), ("DELETE", "c", "2"), ("DELETE", "p", "Ab")]
    ),
    "keys that differ in case, renamed": Case(
        WORDS,
        WORD_ROWS,
        "p",
        {"k": "Ab"},
        [("UPDATE", "c", "1"), ("UPDATE", "c", "2"), ("UPDATE", "p", "z")],
        values={"k": "z"},
    ),
    "composite keys over two levels": Case(
        [
            "CREATE TABLE p (a INT, b VARCHAR(5), PRIMARY KEY (a, b))",
            """CREATE TABLE c (n INT, b VARCHAR(5), a INT, PRIMARY KEY (b, n, a),
              FOREIGN KEY (a, b) REFERENCES p (a, b) ON DELETE CASCADE)""",
            """CREATE TABLE g (id INT PRIMARY KEY, x VARCHAR(5), y INT, z INT,
              FOREIGN KEY (x, y, z) REFERENCES c (b, n, a) ON DELETE CASCADE)""",
        ],
        [
            "INSERT INTO p VALUES (1, 'x'), (1, 'y'), (2, 'x')",
            "INSERT INTO c VALUES (7, 'x', 1), (8, 'x', 1), (7, 'y', 1), (7, 'x', 2)",
            "INSERT INTO g VALUES (1, 'x', 7, 1), (2, 'x', 8, 1), (3, 'y', 7, 1), (4, 'x', 7, 2), (5, 'x', 7, NULL)",
        ],
        "p",
        {"a": 1, "b": "x"},
        [
            ("DELETE", "c", '["x",7,1]'),
            ("DELETE", "c", '["x",8,1]'),
            ("DELETE", "g", "1"),
            ("DELETE", "g", "2"),
            ("DELETE", "p", '[1,"x"]'),
        ],
    ),
}
"""By name: what happens."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


def _prepared(engine: Engine, case: Case, mode: str) -> Watched:
    watched = Watched(engine, *case.tables, exclude_tables=case.left_out)
    watched.write(*case.rows)
    watched.init(triggers=mode == "triggers")
    auditcli.track(engine)
    return watched


def _do(watched: Watched, case: Case) -> list[tuple[str, str, str | None]]:
    """What is recorded of the change."""
    known = len(watched.changes())
    table = watched.table(case.table)
    statement = delete(table) if case.values is None else update(table).values(**case.values)
    with watched.engine.begin() as connection:
        connection.execute(statement.where(*(table.c[name] == value for name, value in case.key.items())))
    changes = watched.changes()[known:]
    assert len({change.transaction_id for change in changes}) == 1
    return sorted(watched.events()[known:], key=str)


def _plan(watched: Watched) -> Plan:
    with watched.engine.connect() as connection:
        return plan_undo(connection, log_tables(), transaction=watched.changes()[-1].transaction_id)


def _rows(watched: Watched, case: Case) -> dict[str, list[tuple[Any, ...]]]:
    names = [table.split()[2] for table in case.tables]
    return {name: sorted(watched.query(f"SELECT * FROM {name}"), key=str) for name in names}


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
@pytest.mark.parametrize("name", CASES)
def test_what_foreign_keys_change_is_recorded_and_comes_back(engine: Engine, name: str, mode: str) -> None:
    case = CASES[name]
    watched = _prepared(engine, case, mode)
    beginning = _rows(watched, case)

    recorded = _do(watched, case)
    watched.check()
    plan = _plan(watched)
    apply_plan(engine, plan)

    assert recorded == case.expected
    assert plan.conflicts == ()
    assert _rows(watched, case) == beginning
    watched.check()


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_rows_whose_parent_nobody_recorded_are_and_their_undo_says_what_is_missing(engine: Engine, mode: str) -> None:
    rows = ("INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (11, 1), (12, 1), (13, 2)")
    case = Case(FAMILY, rows, "p", {"id": 1}, [("DELETE", "c", "11"), ("DELETE", "c", "12")], left_out=("p",))
    watched = _prepared(engine, case, mode)

    recorded = _do(watched, case)
    plan = _plan(watched)
    with engine.begin() as connection:
        connection.execute(insert(watched.table("p")).values(id=1))
    apply_plan(engine, _plan(watched))

    assert recorded == case.expected
    assert {conflict.message.partition(": ")[2] for conflict in plan.conflicts} == {
        "it refers to p 1 (p), which is gone"
    }
    assert watched.query("SELECT * FROM c ORDER BY id") == [(11, 1), (12, 1), (13, 2)]
    watched.check()


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_the_loser_of_a_deadlock_leaves_no_record_and_the_winner_all_of_them(engine: Engine, mode: str) -> None:
    case = Case(FAMILY, ["INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)"], "c", {}, [])
    watched = _prepared(engine, case, mode)
    known = len(watched.changes())
    child = watched.table("c")
    winners: list[str] = []
    numbers: list[object] = []
    both_hold_a_row = threading.Barrier(2)

    def write(client: str, first: int, then: int) -> None:
        with auditcli.context(actor=client), engine.connect() as connection:
            connection.execute(update(child).where(child.c.id == first).values(p=None))
            both_hold_a_row.wait()
            try:
                connection.execute(update(child).where(child.c.id == then).values(p=None))
            except OperationalError as error:
                numbers.append(cast("pymysql.Error", error.orig).args[0])
                connection.rollback()
                return
            connection.commit()
            winners.append(client)

    clients = [threading.Thread(target=write, args=who) for who in (("ann", 1, 2), ("bob", 2, 1))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert numbers == [1213]
    changes = watched.changes()[known:]
    assert [change.actor for change in changes] == winners * 2
    assert sorted(str(change.row_id) for change in changes) == ["1", "2"]
    assert len({change.transaction_id for change in changes}) == 1
    watched.check()
