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

from auditcli.present import visible

_LOW = 16
"""On a terminal of fewer lines a dialog has all of it."""


class Choice(ModalScreen[int | None]):
    """Ends with the number of the answer, or without one."""

    DEFAULT_CSS = """
    Choice { align: center middle; }
    Choice #dialog { width: auto; max-width: 90%; min-width: 40; height: auto; }
    Choice #dialog { border: thick $primary; background: $surface; padding: 0 1; }
    Choice OptionList, Choice OptionList:focus { border: none; }
    Choice OptionList { height: auto; max-height: 16; width: auto; min-width: 38; }
    Choice.-low #dialog { border: none; width: 100%; max-width: 100%; height: 100%; }
    Choice.-low OptionList { max-height: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, answers: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(visible(self._title), markup=False)
            yield OptionList(*(Option(Text(visible(answer))) for answer in self._answers))

    def on_resize(self) -> None:
        self.set_class(self.app.size.height < _LOW, "-low")

    @on(OptionList.OptionSelected)
    def _answered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_index)
