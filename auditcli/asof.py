"""The tables as they were at a position: the rows as they are now, with all that happened since taken back.

Nothing is written. Rows and log are read in one snapshot; what is read lies in a file of its own until it is asked for,
so that nobody waits for whoever reads it, and memory does not grow with it. Rows that are there now come in the order
of their key; those that went, or have another key, since then follow them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from auditcli.driver import begin_snapshot
from auditcli.errors import NotFound
from auditcli.log.reader import LogReader, Window
from auditcli.log.schema import read_shapes
from auditcli.log.settings import read_tracking
from auditcli.model import Image, TableName
from auditcli.rewinding.caveats import Caveat, Doubt
from auditcli.rewinding.scratch import Kept, scratch
from auditcli.rewinding.table import PastTable, Place, TableRun
from auditcli.selection import Alternatives, Selection

__all__ = ["Caveat", "Doubt", "Past", "PastTable", "as_of", "recorded_tables"]

_TOLD_EVERY = 1000


class Past:
    """All that was asked for at a position; `unrecorded` are the tables that the log leaves out."""

    def __init__(
        self,
        boundary: int,
        tables: Sequence[PastTable],
        kept: Mapping[TableName, Kept],
        unrecorded: Sequence[TableName],
    ) -> None:
        self.boundary = boundary
        self.tables = tuple(tables)
        self.unrecorded = tuple(unrecorded)
        self._kept = kept

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What can't be known of any of the tables."""
        return tuple(caveat for table in self.tables for caveat in table.caveats)

    def rows(self, table: PastTable) -> Iterator[Image]:
        """The table's rows, in its columns of then; a column whose value is unknown is not in the image."""
        for image in self._kept[table.table].rows():
            yield {column: image[column] for column in table.columns if column in image}

    def whole_rows(self, table: TableName) -> Iterator[Image]:
        """The same with the columns that came since: a row that was not changed since then has their values of now."""
        return self._kept[table].rows() if table in self._kept else iter(())


@contextmanager
def as_of(
    reader: LogReader,
    boundary: int,
    *,
    wanted: Collection[TableName] | None = None,
    moment: datetime | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Past]:
    """All tables, or those `wanted`, as they were after a log id; `moment` says when that was, if a time named it.

    Raises NotFound for a wanted table that is not recorded. The reader's connection is given a transaction of its own.
    """
    with scratch() as database:
        begin_snapshot(reader.connection, reader.dialect)
        past = _read(reader, database, Place(boundary, moment), wanted, tell or (lambda _text: None))
        reader.connection.rollback()
        yield past


def recorded_tables(reader: LogReader) -> list[TableName]:
    """The tables that can be asked for: those that are recorded, and those that the log remembers."""
    live = read_shapes(reader.connection, reader.dialect).tables
    tracking = read_tracking(reader.connection, reader.tables)
    covered = {table for table in live if tracking.covers(table)}
    return sorted({*covered, *reader.tracked_tables()} - reader.tables.table_names, key=str)


def _read(
    reader: LogReader,
    database: sqlite3.Connection,
    place: Place,
    wanted: Collection[TableName] | None,
    tell: Callable[[str], None],
) -> Past:
    live = read_shapes(reader.connection, reader.dialect).tables
    tracking = read_tracking(reader.connection, reader.tables)
    found = sorted({*live, *reader.tracked_tables()} - reader.tables.table_names, key=str)
    recorded = [table for table in found if tracking.covers(table)]
    tables = recorded if wanted is None else _only([*recorded, *reader.tracked_tables()], wanted)
    runs = {
        table: TableRun(reader, database, place, table, live.get(table), tracking, number)
        for number, table in enumerate(tables, 1)
    }
    _read_log(reader, place, runs, tell)
    done = []
    for table, each in runs.items():
        tell(f"taking {table} back")
        done.append(each.finish())
    # A table that the log got to know later, and that has no older rows, was not there yet.
    there = [each for each in done if wanted is not None or each.rows or not each.is_later]
    unrecorded = [] if wanted is not None else [table for table in found if table in live and table not in recorded]
    return Past(place.boundary, there, {table: each.kept for table, each in runs.items()}, unrecorded)


def _only(known: Collection[TableName], wanted: Collection[TableName]) -> list[TableName]:
    tables = sorted(set(known), key=str)
    for table in wanted:
        if table not in tables:
            raise NotFound(
                f"nothing is recorded of a table {table}",
                hint=f"recorded tables: {', '.join(map(str, tables)) or 'none yet'}",
            )
    return [table for table in tables if table in wanted]


def _read_log(reader: LogReader, place: Place, runs: Mapping[TableName, TableRun], tell: Callable[[str], None]) -> None:
    """Note every record since the position; transactions that had not ended by then had not happened."""
    carried = reader.straddling(place.boundary) if place.boundary else frozenset()
    selection = Selection(tables=Alternatives(tuple(runs)))
    criteria = reader.criteria(selection, Window(place.boundary, carried=carried))
    for count, change in enumerate(reader.records(criteria) if runs else ()):
        runs[change.table].touched.add(change)
        if count % _TOLD_EVERY == 0:
            tell(f"{count:,} records read")
