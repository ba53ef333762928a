"""Styled lines of `auditcli.present` as what a terminal draws, in the colours of the theme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.segment import Segment
from rich.style import Style as RichStyle
from rich.text import Text

from auditcli.model import EventType
from auditcli.present import Line, Style

EVENT_STYLES = {
    EventType.INSERT: Style.ADDED,
    EventType.UPDATE: Style.CHANGED,
    EventType.DELETE: Style.REMOVED,
    EventType.TRUNCATE: Style.REMOVED,
    EventType.SNAPSHOT: Style.DIM,
}

_VARIABLES = {
    Style.ADDED: "text-success",
    Style.REMOVED: "text-error",
    Style.CHANGED: "text-warning",
    Style.IDENTITY: "text-primary",
    Style.WARNING: "text-accent",
}


class Palette:
    """What each style looks like in one theme."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._styles = {style: _colored(variables.get(name)) for style, name in _VARIABLES.items()}
        self._styles |= {
            Style.PLAIN: RichStyle(),
            Style.DIM: RichStyle(dim=True),
            Style.STRONG: RichStyle(bold=True),
        }

    def style(self, style: Style) -> RichStyle:
        """How a terminal draws a style."""
        return self._styles[style]

    def text(self, lines: Iterable[Line]) -> Text:
        """Lines for a widget that wraps them."""
        text = Text(no_wrap=False, overflow="fold")
        for number, line in enumerate(lines):
            if number:
                text.append("\n")
            for span in line:
                text.append(span.text, self._styles[span.style])
        return text

    def segments(self, line: Line) -> list[Segment]:
        """A line for a widget that draws it itself."""
        return [Segment(span.text, self._styles[span.style]) for span in line]


def _colored(color: str | None) -> RichStyle:
    # A colour of a theme may be `auto 87%`, which only a style sheet knows how to read.
    return RichStyle(color=color) if color and color.startswith("#") else RichStyle(bold=True)
