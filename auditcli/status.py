"""What a log holds and how it is filled, at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from auditcli.capture.triggers import plan_capture
from auditcli.driver import run
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.log.upgrade import LogInfo, check_log
from auditcli.model import Change, TableName


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What the log holds of one table; `capture` is how its next change gets there."""

    table: TableName
    changes: int
    last_id: int | None
    capture: str


@dataclass(frozen=True)
class Status:
    """A log at a glance."""

    log: LogInfo
    tracking: Tracking
    tables: tuple[TableStatus, ...]
    changes: int
    first_at: datetime | None
    last: Change | None
    open_gaps: int


def read_status(reader: LogReader) -> Status:
    """Look at a log."""
    per_table = _tables(reader)
    first = next(reader.changes(limit=1), None)
    return Status(
        log=check_log(reader.connection, reader.tables),
        tracking=read_tracking(reader.connection, reader.tables),
        tables=per_table,
        changes=sum(each.changes for each in per_table),
        first_at=None if first is None else first.timestamp,
        last=next(reader.changes(newest_first=True, limit=1), None),
        open_gaps=sum(gap.until_id is None for gap in reader.gaps()),
    )


def _tables(reader: LogReader) -> tuple[TableStatus, ...]:
    counted = _counts(reader)
    tracking = read_tracking(reader.connection, reader.tables)
    present = frozenset(read_shapes(reader.connection, reader.dialect).tables)
    stale = plan_capture(reader.connection, reader.tables, reader.dialect, tracking).refreshed
    triggers = triggered_tables(reader)
    found = []
    for table in sorted({*reader.tracked_tables(), *counted}, key=str):
        changes, last_id = counted.get(table) or (0, None)
        capture = "triggers" if table in triggers else "listeners"
        if table not in present:
            capture = "dropped"
        elif table in stale:
            capture = "triggers (stale)"
        found.append(TableStatus(table, changes, last_id, capture))
    return tuple(found)


def triggered_tables(reader: LogReader) -> set[TableName]:
    """The tables whose changes triggers record."""
    meta = reader.tables.meta
    name = TableName(meta.name, meta.schema)
    rows = run(reader.connection, reader.dialect.triggered_sql(name) or reader.dialect.scene_sql(name))
    return {TableName(text, schema) for kind, schema, text in rows if kind == "triggered"}


def _counts(reader: LogReader) -> Mapping[TableName, tuple[int, int]]:
    """How many changes each table has, and the last one's id."""
    log = reader.tables.changelog.c
    grouped = select(log.table_name, log.table_schema, func.count(), func.max(log.id)).group_by(
        log.table_name, log.table_schema
    )
    return {TableName(name, schema): (count, last) for name, schema, count, last in reader.execute(grouped)}
