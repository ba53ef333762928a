"""The explorer's widgets and how things stand: what each family of its actions works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from auditcli.present import visible
from auditcli.tui.palette import Palette
from auditcli.tui.queries import Queries, QueryFailed
from auditcli.tui.screens.prompt import Prompt
from auditcli.tui.undoing import Author
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail
from auditcli.tui.widgets.filter_bar import FilterBar
from auditcli.tui.widgets.heading import Heading, Standing

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.config import Target

_RETRY_AFTER = 2.0
_WIDE, _MIDDLE = 100, 60
_HIGH, _LOW = 16, 12


class Frame(Screen[None]):
    """Messages come up from the widgets, and what the library answers goes down to them."""

    DEFAULT_CSS = """
    Frame #panes { height: 1fr; }
    Frame #list-pane { width: 3fr; border: round $panel; }
    Frame #detail-pane { width: 2fr; border: round $panel; }
    Frame #list-pane:focus-within, Frame #detail-pane:focus-within { border: round $primary; }
    Frame.-middle #panes { layout: vertical; }
    Frame.-middle #list-pane { width: 1fr; height: 3fr; }
    Frame.-middle #detail-pane { width: 1fr; height: 2fr; }
    Frame.-narrow #detail-pane { display: none; }
    Frame.-narrow #list-pane, Frame.-flat #list-pane { border: none; }
    Frame.-narrow.-reading #detail-pane { display: block; width: 1fr; border: none; }
    Frame.-narrow.-reading #list-pane { display: none; }
    Frame.-flat Activity, Frame.-without-activity Activity { display: none; }
    Frame.-low Footer { display: none; }
    Frame.-zoomed #list-pane { display: none; }
    """

    def __init__(
        self, queries: Queries, palette: Palette, target: Target, author: Author, words: str, *, utc: bool
    ) -> None:
        super().__init__()
        self.queries = queries
        self.palette = palette
        self.target = target
        self.author = author
        self.standing = Standing(target.masked_url, target.profile, target.read_only, target.protected, utc=utc)
        self.chosen: Chosen | None = None
        self.first_words = words

    def compose(self) -> ComposeResult:
        yield Heading()
        yield Activity(self.palette, utc=self.standing.utc)
        yield FilterBar(self.first_words)
        with Horizontal(id="panes"):
            with Vertical(id="list-pane"):
                yield ChangeList(self.palette, utc=self.standing.utc)
            with Vertical(id="detail-pane"):
                yield Detail(self.palette)
        yield Footer()

    @property
    def changes(self) -> ChangeList:
        """The list."""
        return self.query_one(ChangeList)

    @property
    def detail(self) -> Detail:
        """What there is to know of one change."""
        return self.query_one(Detail)

    @property
    def activity(self) -> Activity:
        """How much happened when."""
        return self.query_one(Activity)

    @property
    def filter_bar(self) -> FilterBar:
        """The words that select."""
        return self.query_one(FilterBar)

    def stand(self, **known: object) -> None:
        """Note how things stand, and show it."""
        self.standing = replace(self.standing, **known)  # type: ignore[arg-type]  # fields by their names
        self.query_one(Heading).say(self.standing)

    def say(self, text: str) -> None:
        """Show a word to the person in front of the screen for a while."""
        self.notify(text, markup=False)

    def ask(self, title: str, answered: Callable[[str], None], *, value: str = "", hint: str = "") -> None:
        """Let a line be typed; nothing happens where it is left."""

        def ended(answer: str | None) -> None:
            if answer:
                answered(answer)

        self.app.push_screen(Prompt(title, value=value, hint=hint), ended)

    def fail(self, event: QueryFailed) -> None:
        """Say that a question could not be answered; what only reads is asked again in a while."""
        if event.retry is not None:
            self.stand(trouble=f"✗ {visible(event.error.message)}; trying again …")
            self.set_timer(_RETRY_AFTER, event.retry)
            return
        text = "\n".join(visible(each) for each in (event.error.message, event.error.hint) if each)
        if event.kind == self.filter_kind:
            self.filter_bar.say(text)
        else:
            self.app.notify(text, severity="error", markup=False)

    filter_kind = "filter"

    def recover(self) -> None:
        """The database answers again."""
        if self.standing.trouble is not None:
            self.stand(trouble=None)

    def on_resize(self) -> None:
        width, height = self.app.size
        self.set_class(_MIDDLE <= width < _WIDE, "-middle")
        self.set_class(width < _MIDDLE, "-narrow")
        self.set_class(height < _HIGH, "-flat")
        self.set_class(height < _LOW, "-low")
