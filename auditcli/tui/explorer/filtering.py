"""The filter: tried while it is typed, narrowed by what is under the cursor."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from auditcli.clock import utc_now
from auditcli.model import Change
from auditcli.tui.completion import Vocabulary, vocabulary_of
from auditcli.tui.explorer.frame import Frame
from auditcli.tui.screens.choice import Choice
from auditcli.tui.widgets.filter_bar import FilterBar

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.log.reader import LogReader

_VOCABULARY = "vocabulary"


class Filtering(Frame):
    """What the words select is `chosen`; the list and the activity follow it."""

    class Selected(Message):
        """Other changes are selected than before."""

        def __init__(self, chosen: Chosen) -> None:
            super().__init__()
            self.chosen = chosen

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("backslash", "clear_filter", "Clear the filter", show=False),
        Binding("backspace", "drop_word", "Drop the filter's last word", show=False),
        Binding("equals_sign", "narrow('')", "Keep only", show=False),
        Binding("x", "narrow('not:')", "Exclude", show=False),
    ]

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self.choose(event.words)

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.changes.focus()

    @on(FilterBar.Entered)
    def _filter_entered(self) -> None:
        """Learn what can be completed when somebody begins to type."""
        self.queries.ask(_VOCABULARY, vocabulary_of, self._learn)

    def choose(self, words: str) -> None:
        """Try words; those that are wrong are said to be, and leave everything as it was."""
        try:
            split = shlex.split(words)
        except ValueError as error:
            self.filter_bar.say(str(error).lower())
            return

        def choose(reader: LogReader) -> Chosen:
            from auditcli.chosen import choose

            return choose(reader, split, now=utc_now())

        self.queries.ask(self.filter_kind, choose, self._chosen)

    def action_filter(self) -> None:
        self.filter_bar.edit()

    def action_clear_filter(self) -> None:
        self.filter_bar.set_words("")

    def action_drop_word(self) -> None:
        self.filter_bar.drop(-1)

    def action_narrow(self, sign: str) -> None:
        """Keep only what has something in common with the change under the cursor, or exclude it."""
        change = self.changes.window.current
        if change is None:
            return
        words = _words_of(change)

        def answered(number: int | None) -> None:
            if number is not None:
                self.add_word(f"{sign}{words[number]}")

        self.app.push_screen(Choice("exclude" if sign else "keep only", words), answered)

    def add_word(self, word: str) -> None:
        """Narrow the filter by a word."""
        self.filter_bar.set_words(f"{self.filter_bar.words} {shlex.quote(word)}".strip())

    def _chosen(self, chosen: Chosen) -> None:
        self.filter_bar.say(None)
        if chosen != self.chosen:
            self.chosen = chosen
            self.post_message(self.Selected(chosen))

    def _learn(self, vocabulary: Vocabulary) -> None:
        self.filter_bar.learn(vocabulary)


def _words_of(change: Change) -> list[str]:
    """Words that select what is like a change: by its actor, table, event, row, transaction and touched columns."""
    from auditcli.changeset import touched_columns
    from auditcli.filters.rowword import name_word, table_word

    columns = touched_columns(change)[:6] if not change.event_type.removes and change.before is not None else ()
    return [
        *([] if change.actor is None else [f"actor:{change.actor}"]),
        f"table:{table_word(change.table)}",
        f"event:{change.event_type.lower()}",
        *([] if change.row is None else [f"row:{change.row}"]),
        *([] if change.transaction_id is None else [f"tx:{change.transaction_id}"]),
        *(f"column:{name_word(column)}" for column in columns),
    ]
