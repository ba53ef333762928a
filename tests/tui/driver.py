"""A language to drive the explorer in tests: press keys, read the list, the details and the dialogs."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from textual.pilot import Pilot
from textual.widgets import Button, Label, OptionList, Static

from auditcli.config import Target, database_url
from auditcli.tui.app import ExplorerApp
from auditcli.tui.explorer.screen import Explorer
from auditcli.tui.undoing import Author
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail
from auditcli.tui.widgets.filter_bar import FilterBar
from auditcli.tui.widgets.heading import Heading

_HOPS = 3
_PATIENCE = 1500
"""How many looks at whether everything has been answered."""


class ListDriver:
    """The list of changes."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    @property
    def _widget(self) -> ChangeList:
        return self._ui.explorer.changes

    def ids(self) -> list[int]:
        """The log ids on the screen, from the top."""
        window = self._widget.window
        return [change.id for change in window.rows[window.top : window.top + self._widget.size.height]]

    def selected(self) -> int | None:
        """The log id under the cursor."""
        current = self._widget.window.current
        return None if current is None else current.id

    def marked(self) -> list[int]:
        """The log ids that are marked."""
        return sorted(self._widget.marked)

    def lines(self) -> list[str]:
        """The text of the rows on the screen."""
        return [self._widget.render_line(y).text.rstrip() for y in range(self._widget.size.height)]


class DetailDriver:
    """What there is to know of the change under the cursor."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def text(self) -> str:
        """The aspect that is shown."""
        return str(self._ui.explorer.query_one(Detail).query_one(Static).content)


class PopupDriver:
    """The dialog that is open."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def expect(self, title: str) -> PopupDriver:
        """A dialog is open, and its title says this."""
        assert title in self.title(), f"{title!r} is not in {self.title()!r}"
        return self

    def title(self) -> str:
        """What the dialog is called."""
        assert not isinstance(self._ui.app.screen, Explorer), "no dialog is open"
        return str(self._ui.app.screen.query(Label).first().content)

    def text(self) -> str:
        """Everything that it says."""
        said = [str(each.content) for each in self._ui.app.screen.query(Static) if each.display]
        answers = [
            str(each.get_option_at_index(number).prompt)
            for each in self._ui.app.screen.query(OptionList)
            for number in range(each.option_count)
        ]
        return "\n".join([*said, *answers])

    def can_press(self, button: str) -> bool:
        """Whether a button is there and works."""
        return not self._ui.app.screen.query_one(f"#{button}", Button).disabled

    async def answer(self, number: int) -> None:
        """Choose an answer."""
        await self._ui.press(*["down"] * number, "enter")

    async def cancel(self) -> None:
        """Leave it."""
        await self._ui.press("escape")
        assert isinstance(self._ui.app.screen, Explorer)


class Ui:
    """The explorer and somebody in front of it."""

    def __init__(self, app: ExplorerApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot
        self.list = ListDriver(self)
        self.detail = DetailDriver(self)
        self.popup = PopupDriver(self)

    @property
    def explorer(self) -> Explorer:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, Explorer))

    @property
    def is_exploring(self) -> bool:
        """Whether no dialog is open."""
        return self.app.screen is self.explorer

    def screen(self) -> str:
        """All that the terminal shows."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def heading(self) -> str:
        """The top line."""
        return str(self.explorer.query_one(Heading).content)

    def activity(self) -> str:
        """What the activity says above its bars."""
        return str(self.explorer.query_one(Activity).border_title)

    def filter_error(self) -> str:
        """What is wrong with the filter."""
        bar = self.explorer.query_one(FilterBar)
        return str(bar.query_one("#filter-error", Label).content) if bar.has_class("-wrong") else ""

    async def press(self, *keys: str) -> None:
        """Press keys, and wait for what they lead to."""
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        """Type text into what has the focus."""
        await self.press(*("space" if key == " " else key for key in text))

    async def filter(self, words: str) -> None:
        """Put words into the filter."""
        self.explorer.query_one(FilterBar).set_words(words)
        await self.settle()

    async def settle(self) -> None:
        """Wait until every question has its answer and every answer is drawn."""
        for _ in range(_PATIENCE):
            await self._hand_on()
            if self._is_at_rest():
                # An answer may be what leads to the next question.
                await self._hand_on()
                if self._is_at_rest():
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("the explorer never came to rest")

    def _is_at_rest(self) -> bool:
        return self.app.queries.is_idle and not self.explorer.query_one(FilterBar).is_waiting

    async def _hand_on(self) -> None:
        """Let messages come up from a widget to the screen and go down to another one."""
        for _ in range(_HOPS):
            await self.pilot.pause()

    async def until(self, has_come: Callable[[], bool]) -> None:
        """Wait for what somebody else's commit brings."""
        for _ in range(_PATIENCE):
            await self.pilot.pause()
            if has_come():
                await self.settle()
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it never came")


Story = Callable[[Ui], Awaitable[None]]


def explore(
    database: Path | str,
    story: Story,
    *,
    words: tuple[str, ...] = (),
    size: tuple[int, int] = (120, 40),
    read_only: bool = False,
    protected: bool = False,
    profile: str | None = None,
) -> None:
    """Open the explorer and let somebody do what the story says."""
    target = Target(database_url(str(database)), "a test", profile, read_only=read_only, protected=protected)

    async def run() -> None:
        app = ExplorerApp(target, Author("tess"), words, utc=True)
        async with app.run_test(size=size) as pilot:
            ui = Ui(app, pilot)
            await ui.settle()
            await story(ui)

    with _no_query_of_the_ui_thread():
        asyncio.run(run())


def failing_to_explore(database: Path | str, *, words: tuple[str, ...] = ()) -> Exception:
    """Open the explorer where there is nothing to explore; returns why it left."""
    app = ExplorerApp(Target(database_url(str(database)), "a test", None), Author("tess"), words, utc=True)

    async def run() -> None:
        async with app.run_test() as pilot:
            for _ in range(_PATIENCE):
                if app.failure is not None:
                    return
                await pilot.pause(0.02)

    asyncio.run(run())
    assert app.failure is not None, "it never left"
    return app.failure


@contextmanager
def _no_query_of_the_ui_thread() -> Iterator[None]:
    """Fail where the thread that draws asks a database, or where any query counts rows off instead of seeking them."""
    ui_thread = threading.get_ident()
    wrong: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
        if threading.get_ident() == ui_thread:
            wrong.append(f"on the thread that draws: {statement}")
        # SQLAlchemy writes `OFFSET ?` behind every LIMIT of SQLite, with a zero for it.
        skips = re.finditer(r"\bOFFSET (.)", statement, re.IGNORECASE)
        if any(skip[1] != "?" or parameters[statement.count("?", 0, skip.start())] != 0 for skip in skips):
            wrong.append(f"by OFFSET: {statement}")

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert not wrong, wrong
