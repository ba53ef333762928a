"""The records of single rows: by the keys that they stood at, and along all keys of one row."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from auditcli import codec
from auditcli.changeset import threads
from auditcli.log.query import PAGE, Criteria, Window, read_pages, window_conditions
from auditcli.model import Change, RowKey, TableName

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader

_KEYS_A_WALK = 200
_FEW_WALKS = 4
_MOST_WALKS = 40


def records_of_rows(
    reader: LogReader, table: TableName, row_ids: Iterable[str], *, after_id: int, window: Window
) -> Iterator[Change]:
    """All records of rows that stood at one of these keys, before or after, in id order."""
    asked = frozenset(row_ids)
    keys = sorted(set(map(codec.look_up_key, asked)))
    found = records_held_at(reader, table, keys, after_id=after_id, window=window)
    # A key that was looked for by its beginning only may have brought other rows along.
    return (change for change in found if asked & _keys(change)) if not asked.issuperset(keys) else found


def records_held_at(
    reader: LogReader, table: TableName, keys: Sequence[str], *, after_id: int = 0, window: Window
) -> Iterator[Change]:
    """The same by what the log holds of keys; of long ones that is what several rows may share."""
    log = reader.tables.changelog.c
    bounds = window_conditions(reader.connection, reader.tables, window)
    criteria = Criteria((log.id > after_id, *reader.in_table(table), *bounds))
    if len(keys) > _KEYS_A_WALK * _MOST_WALKS:
        return _scan_for(reader, criteria, frozenset(keys))
    batches = [keys[start : start + _KEYS_A_WALK] for start in range(0, len(keys), _KEYS_A_WALK)]
    parts = [Criteria(criteria.conditions, (log.row_id.in_(batch), log.old_row_id.in_(batch))) for batch in batches]
    return _merged(reader, parts)


def thread_of(reader: LogReader, row: RowKey) -> list[Change]:
    """All records of the row that stands at this key now, or stood there last, followed through key changes."""
    shape = reader.table_shape(row.table)
    keys = {row.row_id}
    while True:
        records = list(reader.row_records(row.table, keys))
        stories = threads(records, shape.primary_key if shape else ())
        ended_here = [story for story in stories if any(row.row_id in _keys(record) for record in story)]
        if not ended_here:
            return []
        story = max(ended_here, key=lambda story: max(r.id for r in story if row.row_id in _keys(r)))
        met = {key for record in story for key in _keys(record)}
        if met <= keys:
            return list(story)
        keys |= met


def _merged(reader: LogReader, parts: Sequence[Criteria]) -> Iterator[Change]:
    """The records of several walks in id order, each once."""
    page = PAGE if len(parts) <= _FEW_WALKS else PAGE // 5
    walks = [reader.records(criteria, page=page) for criteria in parts]
    last_id = 0
    for change in heapq.merge(*walks, key=lambda change: change.id):
        if change.id != last_id:
            yield change
        last_id = change.id


def _scan_for(reader: LogReader, criteria: Criteria, keys: frozenset[str]) -> Iterator[Change]:
    """The records of very many rows: one walk along the log instead of many along the index."""
    for rows in read_pages(reader.connection, reader.tables, reader.columns, criteria):
        wanted = [row for row in rows if row.row_id in keys or row.old_row_id in keys]
        yield from reader.changes_of(wanted)


def _keys(record: Change) -> set[str]:
    return {key for key in (record.row_id, record.old_row_id) if key is not None}
