"""One line a cell: what people with spreadsheets filter and sort."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from auditcli import codec
from auditcli.clock import utc_text
from auditcli.export.form import changed_columns, json_text
from auditcli.model import Change, JsonValue

CELL_COLUMNS = ("change_id", "timestamp", "actor", "table", "row_id", "column", "old", "new")
"""The columns of a cell, in order."""


class Cell(NamedTuple):
    """One cell that a change wrote; a value is null where there was none, or no row."""

    change_id: int
    timestamp: str
    actor: str | None
    table: str
    row_id: str | None
    column: str
    old: JsonValue
    new: JsonValue


def cells_of(change: Change) -> Iterator[Cell]:
    """The cells that a change wrote."""
    before, after = change.before or {}, change.after or {}
    moment = utc_text(change.timestamp)
    for column in changed_columns(change):
        values = (before.get(column), after.get(column))
        yield Cell(change.id, moment, change.actor, str(change.table), change.row_id, column, *values)


def json_cell(cell: Cell) -> str:
    """A cell as an object on a line; its values in the form of `auditcli.codec`."""
    return json_text(dict(zip(CELL_COLUMNS, cell, strict=True))) + "\n"


def plain_cell(value: JsonValue) -> str:
    """A value as the text of a spreadsheet's cell: null is empty, a tagged value is its content."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        content = next(iter(value.values()), None)
        return content if isinstance(content, str) else json_text(value)
    return value if isinstance(value, str) else codec.dump(value)
