"""An undo while others write, on three databases: what they commit is never lost, and of two undos one does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

import auditcli
from auditcli.apply import apply_plan
from auditcli.applying.refusal import PlanConflict
from auditcli.driver import define
from auditcli.errors import AuditError
from auditcli.log.tables import log_tables
from auditcli.plan import Plan, PlanOptions
from auditcli.undo import plan_undo
from tests.databases import scratch_url
from tests.db.shop import kinds
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

LOG = log_tables()
TABLES = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, price INTEGER, name VARCHAR(20))",
    """CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER,
    FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE)""",
)


def _store(engine: Engine) -> Watched:
    return Watched(engine, *TABLES)


@pytest.fixture(params=["postgresql", "mariadb"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """A database whose transactions lock rows, not all of it."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        yield _store(engine)
        engine.dispose()


def _plan(store: Watched, *ids: int, **options: Any) -> Plan:
    with store.engine.connect() as connection:
        return plan_undo(connection, LOG, ids=ids, options=PlanOptions(**options))


def _last_id(store: Watched) -> int:
    return store.changes()[-1].id


def _while_uncommitted(store: Watched, statement: str, act: Callable[[], object]) -> BaseException | None:
    """What `act` ended with, which began while somebody's statement was not committed yet."""
    with ThreadPoolExecutor(1) as pool:
        with store.engine.begin() as somebody:
            define(somebody, statement)
            doing = pool.submit(act)
            sleep(0.3)
            assert not doing.done()
        return doing.exception(timeout=10)


def test_a_child_that_is_committed_while_an_undo_waits_does_not_vanish_with_its_parent(busy: Watched) -> None:
    busy.write("INSERT INTO parent VALUES (1, 10, 'tea')")
    plan = _plan(busy, _last_id(busy))

    ended = _while_uncommitted(busy, "INSERT INTO child VALUES (1, 1)", lambda: apply_plan(busy.engine, plan))

    assert isinstance(ended, PlanConflict)
    assert kinds(ended.conflicts) == ["DEPENDENT"]
    assert busy.query("SELECT * FROM child") == [(1, 1)]


def test_a_value_that_is_committed_while_an_undo_waits_is_not_overwritten(busy: Watched) -> None:
    busy.write("INSERT INTO parent VALUES (1, 10, 'tea')")
    busy.write("UPDATE parent SET price = 20")
    plan = _plan(busy, _last_id(busy))

    ended = _while_uncommitted(busy, "UPDATE parent SET price = 30", lambda: apply_plan(busy.engine, plan))

    assert isinstance(ended, PlanConflict)
    assert kinds(ended.conflicts) == ["CHANGED"]
    assert busy.query("SELECT price FROM parent") == [(30,)]


def test_of_two_undos_of_one_change_at_once_one_does_it(any_engine: Engine) -> None:
    store = _store(any_engine)
    store.write("INSERT INTO parent VALUES (1, 10, 'tea')")
    store.write("UPDATE parent SET price = 20")
    plans = [_plan(store, _last_id(store)) for _ in range(2)]
    both = threading.Barrier(2)

    def undo(plan: Plan) -> str:
        both.wait()
        try:
            return "done" if apply_plan(any_engine, plan).transaction_id else "nothing"
        except PlanConflict:
            return "reported"

    with ThreadPoolExecutor(2) as pool:
        ended = sorted(pool.map(undo, plans))

    assert ended == ["done", "reported"]
    assert store.query("SELECT price FROM parent") == [(10,)]
    assert len(store.query("SELECT * FROM changelog_undo")) == 1
    assert _plan(store, store.changes()[1].id).nothing_but_already


def test_undos_against_live_writers_lose_no_update(busy: Watched) -> None:
    rows = ", ".join(f"({key}, 0, 'tea')" for key in range(20))
    busy.write(f"INSERT INTO parent VALUES {rows}")
    over = threading.Event()

    def count_up(writer: int) -> int:
        done = 0
        while not over.is_set():
            busy.write(f"UPDATE parent SET price = price + 1 WHERE id = {(writer * 7 + done) % 20}")
            done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(count_up, writer) for writer in range(2)]
        taken_back, refused = 0, 0
        for _ in range(12):
            change = next((each for each in reversed(busy.changes()) if each.event_type == "UPDATE"), None)
            if change is None:
                continue
            plan = _plan(busy, change.id)
            try:
                with auditcli.context(actor="undoer"):
                    taken_back += apply_plan(busy.engine, plan).rows
            except AuditError:
                refused += 1
        over.set()
        written = sum(writer.result() for writer in writers)

    [(total,)] = busy.query("SELECT SUM(price) FROM parent")
    assert total == written - taken_back
    assert taken_back + refused > 0
