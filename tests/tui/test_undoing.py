"""Taking changes back from the explorer."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.shop import CANCELLED, MOVED, Customer, Order, Shop
from tests.tui.driver import Ui, explore

UNDO_THIS, UNDO_TRANSACTION = 0, 1


def test_one_change_is_taken_back_by_one_key(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("u")
        ui.popup.expect("take back what?")
        await ui.popup.answer(UNDO_THIS)
        ui.popup.expect("undo: 1 clean")
        assert "INSERT orders/3" in ui.popup.text()
        await ui.press("y")
        await ui.until(lambda: ui.list.selected() == 13)

    explore(shop.path, story)

    assert shop.value(Order, 3, "total") == 0


def test_nothing_is_written_by_enter_or_escape(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("u")
        await ui.popup.answer(UNDO_THIS)
        await ui.press("enter")
        await ui.press("u")
        await ui.popup.answer(UNDO_THIS)
        await ui.popup.cancel()
        assert ui.list.selected() == CANCELLED

    explore(shop.path, story)

    assert shop.value(Order, 3, "total") is None


def test_many_rows_want_a_word(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("space", "space", "u")
        ui.popup.expect("take back what?")
        await ui.popup.answer(0)
        ui.popup.expect("undo: 2 clean")
        await ui.press("y")
        assert not ui.popup.can_press("apply")
        await ui.press("tab", "tab", "tab")
        await ui.popup.cancel()

    explore(shop.path, story)

    assert shop.value(Customer, 2, "city") == "Graz"


def test_each_conflict_gets_its_decision(shop: Shop) -> None:
    """The import set three totals to 0; order 3 has gone since."""

    async def story(ui: Ui) -> None:
        await ui.filter("actor:svc-import")
        await ui.press("u")
        await ui.popup.answer(UNDO_TRANSACTION)
        assert "? decide    MISSING orders/3" in ui.popup.text()
        assert not ui.popup.can_press("apply")
        await ui.press("k")
        assert "= keep      MISSING orders/3" in ui.popup.text()
        assert not ui.popup.can_press("apply"), "two rows want their word"
        await ui.press("tab", "tab")
        await ui.type("undo 2")
        assert ui.popup.can_press("apply")
        await ui.press("enter", "enter")
        await ui.until(lambda: "tx" not in ui.heading() and ui.app.screen is ui.explorer)

    explore(shop.path, story)

    assert [shop.value(Order, number, "total") for number in (1, 2, 3)] == [10, 20, None]


def test_a_rehearsal_leaves_nothing(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j", "u")
        await ui.popup.answer(UNDO_THIS)
        await ui.press("r")
        ui.popup.expect("rehearsed")
        await ui.popup.cancel()

    explore(shop.path, story)

    assert shop.value(Customer, 2, "city") == "Graz"


def test_an_undo_is_undone(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j", "u")
        assert ui.list.selected() == MOVED
        await ui.popup.answer(UNDO_THIS)
        await ui.press("y")
        await ui.until(lambda: ui.app.screen is ui.explorer)
        await ui.press("U")
        ui.popup.expect("redo: 1 clean")
        await ui.press("y")
        await ui.until(lambda: ui.app.screen is ui.explorer)

    explore(shop.path, story)

    assert shop.value(Customer, 2, "city") == "Graz"


def test_a_read_only_profile_offers_no_undo(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        assert "read-only" in ui.heading()
        await ui.press("u")
        assert ui.app.screen is ui.explorer

    explore(shop.path, story, read_only=True)


def test_a_protected_profile_wants_its_name_and_a_reason(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j", "u")
        await ui.popup.answer(UNDO_THIS)
        assert "type  prod  to apply" in ui.popup.text()
        await ui.press("tab", "tab", "tab")
        await ui.press("tab", "tab")
        assert not ui.popup.can_press("apply")
        await ui.popup.cancel()

    explore(shop.path, story, protected=True, profile="prod")


def test_what_the_database_refuses_is_said(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j", "u")
        await ui.popup.answer(UNDO_THIS)
        await asyncio.to_thread(refuse_updates, shop.path)
        await ui.press("y")
        assert "nothing was written" in ui.popup.title()
        await ui.popup.cancel()

    explore(shop.path, story)

    assert shop.value(Customer, 2, "city") == "Graz"


def refuse_updates(path: Path) -> None:
    """Another program has the customers' updates refused."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TRIGGER no BEFORE UPDATE ON customer BEGIN SELECT RAISE(ABORT, 'no'); END")
