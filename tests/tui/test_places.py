"""Going to places of the log, rows as they were there, playing from there on; and carrying things off."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.shop import CANCELLED, MOVED, SHIPPED, Shop
from tests.tui.driver import Ui, explore

pytestmark = pytest.mark.thorough


def test_going_to_a_change_puts_it_under_the_cursor(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("colon")
        ui.popup.expect("go to")
        await ui.type("7")
        await ui.press("enter")
        assert ui.list.selected() == SHIPPED
        assert "not following" in ui.heading()

    explore(shop.path, story)


def test_a_place_that_is_none_is_said_to_be(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("colon")
        await ui.type("noon-ish")
        await ui.press("enter")
        assert any("noon-ish" in str(each.message) for each in ui.app._notifications)
        assert ui.list.selected() == CANCELLED

    explore(shop.path, story)


def test_a_place_gets_a_name_and_is_found_by_it(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j", "m")
        await ui.type("moved")
        await ui.press("enter", "g", "colon")
        await ui.type("@moved")
        await ui.press("enter")
        assert ui.list.selected() == MOVED

    explore(shop.path, story)


def test_a_row_as_it_was_against_what_it_is(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("row:orders/1")
        await ui.press("t")
        ui.popup.expect("rows as of")
        await ui.press("ctrl+u", *["backspace"] * 3)
        await ui.type("6")
        await ui.press("enter")
        assert "as of #6" in ui.heading()
        assert "status  [-pending-]{+shipped+}" in ui.detail.text()
        await ui.press("right_square_bracket")
        assert "as of #7" in ui.heading()
        assert "status  shipped" in ui.detail.text()
        await ui.press("left_curly_bracket")
        assert "as of #6" in ui.heading()
        assert "[-pending-]" in ui.detail.text()
        await ui.press("t")
        assert "as of" not in ui.heading()

    explore(shop.path, story)


def test_a_transaction_is_stepped_over_as_a_whole(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("t", "enter")
        assert "as of #12" in ui.heading()
        for place in (11, 10, 7, 6):
            await ui.press("left_curly_bracket")
            assert f"as of #{place}" in ui.heading()
        await ui.press("right_curly_bracket", "right_curly_bracket")
        assert "as of #10" in ui.heading()

    explore(shop.path, story)


def test_the_rows_that_a_row_refers_to(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("o")
        ui.popup.expect("refers to")
        assert "customer/1" in ui.popup.text()
        await ui.popup.answer(0)
        assert ui.list.ids() == [1]

    explore(shop.path, story)


def test_a_stretch_of_the_log_is_played_back(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("table:orders")
        await ui.press("G", "r", "space")
        ui.popup.expect("replay ▮▮ paused")
        for _ in range(12):
            await ui.press("right")
        assert "DELETE orders/3" in ui.popup.text()
        assert "orders/1  total 0" in ui.popup.text()
        await ui.press("left")
        assert "UPDATE orders/3" in ui.popup.text()
        await ui.popup.cancel()

    explore(shop.path, story)


def test_what_is_shown_is_exported(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "bob.csv"

    async def story(ui: Ui) -> None:
        await ui.filter("actor:bob")
        await ui.press("e")
        ui.popup.expect("export to")
        await ui.press(*["backspace"] * 20)
        await ui.type(str(target))
        await ui.press("enter")

    explore(shop.path, story)

    with target.open() as file:
        assert [line["id"] for line in csv.DictReader(file)] == ["7", "12"]


def test_a_change_is_copied_as_text_and_as_sql(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("y")
        await ui.popup.answer(0)
        assert ui.app.clipboard == "orders/3"
        await ui.press("y", "up", "enter")
        assert "INSERT INTO" in ui.app.clipboard
        assert "DELETE" not in ui.app.clipboard

    explore(shop.path, story)


def test_sql_of_both_ways_is_an_aspect(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("enter", *["l"] * 5)
        assert 'DELETE FROM "orders"' in ui.detail.text()
        assert 'INSERT INTO "orders"' in ui.detail.text()

    explore(shop.path, story)


def test_help_lists_every_key(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("question_mark")
        text = ui.popup.text()
        assert all(word in text for word in ("Undo your last undo", "Keep only", "Mark up to here", "Zoom in"))
        await ui.popup.cancel()

    explore(shop.path, story)


def test_words_are_completed(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("slash")
        await ui.type("table:cu")
        await ui.press("right")
        await ui.press("space")
        await ui.type("actor:car")
        await ui.press("right", "enter")
        assert ui.explorer.filter_bar.words == "table:customer actor:carol"
        assert ui.list.ids() == [MOVED]

    explore(shop.path, story)


@pytest.mark.parametrize("size", [(40, 10), (60, 14), (80, 24), (120, 40), (200, 60)])
def test_every_size_works(shop: Shop, size: tuple[int, int]) -> None:
    async def story(ui: Ui) -> None:
        assert ui.list.ids()[0] == CANCELLED
        await ui.press("j", "enter")
        assert "Graz" in ui.detail.text()
        await ui.press("escape", "u")
        await ui.popup.answer(0)
        await ui.popup.cancel()

    explore(shop.path, story, size=size)


def test_without_colours_it_works_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def story(ui: Ui) -> None:
        assert any(" D orders/3" in line for line in ui.list.lines())
        await ui.press("space")
        assert ui.list.lines()[0].startswith("●")

    explore(shop.path, story)
