"""What a person's words choose in one log: a selection with the part of the log it is about, a row, a boundary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select

from auditcli.errors import UsageError
from auditcli.filters.celltest import same_column
from auditcli.filters.rowword import did_you_mean, parse_row_word
from auditcli.log.positions import resolve, within
from auditcli.log.reader import LogReader, Window
from auditcli.log.schema import remembered_shapes
from auditcli.model import RowKey, TableName
from auditcli.position import Position, shown
from auditcli.selection import OPTION_NAMES, Selection, SelectionOptions, format_selection, parse_selection
from auditcli.shape import TableShape

_LISTED = 12


@dataclass(frozen=True)
class Chosen:
    """A selection without its positions, the window between those, and all of it as words that select it again."""

    selection: Selection
    window: Window
    words: str
    since: Position | None
    until: Position | None

    @property
    def is_bounded(self) -> bool:
        """Whether positions were given."""
        return self.since is not None or self.until is not None

    @property
    def open_window(self) -> Window:
        """The window; without an end that was named, what is committed later belongs to it too."""
        return self.window if self.until is not None else replace(self.window, until_id=None, left_out=frozenset())


def choose(
    reader: LogReader, words: Sequence[str], *, now: datetime, options: SelectionOptions | None = None
) -> Chosen:
    """The selection that words and options make; without an end it reaches to the last change that is there.

    Raises NotFound for an id, transaction, table or mark that is not there, and UsageError for a column that no tracked
    table ever had.
    """
    selection = parse_selection(words, tables=tables_and_keys(reader), now=now, options=options)
    _check_columns(reader, selection)
    complete = reader.last_id()
    window = within(reader, selection.since, selection.until, watermark=complete)
    inside = _with_full_ids(reader, replace(selection, since=None, until=None))
    return Chosen(inside, window, format_selection(selection), selection.since, selection.until)


def boundary(reader: LogReader, position: Position | None) -> int:
    """The log id that a position stands after; without one, all that is certainly committed by now."""
    complete = reader.last_id()
    return complete if position is None else resolve(position, reader, watermark=complete)


def find_row(reader: LogReader, word: str) -> RowKey:
    """The row that a word names: of all keys that it can mean, the first one that the log knows."""
    asked = parse_row_word(word, tables_and_keys(reader))
    rows = [RowKey(asked.table, row_id) for row_id in asked.row_ids]
    known = (row for row in rows if next(iter(reader.row_records(row.table, [row.row_id])), None) is not None)
    return next(known, rows[0])


def tables_and_keys(reader: LogReader) -> Collection[TableName]:
    """The tables that the log knows, with their primary keys where it knows those of all."""
    tables = reader.tracked_tables()
    shapes = remembered_shapes(reader.connection, reader.tables)
    return {table: shapes[table].primary_key for table in tables} if shapes.keys() >= set(tables) else tables


def _with_full_ids(reader: LogReader, selection: Selection) -> Selection:
    """The selection with each transaction by its full id; raises NotFound where one of them is not there."""
    for change_id in selection.ids.any_of:
        reader.change(change_id)
    full_ids = tuple(reader.find_transaction(prefix) for prefix in selection.transactions.any_of)
    return replace(selection, transactions=replace(selection.transactions, any_of=full_ids))


def _check_columns(reader: LogReader, selection: Selection) -> None:
    words = (selection.columns, selection.cells)
    named = [(word.table, word.column) for each in words for word in (*each.any_of, *each.none_of)]
    if not named:
        return
    known = columns_ever(reader)
    if not known.keys() >= set(reader.tracked_tables()):
        # A log without its tables' shapes can't tell which columns there were.
        return
    for table, column in named:
        columns = {name for each, names in known.items() if table in (None, each) for name in names}
        if not any(same_column(column, name) for name in columns):
            where = "" if table is None else f" in {table}"
            guess = did_you_mean(
                column, {**{name: name for name in columns}, **{name: f"{name}:" for name in OPTION_NAMES}}
            )
            listed = ", ".join(sorted(columns)[:12]) + (", …" if len(columns) > 12 else "")
            raise UsageError(f"no column {shown(column)}{where}", hint=guess.strip() or f"columns: {listed}")


def columns_ever(reader: LogReader) -> Mapping[TableName, set[str]]:
    """The columns that each table has, or had at any time that the log remembers."""
    found: dict[TableName, set[str]] = {}
    for stored in reader.execute(select(reader.tables.table_shape.c.shape)).scalars():
        shape = TableShape.from_json(stored)
        found.setdefault(shape.table, set()).update(shape.column_names)
    return found
