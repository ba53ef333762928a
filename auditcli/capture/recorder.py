"""Recording what one database transaction changes, whoever makes the changes.

A unit of work is a flush, a statement or a step of an undo. The rows that it may change are read before it, under the
write lock, and again after it: what differs is recorded. So a unit needs to know a *superset* of its rows, and nothing
of what the statements do to them; defaults, rounding, cascades of the database and no-op updates come out right.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from auditcli import codec
from auditcli.capture.context import Context, current_context
from auditcli.clock import Clock
from auditcli.dialects import Dialect
from auditcli.errors import CaptureError
from auditcli.log.settings import Tracking
from auditcli.log.tables import LogTables
from auditcli.log.writer import LogWriter, Record, Stamp, TransactionHeader
from auditcli.model import EventType, Source, TableName
from auditcli.shape import CHANGES_CHILD, DatabaseShape, ForeignKeyShape, TableShape

Values: TypeAlias = tuple[Any, ...]
"""A row's stored values, or some of them, as the driver gives and takes them."""

_QUIET = "auditcli_quiet"


@dataclass(frozen=True)
class Scene:
    """What is the same for all transactions until the schema or the settings change."""

    tables: LogTables
    dialect: Dialect
    shapes: DatabaseShape
    tracking: Tracking
    triggered: frozenset[TableName] = frozenset()

    @cached_property
    def _recorded(self) -> Mapping[TableName, TableShape]:
        left_out = self.tables.table_names | self.triggered
        return {
            table: self.tracking.recorded(shape)
            for table, shape in self.shapes.tables.items()
            if table not in left_out and self.tracking.covers(table)
        }

    def tracked_shapes(self) -> list[TableShape]:
        """The whole shapes of all tables whose changes belong into the log, whoever records them."""
        return [
            shape
            for table, shape in self.shapes.tables.items()
            if table not in self.tables.table_names and self.tracking.covers(table)
        ]

    def records(self, table: TableName) -> bool:
        """Whether changes of this table are recorded here, not by a trigger and not left out."""
        return table in self._recorded

    def shape(self, table: TableName) -> TableShape:
        """The table without its excluded columns."""
        return self._recorded.get(table) or self.shapes.tables[table]

    def matters(self, table: TableName) -> bool:
        """Whether a write to this table may lead to a record: of its own rows, or of rows that cascades reach."""
        return table in self._recorded or any(
            CHANGES_CHILD & {key.on_delete, key.on_update} for key in self.shapes.references_to.get(table, ())
        )


@dataclass
class _TouchedRows:
    """The rows of one table that a unit may change.

    `before` has their values by locator, `moved` new locators by old ones, `expected` the values by which rows that
    the unit makes are found, by the names of the columns.
    """

    shape: TableShape
    before: dict[Values, Values] = field(default_factory=dict)
    moved: dict[Values, Values] = field(default_factory=dict)
    expected: dict[tuple[str, ...], list[Values]] = field(default_factory=dict)


@contextmanager
def quiet(connection: Connection) -> Iterator[None]:
    """Inside this block no listener looks at what the connection executes: it is our own."""
    outer = connection.info.get(_QUIET, False)
    connection.info[_QUIET] = True
    try:
        yield
    finally:
        connection.info[_QUIET] = outer


def is_quiet(connection: Connection) -> bool:
    """Whether our own statements run on the connection."""
    return bool(connection.info.get(_QUIET, False))


class Recorder:
    """Records the units of one database transaction; the caller is `quiet`."""

    def __init__(self, connection: Connection, scene: Scene, clock: Clock) -> None:
        self.connection = connection
        self.scene = scene
        self.clock = clock
        self.transaction_id = str(uuid.uuid4())
        self.scene_is_stale = False
        self._writer = LogWriter(scene.tables)
        self._header: Context | None = None
        self._savepoints: list[tuple[str, Context | None, frozenset[TableName]]] = []
        self._gaps: set[TableName] = set()

    def unit(self) -> Unit:
        """A new unit of work."""
        return Unit(self)

    def write_gap(self, gap_tables: Iterable[TableName], reason: str) -> None:
        """Record, once a transaction and table, that changes are let through unrecorded."""
        unknown = [table for table in gap_tables if table not in self._gaps]
        if not unknown:
            return
        self._gaps.update(unknown)
        last_id = self.connection.scalar(select(func.max(self.scene.tables.changelog.c.id)))
        self._writer.write_gap(
            self.connection,
            unknown,
            after_id=last_id or 0,
            now=self.clock(),
            actor=current_context().actor,
            reason=reason,
        )

    def enter_savepoint(self, name: str) -> None:
        """Remember what was written before a savepoint."""
        self._savepoints.append((name, self._header, frozenset(self._gaps)))

    def leave_savepoint(self, name: str, *, rolled_back: bool) -> None:
        """Forget a savepoint; what was written inside a rolled-back one has to be written again."""
        while self._savepoints:
            entered, header, gaps = self._savepoints.pop()
            if rolled_back:
                self._header, self._gaps = header, set(gaps)
            if entered == name:
                break

    def write(self, records: Sequence[Record], context: Context) -> None:
        """Append one table's records, after the transaction's header."""
        self.write_header(context)
        stamp = Stamp(self.transaction_id, self.clock(), context.actor)
        self._writer.write_records(self.connection, records, stamp)

    def write_header(self, context: Context) -> None:
        """Say who and why once a transaction, and again when the context came to say more."""
        known = self._header
        if known is None:
            self._writer.write_header(self.connection, self._new_header(context))
            self._header = context
        elif (context.reason, context.more) != (known.reason, known.more):
            merged = context.inside(known)
            self._writer.amend_header(self.connection, self.transaction_id, merged.reason, merged.more)
            self._header = merged

    def read_rows(self, shape: TableShape, names: Sequence[str], rows: Sequence[Values]) -> list[Values]:
        """Locator and stored values of the rows whose columns (or locator) `names` have one of these values."""
        dialect = self.scene.dialect
        found: list[Values] = []
        chunk = max(1, dialect.most_marks // len(names))
        columns = [dialect.quote(name) if shape.column(name) else name for name in names]
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            marks = [value for row in part for value in row]
            found += self._select(shape, dialect.in_list(columns, len(part)), marks)
        return found

    def _select(self, shape: TableShape, condition: str, marks: Sequence[Any]) -> list[Values]:
        dialect = self.scene.dialect
        try:
            return self._fetch(dialect.rows_sql(shape, condition), marks)
        except DBAPIError as error:
            if not dialect.is_broken_text(error):
                raise
        width = len(shape.locator)
        rows = self._fetch(dialect.rows_sql(shape, condition, as_bytes=True), marks)
        return [(*row[:width], *dialect.values_from_bytes(row[width:])) for row in rows]

    def _fetch(self, sql: str, marks: Sequence[Any]) -> list[Values]:
        result = self.connection.exec_driver_sql(sql, tuple(marks))
        return [tuple(row) for row in result.fetchall()]

    def _new_header(self, context: Context) -> TransactionHeader:
        return TransactionHeader(
            self.transaction_id, self.clock(), context.reason, context.more, None, _client(), _application()
        )


class Unit:
    """One unit of work: the rows that it may change, before and after."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._scene = recorder.scene
        self._touched: dict[TableName, _TouchedRows] = {}
        self._read_keys: set[tuple[TableName, Values]] = set()
        self._followed: dict[tuple[ForeignKeyShape, bool], set[Values]] = {}

    def read(self, table: TableName, keys: Iterable[Values]) -> None:
        """Read the rows with these primary keys, except those that this unit read before."""
        unread = [key for key in dict.fromkeys(keys) if (table, key) not in self._read_keys and None not in key]
        self._read_keys.update((table, key) for key in unread)
        shape = self._scene.shape(table)
        self.remember(table, self._recorder.read_rows(shape, shape.primary_key, unread))

    def remember(self, table: TableName, rows: Iterable[Values]) -> None:
        """Take rows (locator and values) as they are before the unit."""
        touched = self._touched_rows(table)
        width = len(touched.shape.locator)
        for row in rows:
            touched.before.setdefault(row[:width], row[width:])

    def remember_children(self, table: TableName, parents: Sequence[Values], changed: Iterable[str] | None) -> None:
        """Read, level by level, the rows that the database will change by itself.

        `changed` are the columns of the parents that an UPDATE sets; None where the parents are deleted.
        """
        for key in self._scene.shapes.references_to.get(table, ()):
            action = key.on_delete if changed is None else key.on_update
            if action not in CHANGES_CHILD or (changed is not None and not set(changed) & set(key.referred_columns)):
                continue
            followed = self._followed.setdefault((key, changed is None), set())
            values = [row for row in self._referred_values(key, parents) if None not in row and row not in followed]
            followed.update(values)
            children = self._recorder.read_rows(self._scene.shape(key.table), key.columns, values)
            self.remember(key.table, children)
            if children:
                is_gone = changed is None and action == "CASCADE"
                self.remember_children(key.table, children, None if is_gone else key.columns)

    def expect(self, table: TableName, names: Sequence[str], rows: Iterable[Values]) -> None:
        """Rows that the unit makes, by the values of the columns (or locator) `names`."""
        self._touched_rows(table).expected.setdefault(tuple(names), []).extend(rows)

    def expect_move(self, table: TableName, old: Values, new: Values) -> None:
        """A row whose locator the unit changes."""
        self._touched_rows(table).moved[old] = new

    def finish(self) -> int:
        """Read the rows again and record what differs; returns the number of records."""
        context = current_context()
        count = 0
        for touched in self._touched.values():
            records = self._records(touched) if self._scene.records(touched.shape.table) else []
            if records:
                self._recorder.write(records, context)
                count += len(records)
        self._touched.clear()
        self._read_keys.clear()
        self._followed.clear()
        return count

    def _touched_rows(self, table: TableName) -> _TouchedRows:
        known = self._touched.get(table)
        if known is None:
            known = self._touched[table] = _TouchedRows(self._scene.shape(table))
        return known

    def _referred_values(self, key: ForeignKeyShape, parents: Sequence[Values]) -> list[Values]:
        shape = self._scene.shape(key.referred)
        width = len(shape.locator)
        places = [width + shape.column_names.index(column) for column in key.referred_columns]
        return [tuple(row[place] for place in places) for row in parents]

    def _records(self, touched: _TouchedRows) -> list[Record]:
        after = self._rows_after(touched)
        arrived = set(touched.moved.values())
        steps: list[tuple[Values | None, Values | None]] = []
        for locator, old in touched.before.items():
            place = touched.moved.get(locator, locator)
            # A row that stayed, at a place where another one arrived, is gone.
            steps.append((old, after.pop(place, None) if locator in touched.moved or place not in arrived else None))
        steps += [(None, new) for new in after.values()]
        records = (_record(self._scene.dialect, touched.shape, old, new) for old, new in steps)
        return [record for record in records if record is not None]

    def _rows_after(self, touched: _TouchedRows) -> dict[Values, Values]:
        shape = touched.shape
        width = len(shape.locator)
        places = list(dict.fromkeys([*touched.before, *touched.moved.values()]))
        rows = self._recorder.read_rows(shape, shape.locator, places)
        for names, values in touched.expected.items():
            rows += self._recorder.read_rows(shape, names, values)
        after = {row[:width]: row[width:] for row in rows}
        if not after.keys() >= set(touched.moved.values()):
            raise CaptureError(
                f"the new key of a row of {shape.table} can't be followed",
                hint="give the new key as the database stores it, or use capture triggers",
            )
        return after


def _record(dialect: Dialect, shape: TableShape, old: Values | None, new: Values | None) -> Record | None:
    """The record of one row's step; None where nothing changed."""
    before = None if old is None else dialect.image_text(shape, old)
    after = None if new is None else dialect.image_text(shape, new)
    if before == after:
        return None
    row_id, old_row_id = _row_id(shape, new), _row_id(shape, old)
    event = EventType.UPDATE
    if new is None:
        row_id, old_row_id, event = old_row_id, None, EventType.DELETE
    elif old is None:
        event = EventType.INSERT
    elif after is not None and len(after) > codec.SAME_OVER:
        after = _shortened(shape, old, new)
    moved = None if old_row_id == row_id else old_row_id
    table = shape.table
    return table.schema, table.name, row_id, moved, event.value, before, after, Source.LISTENER.value


def _row_id(shape: TableShape, values: Values | None) -> str | None:
    if values is None or not shape.primary_key:
        return None
    key = [values[place] for place in shape.key_places]
    return str(key[0]) if len(key) == 1 and type(key[0]) is int else codec.row_id([codec.encode(part) for part in key])


def _shortened(shape: TableShape, old: Values, new: Values) -> str:
    before, after = (
        {column: codec.encode(value) for column, value in zip(shape.column_names, values, strict=True)}
        for values in (old, new)
    )
    return codec.dump(codec.without_repeats(before, after))


def _client() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _application() -> str | None:
    return Path(sys.argv[0]).name or None if sys.argv else None
