"""Preparing a database: create or upgrade its log, settle what is tracked, remember the tables' shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli.capture.triggers import (
    NOTHING_TO_DO,
    CaptureWork,
    drop_unwanted,
    plan_capture,
    refresh_triggers,
    waiting_at_most,
)
from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.errors import LockTimeout, NotFound, UsageError
from auditcli.log.schema import read_shapes, remember_shapes
from auditcli.log.settings import (
    Tracking,
    check_columns,
    check_keys,
    gone_columns,
    propose_bookkeeping,
    read_tracking,
    write_tracking,
)
from auditcli.log.tables import LogTables
from auditcli.log.upgrade import check_log, creation_lock, find_log, init_log, log_ddl
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Wishes:
    """What the user says about tracking; None leaves what the log says already."""

    tables: tuple[str, ...] | None = None
    exclude_tables: tuple[str, ...] | None = None
    exclude_columns: Columns | None = None
    mask_columns: Columns | None = None
    bookkeeping: Columns | None = None
    triggers: bool | None = None


@dataclass(frozen=True)
class Preparation:
    """What was done, or would be done: `from_version` is None for a new log, `proposed` bookkeeping nobody named.

    `capture` is what there was to do about triggers; `gone` are columns that are left out or masked and not there.
    """

    from_version: int | None
    tracking: Tracking
    tracked: tuple[TableName, ...]
    proposed: Columns = field(default_factory=dict)
    gone: Columns = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    capture: CaptureWork = NOTHING_TO_DO

    def sql(self, dialect: Dialect) -> list[str]:
        """All statements, as they would be run."""
        return [*self.statements, *self.capture.statements(dialect)]


def plan_preparation(connection: Connection, tables: LogTables, dialect: Dialect, wishes: Wishes) -> Preparation:
    """What `prepare` would do; raises NotFound and UsageError for wishes that the database does not have."""
    found = find_log(connection, tables)
    shapes = _user_shapes(connection, tables, dialect)
    stored = read_tracking(connection, tables) if found is not None else Tracking()
    _check_patterns(wishes, shapes)
    named = replace(stored, **{name: wish for name, wish in vars(wishes).items() if wish is not None})
    proposed = {} if named.bookkeeping else _proposed(named, shapes)
    tracking = replace(named, bookkeeping=proposed) if proposed else named
    # What the log says already may be of tables and columns that are gone by now.
    check_columns(
        Tracking(
            exclude_columns=wishes.exclude_columns or {},
            mask_columns=wishes.mask_columns or {},
            bookkeeping=wishes.bookkeeping or {},
        ),
        shapes,
    )
    check_keys(tracking, shapes)
    return Preparation(
        from_version=None if found is None else found.version,
        tracking=tracking,
        tracked=tuple(shape.table for shape in _tracked(tracking, shapes)),
        proposed=proposed,
        gone=gone_columns(tracking, shapes),
        statements=tuple(log_ddl(connection, tables)) if found is None else (),
        capture=plan_capture(connection, tables, dialect, tracking, is_new=found is None),
    )


def prepare(
    connection: Connection,
    tables: LogTables,
    dialect: Dialect,
    wishes: Wishes,
    *,
    now: datetime,
    lock_timeout: float = 2.0,
) -> Preparation:
    """Create or upgrade the log, write what is tracked into it and see to the triggers, in one transaction."""
    with waiting_at_most(connection, dialect, lock_timeout), connection.begin():
        if dialect.begin_write_sql is not None:
            _lock(connection, dialect, dialect.begin_write_sql)
        with creation_lock(connection, dialect):
            planned = plan_preparation(connection, tables, dialect, wishes)
            init_log(connection, tables)
            write_tracking(connection, tables, planned.tracking)
            shapes = _tracked(planned.tracking, _user_shapes(connection, tables, dialect))
            remember_shapes(connection, tables, [planned.tracking.recorded(shape) for shape in shapes], now)
            work = refresh_triggers(connection, tables, dialect, planned.tracking)
    return replace(planned, capture=work)


def remove_leftovers(
    connection: Connection, tables: LogTables, dialect: Dialect, *, lock_timeout: float = 2.0, dry_run: bool = False
) -> CaptureWork:
    """Take away the triggers of a log whose tables somebody dropped; raises LogError where there are none either."""
    with waiting_at_most(connection, dialect, lock_timeout), connection.begin():
        if dialect.begin_write_sql is not None and not dry_run:
            _lock(connection, dialect, dialect.begin_write_sql)
        work = plan_capture(connection, tables, dialect, Tracking(), is_new=True)
        if not work.drop:
            check_log(connection, tables)
        if not dry_run:
            drop_unwanted(connection, dialect, work)
    return work


def _lock(connection: Connection, dialect: Dialect, begin_write: str) -> None:
    try:
        run(connection, begin_write)
    except DBAPIError as error:
        if not dialect.is_lock_timeout(error):
            raise
        hint = f"try again, or wait longer with --lock-timeout SECONDS; {dialect.lock_holder_hint()}"
        raise LockTimeout("the database is locked; nothing was changed", hint=hint) from error


def columns_by_table(words: Sequence[str], option: str) -> Columns:
    """`TABLE.COLUMN` words as a mapping, empty ones left out; raises UsageError for a word without a dot."""
    found: dict[str, tuple[str, ...]] = {}
    for word in filter(None, words):
        table, dot, column = word.rpartition(".")
        if not (dot and table and column):
            raise UsageError(f"{option} {word!r} is not TABLE.COLUMN", hint=f"for example {option} customer.email")
        found[table] = (*found.get(table, ()), column)
    return found


def _user_shapes(connection: Connection, tables: LogTables, dialect: Dialect) -> DatabaseShape:
    shapes = read_shapes(connection, dialect)
    return DatabaseShape({name: shape for name, shape in shapes.tables.items() if name not in tables.table_names})


def _tracked(tracking: Tracking, shapes: DatabaseShape) -> list[TableShape]:
    return [shapes.tables[name] for name in sorted(shapes.tables, key=str) if tracking.covers(name)]


def _check_patterns(wishes: Wishes, shapes: DatabaseShape) -> None:
    for pattern in (*(wishes.tables or ()), *(wishes.exclude_tables or ())):
        only = Tracking(tables=(pattern,))
        if not any(only.covers(table) for table in shapes.tables):
            known = ", ".join(sorted(map(str, shapes.tables))) or "none"
            raise NotFound(f"no table matches {pattern!r}", hint=f"tables: {known}")


def _proposed(tracking: Tracking, shapes: DatabaseShape) -> Columns:
    proposals = propose_bookkeeping(DatabaseShape({shape.table: shape for shape in _tracked(tracking, shapes)}))
    left_out = tracking.exclude_columns
    return {
        table: tuple(column for column in columns if column not in left_out.get(table, ()))
        for table, columns in proposals.items()
    }
