"""What can be carried off: to the clipboard, or to a file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from textual.binding import Binding, BindingType

from auditcli.clock import utc_now
from auditcli.present import counted, value_text
from auditcli.tui.details import statements_of
from auditcli.tui.explorer.frame import Frame
from auditcli.tui.screens.choice import Choice

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader

_CARRY = "carry"


class CarryingOff(Frame):
    """The clipboard is the terminal's: it is told by an escape sequence, which works over SSH too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yank", "Copy", show=False),
        Binding("e", "export", "Export", show=False),
    ]

    def action_yank(self) -> None:
        """Offer what can be copied of the change under the cursor."""
        change = self.changes.window.current
        if change is None:
            return
        from auditcli.changeset import touched_columns
        from auditcli.export import change_to_json

        texts = [
            *([] if change.row is None else [("the row's name", str(change.row))]),
            ("the row as JSON", json.dumps(change.image, ensure_ascii=False)),
            ("the change as JSON", json.dumps(change_to_json(change), ensure_ascii=False)),
            *((f"{each}", value_text(change.image.get(each), None)) for each in touched_columns(change)[:8]),
            ("the command that shows it", f"audit show {change.id}"),
            ("the filter as a command", f"audit log {self.filter_bar.words}".strip()),
        ]

        def answered(number: int | None) -> None:
            if number is None:
                return
            if number < len(texts):
                self._copy(texts[number][1])
            else:
                self.queries.ask(_CARRY, lambda reader: _statements(reader, inverted=number > len(texts)), self._copy)

        def _statements(reader: LogReader, *, inverted: bool) -> str:
            return "\n".join(statements_of(reader, change, inverted=inverted))

        answers = [*(words for words, _ in texts), "SQL that does it again", "SQL that takes it back"]
        self.app.push_screen(Choice("copy", answers), answered)

    def action_export(self) -> None:
        """Write what the filter selects to a file."""
        formats = "csv, tsv, json, jsonl or sql by its suffix; .gz compresses"
        self.ask("export to", self._export, value="changes.csv", hint=formats)

    def _copy(self, text: str) -> None:
        self.app.copy_to_clipboard(text)
        self.say(f"copied {counted(len(text), 'character')}")

    def _export(self, name: str) -> None:
        chosen = self.chosen
        if chosen is None:
            return
        path = Path(name).expanduser()
        if self.app.is_web:
            self.queries.ask_database(_CARRY, partial(_downloadable, chosen, path.name), self._download)
        elif path.exists():
            self.say(f"{path} is there already: name another file")
        else:
            self.queries.ask_database(_CARRY, partial(_written, chosen, path), self.say)

    def _download(self, file: BinaryIO) -> None:
        """Give a file to the browser: it is not to be found where the explorer runs."""
        name = Path(file.name).name
        self.app.deliver_binary(file, save_filename=name)
        self.say(f"{name} goes to the browser")


def _written(chosen: Chosen, path: Path, database: Database, _is_wanted: Callable[[], bool]) -> str:
    from auditcli.export import Asked, format_of, write_log

    asked = Asked(format_of(path), chosen.selection, chosen.window, chosen.words)
    with database.log() as reader:
        tally = write_log(reader, asked, path, now=utc_now())
    return f"{counted(tally.count, 'change')} written to {shlex.quote(str(path))}"


def _downloadable(chosen: Chosen, name: str, database: Database, is_wanted: Callable[[], bool]) -> BinaryIO:
    """The same as an open file, which is gone when it is closed."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        _written(chosen, path, database, is_wanted)
        return path.open("rb")
