"""What keeps a log from being complete, each with its fix."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Text, func, select, type_coerce

from auditcli.capture.triggers import log_names, plan_capture
from auditcli.dialects.checks import Check
from auditcli.driver import run
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes, remembered_shapes
from auditcli.log.settings import Tracking, gone_columns, read_tracking
from auditcli.log.upgrade import check_log
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape
from auditcli.status import triggered_tables

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
        # What makes things good without changing the way of capture.
        self._again = "audit init" if self._tracking.triggers else "audit init --listeners"

    def findings(self) -> Iterator[Finding]:
        yield from self._log()
        yield from self._triggers()
        yield from self._gaps()
        yield from self._columns()
        yield from self._settings()
        yield from self._asked()
        yield from self._tables()
        for limit in self._reader.dialect.capture_limits:
            fix = "nothing mends it here; tracked programs are recorded with who and why"
            yield Finding(Level.LIMIT, "database", None, limit, fix)
        yield from self._growth()

    def _user_tables(self) -> list[TableShape]:
        own = self._reader.tables.table_names
        return [self._shapes.tables[name] for name in sorted(self._shapes.tables, key=str) if name not in own]

    def _log(self) -> Iterator[Finding]:
        if self._info.is_older:
            version = f"the log has the older version {self._info.version}"
            yield Finding(Level.PROBLEM, "old-log", None, version, self._again)
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
            message = "listeners record: what other programs and the database's own triggers write is not seen"
            yield Finding(Level.LIMIT, "listeners-only", None, message, "audit init installs capture triggers")
            yield from self._unseen_triggers()
        work = plan_capture(reader.connection, reader.tables, reader.dialect, self._tracking)
        shared = [each.name for each in work.create if each.table is None]
        shared += [each.name for each in work.drop if each.table is None]
        if shared:
            message = f"what capture triggers use is missing or not as it should be: {', '.join(shared)}"
            yield Finding(Level.PROBLEM, "stale-triggers", None, message, self._again)
        for table in work.tables():
            message = "its capture triggers are missing, disabled or not as they should be"
            yield Finding(Level.PROBLEM, "stale-triggers", table, message, self._again)

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
            elif self._tracking.covers(table) and (changed := self._changed_columns(live, known)):
                message = f"its columns changed since the log looked: {', '.join(changed)}"
                yield Finding(Level.PROBLEM, "columns-changed", table, message, self._again)

    def _changed_columns(self, live: TableShape, known: TableShape) -> list[str]:
        """The columns that differ from what the log remembers; one that is left out by now is not gone."""
        columns = {column.name: column.type for column in self._tracking.recorded(live).columns}
        before = {column.name: column.type for column in known.columns}
        left_out = {name for name in before if name not in columns and live.column(name) is not None}
        return sorted(
            name for name in columns | before if name not in left_out and columns.get(name) != before.get(name)
        )

    def _settings(self) -> Iterator[Finding]:
        for word, columns in gone_columns(self._tracking, self._shapes).items():
            table = next(name for name in self._shapes.tables if str(name) == word)
            message = (
                f"{', '.join(columns)}, left out of the log or masked, is gone: "
                "if it has another name now, its values are logged as they are"
            )
            fix = f"audit init --mask {word}.NEW_NAME or --exclude-column {word}.NEW_NAME, with all others named again"
            yield Finding(Level.PROBLEM, "setting-gone", table, message, fix)

    def _asked(self) -> Iterator[Finding]:
        """What the database itself has to say."""
        reader = self._reader
        tracked = [shape for shape in self._user_tables() if self._tracking.covers(shape.table)]
        for check in reader.dialect.checks(log_names(reader.tables), tracked):
            for schema, name, *values in run(reader.connection, check.sql).fetchall():
                table = None if name is None else TableName(name, schema)
                if table is None or table in reader.tables.table_names or self._tracking.covers(table):
                    yield _found(check, table, values)

    def _tables(self) -> Iterator[Finding]:
        triggered = triggered_tables(self._reader)
        since = self._known_since()
        for shape in self._user_tables():
            table = shape.table
            if not self._tracking.covers(table):
                message = "is not tracked: its changes are not in the log"
                yield Finding(Level.INFO, "untracked", table, message, self._adding(table))
                continue
            how = "triggers" if table in triggered else "listeners of tracked programs"
            when = f" since {since[table]:%Y-%m-%d %H:%M:%SZ}" if table in since else ""
            if self._tracking.captures(table):
                yield Finding(Level.INFO, "tracked", table, f"recorded by {how}{when}", "nothing to do")
            if not shape.primary_key:
                message = "has no primary key: its rows are told apart by all of their values"
                yield Finding(Level.LIMIT, "no-key", table, message, "add a primary key")

    def _adding(self, table: TableName) -> str:
        """The command that tracks one more table; patterns are given all at once."""
        patterns = [*self._tracking.tables, str(table)] if self._tracking.tables else []
        left_out = [pattern for pattern in self._tracking.exclude_tables if pattern not in (str(table), table.name)]
        words = [f"--tables {shlex.quote(pattern)}" for pattern in patterns]
        if self._tracking.exclude_tables:
            words += [f"--exclude {shlex.quote(pattern)}" for pattern in left_out or [""]]
        return " ".join([self._again, *words])

    def _known_since(self) -> dict[TableName, datetime]:
        shapes = self._reader.tables.table_shape.c
        first = select(shapes.table_name, shapes.table_schema, func.min(shapes.timestamp))
        rows = self._reader.execute(first.group_by(shapes.table_name, shapes.table_schema))
        return {TableName(name, schema): when for name, schema, when in rows}

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


def _found(check: Check, table: TableName | None, values: list[object]) -> Finding:
    level = Level.PROBLEM if check.needs_doing else Level.LIMIT
    named = {"table": table}
    return Finding(level, check.code, table, check.message.format(*values, **named), check.fix.format(*values, **named))
