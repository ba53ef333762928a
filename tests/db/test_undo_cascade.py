"""Undo with `--cascade`: what came later and stands in the way is taken back too, and shown apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditcli.planning.planvalues import plan_from_json, plan_to_json
from tests.db.shop import Shop, kinds


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
