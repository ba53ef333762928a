"""How changes are laid out in a file: what stands before, between and after them, and the text of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from auditcli.errors import UsageError
from auditcli.export.cells import CELL_COLUMNS, cells_of, json_cell, plain_cell
from auditcli.export.delimited import csv_lines, csv_row, tsv_lines, tsv_row
from auditcli.export.form import COLUMNS, Lines, texts_of
from auditcli.export.formats import ExportFormat
from auditcli.export.jsontext import json_lines, json_objects
from auditcli.model import Change


@dataclass(frozen=True)
class Layout:
    """The parts of a file of changes.

    `lines` makes the texts of changes from their columns, where it needs no more than these; `text` makes that of a
    change.
    """

    text: Callable[[Change], str]
    lines: Lines | None = None
    opening: str = ""
    between: str = ""
    closing: str = ""
    empty: str = ""
    """The whole of a file without changes; where it is empty, what stands before the first one does."""

    def parts(self, texts: Iterable[str], *, is_new: bool = True) -> Iterator[str]:
        """The parts of the file in order; one that is gone on with has its beginning already."""
        separator = self.opening if is_new else self.between
        for text in texts:
            yield separator + text
            separator = self.between
        yield (self.empty or self.opening) if separator == self.opening and is_new else self.closing


def layout_of(format: ExportFormat, *, cells: bool = False) -> Layout:
    """The layout of a format, a change or (`cells`) a cell a line; raises UsageError where it has none."""
    layout = (_CELLS if cells else _CHANGES).get(format)
    if layout is None:
        raise UsageError(
            f"--cells does not go with {format}: it writes a line a cell",
            hint=f"write {', '.join(_CELLS)}, or leave --cells out",
        )
    return layout


def _by_texts(lines: Lines, **more: str) -> Layout:
    return Layout(lambda change: "".join(lines([(part,) for part in texts_of(change)])), lines, **more)


def _cell_lines(row: Callable[[Iterable[str]], str], change: Change) -> str:
    return "".join(row(map(plain_cell, cell)) for cell in cells_of(change))


def _json_cell_lines(change: Change) -> str:
    return "".join(map(json_cell, cells_of(change)))


_CHANGES = {
    ExportFormat.CSV: _by_texts(csv_lines, opening=csv_row(COLUMNS)),
    ExportFormat.TSV: _by_texts(tsv_lines, opening=tsv_row(COLUMNS)),
    ExportFormat.JSON: _by_texts(json_objects, opening="[\n", between=",\n", closing="\n]\n", empty="[]\n"),
    ExportFormat.JSONL: _by_texts(json_lines),
}
_CELLS = {
    ExportFormat.CSV: Layout(partial(_cell_lines, csv_row), opening=csv_row(CELL_COLUMNS)),
    ExportFormat.TSV: Layout(partial(_cell_lines, tsv_row), opening=tsv_row(CELL_COLUMNS)),
    ExportFormat.JSONL: Layout(_json_cell_lines),
}
