"""A line that is typed."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widgets import Input

from auditcli.present import visible

_STANDS_FOR_HIDDEN = "\N{REPLACEMENT CHARACTER}"


class Line(Input):
    """Takes lines that are pasted as one, and draws no character that a terminal would obey."""

    def on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.replace(" ".join(event.text.split()), *self.selection)

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if self.value.isprintable():
            return strip
        segments = [Segment(_harmless(each.text), each.style, each.control) for each in strip]
        return Strip(segments).adjust_cell_length(strip.cell_length)


def _harmless(text: str) -> str:
    return "".join(each if visible(each) == each else _STANDS_FOR_HIDDEN for each in text)
