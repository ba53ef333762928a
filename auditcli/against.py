"""Comparing the rows of two databases, table by table and cell by cell, by what their values mean."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection

from auditcli import codec
from auditcli.connect import Database, same_database
from auditcli.driver import run
from auditcli.errors import UsageError
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.model import Image, JsonValue, RowKey, TableName
from auditcli.portable import meaning_word
from auditcli.rows import RowReader
from auditcli.shape import DatabaseShape, TableShape
from auditcli.transfer import Transfer

_TOLD_EVERY = 1000


class Kind(StrEnum):
    """What is wrong with a row of the target."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that only one of the databases has, or a cell that differs; without a row, a table that is not there."""

    kind: Kind
    table: TableName
    row: RowKey | None = None
    column: str | None = None
    source: JsonValue = None
    target: JsonValue = None


class Comparison:
    """One run; `rows` counts what was compared of the source, and is complete when `differences` is exhausted.

    The rows lie in a file of their own meanwhile, so memory is flat at any size.
    """

    def __init__(
        self,
        source: Database,
        target: Database,
        wanted: frozenset[TableName] | None = None,
        on_progress: Callable[[TableName, int], None] | None = None,
    ) -> None:
        if same_database(source.target.url, target.target.url):
            raise UsageError("both are the same database", hint="--against names another one")
        self.rows: dict[TableName, int] = {}
        self._source = source
        self._target = target
        self._wanted = wanted
        self._transfer = Transfer(source.dialect, target.dialect)
        self._on_progress = on_progress or (lambda _table, _rows: None)

    def differences(self) -> Iterator[RowDifference]:
        """All that differs, table by table, each database as it is at one moment."""
        with self._source.log() as reader, self._target.engine.connect() as other:
            reader.connection.rollback()
            for connection, database in ((reader.connection, self._source), (other, self._target)):
                if database.dialect.begin_snapshot_sql is not None:
                    run(connection, database.dialect.begin_snapshot_sql)
            tracking = read_tracking(reader.connection, self._source.tables)
            shapes = read_shapes(reader.connection, self._source.dialect)
            others = read_shapes(other, self._target.dialect)
            for table in self._tables(shapes, tracking):
                self.rows[table] = 0
                there = others.tables.get(self._transfer.table(table))
                if there is None:
                    yield RowDifference(Kind.MISSING, table)
                else:
                    shape = _comparable(shapes.tables[table], there, tracking)
                    yield from self._compare(shape, there, reader.connection, other)

    def _tables(self, shapes: DatabaseShape, tracking: Tracking) -> list[TableName]:
        own = self._source.tables.table_names
        covered = {table for table in shapes.tables if table not in own and tracking.covers(table)}
        return sorted((table for table in covered if self._wanted is None or table in self._wanted), key=str)

    def _compare(
        self, shape: TableShape, there: TableShape, source: Connection, target: Connection
    ) -> Iterator[RowDifference]:
        with closing(sqlite3.connect("", isolation_level=None)) as aside:
            aside.execute("CREATE TABLE row (word TEXT, image TEXT)")
            aside.execute("BEGIN")
            for image in _images(source, self._source, shape):
                aside.execute("INSERT INTO row VALUES (?, ?)", (_word(image, shape), codec.dump(image)))
                self.rows[shape.table] += 1
                if self.rows[shape.table] % _TOLD_EVERY == 0:
                    self._on_progress(shape.table, self.rows[shape.table])
            aside.execute("CREATE INDEX row_word ON row (word)")
            for image in _images(target, self._target, there):
                yield from self._compare_row(aside, image, shape)
            for (left,) in aside.execute("SELECT image FROM row"):
                yield RowDifference(Kind.MISSING, shape.table, _name(json.loads(left), shape))

    def _compare_row(self, aside: sqlite3.Connection, image: Image, shape: TableShape) -> Iterator[RowDifference]:
        found = aside.execute("SELECT rowid, image FROM row WHERE word = ? LIMIT 1", (_word(image, shape),)).fetchone()
        if found is None:
            yield RowDifference(Kind.EXTRA, shape.table, _name(image, shape))
            return
        aside.execute("DELETE FROM row WHERE rowid = ?", found[:1])
        wanted: Image = json.loads(found[1])
        for column, value in wanted.items():
            if not self._transfer.same(value, image[column]):
                yield RowDifference(Kind.CHANGED, shape.table, _name(wanted, shape), column, value, image[column])


def _comparable(shape: TableShape, there: TableShape, tracking: Tracking) -> TableShape:
    """The table without what the log leaves out or hides, and without what either database makes by itself."""
    left_out = tracking.excluded_of(shape.table) | tracking.masked_of(shape.table)
    made = {column.name for each in (shape, there) for column in each.columns if column.generated}
    known = {column.name for column in there.columns}
    kept = [column for column in shape.columns if column.name in known and column.name not in left_out | made]
    return replace(shape, columns=tuple(kept))


def _word(image: Image, shape: TableShape) -> str:
    """What a row's counterpart has as well: its key by what it means, or all of the row."""
    columns: Sequence[str] = shape.primary_key or sorted(shape.column_names)
    return "\n".join(meaning_word(image[column]) for column in columns)


def _name(image: Image, shape: TableShape) -> RowKey | None:
    row_id = codec.row_id_of(image, shape.primary_key)
    return None if row_id is None else RowKey(shape.table, row_id)


def _images(connection: Connection, database: Database, shape: TableShape) -> Iterator[Image]:
    return (row.image for row in RowReader(connection, database.dialect).all_of(shape))
