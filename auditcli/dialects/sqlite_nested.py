"""Keeping the log in the order of what happened where an update of a row leads to another one of the same row.

SQLite does a cascade, and fires its triggers, before those of the update that led to it. Where rows refer to their own
table, or tables to each other in a circle, a cascade comes back to the row that it began with, and the second step of
this row is recorded before the first one. The first one's trigger then puts the second one behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from auditcli.dialects.capture import CaptureTable, LogNames
from auditcli.dialects.sqlite_images import RowTexts, literal, quoted
from auditcli.model import TableName
from auditcli.shape import CHANGES_CHILD, TableShape

_COLUMNS = (
    "timestamp, transaction_id, actor, table_schema, table_name, row_id, old_row_id, event_type, before, after, source"
)


def come_back_to(tables: Iterable[CaptureTable]) -> frozenset[TableName]:
    """The tables to which the cascades of their own updates may come back."""
    reached: dict[TableName, set[TableName]] = {}
    for table in tables:
        for key in table.shape.foreign_keys:
            if key.on_update in CHANGES_CHILD:
                reached.setdefault(key.referred, set()).add(key.table)
    return frozenset(table for table in reached if table in _all_reached(table, reached))


def _all_reached(start: TableName, reached: Mapping[TableName, set[TableName]]) -> set[TableName]:
    found: set[TableName] = set()
    ahead = list(reached[start])
    while ahead:
        table = ahead.pop()
        if table not in found:
            found.add(table)
            ahead += reached.get(table, ())
    return found


def put_later_steps_behind(log: LogNames, shape: TableShape, texts: RowTexts) -> list[str]:
    """What follows an update's own record: later steps of the row, which stand before it, get behind it.

    They begin with the newest record that starts from what the update led to; and there are some only where the row is
    not as the update left it any more.
    """
    changelog = quoted(log.changelog.name)
    row = f"table_name = {literal(shape.table.name)} AND row_id IS {texts.row_id('NEW')}"
    own = f"(SELECT max(id) FROM {changelog} WHERE {row} AND before = {texts.image('OLD')})"
    first = f"(SELECT max(id) FROM {changelog} WHERE {row} AND before = {texts.image('NEW')} AND id < {own})"
    place = f"{texts.place('t')} IS {texts.place('NEW')}"
    same = texts.same("t", "NEW", shape.column_names)
    has_moved_on = f"EXISTS (SELECT 1 FROM {quoted(shape.table.name)} AS t WHERE {place} AND NOT ({same}))"
    later = f"FROM {changelog} WHERE {has_moved_on} AND {row} AND id >= {first} AND id < {own}"
    return [f"INSERT INTO {changelog} ({_COLUMNS}) SELECT {_COLUMNS} {later} ORDER BY id", f"DELETE {later}"]
