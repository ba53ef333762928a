"""A plan that went through a file is applied exactly, on every database."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import Engine

import auditcli
from auditcli.apply import Outcome, apply_plan
from auditcli.clock import utc_now
from auditcli.driver import define, dialect_of
from auditcli.errors import ConflictError
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.plan import ConflictKind, Plan
from auditcli.planning.savedplan import SavedPlan, decided, plan_to_save
from auditcli.recheck import recheck
from auditcli.saved import check_origin, origin_of, read_plan, saving
from auditcli.undo import plan_redo, plan_undo

pytestmark = pytest.mark.thorough

LOG = log_tables()

DDL = (
    "CREATE TABLE maker (id INTEGER PRIMARY KEY, name VARCHAR(40))",
    """CREATE TABLE item (id INTEGER PRIMARY KEY, maker_id INTEGER, price NUMERIC(10, 2), weight FLOAT,
      note VARCHAR(40), made TIMESTAMP NULL, FOREIGN KEY (maker_id) REFERENCES maker (id) ON DELETE CASCADE)""",
    "INSERT INTO maker VALUES (1, 'Ann'), (2, NULL)",
    "INSERT INTO item VALUES (1, 1, 1.10, 0.1, 'a''b', '2026-02-03 04:05:06'), (2, 2, 7, -0.5, '', NULL)",
)
WRONG = (
    "UPDATE item SET price = price * 100, weight = weight / 3, made = NULL, note = 'wrong' WHERE id = 1",
    "DELETE FROM maker WHERE id = 2",
    "INSERT INTO maker VALUES (9, 'Zoe')",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a plan is saved."""
    return tmp_path / "plan.json"


@pytest.fixture
def shop(any_engine: Engine) -> Engine:
    """A shop in which something went wrong."""
    write(any_engine, *DDL)
    with any_engine.connect() as connection:
        prepare(connection, LOG, dialect_of(connection), Wishes(triggers=True), now=utc_now())
    write(any_engine, *WRONG)
    return any_engine


def test_a_plan_from_a_file_takes_all_of_it_back_and_can_be_redone(shop: Engine, file: Path) -> None:
    wrong = contents(shop)
    save(shop, file)

    done = apply_file(shop, file)
    right = contents(shop)
    with shop.connect() as connection:
        again = plan_redo(connection, LOG, actor="dora")
    apply_plan(shop, again)

    assert done.rows == 4
    assert [row[:5] for row in right["item"]] == [ITEM_1, (2, 2, "7.00", -0.5, "")]
    assert right["maker"] == [(1, "Ann"), (2, None)]
    assert contents(shop) == wrong


def test_a_plan_is_the_same_after_its_file(shop: Engine, file: Path) -> None:
    saved = save(shop, file)

    assert read_plan(file) == saved


def test_a_plan_that_was_applied_is_done_already(shop: Engine, file: Path) -> None:
    save(shop, file)
    apply_file(shop, file)

    again = loaded(shop, file)

    assert (again.steps, again.conflicts, again.already) == ((), (), 4)


def test_who_changed_a_cell_since_is_named(shop: Engine, file: Path) -> None:
    position = save(shop, file).origin.position
    write(shop, "UPDATE item SET price = 3 WHERE id = 1", "DELETE FROM maker WHERE id = 9")

    plan = loaded(shop, file)

    [conflict] = plan.conflicts
    assert (conflict.kind, conflict.column) == (ConflictKind.CHANGED, "price")
    assert conflict.by is not None
    assert (conflict.by.id, conflict.by.row_id) == (position + 1, "1")
    with pytest.raises(ConflictError):
        apply_plan(shop, plan)


def test_a_row_changed_between_the_check_and_the_lock_is_a_conflict(shop: Engine, file: Path) -> None:
    save(shop, file)
    plan = loaded(shop, file)
    write(shop, "UPDATE item SET price = 3 WHERE id = 1")
    before = contents(shop)

    with pytest.raises(ConflictError, match=r"item/1 price: .* is .* now"):
        apply_plan(shop, plan)

    assert contents(shop) == before


@pytest.mark.parametrize("any_engine", ["sqlite", "mariadb"], indirect=True)
def test_rows_that_swapped_their_keys_are_swapped_back_once(shop: Engine, file: Path) -> None:
    with shop.connect() as connection:
        start = LogReader(connection, LOG).last_id()
    write(shop, "INSERT INTO maker VALUES (21, 'Cy'), (22, 'Di')")
    swapped = ("SET id = 99 WHERE id = 21", "SET id = 21 WHERE id = 22", "SET id = 22 WHERE id = 99")
    write(shop, *(f"UPDATE maker {each}" for each in swapped))
    save(shop, file, range(start + 3, start + 6))
    apply_file(shop, file)
    once = contents(shop)

    again = loaded(shop, file)

    assert once["maker"][-2:] == [(21, "Cy"), (22, "Di")]
    assert (again.steps, again.conflicts) == ((), ())


def test_a_row_that_has_another_key_since_is_not_taken_for_gone(shop: Engine, file: Path) -> None:
    save(shop, file)
    write(shop, "UPDATE maker SET id = 10 WHERE id = 9")

    [conflict] = loaded(shop, file).conflicts

    assert conflict.kind is ConflictKind.CHANGED
    assert "maker/9: its key changed since the plan was made" in conflict.message


ITEM_1 = (1, 1, "1.10", 0.1, "a'b")


def save(engine: Engine, file: Path, ids: Iterable[int] | None = None) -> SavedPlan:
    """Save the plan that takes these changes back, or everything."""
    with engine.connect() as connection:
        reader = LogReader(connection, LOG)
        plan = plan_undo(connection, LOG, ids=ids or range(1, reader.last_id() + 1))
        origin = origin_of(reader, "the shop", made_by="dora", words="audit undo", now=utc_now())
    saved = plan_to_save(plan, None, origin)
    with saving(file, saved):
        pass
    return saved


def loaded(engine: Engine, file: Path) -> Plan:
    """The plan in a file as it is to be applied now."""
    saved = read_plan(file)
    with engine.connect() as connection:
        reader = LogReader(connection, LOG)
        check_origin(reader, saved.origin, str(file), "the shop")
        return recheck(reader, decided(saved), saved.origin.position)


def apply_file(engine: Engine, file: Path) -> Outcome:
    with auditcli.context(actor="dora"):
        return apply_plan(engine, loaded(engine, file))


def write(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            define(connection, statement)


def contents(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            table: [
                tuple(f"{value:.2f}" if column == "price" else value for column, value in row._mapping.items())
                for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY id")
            ]
            for table in ("maker", "item")
        }
