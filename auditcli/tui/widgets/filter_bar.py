"""The filter: words as `audit log` takes them, with what is wrong with them while one types."""

from __future__ import annotations

import shlex

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label

from auditcli.tui.completion import Vocabulary, WordSuggester
from auditcli.tui.widgets.chips import Chips
from auditcli.tui.widgets.line import Line

_DEBOUNCE = 0.15
"""Seconds without a key before the words are tried."""


class FilterBar(Widget):
    """The text is the truth; it is tried while it is typed and kept as it is. Chips are its view meanwhile."""

    DEFAULT_CSS = """
    FilterBar { height: auto; }
    FilterBar Horizontal { height: 1; }
    FilterBar #filter-name { width: auto; color: $text-muted; }
    FilterBar Input { border: none; height: 1; padding: 0; width: 1fr; background: $surface; }
    FilterBar Input:focus { border: none; background: $boost; }
    FilterBar Chips { display: none; }
    FilterBar.-in-chips Chips { display: block; }
    FilterBar.-in-chips Input { display: none; }
    FilterBar #filter-error { height: auto; max-height: 2; color: $text-error; display: none; }
    FilterBar.-wrong #filter-error { display: block; }
    """

    class Changed(Message):
        """Other words are to be tried."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    class Entered(Message):
        """Somebody begins to type."""

    class Left(Message):
        """The words are as they are meant; the list is next."""

    def __init__(self, words: str = "", *, id: str | None = None) -> None:  # noqa: A002  # as Textual names it
        super().__init__(id=id)
        self._words = words
        self._debounce: Timer | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label("filter ▸ ", id="filter-name")
            yield Chips()
            placeholder = "table:orders event:update actor:bob total>100 …  / edits"
            yield Line(self._words, placeholder=placeholder, select_on_focus=False)
        yield Label("", id="filter-error", markup=False)

    def on_mount(self) -> None:
        self._show_chips()

    @property
    def words(self) -> str:
        """The words as they stand there."""
        return self._input.value

    @property
    def is_waiting(self) -> bool:
        """Whether words were typed that have not been tried yet."""
        return self._debounce is not None

    def edit(self) -> None:
        """Let the words be typed."""
        self.remove_class("-in-chips")
        self._input.focus()
        self._input.cursor_position = len(self.words)
        self.post_message(self.Entered())

    def set_words(self, words: str) -> None:
        """Put other words there and have them tried at once."""
        with self.prevent(Input.Changed):
            self._input.value = words
            self._input.cursor_position = len(words)
        self._show_chips()
        self._try()

    def drop(self, place: int) -> None:
        """Take a word away; -1 is the last one. Where there is none, nothing happens."""
        words = _split(self.words)
        if words:
            del words[place]
            self.set_words(shlex.join(words))

    def learn(self, vocabulary: Vocabulary) -> None:
        """Complete these words from now on."""
        self._input.suggester = WordSuggester(vocabulary)

    def say(self, error: str | None) -> None:
        """Show what is wrong with the words, or that nothing is."""
        self.set_class(error is not None, "-wrong")
        self.query_one("#filter-error", Label).update(Text(error or ""))

    @property
    def _input(self) -> Input:
        return self.query_one(Input)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._debounce is not None:
            self._debounce.stop()
        self._debounce = self.set_timer(_DEBOUNCE, self._try)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._try()
        self.post_message(self.Left())

    @on(Input.Blurred)
    def _show_chips(self) -> None:
        """Unless they are being typed, show the words one by one; those that can't be told apart yet as they stand."""
        words = _split(self.words)
        self.query_one(Chips).show(words)
        self.set_class(bool(words) and not self._input.has_focus, "-in-chips")

    @on(Chips.Removed)
    def _removed(self, event: Chips.Removed) -> None:
        event.stop()
        self.drop(event.place)

    @on(Chips.Clicked)
    def _chips_clicked(self, event: Chips.Clicked) -> None:
        event.stop()
        self.edit()

    def key_escape(self) -> None:
        self.post_message(self.Left())

    def _try(self) -> None:
        if self._debounce is not None:
            self._debounce.stop()
            self._debounce = None
        self.post_message(self.Changed(self.words))


def _split(words: str) -> list[str]:
    """The words; none where a quotation mark is still open."""
    try:
        return shlex.split(words)
    except ValueError:
        return []
