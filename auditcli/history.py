"""One row through time, from the log alone: its history, who last wrote each column, its state at a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditcli.changeset import touched_columns
from auditcli.errors import NotFound
from auditcli.log.reader import LogReader
from auditcli.model import Change, Image, JsonValue, RowKey


@dataclass(frozen=True, slots=True)
class ColumnBlame:
    """A column's value and the change that wrote it last; None where that was before the log knew the row.

    Of a row that is gone these are the last values, and the change is the one that removed it.
    """

    column: str
    value: JsonValue
    change: Change | None


@dataclass(frozen=True, slots=True)
class RowState:
    """A row at a position: its image, None where it did not exist, and the changes on both sides of the position.

    `since` is the last change until then, None where the log knows of none; `until` is the first one after it.
    """

    image: Image | None
    since: Change | None
    until: Change | None


def row_history(reader: LogReader, row: RowKey) -> list[Change]:
    """All changes of a row, oldest first, followed through changes of its key; raises NotFound where there are none."""
    history = reader.row_thread(row)
    if not history:
        raise _unknown(reader, row)
    return history


def blame(reader: LogReader, row: RowKey, boundary: int | None = None) -> list[ColumnBlame]:
    """Who last wrote each column of a row, or had last written it at a position; nothing of a row that came later."""
    history = row_history(reader, row)
    if boundary is None:
        past, image = history, history[-1].image
    else:
        past, later = _split(reader, history, boundary)
        image = past[-1].image if past else later[0].before or {}
    return [ColumnBlame(column, value, _last_writer(past, column)) for column, value in image.items()]


def row_at(reader: LogReader, row: RowKey, boundary: int) -> Image | None:
    """What a row looked like at a position; None where it did not exist then."""
    return row_state(reader, row, boundary).image


def row_state(reader: LogReader, row: RowKey, boundary: int) -> RowState:
    """A row at a position, and what made it so; a transaction that had not ended by then had not happened."""
    history = row_history(reader, row)
    before, later = _split(reader, history, boundary)
    image = before[-1].after if before else history[0].before
    return RowState(image, before[-1] if before else None, later[0] if later else None)


def _split(reader: LogReader, history: Sequence[Change], boundary: int) -> tuple[list[Change], list[Change]]:
    """The changes that had happened by then, and the later ones."""
    unfinished = reader.straddling(boundary)
    happened = [change.id <= boundary and change.transaction_id not in unfinished for change in history]
    past = [change for change, is_past in zip(history, happened, strict=True) if is_past]
    return past, [change for change, is_past in zip(history, happened, strict=True) if not is_past]


def _last_writer(history: Sequence[Change], column: str) -> Change | None:
    return next((change for change in reversed(history) if column in touched_columns(change)), None)


def _unknown(reader: LogReader, row: RowKey) -> NotFound:
    tracked = reader.tracked_tables()
    if row.table not in tracked:
        names = ", ".join(map(str, tracked)) or "none yet"
        return NotFound(f"no table {row.table} in the log", hint=f"tables in the log: {names}")
    return NotFound(f"no change of {row} is recorded", hint=f"`audit log table:{row.table}` lists what is")
