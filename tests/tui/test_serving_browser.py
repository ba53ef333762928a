"""`audit serve` in a real browser: the page loads, the log is to be seen, a key works, nobody else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.cli.shop import Shop
from tests.tui.browser import Page, chromium, hosts, page
from tests.tui.served import Served, serving

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]

_COLOURS = 20
"""A screen of text has more, an empty one has next to none."""


def browse(shop: Shop, folder: Path, story: Callable[[Page, Served], Awaitable[None]]) -> None:
    """Serve the shop, and let somebody with a browser do what the story says."""

    async def run() -> None:
        with serving("-u", str(shop.path), "serve") as served:
            async with page(folder / "browser") as opened:
                await story(opened, served)

    asyncio.run(run())


def test_the_log_is_seen_a_key_works_and_no_other_host_is_asked(shop: Shop, tmp_path: Path) -> None:
    async def story(opened: Page, served: Served) -> None:
        await opened.open(served.address)
        shown = await opened.until("customer/1")
        log = await opened.picture()
        await opened.press("?")
        helped = await opened.until("Exclude")
        help_ = await opened.picture()

        assert "● read-only" in shown
        assert "customer" in shown
        assert "Exclude" not in shown
        assert "Keep only" in helped
        assert colours(log) > _COLOURS
        assert colours(help_) > _COLOURS
        assert log != help_
        assert hosts(opened.asked) == {f"127.0.0.1:{served.port}"}
        assert await opened.evaluate("window.location.href") == f"{served.base}/"
        assert await opened.evaluate("document.fonts.check('14px \"Roboto Mono\"')") is True
        assert opened.complaints == []

    browse(shop, tmp_path, story)


def test_a_wrong_token_opens_nothing(shop: Shop, tmp_path: Path) -> None:
    async def story(opened: Page, served: Served) -> None:
        address = f"{served.base}/?token=wrong"
        await opened.open(address)
        for _ in range(100):
            if address in opened.statuses:
                break
            await asyncio.sleep(0.1)

        said = ""
        while "403" not in said:
            said = str(await opened.evaluate("document.body.innerText"))

        assert opened.statuses[address] == 403
        assert "audit serve" in said
        assert not any(each.startswith("ws:") for each in opened.asked)

    browse(shop, tmp_path, story)


def colours(rows: list[bytes]) -> int:
    """How many differ."""
    size = len(rows[0]) // 300
    return len({row[at : at + size] for row in rows for at in range(0, len(row), size)})
