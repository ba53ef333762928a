"""What nobody wants in a log, and databases that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine

from auditcli.errors import CannotConnect, LogError, UsageError
from auditcli.tui.details import Aspect
from tests.cli.shop import CANCELLED, Customer, Shop
from tests.databases import scratch_url
from tests.db.logbook import Logbook
from tests.sessions import end_other_sessions
from tests.tui.driver import Ui, explore, failing_to_explore

ESCAPE, BIDI = "\x1b[2J\x1b[31m", "\u202e"
# About servers, and slow where a terminal would be.
pytestmark = pytest.mark.thorough

HOSTILE = f"{ESCAPE}[bold red]x[/] {BIDI}[@click=app.quit]here[/]\n\r\x07"
MEGABYTE = 1_000_000


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A log in which every text is made to be obeyed."""
    path = tmp_path / "hostile.db"
    engine = create_engine(URL.create("sqlite", database=str(path)))
    book = Logbook.create(engine)
    before = {"id": 1, HOSTILE: HOSTILE}
    with book.transaction(HOSTILE, HOSTILE, client=HOSTILE, application=HOSTILE, db_user=HOSTILE):
        book.insert(HOSTILE, before)
        book.update(HOSTILE, before, {"id": 1, HOSTILE: f"{HOSTILE}{HOSTILE}"})
    engine.dispose()
    return path


def test_nothing_in_a_log_is_obeyed(hostile: Path) -> None:
    async def story(ui: Ui) -> None:
        looks_harmless(ui)
        for _ in Aspect:
            await ui.press("enter", "l", "escape")
            looks_harmless(ui)
        for key in ("x", "y", "u", "r", "o"):
            await ui.press(key)
            looks_harmless(ui)
            await ui.press("escape")
        await ui.press("equals_sign")
        await ui.popup.answer(0)
        assert ui.list.ids() == [2, 1]
        looks_harmless(ui)

    explore(hostile, story)


def looks_harmless(ui: Ui) -> None:
    """No control character is drawn, and what looks like markup is drawn as it is."""
    drawn = ui.screen()
    assert not {"\x1b", "\x07", "\r", BIDI} & set(drawn)
    assert "x[/]" in drawn or "[bold" in drawn or not ui.is_exploring


def test_values_of_a_megabyte_hold_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    engine = create_engine(URL.create("sqlite", database=str(path)))
    book = Logbook.create(engine)
    before = {"id": 1, "note": "a " * (MEGABYTE // 2)}
    for number in range(8):
        after = {"id": 1, "note": f"{number} " * (MEGABYTE // 3)}
        book.update("item", before, after)
        before = after
    engine.dispose()

    async def story(ui: Ui) -> None:
        for _ in Aspect:
            await ui.press("enter", "l", "escape", "j")
        assert len(ui.detail.text()) < MEGABYTE / 10
        assert ui.list.selected() == 8 - len(Aspect)

    explore(path, story)


def test_an_empty_log_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    engine = create_engine(URL.create("sqlite", database=str(path)))
    Logbook.create(engine)
    engine.dispose()

    async def story(ui: Ui) -> None:
        assert "audit init" in ui.list.lines()[0]
        for key in ("j", "G", "space", "v", "T", "u", "x", "y", "o", "r", "h", "t", "escape", "i", "enter", "plus"):
            await ui.press(key)

    explore(path, story)


def test_a_filter_that_selects_nothing_says_how_to_go_on(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.filter("actor:nobody")
        assert "\\ clears the filter" in ui.list.lines()[0]

    explore(shop.path, story)


def test_a_database_without_a_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no_log.db").touch()

    error = failing_to_explore(tmp_path / "no_log.db")

    assert isinstance(error, LogError)
    assert "audit init" in str(error.hint)


def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert isinstance(failing_to_explore(tmp_path / "none.db"), CannotConnect)


def test_first_words_that_select_nothing_are_an_error(shop: Shop) -> None:
    assert isinstance(failing_to_explore(shop.path, words=("satus:shipped",)), UsageError)


def test_a_file_that_is_away_for_a_while_is_waited_for(shop: Shop, tmp_path: Path) -> None:
    async def story(ui: Ui) -> None:
        shop.path.rename(tmp_path / "elsewhere.db")
        ui.app.queries.database().engine.dispose()
        await ui.press("j", "h")
        await ui.until(lambda: "trying again" in ui.heading())
        (tmp_path / "elsewhere.db").rename(shop.path)
        await asyncio.to_thread(shop.write, "dora", None, lambda session: session.add(Customer(id=9, name="N")))
        await ui.until(lambda: "trying again" not in ui.heading() and "1 new" in ui.heading())
        assert "customer/2" in ui.detail.text()
        await ui.press("f")
        assert ui.list.ids()[:2] == [CANCELLED + 1, CANCELLED]

    explore(shop.path, story)


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of a server."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def test_a_server_that_hangs_up_loses_nothing(server: Engine) -> None:
    book = Logbook.create(server)
    book.insert("item", {"id": 1})

    async def story(ui: Ui) -> None:
        assert ui.list.ids() == [1]
        for number in (2, 3):
            await asyncio.to_thread(end_other_sessions, server)
            await asyncio.to_thread(book.insert, "item", {"id": number})
            await ui.until(partial(is_newest, ui, number))
        await ui.press("j", "h")
        assert "item/2" in ui.detail.text()
        assert ui.list.ids() == [3, 2, 1]

    explore(server.url.render_as_string(hide_password=False), story)


def is_newest(ui: Ui, number: int) -> bool:
    return ui.list.selected() == number
