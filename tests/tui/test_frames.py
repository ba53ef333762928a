"""How each screen looks at three sizes, at one moment of one history."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditcli.tui import playing
from auditcli.tui.details import Aspect
from auditcli.tui.explorer import browsing
from tests.cli.shop import build_shop
from tests.db.logbook import tx
from tests.tui.driver import Ui, explore
from tests.tui.frames import Frames

# Another Textual draws otherwise, so the oldest one is not asked.
pytestmark = pytest.mark.thorough

OPENING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
UNDO_TRANSACTION = 1


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 10)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    build_shop(Path("shop.db"), OPENING)
    make_the_same_each_time(Path("shop.db"))
    monkeypatch.setattr(browsing, "utc_now", lambda: NOW)
    monkeypatch.setattr(playing, "_LONGEST_PAUSE", 3600.0)
    frames = Frames()

    async def story(ui: Ui) -> None:
        ui.app.animation_level = "none"

        async def show(title: str, *keys: str) -> None:
            await ui.press(*keys)
            frames.add(title, ui.app)

        await show("the list", "j", "k")
        await ui.press("j", "enter")
        for aspect in Aspect:
            await show(f"the details: {aspect}")
            await ui.press("l")
        await show("a choice", "escape", "x")
        await show("a prompt", "escape", "colon")
        await show("the keys", "escape", "question_mark")
        await show("the player", "escape", "G", "r", "space", *["left"] * 12, *["right"] * 3)
        await ui.press("escape", "g")
        await ui.filter("actor:svc-import")
        await show("what to take back", "u")
        await ui.popup.answer(UNDO_TRANSACTION)
        await show("an undo with a conflict")
        await show("the conflict decided", "k")

    explore("shop.db", story, size=size)

    frames.compare(f"{size[0]}x{size[1]}")


def make_the_same_each_time(path: Path) -> None:
    """Give the transactions the same ids and origins on every machine."""
    with closing(sqlite3.connect(path)) as log:
        log.execute("UPDATE changelog_transaction SET client = 'till-1', application = 'shop'")
        ids = [row[0] for row in log.execute("SELECT transaction_id FROM changelog_transaction ORDER BY timestamp")]
        for number, old in enumerate(ids, 1):
            for table in ("changelog", "changelog_transaction"):
                log.execute(f"UPDATE {table} SET transaction_id = ? WHERE transaction_id = ?", (tx(number), old))
        log.commit()
