"""What a log holds and how it is filled, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from auditcli.capture.triggers import plan_capture
from auditcli.driver import run
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.log.upgrade import LogInfo, check_log
from auditcli.log.verified import Verified, read_verified
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
    """A log at a glance, without what has to be counted."""

    log: LogInfo
    tracking: Tracking
    first_at: datetime | None
    last: Change | None
    open_gaps: int
    verified: Verified | None


def read_status(reader: LogReader) -> Status:
    """Look at a log: at once, whatever its size."""
    first = next(reader.changes(limit=1), None)
    return Status(
        log=check_log(reader.connection, reader.tables),
        tracking=read_tracking(reader.connection, reader.tables),
        first_at=None if first is None else first.timestamp,
        last=next(reader.changes(newest_first=True, limit=1), None),
        open_gaps=sum(gap.until_id is None for gap in reader.gaps()),
        verified=read_verified(reader.connection, reader.tables),
    )


def count_tables(reader: LogReader) -> list[TableStatus]:
    """What the log holds of each table: takes long where it holds many changes, and `reader.watch` sees how far it is.

    Tables that have changes or are tracked.
    """
    tracking = read_tracking(reader.connection, reader.tables)
    present = frozenset(read_shapes(reader.connection, reader.dialect).tables)
    stale = plan_capture(reader.connection, reader.tables, reader.dialect, tracking).refreshed
    triggers = triggered_tables(reader)
    tables = reader.tracked_tables()
    last_log_id = reader.last_id()
    found, counted = [], 0
    for table in tables:
        changes, last_id = _count(reader, table)
        counted += changes
        reader.watch(counted, max(last_log_id, counted))
        capture = "triggers" if table in triggers else "listeners"
        if table not in present:
            capture = "dropped"
        elif table in stale:
            capture = "triggers (stale)"
        found.append(TableStatus(table, changes, last_id, capture))
    return found


def triggered_tables(reader: LogReader) -> set[TableName]:
    """The tables whose changes triggers record."""
    meta = reader.tables.meta
    name = TableName(meta.name, meta.schema)
    rows = run(reader.connection, reader.dialect.triggered_sql(name) or reader.dialect.scene_sql(name))
    return {TableName(text, schema) for kind, schema, text in rows if kind == "triggered"}


def _count(reader: LogReader, table: TableName) -> tuple[int, int | None]:
    """How many changes a table has and the last one's id, by the index alone where its name is the only such one."""
    log_id = reader.tables.changelog.c.id
    changes, last_id = reader.execute(select(func.count(), func.max(log_id)).where(*reader.in_table(table))).one()
    return changes, last_id
