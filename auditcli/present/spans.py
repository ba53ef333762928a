"""Text in styles: what both front ends draw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Style(StrEnum):
    """What a piece of text is; a front end chooses its colour, the text itself has a sign."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    IDENTITY = "identity"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line: TypeAlias = tuple[Span, ...]

SIGNS = {Style.ADDED: "+", Style.REMOVED: "-", Style.CHANGED: "~", Style.DIM: "="}
"""What says without a colour whether a row came, went, changed or only stands there."""


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join(span.text for span in line)


def hint_line(text: str) -> Line:
    """A word to the reader between data."""
    return (Span(text, Style.DIM),)
