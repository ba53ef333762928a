"""Many updates that one statement takes back: the same as step by step, and to the row, or step by step after all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

import auditcli
from auditcli import bulks
from auditcli.apply import PlanConflict, apply_plan, rehearse_plan
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.plan import ConflictKind, Plan, PlanOptions, Step, StepKind
from auditcli.selection import Selection
from auditcli.undo import plan_redo, plan_undo

pytestmark = pytest.mark.thorough

LOG = log_tables()
ROWS = 30
CREATE = "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(40), price NUMERIC(10, 2), stock INTEGER NOT NULL)"


class Store:
    """A table that triggers record, with some rows; `also` are bookkeeping columns, with their types."""

    def __init__(self, engine: Engine, also: dict[str, str] | None = None, around: str | None = None) -> None:
        self.engine = engine
        self.also = also or {}
        with engine.begin() as connection:
            connection.execute(text(CREATE))
            if around is not None:
                connection.execute(text(around))
            for name, type_ in self.also.items():
                connection.execute(text(f"ALTER TABLE item ADD {name} {type_}"))
            for number in range(1, ROWS + 1):
                values = {"id": number, "name": f'nr "{number}" ☃', "price": number / 4, "stock": number}
                connection.execute(
                    text("INSERT INTO item (id, name, price, stock) VALUES (:id, :name, :price, :stock)"), values
                )
        wishes = Wishes(triggers=True, bookkeeping={"item": tuple(self.also)} if self.also else None)
        with engine.connect() as connection:
            prepare(connection, LOG, dialect_named(engine.dialect.name), wishes, now=utc_now())
        auditcli.track(engine)

    def write(self, *statements: str) -> str:
        """One transaction; returns its id."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        with self.engine.connect() as connection:
            reader = LogReader(connection, LOG)
            return str(reader.change(reader.last_id()).transaction_id)

    def rows(self) -> list[tuple[object, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text("SELECT * FROM item ORDER BY id"))]

    def plan(self, transaction: str, *, skip_conflicts: bool = False) -> Plan:
        options = PlanOptions(skip_conflicts=skip_conflicts)
        with self.engine.connect() as connection:
            return plan_undo(connection, LOG, transaction=transaction, options=options)

    def plan_everything(self) -> Plan:
        with self.engine.connect() as connection:
            return plan_undo(connection, LOG, selection=Selection())

    def undo(self, plan: Plan, now: datetime | None = None) -> str:
        clock = utc_now if now is None else lambda: now
        return str(apply_plan(self.engine, plan, clock=clock).transaction_id)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "FEWEST", 5)


@pytest.fixture
def store(any_engine: Engine) -> Store:
    return Store(any_engine)


def _step_by_step(make: Callable[[], Plan], monkeypatch: pytest.MonkeyPatch) -> Plan:
    with monkeypatch.context() as patched:
        patched.setattr(bulks, "FEWEST", 10**9)
        return make()


def _sorted(steps: tuple[Step, ...]) -> list[Step]:
    return sorted(steps, key=lambda step: step.takes_back)


def test_what_one_statement_takes_back_can_be_redone(store: Store) -> None:
    start = store.rows()
    bad = store.write("UPDATE item SET price = price * 3, name = 'oops'")
    spoilt = store.rows()

    plan = store.plan(bad)
    undo = store.undo(plan)
    undone = store.rows()
    with store.engine.connect() as connection:
        redo = plan_redo(connection, LOG, transaction=undo)
    store.undo(redo)

    assert (len(plan.bulks), plan.rows, len(redo.bulks)) == (1, ROWS, 1)
    assert undone == start
    assert store.rows() == spoilt


def test_its_steps_are_those_that_are_planned_one_by_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = store.write("UPDATE item SET price = price * 3, name = 'oops'", "UPDATE item SET price = 1 WHERE id < 9")

    plan = store.plan(bad)
    single = _step_by_step(lambda: store.plan(bad), monkeypatch)

    assert plan.bulks
    assert not single.bulks
    assert _sorted(tuple(plan.steps)) == _sorted(tuple(single.steps))
    assert plan.steps[ROWS - 1] == tuple(plan.steps)[-1]
    assert replace(plan, steps=()) == replace(single, steps=())
    assert (plan.counts, plan.summary) == (single.counts, single.summary)


def test_rows_that_others_changed_are_conflicts_as_ever(store: Store) -> None:
    bad = store.write("UPDATE item SET price = price * 3")
    store.write("UPDATE item SET price = 5 WHERE id IN (3, 4)")
    store.write("UPDATE item SET stock = 5 WHERE id = 7")

    refused = store.plan(bad)
    plan = store.plan(bad, skip_conflicts=True)
    store.undo(plan)

    assert [conflict.kind for conflict in refused.conflicts] == [ConflictKind.CHANGED] * 2
    assert (plan.rows, plan.bulks[0].rows, len(plan.single_steps)) == (ROWS - 2, ROWS - 3, 1)
    assert [float(str(row[2])) for row in store.rows()] == [5 if at in (3, 4) else at / 4 for at in range(1, ROWS + 1)]
    assert store.rows()[6][3] == 5


def test_a_row_that_changed_after_the_plan_keeps_all_of_it_from_being_written(store: Store) -> None:
    bad = store.write("UPDATE item SET price = price * 3")
    plan = store.plan(bad)
    store.write("UPDATE item SET price = 5 WHERE id = 3")
    before = store.rows()

    with pytest.raises(PlanConflict) as refused:
        store.undo(plan)

    assert [(each.kind, str(each.row)) for each in refused.value.conflicts] == [(ConflictKind.CHANGED, "item/3")]
    assert store.rows() == before


def test_another_cell_that_changed_after_the_plan_stays_as_it_is(store: Store) -> None:
    bad = store.write("UPDATE item SET price = price * 3")
    plan = store.plan(bad)
    store.write("UPDATE item SET stock = 77 WHERE id = 3")

    store.undo(plan)

    assert store.rows()[2][3] == 77
    assert float(str(store.rows()[2][2])) == 0.75


def test_an_undo_of_everything_twice_is_already_done(store: Store) -> None:
    store.write("UPDATE item SET price = price * 3")
    bad = store.write("UPDATE item SET stock = stock + 1")
    store.undo(store.plan(bad))

    again = store.plan(bad)
    everything = store.plan_everything()

    assert again.nothing_but_already
    assert {cell.column for step in everything.steps for cell in step.cells} == {"price"}


@pytest.mark.parametrize("any_engine", ["postgresql", "mariadb"], indirect=True)
def test_it_waits_for_nobody_who_writes_other_rows(store: Store) -> None:
    bad = store.write("UPDATE item SET price = price * 3 WHERE id > 10")
    plan = store.plan(bad)

    with store.engine.begin() as someone:
        someone.execute(text("UPDATE item SET stock = 5 WHERE id = 7"))
        someone.execute(text("INSERT INTO item VALUES (99, 'new', 1, 1)"))
        outcome = apply_plan(store.engine, plan, lock_timeout=1.0)

    assert plan.bulks
    assert outcome.rows == ROWS - 10
    assert store.rows()[6][3] == 5


def test_it_is_logged_as_one_undo_with_a_record_a_row(store: Store) -> None:
    bad = store.write("UPDATE item SET stock = stock + 1")

    undo = store.undo(store.plan(bad))

    with store.engine.connect() as connection:
        reader = LogReader(connection, LOG)
        records = list(reader.transaction_changes(undo))
        taken_back = [change.id for change in reader.transaction_changes(bad)]
        entry = reader.undo_runs([undo])[undo]
    assert len(records) == ROWS
    assert entry.runs == ((taken_back[0], taken_back[-1]),)


def test_a_rehearsal_does_all_of_it_and_leaves_nothing(store: Store) -> None:
    bad = store.write("UPDATE item SET stock = stock + 1")
    before = store.rows()

    seen = rehearse_plan(store.engine, store.plan(bad))

    assert (seen.rows, seen.outside) == (ROWS, ())
    assert store.rows() == before


ON_UPDATE = {
    "sqlite": (
        (
            "CREATE TRIGGER own AFTER UPDATE ON item WHEN NEW.id = 3 AND NEW.stock = 3 "
            "BEGIN UPDATE item SET stock = 99 WHERE id = 3 AND stock = 3 AND NOT EXISTS (SELECT 1 FROM once); "
            "INSERT INTO once VALUES (1); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.id = 3 AND NEW.stock = 3 AND NOT EXISTS (SELECT 1 FROM once) THEN "
            "INSERT INTO once VALUES (1); NEW.stock := 99; END IF; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER own BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION own()",
    ),
    "mysql": (
        (
            "CREATE TRIGGER own BEFORE UPDATE ON item FOR EACH ROW "
            "IF NEW.id = 3 AND NEW.stock = 3 AND NOT EXISTS (SELECT 1 FROM once) THEN "
            "INSERT INTO once VALUES (1); SET NEW.stock = 99; END IF"
        ),
    ),
}


def test_a_row_that_a_trigger_moves_is_put_right_step_by_step(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE once (n INTEGER)")
        for statement in ON_UPDATE[store.engine.dialect.name]:
            connection.exec_driver_sql(statement)
    bad = store.write("UPDATE item SET stock = stock + 100")
    plan = store.plan(bad)

    outcome = apply_plan(store.engine, plan)

    assert plan.bulks
    assert outcome.corrected == 1
    assert [row[3] for row in store.rows()] == list(range(1, ROWS + 1))


def test_an_insert_and_a_delete_are_left_to_the_steps(store: Store) -> None:
    start = store.rows()
    bad = store.write(
        "UPDATE item SET stock = stock + 1", "DELETE FROM item WHERE id = 2", "INSERT INTO item VALUES (99, 'n', 1, 1)"
    )

    plan = store.plan(bad)
    store.undo(plan)

    assert sorted(step.kind for step in plan.single_steps) == [StepKind.DELETE, StepKind.INSERT]
    assert plan.bulks[0].rows == ROWS - 1
    assert store.rows() == start


ALSO = {
    "sqlite": {"updated_at": "TIMESTAMP", "version": "INTEGER", "moved": "NUMERIC"},
    "postgresql": {"updated_at": "timestamptz(3)", "version": "int", "moved": "timestamp"},
    "mysql": {"updated_at": "timestamp(3) NULL", "version": "int unsigned", "moved": "datetime"},
}
SPOIL = (
    "UPDATE item SET updated_at = '2001-02-03 04:05:06.789', version = id WHERE id > 2",
    "UPDATE item SET version = 1000000000, moved = '2001-02-03 04:05:06.123456' WHERE id IN (5, 6)",
    "UPDATE item SET price = 99, moved = '2001-02-03 01:01:01.123456' WHERE id <> 7",
    "UPDATE item SET price = 99 WHERE id = 7",
)
LATER = datetime(2030, 1, 2, 3, 4, 5, 678999, tzinfo=UTC)


@pytest.fixture
def kept(any_engine: Engine) -> Store:
    """A table with stamps and a version counter, which some rows have no values of yet."""
    return Store(any_engine, ALSO[any_engine.dialect.name])


def test_bookkeeping_moves_on_as_it_does_step_by_step(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    start = kept.rows()
    plan = kept.plan(kept.write(*SPOIL))
    kept.undo(plan, LATER)
    in_bulk = kept.rows()
    again = kept.write(*SPOIL)
    single = _step_by_step(lambda: kept.plan(again), monkeypatch)
    kept.undo(single, LATER)

    assert ([bulk.rows for bulk in plan.bulks], plan.single_steps, single.bulks) == ([ROWS], (), ())
    assert plan.bookkeeping == single.bookkeeping == {plan.bulks[0].table: tuple(kept.also)}
    assert kept.rows() == in_bulk
    assert [row[:4] for row in in_bulk] == [row[:4] for row in start]
    assert in_bulk != start


PART = "CREATE TABLE part (id INTEGER PRIMARY KEY, item INTEGER, FOREIGN KEY (item) REFERENCES item (id))"
IMPORT = tuple(f"INSERT INTO item VALUES ({at}, 'new ☃', {at}, 1)" for at in range(100, 120))


def test_an_import_goes_by_one_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    start = store.rows()
    bad = store.write(*IMPORT)

    plan = store.plan(bad)
    single = _step_by_step(lambda: store.plan(bad), monkeypatch)
    outcome = apply_plan(store.engine, plan)

    assert ([bulk.rows for bulk in plan.bulks], plan.single_steps) == ([20], ())
    assert _sorted(tuple(plan.steps)) == _sorted(tuple(single.steps))
    assert replace(plan, steps=()) == replace(single, steps=())
    assert plan.counts == single.counts
    assert (outcome.rows, store.rows()) == (20, start)


def test_imported_rows_that_others_changed_stay(store: Store) -> None:
    bad = store.write(*IMPORT)
    store.write("UPDATE item SET stock = 5 WHERE id = 103", "DELETE FROM item WHERE id = 104")

    refused = store.plan(bad)
    plan = store.plan(bad, skip_conflicts=True)
    store.undo(plan)

    assert [conflict.kind for conflict in refused.conflicts] == [ConflictKind.CHANGED]
    assert ([bulk.rows for bulk in plan.bulks], plan.already) == ([18], 1)
    assert [row[0] for row in store.rows()[ROWS:]] == [103]


def test_an_imported_row_that_changed_after_the_plan_keeps_all_of_them(store: Store) -> None:
    plan = store.plan(store.write(*IMPORT))
    store.write("UPDATE item SET stock = 5 WHERE id = 103")

    with pytest.raises(PlanConflict) as refused:
        store.undo(plan)

    assert [(each.kind, str(each.row)) for each in refused.value.conflicts] == [(ConflictKind.CHANGED, "item/103")]
    assert len(store.rows()) == ROWS + 20


def test_an_imported_row_that_others_refer_to_is_a_conflict(any_engine: Engine) -> None:
    store = Store(any_engine, around=PART)
    bad = store.write(*IMPORT)
    store.write("INSERT INTO part VALUES (1, 103)")

    refused = store.plan(bad)
    plan = store.plan(bad, skip_conflicts=True)
    store.write("INSERT INTO part VALUES (2, 104)")
    with pytest.raises(PlanConflict) as later:
        store.undo(plan)
    store.undo(store.plan(bad, skip_conflicts=True))

    assert [(each.kind, str(each.row)) for each in refused.conflicts] == [(ConflictKind.DEPENDENT, "item/103")]
    assert [bulk.rows for bulk in plan.bulks] == [19]
    assert [(each.kind, str(each.row)) for each in later.value.conflicts] == [(ConflictKind.DEPENDENT, "item/104")]
    assert [row[0] for row in store.rows()[ROWS:]] == [103, 104]


def test_parents_and_children_of_one_import_are_left_to_the_steps(any_engine: Engine) -> None:
    store = Store(any_engine, around=PART)
    bad = store.write(*IMPORT, *(f"INSERT INTO part VALUES ({at}, {at})" for at in range(100, 120)))

    plan = store.plan(bad)
    store.undo(plan)

    assert plan.bulks == ()
    assert len(store.rows()) == ROWS


def test_lost_rows_come_back_by_one_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("UPDATE item SET name = NULL, price = NULL WHERE id = 9")
    start = store.rows()
    bad = store.write("DELETE FROM item WHERE id > 5")

    plan = store.plan(bad)
    single = _step_by_step(lambda: store.plan(bad), monkeypatch)
    undo = store.undo(plan)
    undone = store.rows()
    with store.engine.connect() as connection:
        redo = plan_redo(connection, LOG, transaction=undo)
    store.undo(redo)

    assert [bulk.rows for bulk in (*plan.bulks, *redo.bulks)] == [ROWS - 5] * 2
    assert _sorted(tuple(plan.steps)) == _sorted(tuple(single.steps))
    assert replace(plan, steps=()) == replace(single, steps=())
    assert (undone, len(store.rows())) == (start, 5)


def test_a_lost_row_whose_key_was_taken_is_a_conflict(store: Store) -> None:
    bad = store.write("DELETE FROM item WHERE id > 5")
    store.write("INSERT INTO item VALUES (7, 'other', 1, 1)")

    refused = store.plan(bad)
    plan = store.plan(bad, skip_conflicts=True)
    store.write("INSERT INTO item VALUES (8, 'other', 1, 1)")
    with pytest.raises(PlanConflict):
        store.undo(plan)
    store.undo(store.plan(bad, skip_conflicts=True))

    assert [(each.kind, str(each.row)) for each in refused.conflicts] == [(ConflictKind.EXISTS, "item/7")]
    assert [bulk.rows for bulk in plan.bulks] == [ROWS - 6]
    assert [row[1] == "other" for row in store.rows()] == [at in (7, 8) for at in range(1, ROWS + 1)]


@pytest.mark.parametrize("any_engine", ["postgresql"], indirect=True)
def test_lost_rows_bring_their_numbers_back(any_engine: Engine) -> None:
    store = Store(any_engine, around="CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)")
    store.write("INSERT INTO counted (n) SELECT n FROM generate_series(1, 9) n")
    bad = store.write("DELETE FROM counted")
    store.write("ALTER SEQUENCE counted_id_seq RESTART", "UPDATE item SET stock = 5")

    plan = store.plan(bad)
    store.undo(plan)
    store.write("INSERT INTO counted (n) VALUES (10)")

    assert [bulk.rows for bulk in plan.bulks] == [9]
    with any_engine.connect() as connection:
        found = connection.execute(text("SELECT id, n FROM counted ORDER BY id")).fetchall()
    assert [tuple(row) for row in found] == [(at, at) for at in range(1, 11)]


NUMBER = st.sampled_from(["NULL", "0", "1", "1.5", "price + 1"])
TEXT = st.sampled_from(["NULL", "''", "'a'", "'A'", "'1'", "'null'", "'{}'", "'\"x\"'", "'é☃'"])
STATEMENT = st.one_of(
    st.builds("UPDATE item SET price = {} WHERE id > {}".format, NUMBER, st.integers(0, 20)),
    st.builds("UPDATE item SET name = {} WHERE id > {}".format, TEXT, st.integers(0, 20)),
    st.builds("UPDATE item SET stock = stock + {} WHERE id < {}".format, st.integers(0, 2), st.integers(5, 30)),
    st.builds("DELETE FROM item WHERE id = {}".format, st.integers(1, 30)),
    st.builds("DELETE FROM item WHERE id > {}".format, st.integers(9, 2000)),
    st.builds(
        "INSERT INTO item (id, name, price, stock) SELECT id + {0}, name, price, stock FROM item "
        "WHERE id < 9 AND id + {0} NOT IN (SELECT id FROM item)".format,
        st.sampled_from([1000, 2000, 3000]),
    ),
    st.builds("UPDATE item SET id = id + 100 WHERE id = {}".format, st.integers(1, 30)),
)


@pytest.fixture(params=["plain", "kept"])
def either(request: pytest.FixtureRequest, any_engine: Engine) -> Store:
    """A table without bookkeeping columns, or with some."""
    return Store(any_engine, ALSO[any_engine.dialect.name] if request.param == "kept" else None)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.lists(STATEMENT, min_size=1, max_size=3), min_size=1, max_size=5), chosen=st.integers(0, 4))
def test_whatever_happened_the_plan_is_the_one_that_is_made_step_by_step(
    either: Store, monkeypatch: pytest.MonkeyPatch, history: list[list[str]], chosen: int
) -> None:
    counting = "SET version = COALESCE(version, 0) + 1, price" if either.also else "SET price"
    transactions = [
        either.write(*(statement.replace("SET price", counting) for statement in statements)) for statements in history
    ]
    transaction = transactions[chosen % len(transactions)]

    for make in (lambda: either.plan(transaction, skip_conflicts=True), either.plan_everything):
        plan = make()
        single = _step_by_step(make, monkeypatch)

        assert _sorted(tuple(plan.steps)) == _sorted(tuple(single.steps))
        assert replace(plan, steps=(), conflicts=()) == replace(single, steps=(), conflicts=())
        assert set(map(str, plan.conflicts)) == set(map(str, single.conflicts))
