"""Proving that nothing was missed: the log, folded to its end, against all rows that are there.

Each table's records are folded in id order into a database of its own, so that memory stays flat; it may be kept in a
file, from which the next run goes on. On the way every `before` has to be what the record before it left, so that a
change missed in the middle shows too; then every live row is compared with the state that the fold ended in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from auditcli import codec
from auditcli.driver import run
from auditcli.feed import Place
from auditcli.log.reader import Gap, LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.model import Change, Image, JsonValue, RowKey, TableName
from auditcli.rows import RowReader, image_word
from auditcli.shape import DatabaseShape, TableShape
from auditcli.verifying.checkpoint import Fold, folding
from auditcli.verifying.states import Break, State, States

_PAGE = 1000


class Kind(StrEnum):
    """What is wrong with a row."""

    MISSED = "missed"
    CHANGED = "changed"
    EXTRA = "extra"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row, or one cell of it, that is not as the log says.

    `missed`: the row is there, and the log has it deleted. `extra`: the log has it, and it is gone. `changed`: a cell
    differs. `broken`: a record does not start where the one before it ended. `change_id` is the last change that the
    log knows; `is_known_gap` says that a recorded gap explains it.
    """

    kind: Kind
    table: TableName
    row: RowKey | None
    column: str | None
    logged: JsonValue
    found: JsonValue
    change_id: int
    timestamp: datetime
    actor: str | None
    is_known_gap: bool = False


@dataclass
class Tally:
    """What was looked at of one table; rows that no record or baseline speaks of are not `covered`."""

    records: int = 0
    rows: int = 0
    not_covered: int = 0
    differences: int = 0
    in_gaps: int = 0
    unknown_columns: set[str] = field(default_factory=set)


class Verification:
    """One run over one consistent snapshot; `tallies` is complete when `differences` is exhausted.

    With a `checkpoint` the fold goes on from the one kept in that file, if it exists, and is kept there at the end:
    `start` and `end` say where. The rows that are there are always all looked at, and what was found wrong in the
    records that were folded before is told again. `until_id` is the highest log id of the snapshot.
    """

    def __init__(
        self,
        reader: LogReader,
        wanted: frozenset[TableName] | None = None,
        on_progress: Callable[[TableName, Tally], None] | None = None,
        *,
        checkpoint: Path | None = None,
    ) -> None:
        self.tallies: dict[TableName, Tally] = {}
        self.start: Place | None = None
        self.end: Place | None = None
        self.until_id = 0
        self._checkpoint = checkpoint
        self._reader = reader
        self._wanted = wanted
        self._on_progress = on_progress or (lambda _table, _tally: None)

    def differences(self) -> Iterator[Difference]:
        """All that differs, table by table. The connection must not have begun a transaction."""
        reader = self._reader
        if reader.dialect.begin_snapshot_sql is not None:
            run(reader.connection, reader.dialect.begin_snapshot_sql)
        self.until_id = reader.last_id()
        shapes = read_shapes(reader.connection, reader.dialect)
        tracking = read_tracking(reader.connection, reader.tables)
        with folding(reader, self._checkpoint) as fold:
            self.start = fold.start
            tables = self._tables(shapes, tracking)
            fold.keep_only(tables)
            for table in tables:
                tally = self.tallies[table] = Tally()
                for found in self._run_of(table, shapes, tracking).differences(fold):
                    tally.in_gaps += found.is_known_gap
                    tally.differences += not found.is_known_gap
                    yield found
            self.end = fold.finish() if fold.is_kept else None

    def _run_of(self, table: TableName, shapes: DatabaseShape, tracking: Tracking) -> _TableRun:
        tally = self.tallies[table]
        return _TableRun(
            self._reader,
            table,
            shapes.tables.get(table),
            tracking,
            tally,
            on_progress=lambda: self._on_progress(table, tally),
        )

    def _tables(self, shapes: DatabaseShape, tracking: Tracking) -> list[TableName]:
        own = self._reader.tables.table_names
        live = {table for table in shapes.tables if table not in own and tracking.covers(table)}
        known = live | {table for table in self._reader.tracked_tables() if tracking.covers(table)}
        return sorted((table for table in known if self._wanted is None or table in self._wanted), key=str)


class _TableRun:
    def __init__(
        self,
        reader: LogReader,
        table: TableName,
        shape: TableShape | None,
        tracking: Tracking,
        tally: Tally,
        *,
        on_progress: Callable[[], None],
    ) -> None:
        self._on_progress = on_progress
        self._reader = reader
        self._table = table
        self._shape = shape
        self._masked = frozenset(tracking.mask_columns.get(str(table), ()))
        self._excluded = frozenset(tracking.exclude_columns.get(str(table), ()))
        self._tally = tally
        self._gaps = reader.gaps(tables=[table])
        epochs = reader.epochs(table)
        self._types = _Types(epochs, shape)
        remembered = reader.table_shape(table)
        self._key = (shape or remembered).primary_key if shape or remembered else ()  # type: ignore[union-attr]
        # A key's columns may have had other names.
        self._keys = tuple(dict.fromkeys([self._key, *(epoch.primary_key for _, epoch in reversed(epochs))]))

    def differences(self, fold: Fold) -> Iterator[Difference]:
        """All that differs; a fold that is not kept forgets the table at the end."""
        states, changes = fold.states(self._table, self._key)
        for known in states.breaks():
            yield self._broken(known)
        yield from self._fold(states, changes)
        with states.untouched() if fold.is_kept else nullcontext():
            yield from self._compare(states)
            for state in states.left():
                yield self._difference(Kind.EXTRA, state)
        if not fold.is_kept:
            states.forget()

    # The fold, and whether each record starts where the one before it ended.

    def _fold(self, states: States, changes: Iterable[Change]) -> Iterator[Difference]:
        for change in changes:
            self._tally.records += 1
            if self._tally.records % _PAGE == 0:
                self._on_progress()
            known = None if change.before is None else states.take(self._word(change.before), change.before)
            if known is None and change.before is None:
                known = states.take_gone(self._word(change.image))
            elif known is not None and change.before is not None and known.image is not None:
                column = self._first_difference(known, change)
                if column is not None:
                    found = Break(known, column, change.before.get(column), change.id)
                    states.put_break(found)
                    yield self._broken(found)
            states.put(self._word(change.image), _state(change))

    def _broken(self, found: Break) -> Difference:
        return self._difference(Kind.BROKEN, found.state, found.column, found.found, until=found.until_id)

    def _first_difference(self, known: State, change: Change) -> str | None:
        """The first column that both know and that differs; one that got another type in between is another one."""
        left, right = known.image or {}, change.before or {}
        return next(
            (
                column
                for column, value in left.items()
                if column in right
                and column not in self._masked
                and not codec.same(value, right[column])
                and not self._types.differ(column, known.change_id, change.id)
            ),
            None,
        )

    # The rows that are there.

    def _compare(self, states: States) -> Iterator[Difference]:
        if self._shape is None:
            return
        rows = RowReader(self._reader.connection, self._reader.dialect)
        place: tuple[object, ...] | None = None
        while page := rows.page(self._shape, place, _PAGE):
            place = page[-1].locator
            for row in page:
                self._tally.rows += 1
                image = {column: value for column, value in row.image.items() if column not in self._excluded}
                yield from self._compare_row(states, image)
            self._on_progress()
            if len(page) < _PAGE or not self._shape.locator:
                return

    def _compare_row(self, states: States, live: Image) -> Iterator[Difference]:
        state = states.take(self._word(live), live)
        if state is None:
            gone = states.take_gone(self._word(live))
            if gone is None:
                self._tally.not_covered += 1
            else:
                yield self._difference(Kind.MISSED, gone, found=None, row_image=live)
            return
        logged = state.image or {}
        self._tally.unknown_columns |= live.keys() - logged.keys()
        for column, value in logged.items():
            if column in live and column not in self._masked and not codec.same(value, live[column]):
                if self._types.differ(column, state.change_id, None):
                    self._tally.unknown_columns.add(column)
                else:
                    yield self._difference(Kind.CHANGED, state, column, live[column])

    def _word(self, image: Image) -> str:
        """What finds a row's state again: its key, or all of its values where it has none."""
        for key in self._keys:
            if key and all(column in image for column in key):
                return codec.dump([image[column] for column in key])
        return image_word(image)

    def _difference(
        self,
        kind: Kind,
        state: State,
        column: str | None = None,
        found: JsonValue = None,
        *,
        until: int | None = None,
        row_image: Image | None = None,
    ) -> Difference:
        image = row_image or state.image or {}
        row_id = codec.row_id_of(image, self._key)
        return Difference(
            kind=kind,
            table=self._table,
            row=None if row_id is None else RowKey(self._table, row_id),
            column=column,
            logged=None if column is None else (state.image or {}).get(column),
            found=found,
            change_id=state.change_id,
            timestamp=state.timestamp,
            actor=state.actor,
            is_known_gap=any(_explains(gap, state.change_id, until) for gap in self._gaps),
        )


class _Types:
    """The types of a table's columns, at each time and now."""

    def __init__(self, epochs: Sequence[tuple[int, TableShape]], now: TableShape | None) -> None:
        self._begins = [after_id for after_id, _ in epochs]
        self._shapes = [shape for _, shape in epochs]
        self._now = now

    def differ(self, column: str, change_id: int, other_id: int | None) -> bool:
        """Whether a column had another type at one change than at another one, or than now."""
        then, later = self._shape_at(change_id), self._now if other_id is None else self._shape_at(other_id)
        if then is None or later is None or then is later:
            return False
        return then.known_column(column).type != later.known_column(column).type

    def _shape_at(self, change_id: int) -> TableShape | None:
        epoch = bisect_left(self._begins, change_id) - 1
        return self._shapes[max(epoch, 0)] if self._shapes else None


def _state(change: Change) -> State:
    return State(change.id, change.timestamp, change.actor, change.after)


def _explains(gap: Gap, last_id: int, until: int | None) -> bool:
    """Whether changes may be missing between a record and the next one, or the end."""
    reaches = gap.until_id is None or gap.until_id >= last_id
    return reaches and (until is None or gap.after_id < until)


def totals(tallies: Mapping[TableName, Tally]) -> Tally:
    """All tables together."""
    whole = Tally()
    for tally in tallies.values():
        whole.records += tally.records
        whole.rows += tally.rows
        whole.not_covered += tally.not_covered
        whole.differences += tally.differences
        whole.in_gaps += tally.in_gaps
    return whole
