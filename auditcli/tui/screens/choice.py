"""A question with a few answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option


class Choice(ModalScreen[int | None]):
    """Ends with the number of the answer, or without one."""

    DEFAULT_CSS = """
    Choice { align: center middle; }
    Choice #dialog { width: auto; max-width: 90%; min-width: 40; height: auto; }
    Choice #dialog { border: thick $primary; background: $surface; padding: 0 1; }
    Choice OptionList { height: auto; max-height: 16; border: none; width: auto; min-width: 38; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, answers: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(self._title, markup=False)
            yield OptionList(*(Option(Text(answer)) for answer in self._answers))

    @on(OptionList.OptionSelected)
    def _answered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_index)
