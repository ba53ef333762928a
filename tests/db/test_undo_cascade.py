"""Undo with `--cascade`: what came later and stands in the way is taken back too, and shown apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.apply import apply_plan
from auditcli.log.tables import log_tables
from auditcli.plan import PlanOptions
from auditcli.planning.planvalues import plan_from_json, plan_to_json
from auditcli.undo import plan_redo, plan_undo
from tests.db.shop import Shop, kinds
from tests.db.watched import Watched

TABLES = (
    "CREATE TABLE artist (id INTEGER PRIMARY KEY, name VARCHAR(9))",
    """CREATE TABLE album (id INTEGER PRIMARY KEY, title VARCHAR(9), artist_id INTEGER,
    FOREIGN KEY (artist_id) REFERENCES artist (id) ON DELETE CASCADE)""",
    """CREATE TABLE review (id INTEGER PRIMARY KEY, album_id INTEGER, stars INTEGER,
    FOREIGN KEY (album_id) REFERENCES album (id))""",
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """One artist with an album."""
    shop = Shop(tmp_path / "shop.db")
    shop.insert("artist", id=1, name="A")
    shop.insert("album", id=1, title="x", price=1.5, artist_id=1)
    return shop


def test_later_writes_of_the_same_cell_are_taken_back_and_other_cells_stay(shop: Shop) -> None:
    mine = shop.update("album", 1, price=2)
    shop.update("album", 1, "bob", price=3, title="renamed")
    theirs = [mine + 1, shop.update("album", 1, "carol", price=4)]

    plan = shop.undo(mine, cascade=True)
    shop.apply(plan)

    assert [(each.log_id, each.columns, each.actor) for each in plan.also] == [
        (theirs[0], ("price",), "bob"),
        (theirs[1], ("price",), "carol"),
    ]
    assert shop.rows("album", "price, title") == [(1.5, "renamed")]


def test_rows_that_refer_to_one_that_goes_are_taken_back_with_what_refers_to_them(shop: Shop) -> None:
    made = shop.insert("artist", id=2, name="B")
    shop.insert("album", "bob", id=2, title="y", artist_id=2)
    shop.update("album", 2, "carol", title="z")
    shop.insert("review", "dave", id=1, album_id=2, stars=5)

    plan = shop.undo(made, cascade=True)
    shop.apply(plan)

    assert {(str(each.row), each.actor) for each in plan.also} == {
        ("album/2", "bob"),
        ("album/2", "carol"),
        ("review/1", "dave"),
    }
    assert (shop.rows("artist", "id"), shop.rows("album", "id"), shop.rows("review")) == ([(1,)], [(1,)], [])


def test_a_row_that_was_led_to_one_that_goes_goes_back_to_the_former_one(shop: Shop) -> None:
    made = shop.insert("artist", id=2, name="B")
    shop.update("album", 1, "bob", artist_id=2, title="moved")

    shop.apply(shop.undo(made, cascade=True))

    assert shop.rows("album", "artist_id, title") == [(1, "moved")]


def test_a_row_that_was_deleted_since_comes_back_as_it_was(shop: Shop) -> None:
    mine = shop.update("album", 1, price=2)
    shop.delete("album", 1, "bob")

    shop.apply(shop.undo(mine, cascade=True))

    assert shop.rows("album", "id, title, price") == [(1, "x", 1.5)]


def test_a_saved_plan_keeps_what_is_taken_back_along(shop: Shop) -> None:
    mine = shop.update("album", 1, price=2)
    shop.update("album", 1, "bob", price=3)
    plan = shop.undo(mine, cascade=True)

    kept = plan_from_json(json.loads(json.dumps(plan_to_json(plan))), plan.steps, plan.conflicts)

    assert plan.also
    assert kept == plan


def test_what_the_log_does_not_know_stays_a_conflict(shop: Shop) -> None:
    made = shop.insert("artist", id=2, name="B")
    mine = shop.update("album", 1, price=2)
    shop.behind("INSERT INTO album (id, artist_id) VALUES (9, 2); UPDATE album SET price = 7 WHERE id = 1;")

    plan = shop.undo(made, mine, cascade=True)

    assert sorted(kinds(plan.conflicts)) == ["CHANGED", "DEPENDENT"]
    assert (plan.steps, plan.also) == ((), ())


def test_an_undo_with_its_cascade_is_redone_as_one(shop: Shop) -> None:
    made = shop.insert("artist", id=2, name="B")
    shop.insert("album", "bob", id=2, title="y", artist_id=2)
    mine = shop.update("album", 1, price=2)
    shop.update("album", 1, "carol", price=3, title="new")
    before = [shop.rows(table) for table in ("artist", "album")]

    shop.apply(shop.undo(made, mine, cascade=True))
    shop.apply(shop.redo())

    assert [shop.rows(table) for table in ("artist", "album")] == before


def test_without_it_nothing_more_is_taken_back(shop: Shop) -> None:
    mine = shop.update("album", 1, price=2)
    shop.update("album", 1, "bob", price=3)

    plan = shop.undo(mine)

    assert (kinds(plan.conflicts), plan.also) == (["CHANGED"], ())


def test_on_each_database_what_came_later_goes_along_and_comes_again(any_engine: Engine) -> None:
    store = Watched(any_engine, *TABLES)
    store.write("INSERT INTO artist VALUES (1, 'A')", "INSERT INTO album VALUES (1, 'x', 1)")
    start = _contents(store)
    known = len(store.changes())
    store.write("INSERT INTO artist VALUES (2, 'B')", "UPDATE album SET title = 'mine' WHERE id = 1")
    mine = [change.id for change in store.changes()[known:]]
    store.write("INSERT INTO album VALUES (2, 'y', 2)")
    store.write("INSERT INTO review VALUES (1, 2, 5)", "UPDATE album SET title = 'z' WHERE id = 2")
    store.write(
        "UPDATE album SET title = 'theirs', artist_id = 2 WHERE id = 1", "UPDATE artist SET name = 'C' WHERE id = 2"
    )
    end = _contents(store)

    with any_engine.connect() as connection:
        assert plan_undo(connection, log_tables(), ids=mine).refused
        plan = plan_undo(connection, log_tables(), ids=mine, options=PlanOptions(cascade=True))
    outcome = apply_plan(any_engine, plan)

    also = [(str(each.row), each.event_type.value) for each in plan.also]
    assert also == [
        ("album/2", "INSERT"),
        ("review/1", "INSERT"),
        ("album/2", "UPDATE"),
        ("album/1", "UPDATE"),
        ("artist/2", "UPDATE"),
    ]
    assert _contents(store) == start

    with any_engine.connect() as connection:
        back = plan_redo(connection, log_tables(), transaction=outcome.transaction_id)
    apply_plan(any_engine, back)

    assert _contents(store) == end
    store.check()


def _contents(store: Watched) -> list[list[tuple[object, ...]]]:
    return [store.query(f"SELECT * FROM {table} ORDER BY id") for table in ("artist", "album", "review")]
