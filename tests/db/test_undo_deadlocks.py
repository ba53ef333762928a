"""An undo that the database ends in favour of somebody else: it is done again as a whole, or reported."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest
from sqlalchemy import create_engine

from auditcli.apply import apply_plan
from auditcli.applying.retrying import TRIES
from auditcli.dialects import dialect_named
from auditcli.driver import define
from auditcli.errors import AuditError, ExitCode, LockTimeout
from auditcli.log.tables import log_tables
from auditcli.plan import Plan
from auditcli.undo import plan_undo
from tests.databases import scratch_url
from tests.db.replayed import opened, replay
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

LOG = log_tables()
ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER)"
LOSING = {
    "mysql": [
        "CREATE SEQUENCE attempt",
        """CREATE TRIGGER losing BEFORE UPDATE ON item FOR EACH ROW
        IF NEXTVAL(attempt) <= {} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF""",
    ],
    "postgresql": [
        "CREATE SEQUENCE attempt",
        """CREATE FUNCTION losing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempt') <= {} THEN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END IF;
        RETURN NEW; END $$""",
        "CREATE TRIGGER losing BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION losing()",
    ],
}
"""What loses so many times: numbers of a sequence stay drawn when a transaction is rolled back."""


@pytest.fixture(params=["postgresql", "mariadb"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """Two items at a price of 20 that was 10, in a database whose transactions lock rows."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        store = Watched(engine, ITEM)
        store.write("INSERT INTO item VALUES (1, 10), (2, 10)")
        store.write("UPDATE item SET price = 20")
        yield store
        engine.dispose()


def _plan(store: Watched, *ids: int) -> Plan:
    with store.engine.connect() as connection:
        return plan_undo(connection, LOG, ids=ids or [change.id for change in store.changes()[-2:]])


def _losing(store: Watched, times: int) -> None:
    store.write(*(statement.format(times) for statement in LOSING[store.engine.name]))


def test_an_undo_that_loses_to_a_writer_who_locks_the_other_way_round_is_done_again(busy: Watched) -> None:
    busy.write("CREATE TABLE heavy (id INTEGER PRIMARY KEY)")
    plan = _plan(busy)
    with ThreadPoolExecutor(1) as pool:
        with busy.engine.begin() as writer:
            if busy.engine.name == "postgresql":
                define(writer, "SET LOCAL deadlock_timeout = '20s'")
            # Of two the one that has written less has to give in.
            define(writer, f"INSERT INTO heavy VALUES {', '.join(f'({key})' for key in range(50))}")
            define(writer, "UPDATE item SET price = price WHERE id = 2")
            doing = pool.submit(apply_plan, busy.engine, plan)
            sleep(0.3)
            define(writer, "UPDATE item SET price = price WHERE id = 1")
        outcome = doing.result(timeout=20)

    assert outcome.rows == 2
    assert busy.query("SELECT price FROM item") == [(10,), (10,)]
    assert len(busy.query("SELECT * FROM changelog_undo")) == 1
    assert busy.differences() == []


def test_an_undo_that_loses_some_times_is_done_once(busy: Watched) -> None:
    plan = _plan(busy)
    _losing(busy, TRIES - 1)

    apply_plan(busy.engine, plan)

    assert busy.query("SELECT price FROM item") == [(10,), (10,)]
    assert len(busy.query("SELECT * FROM changelog_undo")) == 1
    assert len(busy.changes()) == 6


def test_an_undo_that_loses_each_time_is_reported_and_writes_nothing(busy: Watched) -> None:
    plan = _plan(busy)
    _losing(busy, 1000)

    with pytest.raises(LockTimeout, match=f"nothing was written.* {TRIES} times in favour of other writers") as ended:
        apply_plan(busy.engine, plan)

    assert ended.value.exit_code is ExitCode.FAILURE
    assert "run it again" in str(ended.value.hint)
    assert busy.query("SELECT price FROM item") == [(20,), (20,)]
    assert len(busy.changes()) == 4


def test_a_replay_that_loses_in_its_target_does_the_transaction_again(busy: Watched, tmp_path: Path) -> None:
    origin = Watched(create_engine(f"sqlite:///{tmp_path / 'origin.db'}"), ITEM)
    origin.write("INSERT INTO item VALUES (1, 20), (2, 20)")
    replay(opened(origin.engine), opened(busy.engine))
    origin.write("UPDATE item SET price = 30")
    _losing(busy, TRIES - 1)

    replay(opened(origin.engine), opened(busy.engine))

    assert busy.query("SELECT price FROM item") == [(30,), (30,)]
    origin.engine.dispose()


def test_undos_of_the_same_rows_in_opposite_orders_do_not_wait_for_each_other(
    busy: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditcli.applying.retrying.TRIES", 1)
    monkeypatch.setattr(dialect_named(busy.engine.name), "most_marks", 5)
    keys = range(3, 203)
    busy.write(f"INSERT INTO item VALUES {', '.join(f'({key}, 0)' for key in keys)}")
    for ahead in (keys, reversed(keys)):
        busy.write(*(f"UPDATE item SET price = price + 1 WHERE id = {key}" for key in ahead))
    upwards, downwards = busy.changes()[-2 * len(keys) : -len(keys)], busy.changes()[-len(keys) :]
    plans = [_plan(busy, *(change.id for change in changes)) for changes in (downwards, upwards + downwards)]
    both = threading.Barrier(2)

    def undo(plan: Plan) -> str:
        both.wait()
        try:
            return "done" if apply_plan(busy.engine, plan).transaction_id else "nothing"
        except AuditError as error:
            return type(error).__name__

    with ThreadPoolExecutor(2) as pool:
        ended = sorted(pool.map(undo, plans))

    assert ended == ["PlanConflict", "done"]
