"""One table taken back to a position."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from auditcli.log.positions import window
from auditcli.log.reader import ALL, LogReader, Window
from auditcli.log.schema import first_noticed
from auditcli.log.settings import Tracking
from auditcli.model import Change, EventType, Image, TableName
from auditcli.rewinding.caveats import Caveat, Doubt, Shapes, of_columns
from auditcli.rewinding.scratch import Kept, Told, Touched, Words
from auditcli.rows import RowReader
from auditcli.selection import Alternatives, Selection
from auditcli.shape import TableShape


@dataclass(frozen=True, slots=True)
class Place:
    """A position: the log id that it stands after, and the time that named it, if one did."""

    boundary: int
    moment: datetime | None = None


@dataclass(frozen=True)
class PastTable:
    """One table at a position: its columns of then, how many rows it had, and what can't be known of them."""

    table: TableName
    shape: TableShape | None
    columns: tuple[str, ...]
    rows: int
    caveats: tuple[Caveat, ...] = ()

    @property
    def is_later(self) -> bool:
        """Whether the log got to know the table after the position."""
        return any(caveat.doubt is Doubt.LATER for caveat in self.caveats)


class TableRun:
    """What records since the position tell of a table, then its rows as they are now, or as the log knew them last."""

    def __init__(
        self,
        reader: LogReader,
        database: sqlite3.Connection,
        place: Place,
        table: TableName,
        live: TableShape | None,
        tracking: Tracking,
        number: int,
    ) -> None:
        self._reader = reader
        self._place = place
        self._table = table
        self._live = None if live is None else tracking.recorded(live)
        self._is_covered = tracking.covers(table)
        epochs = reader.epochs(table)
        self._shapes = Shapes(
            then=_shape_at(epochs, place.boundary),
            now=live or (epochs[-1][1] if epochs else None),
            hidden=tracking.masked_of(table) | tracking.excluded_of(table),
        )
        self._lost, self._columns = self._shapes.lost, self._shapes.columns
        words = Words(self._shapes.keys([shape for _, shape in epochs]), self._shapes.comparable)
        self.touched = Touched(database, number, words)
        self.kept = Kept(database, number)
        self._last, self._then = Told(database, number, words), Told(database, -number, words)
        self._seen: dict[str, None] = {}
        self._unknown_rows = 0

    def finish(self) -> PastTable:
        """Go through the rows."""
        if self._live is None:
            self._last.fold(self._records(ALL))
        if self._lost:
            self._then.fold(self._records(window(self._reader, until=self._place.boundary)))
        self.kept.start()
        self.kept.keep(map(self._completed, self._taken_back()))
        shapes = self._shapes
        return PastTable(
            self._table,
            shapes.then or shapes.now,
            tuple(self._seen) if self._columns is None else self._columns,
            self.kept.count,
            (*self._caveats(), *of_columns(self._table, shapes, self._unknown_rows)),
        )

    def _records(self, until: Window) -> Iterator[Change]:
        """All records of the table, the baseline's too."""
        selection = Selection(tables=Alternatives((self._table,)), events=Alternatives(tuple(EventType)))
        return self._reader.changes(selection, until)

    def _taken_back(self) -> Iterator[Image]:
        for now in self._rows_now():
            then = self.touched.as_it_was(now)
            if then is not None:
                yield then
        yield from self.touched.gone()

    def _rows_now(self) -> Iterable[Image]:
        if self._live is None:
            return self._last.rows()
        return (row.image for row in RowReader(self._reader.connection, self._reader.dialect).all_of(self._live))

    def _completed(self, image: Image) -> Image:
        """The row with the values that columns had which are gone, as the log knows them, and without hidden ones."""
        lost = [column for column in self._lost if column not in image]
        if lost:
            told = self._then.image(image)
            self._unknown_rows += any(column not in told for column in lost)
            image = {**image, **{column: told[column] for column in lost if column in told}}
        if self._shapes.hidden:
            image = {column: value for column, value in image.items() if column not in self._shapes.hidden}
        if self._columns is None:
            self._seen.update(dict.fromkeys(image))
        return image

    def _caveats(self) -> Iterator[Caveat]:
        place = self._place
        for gap in self._reader.gaps(after_id=place.boundary, tables=[self._table]):
            ended_before = gap.until_timestamp is not None and place.moment is not None
            if not (ended_before and gap.until_timestamp <= place.moment):  # type: ignore[operator]  # both are there
                yield Caveat(Doubt.GAP, self._table, gap=gap)
        if self._live is None:
            yield Caveat(Doubt.DROPPED, self._table)
        noticed = first_noticed(self._reader.connection, self._reader.tables, self._table)
        if not self._is_covered or (noticed is None and not self._has_records()):
            yield Caveat(Doubt.UNRECORDED, self._table)
        if noticed is None:
            return
        after_id, since = noticed
        is_before = place.moment is not None and place.moment < since and place.boundary == after_id
        if place.boundary < after_id or is_before:
            yield Caveat(Doubt.LATER, self._table, since=since)

    def _has_records(self) -> bool:
        return next(self._records(ALL), None) is not None


def _shape_at(epochs: Sequence[tuple[int, TableShape]], boundary: int) -> TableShape | None:
    """The table at a position; one that the log got to know later was as it was then, as far as anybody knows."""
    known = [shape for after_id, shape in epochs if after_id <= boundary]
    return known[-1] if known else epochs[0][1] if epochs else None
