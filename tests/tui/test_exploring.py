"""Exploring a log: the list, the filter, the activity, the details, live changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from auditcli.tui.widgets.filter_bar import FilterBar
from tests.cli.shop import CANCELLED, MOVED, Customer, Shop
from tests.db.logbook import Logbook
from tests.tui.driver import Ui, explore

MANY = 3_000
ACTOR = 0


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three thousand changes."""
    path = tmp_path_factory.mktemp("long") / "long.db"
    engine = create_engine(f"sqlite:///{path}")
    Logbook.create(engine).write_many(MANY, rows=MANY)
    engine.dispose()
    return path


async def add(shop: Shop, actor: str, customer: Customer) -> None:
    """Another program makes a customer."""
    await asyncio.to_thread(shop.write, actor, None, lambda session: session.add(customer))


def test_the_newest_change_is_at_the_top_and_its_details_are_shown(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        assert ui.list.ids() == list(range(CANCELLED, 0, -1))
        assert ui.list.selected() == CANCELLED
        assert "DELETE orders/3" in ui.detail.text()
        assert f"{CANCELLED} of {CANCELLED}" in ui.heading()

    explore(shop.path, story)


def test_j_and_k_move_and_the_details_follow(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j")
        assert ui.list.selected() == MOVED
        assert "[-NULL-]{+Graz+}" in ui.detail.text()
        await ui.press("k")
        assert ui.list.selected() == CANCELLED

    explore(shop.path, story)


def test_a_filter_is_tried_while_it_is_typed(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("slash")
        await ui.type("actor:bob")
        assert ui.list.ids() == [12, 7]
        assert "2 of 12" in ui.heading()
        await ui.press("escape", "backslash")
        assert len(ui.list.ids()) == CANCELLED

    explore(shop.path, story)


def test_the_words_of_a_filter_are_taken_away_one_by_one(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("slash")
        await ui.type("actor:bob event:update")
        assert "✕" not in ui.screen()
        await ui.press("enter")
        assert "actor:bob ✕" in ui.screen()
        assert "event:update ✕" in ui.screen()
        await ui.press("backspace")
        assert "2 of 12" in ui.heading()
        assert "event:update" not in ui.screen()
        await ui.pilot.click("Chips", offset=(3, 0))
        await ui.settle()
        assert "12 of 12" in ui.heading()
        await ui.filter("actor:alice")
        await ui.pilot.click("Chips", offset=(60, 0))
        await ui.type(" event:delete")
        await ui.press("enter")
        assert ui.explorer.query_one(FilterBar).words == "actor:alice event:delete"

    explore(shop.path, story)


def test_a_wrong_filter_says_why_and_leaves_the_list_as_it_was(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("actor:bob")
        await ui.filter("actor:bob satus:shipped")
        assert "did you mean status" in ui.filter_error()
        assert ui.list.ids() == [12, 7]
        await ui.filter("actor:bob status:shipped")
        assert ui.filter_error() == ""

    explore(shop.path, story)


def test_words_of_the_command_line_are_the_first_filter(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        assert ui.list.ids() == [MOVED]

    explore(shop.path, story, words=("actor:carol",))


def test_keep_only_and_exclude_narrow_the_filter(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("x")
        ui.popup.expect("exclude")
        await ui.popup.answer(ACTOR)
        assert ui.list.ids() == [11, 10, 9, 8, 6, 5, 4, 3, 2, 1]
        await ui.press("equals_sign")
        ui.popup.expect("keep only")
        await ui.popup.answer(ACTOR)
        assert ui.list.ids() == [MOVED]

    explore(shop.path, story)


@pytest.mark.thorough
def test_a_list_longer_than_memory_is_read_to_both_ends(long_log: Path) -> None:
    async def story(ui: Ui) -> None:
        seen = set(ui.list.ids())
        for _ in range(MANY // 25):
            await ui.press("pagedown")
            seen |= set(ui.list.ids())
        assert seen == set(range(1, MANY + 1))
        assert ui.list.selected() == 1
        await ui.press("g")
        assert ui.list.selected() == MANY
        await ui.press("G")
        assert ui.list.selected() == 1

    explore(long_log, story)


def test_the_end_is_reached_at_once_and_can_be_left_upwards(long_log: Path) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("G")
        assert ui.list.ids()[-1] == 1
        for _ in range(20):
            await ui.press("pageup")
        top = ui.list.ids()
        assert top == list(range(top[0], top[0] - len(top), -1))
        assert top[0] > 300

    explore(long_log, story)


def test_a_search_by_value_finds_the_one_change_far_down(long_log: Path) -> None:
    async def story(ui: Ui) -> None:
        assert ui.list.ids() == [7]

    explore(long_log, story, words=("grep:/^row 7$/",))


def test_new_changes_appear_by_themselves(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await add(shop, "dora", Customer(id=9, name="Nils", city="Linz"))
        await ui.until(lambda: ui.list.selected() == 13)
        assert "LIVE" in ui.heading()

    explore(shop.path, story)


def test_following_pauses_while_somebody_reads_and_goes_on_by_f(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("j")
        await add(shop, "dora", Customer(id=9, name="Nils", city="Linz"))
        await ui.until(lambda: "1 new" in ui.heading())
        assert ui.list.selected() == MOVED
        await ui.press("f")
        assert ui.list.selected() == 13
        assert "LIVE" in ui.heading()

    explore(shop.path, story)


def test_following_obeys_the_filter(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await add(shop, "dora", Customer(id=9, name="Nils", city="Linz"))
        await add(shop, "carol", Customer(id=10, name="Olga", city="Linz"))
        await ui.until(lambda: ui.list.selected() == 14)
        assert ui.list.ids() == [14, MOVED]

    explore(shop.path, story, words=("actor:carol",))


def test_the_aspects_of_a_change(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("h")
        assert "orders/3" in ui.detail.text()
        assert "svc-import" in ui.detail.text()
        await ui.press("b")
        assert "status  pending" in ui.detail.text()
        await ui.press("enter", "l")
        assert "#12 - DELETE orders/3" in ui.detail.text()
        await ui.press("l")
        assert "it did not exist then" in ui.detail.text()
        await ui.press("l")
        assert "DELETE FROM" in ui.detail.text()
        await ui.press("l")
        assert '"event_type": "DELETE"' in ui.detail.text()
        await ui.press("escape", "j")
        assert '"event_type": "UPDATE"' in ui.detail.text()

    explore(shop.path, story)


def test_the_activity_counts_what_the_filter_selects(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("event:insert")
        await ui.press("i", "escape")
        assert "I 6" in ui.activity() or "I 6" in ui.activity()

    explore(shop.path, story)
