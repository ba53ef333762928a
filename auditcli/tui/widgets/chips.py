"""The words of a filter one by one, each to be taken away by a click."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from auditcli.present import visible

_REMOVE = " ✕ "


class Chips(Widget):
    """A view of the words: what is true is the text."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chips--word", "chips--remove"}
    DEFAULT_CSS = """
    Chips { height: 1; width: 1fr; background: $surface; }
    Chips .chips--word { background: $primary-muted; color: $text; }
    Chips .chips--remove { background: $primary-muted; color: $text-muted; }
    """

    class Removed(Message):
        """One of the words is not wanted any more."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    class Clicked(Message):
        """Somebody clicked beside them: the words are to be typed."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        super().__init__()
        self.words = words

    def show(self, words: Sequence[str]) -> None:
        """Show other words."""
        self.words = words
        self.refresh()

    def render(self) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis", end="")
        for word in self.words:
            line.append(f" {_shown(word)}", self.get_component_rich_style("chips--word"))
            line.append(_REMOVE, self.get_component_rich_style("chips--remove"))
            line.append(" ")
        return line

    def on_click(self, event: events.Click) -> None:
        event.stop()
        end = 0
        for place, word in enumerate(self.words):
            end += Text(f" {_shown(word)}{_REMOVE} ").cell_len
            if event.x < end:
                self.post_message(self.Removed(place))
                return
        self.post_message(self.Clicked())


def _shown(word: str) -> str:
    return visible(shlex.quote(word))
