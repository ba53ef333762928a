"""A rehearsed undo: what constraints and the application's own triggers do is said, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

import auditcli
from auditcli.apply import Rehearsal, apply_plan, rehearse_plan
from auditcli.applying.refusal import PlanConflict
from auditcli.errors import ConflictError, ExitCode
from auditcli.log.tables import log_tables
from auditcli.plan import Plan
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

_NOTE = """CREATE TABLE note (id INTEGER PRIMARY KEY, item_id INTEGER,
    FOREIGN KEY (item_id) REFERENCES item (id){})"""
LEAVING_A_NOTE = {
    "sqlite": [
        _NOTE.format(" DEFERRABLE INITIALLY DEFERRED"),
        "CREATE TRIGGER leaving AFTER DELETE ON item BEGIN INSERT INTO note VALUES (1, OLD.id); END",
    ],
    "mysql": [
        _NOTE.format(""),
        "CREATE TRIGGER leaving AFTER DELETE ON item FOR EACH ROW INSERT INTO note VALUES (1, OLD.id)",
    ],
    "postgresql": [
        _NOTE.format(" DEFERRABLE INITIALLY DEFERRED"),
        """CREATE FUNCTION leaving() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO note VALUES (1, OLD.id); RETURN NULL; END'""",
        "CREATE TRIGGER leaving AFTER DELETE ON item FOR EACH ROW EXECUTE FUNCTION leaving()",
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


def _last_undone(store: Watched) -> Plan:
    with store.engine.connect() as connection:
        return plan_undo(connection, LOG, ids=[store.changes()[-1].id])


def _rehearse(store: Watched) -> Rehearsal:
    plan = _last_undone(store)
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


def test_a_cell_that_a_trigger_moves_is_named_and_set_again(store: Watched) -> None:
    moving = {
        "sqlite": [
            """CREATE TRIGGER moving AFTER UPDATE ON item WHEN OLD.price = 20
            BEGIN UPDATE item SET price = 15 WHERE id = NEW.id; END"""
        ],
        "mysql": [
            """CREATE TRIGGER moving BEFORE UPDATE ON item FOR EACH ROW
            SET NEW.price = IF(OLD.price = 20, 15, NEW.price)"""
        ],
        "postgresql": [
            """CREATE FUNCTION moving() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF OLD.price = 20 THEN NEW.price = 15; END IF; RETURN NEW; END'""",
            "CREATE TRIGGER moving BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION moving()",
        ],
    }
    store.write(*moving[store.engine.name])
    known = len(store.changes())

    rehearsal = _rehearse(store)

    [[cell]] = [step.cells for step in rehearsal.moved]
    assert (cell.column, cell.expected, cell.target) == ("price", 15, 10)
    assert (store.query("SELECT price FROM item"), len(store.changes())) == ([(20,)], known)

    outcome = apply_plan(store.engine, _last_undone(store))

    assert outcome.corrected == 1
    assert store.query("SELECT price FROM item") == [(10,)]


def test_what_only_a_commit_would_refuse_is_found_before_the_rollback(store: Watched) -> None:
    store.write(*LEAVING_A_NOTE[store.engine.name])
    known = len(store.changes())
    with store.engine.connect() as connection:
        plan = plan_undo(connection, LOG, ids=[store.changes()[0].id, store.changes()[1].id])
    assert plan.conflicts == ()

    for act in (rehearse_plan, apply_plan):
        with pytest.raises(PlanConflict, match=r"(?i)note|foreign key"):
            act(store.engine, plan)

    assert store.query("SELECT price FROM item") == [(20,)]
    assert (store.query("SELECT * FROM note"), len(store.changes())) == ([], known)


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
    with pytest.raises(PlanConflict, match="triggers of item: stuck") as ended:
        apply_plan(store.engine, _last_undone(store))

    assert ended.value.exit_code is ExitCode.CONFLICT
    assert store.changes()[-1].event_type == "UPDATE"
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
