"""Rows that SQLite's triggers put aside because a new one may replace them, and what becomes of them.

What is rare is done by triggers of the table of rows put aside, the same for every captured table: a trigger costs as
much as it is long, also where its condition does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.dialects.capture import CAPTURE_PREFIX, CaptureObject, LogNames
from auditcli.dialects.sqlite_images import literal, quoted

GONE, REPLACED, NEW = "gone", "replaced", "new"
"""States of rows that are not there any more, to be recorded as deleted or as what the new row at their key was before,
and of that new row."""

_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_KEPT = 30
"""Rows whose replacement never happened stay aside; of so many at the most."""


def aside_name(log: LogNames) -> str:
    """The table of rows put aside."""
    return f"{log.changelog.name}_replaced"


def trigger_start(log: LogNames) -> str:
    """How the names of a log's capture triggers begin."""
    return f"{CAPTURE_PREFIX}{log.changelog.name}_"


def record_sql(log: LogNames, values: Sequence[str], source: str | None = None) -> str:
    """One record; or one for each row of a source, which costs more.

    The values are the table's name, the key, the key before, the event and both images.
    """
    columns = "timestamp, table_name, row_id, old_row_id, event_type, before, after, source"
    row = f"{_NOW}, {', '.join(values)}, 'trigger'"
    rows = f"VALUES ({row})" if source is None else f"SELECT {row} {source}"
    return f"INSERT INTO {quoted(log.changelog.name)} ({columns}) {rows}"


def aside_objects(log: LogNames) -> list[CaptureObject]:
    """The table of rows put aside, and its triggers."""
    name = aside_name(log)
    drop = f"DROP TABLE IF EXISTS {quoted(name)}"
    columns = "table_name TEXT, place, row_key TEXT, row_id TEXT, image TEXT, state TEXT"
    return [
        CaptureObject("table", name, None, (drop, f"CREATE TABLE {quoted(name)} ({columns})"), drop),
        _trigger(log, "put_aside", "AFTER INSERT", "NEW.state IS NULL", _kept_few(name)),
        _trigger(log, "gone", "AFTER UPDATE", f"NEW.state = '{GONE}'", _gone(log)),
        _trigger(log, "new", "AFTER INSERT", f"NEW.state = '{NEW}'", _new(log)),
    ]


def _trigger(log: LogNames, what: str, event: str, condition: str, body: Sequence[str]) -> CaptureObject:
    table = aside_name(log)
    name = f"{trigger_start(log)}{what}_{table}"
    statements = "".join(f"\n  {statement};" for statement in body)
    create = f"CREATE TRIGGER {quoted(name)} {event} ON {quoted(table)}\nWHEN {condition}\nBEGIN{statements}\nEND"
    drop = f"DROP TRIGGER IF EXISTS {quoted(name)}"
    return CaptureObject("trigger", name, None, (drop, create), drop)


def _kept_few(name: str) -> list[str]:
    same = "table_name = NEW.table_name AND place IS NEW.place AND rowid < NEW.rowid"
    return [f"DELETE FROM {quoted(name)} WHERE ({same}) OR rowid <= NEW.rowid - {_KEPT}"]


def _gone(log: LogNames) -> list[str]:
    values = ("OLD.table_name", "OLD.row_id", "NULL", "'DELETE'", "OLD.image", "NULL")
    return [record_sql(log, values), f"DELETE FROM {quoted(aside_name(log))} WHERE rowid = OLD.rowid"]


def _new(log: LogNames) -> list[str]:
    """The record of a new row: an update of the one that it replaced at its key, if there was one."""
    name = quoted(aside_name(log))
    before = f"FROM {name} AS a WHERE a.table_name = NEW.table_name AND a.state = {literal(REPLACED)}"
    key = ("NEW.table_name", "NEW.row_id", "NULL")
    return [
        record_sql(log, (*key, "'UPDATE'", "a.image", "NEW.image"), f"{before} AND a.image IS NOT NEW.image"),
        record_sql(log, (*key, "'INSERT'", "NULL", "NEW.image"), f"WHERE NOT EXISTS (SELECT 1 {before})"),
        f"DELETE FROM {name} WHERE table_name = NEW.table_name AND state IS NOT NULL AND rowid <> NEW.rowid",
        f"UPDATE {name} SET image = NULL WHERE rowid = NEW.rowid",
    ]
