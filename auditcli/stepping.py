"""Steps along a log from a place: a change, a transaction or some time further; and to rows that a row refers to."""

from __future__ import annotations

from datetime import timedelta

from auditcli import codec
from auditcli.log.reader import LogReader
from auditcli.model import Change, RowKey
from auditcli.paging import Paging
from auditcli.selection import Selection


def change_step(reader: LogReader, selection: Selection, place: int, direction: int) -> int:
    """The place after the next selected change, or before the last one; the same place where there is none."""
    pages = Paging(reader, selection, size=1)
    if direction > 0:
        page = pages.newer(place)
        while not page.changes and not page.is_last:
            page = pages.newer(page.edge_id)
        return page.changes[0].id if page.changes else place
    page = pages.older(place)
    while not page.changes and not page.is_last:
        page = pages.older(page.edge_id)
    return page.changes[0].id if page.changes else reader.first_id() - 1


def transaction_step(reader: LogReader, selection: Selection, place: int, direction: int) -> int:
    """The place after the next transaction with selected changes, or after the one before this."""
    step = change_step(reader, selection, place, direction)
    _, here = reader.transaction_at(place)
    _, there = reader.transaction_at(step)
    while there is not None and there == here and step != place:
        place, step = step, change_step(reader, selection, step, direction)
        _, there = reader.transaction_at(step)
    return step if there is None else reader.transaction_span(there)[1]


def bar_step(reader: LogReader, place: int, direction: int, width: timedelta) -> int:
    """The place so much time later or earlier, by the clock of the record that stands there."""
    log_id = reader.id_at_or_before(place) or reader.first_id()
    return reader.last_id_stamped_before(reader.change(log_id).timestamp + direction * width) if log_id else place


def referred_rows(reader: LogReader, change: Change) -> list[RowKey]:
    """The rows that a change's row refers to by the foreign keys of its table as it was then, each once."""
    shape = reader.table_shape(change.table, change.id) or reader.table_shape(change.table)
    rows: list[RowKey] = []
    for key in shape.foreign_keys if shape is not None else ():
        values = [change.image.get(column) for column in key.columns]
        parent = reader.table_shape(key.referred)
        if None in values or parent is None or set(parent.primary_key) != set(key.referred_columns):
            continue
        by_column = dict(zip(key.referred_columns, values, strict=True))
        row_id = codec.row_id_of(by_column, parent.primary_key)
        if row_id is not None and RowKey(key.referred, row_id) not in rows:
            rows.append(RowKey(key.referred, row_id))
    return rows
