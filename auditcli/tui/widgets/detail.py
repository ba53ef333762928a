"""What there is to know of the change under the cursor, one aspect at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, Tab, Tabs

from auditcli.model import Change
from auditcli.present import Line
from auditcli.tui.details import Aspect
from auditcli.tui.palette import Palette


class Detail(Widget):
    """Asks for the lines of an aspect when it is looked at, and never before."""

    DEFAULT_CSS = """
    Detail { width: 1fr; height: 1fr; }
    Detail Tabs { height: 2; }
    Detail VerticalScroll { height: 1fr; padding: 0 1; }
    Detail VerticalScroll:focus { background-tint: $foreground 3%; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "aspect(-1)", "Aspect before", show=False),
        Binding("right,l", "aspect(1)", "Next aspect", show=False),
        Binding("j", "scroll_lines(1)", "Down", show=False),
        Binding("k", "scroll_lines(-1)", "Up", show=False),
        Binding("full_stop", "unchanged", "Unchanged columns", show=False),
        Binding("escape", "leave", "Back to the list", show=False),
    ]

    class Wanted(Message):
        """The lines of an aspect of a change are needed."""

        def __init__(self, aspect: Aspect, change: Change, *, unchanged: bool) -> None:
            super().__init__()
            self.aspect = aspect
            self.change = change
            self.unchanged = unchanged

    class Left(Message):
        """The list is next."""

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:  # noqa: A002  # as Textual names it
        super().__init__(id=id)
        self.palette = palette
        self.change: Change | None = None
        self.aspect = Aspect.DIFF
        self.unchanged = False

    def compose(self) -> ComposeResult:
        yield Tabs(*(Tab(aspect.value, id=aspect.name.lower()) for aspect in Aspect))
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False

    def look_at(self, change: Change | None) -> None:
        """Show another change."""
        self.change = change
        self._ask()

    def show(self, lines: Sequence[Line]) -> None:
        """Show the lines that were asked for."""
        self._body.update(self.palette.text(lines))
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def focus_body(self) -> None:
        """Let the lines be read and scrolled."""
        self.query_one(VerticalScroll).focus()

    def turn_to(self, aspect: Aspect) -> None:
        """Show another aspect of the change."""
        self.query_one(Tabs).active = aspect.name.lower()

    @on(Tabs.TabActivated)
    def _turned(self, event: Tabs.TabActivated) -> None:
        event.stop()
        if event.tab.id is not None:
            self.aspect = Aspect[event.tab.id.upper()]
            self._ask()

    def action_aspect(self, steps: int) -> None:
        aspects = list(Aspect)
        self.turn_to(aspects[(aspects.index(self.aspect) + steps) % len(aspects)])

    def action_scroll_lines(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_unchanged(self) -> None:
        self.unchanged = not self.unchanged
        self._ask()

    def action_leave(self) -> None:
        self.post_message(self.Left())

    @property
    def _body(self) -> Static:
        return self.query_one(Static)

    def _ask(self) -> None:
        if self.change is None:
            self._body.update(Text(""))
        else:
            self.post_message(self.Wanted(self.aspect, self.change, unchanged=self.unchanged))
