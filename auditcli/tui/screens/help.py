"""Every key, and what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from auditcli.present import Line, Span, Style
from auditcli.tui.palette import Palette

_NAMES = {
    "slash": "/",
    "backslash": "\\",
    "question_mark": "?",
    "equals_sign": "=",
    "full_stop": ".",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
}


def shown_key(key: str) -> str:
    """A key as people know it."""
    return _NAMES.get(key, key.replace("ctrl+", "^"))


class Help(ModalScreen[None]):
    """Made from the bindings themselves, so that it can't leave one out."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help VerticalScroll { width: 76; max-width: 95%; height: 90%; border: thick $primary; background: $surface; }
    Help VerticalScroll { padding: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss(None)", "Back")]

    def __init__(self, palette: Palette, groups: Iterable[tuple[str, Iterable[Binding]]]) -> None:
        super().__init__()
        self._lines = [line for title, bindings in groups for line in _group_lines(title, bindings)]
        self._palette = palette

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._palette.text(self._lines), markup=False)


def _group_lines(title: str, bindings: Iterable[Binding]) -> list[Line]:
    keys: dict[str, list[str]] = {}
    for binding in bindings:
        if binding.description:
            keys.setdefault(binding.description, []).append(shown_key(binding.key))
    lines = [(Span(f"  {' '.join(names):<16}", Style.IDENTITY), Span(what)) for what, names in keys.items()]
    return [(Span(title, Style.STRONG),), *lines, ()]
