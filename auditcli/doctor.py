"""What keeps a log from being complete, each with its fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Text, func, select, type_coerce

from auditcli.capture.triggers import plan_capture
from auditcli.driver import run
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes, remembered_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.log.upgrade import check_log
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape

_WEEK = timedelta(days=7)
_META = "_meta"


class Level(StrEnum):
    """Whether something needs doing, can't be helped, or is good to know."""

    PROBLEM = "problem"
    LIMIT = "limit"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the log or, where it is named, one table; `code` is a stable word for it."""

    level: Level
    code: str
    table: TableName | None
    message: str
    fix: str


def examine(reader: LogReader, *, now: datetime) -> list[Finding]:
    """Look at everything; raises LogError where there is no log."""
    return list(_Examination(reader, now).findings())


class _Examination:
    def __init__(self, reader: LogReader, now: datetime) -> None:
        self._reader = reader
        self._now = now
        self._info = check_log(reader.connection, reader.tables)
        self._shapes: DatabaseShape = read_shapes(reader.connection, reader.dialect)
        self._tracking: Tracking = read_tracking(reader.connection, reader.tables)

    def findings(self) -> Iterator[Finding]:
        yield from self._log()
        yield from self._triggers()
        yield from self._gaps()
        yield from self._columns()
        yield from self._tables()
        for limit in self._reader.dialect.capture_limits:
            yield Finding(
                Level.LIMIT,
                "database",
                None,
                limit,
                "nothing mends it here; tracked programs are recorded with who and why",
            )
        yield from self._growth()

    def _user_tables(self) -> list[TableShape]:
        own = self._reader.tables.table_names
        return [self._shapes.tables[name] for name in sorted(self._shapes.tables, key=str) if name not in own]

    def _log(self) -> Iterator[Finding]:
        if self._info.is_older:
            version = f"the log has the older version {self._info.version}"
            yield Finding(Level.PROBLEM, "old-log", None, version, "audit init")
        for table in self._shapes.tables:
            base = TableName(table.name.removesuffix(_META), table.schema)
            if table.name.endswith(_META) and base != self._reader.tables.changelog_name and self._is_log(table):
                message = f"there is a second log, {base}: programs may write into either"
                yield Finding(Level.PROBLEM, "two-logs", base, message, "settle on one; drop the other one's tables")

    def _is_log(self, meta: TableName) -> bool:
        shape = self._shapes.tables[meta]
        base = TableName(meta.name.removesuffix(_META), meta.schema)
        return shape.column_names == ("name", "value") and base in self._shapes.tables

    def _triggers(self) -> Iterator[Finding]:
        reader = self._reader
        if not self._tracking.triggers:
            yield Finding(
                Level.LIMIT,
                "listeners-only",
                None,
                "listeners record: what other programs and the database's own triggers write is not seen",
                "audit init installs capture triggers",
            )
            yield from self._unseen_triggers()
            return
        work = plan_capture(reader.connection, reader.tables, reader.dialect, self._tracking)
        for table in work.tables():
            message = "its capture triggers are missing, disabled or not as they should be"
            yield Finding(Level.PROBLEM, "stale-triggers", table, message, "audit init")

    def _unseen_triggers(self) -> Iterator[Finding]:
        sql = self._reader.dialect.trigger_names_sql()
        for shape in self._user_tables():
            names = run(self._reader.connection, sql, (shape.table.name,)).scalars().all()
            if names and self._tracking.captures(shape.table):
                message = f"triggers of its own write what listeners may not see: {', '.join(names)}"
                yield Finding(Level.PROBLEM, "own-triggers", shape.table, message, "audit init")

    def _gaps(self) -> Iterator[Finding]:
        for gap in self._reader.gaps():
            if gap.until_id is None:
                since = f"{gap.timestamp:%Y-%m-%d %H:%M:%SZ}"
                message = f"not recorded since {since}{f' ({gap.reason})' if gap.reason else ''}"
                yield Finding(Level.PROBLEM, "paused", gap.table, message, f"audit resume {gap.table}")

    def _columns(self) -> Iterator[Finding]:
        for table, known in remembered_shapes(self._reader.connection, self._reader.tables).items():
            live = self._shapes.tables.get(table)
            if live is None:
                message = "the table is gone; the log keeps what it knows of it"
                yield Finding(Level.INFO, "dropped", table, message, "nothing to do")
                continue
            recorded = self._tracking.recorded(live)
            columns = {column.name: column.type for column in recorded.columns}
            before = {column.name: column.type for column in known.columns}
            if columns != {name: before.get(name) for name in columns} or not before.keys() <= {
                column.name for column in live.columns
            }:
                changed = sorted(name for name in columns | before if columns.get(name) != before.get(name))
                message = f"its columns changed since the log looked: {', '.join(changed)}"
                yield Finding(Level.PROBLEM, "columns-changed", table, message, "audit init")

    def _tables(self) -> Iterator[Finding]:
        for shape in self._user_tables():
            if not self._tracking.covers(shape.table):
                message = "is not tracked: its changes are not in the log"
                yield Finding(Level.INFO, "untracked", shape.table, message, f"audit init --tables {shape.table}")
            elif not shape.primary_key:
                message = "has no primary key: its rows are told apart by all of their values"
                yield Finding(Level.LIMIT, "no-key", shape.table, message, "add a primary key")

    def _growth(self) -> Iterator[Finding]:
        log = self._reader.tables.changelog.c
        before, after = (func.coalesce(func.length(type_coerce(image, Text)), 0) for image in (log.before, log.after))
        recent = select(func.count(), func.coalesce(func.sum(before + after), 0), func.min(log.timestamp))
        count, total, first = self._reader.execute(recent.where(log.timestamp >= self._now - _WEEK)).one()
        if not count:
            return
        days = max((self._now - first) / timedelta(days=1), 1.0)
        a_year = int(float(total) / days * 365)
        message = f"{count:,} changes since {first:%Y-%m-%d}: about {a_year / 1e6:,.0f} MB of images a year"
        yield Finding(Level.INFO, "growth", None, message, "plan for it, or leave out tables (audit init --exclude)")
