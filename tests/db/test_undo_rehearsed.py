"""A rehearsed undo: what constraints and the application's own triggers do is said, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

import auditcli
from auditcli.apply import Rehearsal, rehearse_plan
from auditcli.applying.refusal import PlanConflict
from auditcli.errors import ConflictError
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo
from tests.databases import scratch_url
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

LOG = log_tables()
TABLES = (
    "CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER, CHECK (price <> 13))",
    "CREATE TABLE total (id INTEGER PRIMARY KEY, amount INTEGER)",
    "INSERT INTO total VALUES (1, 0)",
)
ADDING_UP = {
    "sqlite": ["CREATE TRIGGER add_up AFTER UPDATE ON item BEGIN UPDATE total SET amount = NEW.price; END"],
    "mysql": ["CREATE TRIGGER add_up AFTER UPDATE ON item FOR EACH ROW UPDATE total SET amount = NEW.price"],
    "postgresql": [
        """CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN UPDATE total SET amount = NEW.price; RETURN NULL; END'""",
        "CREATE TRIGGER add_up AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION add_up()",
    ],
}


@pytest.fixture
def store(any_engine: Engine) -> Watched:
    """An item whose price was raised from 10 to 20."""
    return _with_raised_price(any_engine)


def _with_raised_price(engine: Engine) -> Watched:
    store = Watched(engine, *TABLES)
    store.write("INSERT INTO item VALUES (1, 10)")
    store.write("UPDATE item SET price = 20")
    return store


def _rehearse(store: Watched) -> Rehearsal:
    with store.engine.connect() as connection:
        plan = plan_undo(connection, LOG, ids=[store.changes()[-1].id])
    with auditcli.context(actor="undoer"):
        return rehearse_plan(store.engine, plan)


def test_nothing_of_a_rehearsal_stays(store: Watched) -> None:
    before = store.changes()

    rehearsal = _rehearse(store)

    assert (rehearsal.rows, rehearsal.moved, rehearsal.outside) == (1, (), ())
    assert store.query("SELECT price FROM item") == [(20,)]
    assert store.changes() == before
    assert store.query("SELECT * FROM changelog_undo") == []


def test_rows_that_a_trigger_changed_are_named(store: Watched) -> None:
    store.write(*ADDING_UP[store.engine.name])

    rehearsal = _rehearse(store)

    assert [str(change.row) for change in rehearsal.outside] == ["total/1"]
    assert store.query("SELECT amount FROM total") == [(0,)]


def test_what_a_constraint_would_refuse_is_a_conflict(store: Watched) -> None:
    store.write("CREATE UNIQUE INDEX one_price ON item (price)", "INSERT INTO item VALUES (2, 10)")
    with store.engine.connect() as connection:
        plan = plan_undo(connection, LOG, ids=[store.changes()[-2].id])
        assert [str(conflict.kind) for conflict in plan.conflicts] == ["CONSTRAINT"]

    with pytest.raises(PlanConflict):
        rehearse_plan(store.engine, plan)


def test_a_trigger_that_does_not_let_go_is_a_conflict_and_named(store: Watched) -> None:
    stuck = {
        "sqlite": ["CREATE TRIGGER stuck AFTER UPDATE ON item BEGIN UPDATE item SET price = 99; END"],
        "mysql": ["CREATE TRIGGER stuck BEFORE UPDATE ON item FOR EACH ROW SET NEW.price = 99"],
        "postgresql": [
            "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.price = 99; RETURN NEW; END'",
            "CREATE TRIGGER stuck BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION stuck()",
        ],
    }
    store.write(*stuck[store.engine.name])

    with pytest.raises(PlanConflict, match="stuck"):
        _rehearse(store)

    assert store.query("SELECT price FROM item") == [(20,)]


def test_where_a_trigger_may_write_what_no_rollback_takes_back_it_is_refused(tmp_path: Path) -> None:
    with scratch_url("mariadb", tmp_path) as url:
        engine = create_engine(url)
        store = _with_raised_price(engine)
        store.write("ALTER TABLE total ENGINE = MyISAM", *ADDING_UP["mysql"])

        with pytest.raises(ConflictError, match="total, whose engine has no transactions"):
            _rehearse(store)

        assert store.query("SELECT amount FROM total") == [(0,)]
        engine.dispose()
