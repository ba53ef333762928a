"""The filter: words as `audit log` takes them, with what is wrong with them while one types."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label

from auditcli.tui.completion import Vocabulary, WordSuggester
from auditcli.tui.widgets.line import Line

_DEBOUNCE = 0.15
"""Seconds without a key before the words are tried."""


class FilterBar(Widget):
    """The text is the truth; it is tried while it is typed and kept as it is."""

    DEFAULT_CSS = """
    FilterBar { height: auto; }
    FilterBar Horizontal { height: 1; }
    FilterBar #filter-name { width: auto; color: $text-muted; }
    FilterBar Input { border: none; height: 1; padding: 0; width: 1fr; background: $surface; }
    FilterBar Input:focus { border: none; background: $boost; }
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
            yield Line(self._words, placeholder="table:orders event:update actor:bob total>100 …  / edits")
        yield Label("", id="filter-error", markup=False)

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
        self._input.focus()
        self.post_message(self.Entered())

    def set_words(self, words: str) -> None:
        """Put other words there and have them tried at once."""
        with self.prevent(Input.Changed):
            self._input.value = words
            self._input.cursor_position = len(words)
        self._try()

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

    def key_escape(self) -> None:
        self.post_message(self.Left())

    def _try(self) -> None:
        if self._debounce is not None:
            self._debounce.stop()
            self._debounce = None
        self.post_message(self.Changed(self.words))
