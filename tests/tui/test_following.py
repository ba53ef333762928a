"""Following, filters, scrolling and ranges of the activity, in every order: the list lacks nothing and stands still."""

from __future__ import annotations

import asyncio

import pytest

from auditcli.model import EventType
from tests.cli.shop import Customer, Shop
from tests.tui.driver import Ui, explore

pytestmark = pytest.mark.thorough

WAITS, LIVE, DOES_NOT_FOLLOW = "1 new, f shows them", "LIVE", "not following"


@pytest.mark.parametrize(
    ("keys", "heading", "after"),
    [
        ((), LIVE, ()),
        (("3",), LIVE, ()),
        (("z", "z"), LIVE, ()),
        (("space", "escape"), WAITS, ("g",)),
        (("f",), WAITS, ("f",)),
        (("f", "1"), WAITS, ("f",)),
        (("j", "6"), WAITS, ("k",)),
        (("j", "k"), LIVE, ()),
        (("G",), WAITS, ("g",)),
        (("G", "g"), LIVE, ()),
        (("i", "left", "enter", "escape"), WAITS, ("f",)),
        (("f", "backslash"), LIVE, ()),
        (("j", "backslash"), LIVE, ()),
        (("colon", "5", "enter"), WAITS, ("f",)),
    ],
    ids=" ".join,
)
def test_what_is_committed_comes_or_waits(
    shop: Shop, keys: tuple[str, ...], heading: str, after: tuple[str, ...]
) -> None:
    async def story(ui: Ui) -> None:
        if "backslash" in keys:
            await ui.filter("actor:nobody")
        await ui.press(*keys)
        await asyncio.to_thread(shop.write, "dora", None, lambda session: session.add(Customer(id=9, name="Nils")))
        await ui.until(lambda: heading in ui.heading() and (heading != LIVE or 13 in ui.list.ids()))
        await ui.press(*after)
        assert ui.list.ids()[0] == 13
        await ui.press("6")
        counted = [counts.get(EventType.INSERT, 0) for counts in ui.explorer.activity.counts.values()]
        assert sum(counted) == 7
        assert LIVE in ui.heading()
        assert "13 of 13" in ui.heading()

    explore(shop.path, story)


def test_an_end_in_the_filter_ends_following(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("until:7")
        assert DOES_NOT_FOLLOW in ui.heading()
        await ui.press("f")
        assert DOES_NOT_FOLLOW in ui.heading()
        assert ui.list.ids() == [7, 6, 5, 4, 3, 2, 1]
        await ui.press("backslash")
        assert LIVE in ui.heading()

    explore(shop.path, story)
