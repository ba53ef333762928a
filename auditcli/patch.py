"""Changes as a script of plain statements, which a database's own client runs: done again, or taken back.

The statements are not guarded: each finds its row by its key and sets what the change set. The undo of a live database,
which looks at every cell before it writes, is another thing (`auditcli.applying.script`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from auditcli import codec
from auditcli.changeset import inverse, touched_columns
from auditcli.dialects import ScriptStep
from auditcli.dialects.script import comment
from auditcli.errors import AuditError
from auditcli.fold import ABSENT
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.model import Change, EventType, Image, JsonValue, TableName
from auditcli.plan import CellStep, Step, StepKind
from auditcli.planning.order import order_steps
from auditcli.shape import DatabaseShape, ForeignKeyShape, TableShape
from auditcli.statements import plain_step_sql

__all__ = ["Patch"]

_LOCK_TIMEOUT = 5_000
_MOST_AT_ONCE = 10_000
"""So many changes of one transaction are put in order at once."""


class Patch:
    """Writes changes of one database's log as a script for its own client."""

    def __init__(self, reader: LogReader) -> None:
        self.dialect = reader.dialect
        self._reader = reader
        self._shapes = dict(read_shapes(reader.connection, reader.dialect).tables)

    def of_changes(self, changes: Iterable[Change], *, inverted: bool = False, now: datetime) -> Iterator[str]:
        """The lines that do changes again in their order; `inverted`, the changes come newest first and are taken back.

        Within a transaction a change comes after the one that makes the row which it refers to: a database may log what
        a foreign key does before or after the cause of it.
        """
        steps = (
            step
            for group in _in_groups(change for change in changes if change.event_type is not EventType.SNAPSHOT)
            for step in self._in_order([self._step(inverse(each) if inverted else each) for each in group])
        )
        yield from self._script("changes taken back, newest first" if inverted else "changes done again", steps, now)

    def of_net_changes(self, changes: Iterable[Change], *, inverted: bool = False, now: datetime) -> Iterator[str]:
        """The lines that bring rows from one state to another, one net change a row, or back; all in memory at once."""
        steps = [self._step(inverse(each) if inverted else each) for each in changes]
        ordered = self._in_order(order_steps(steps, DatabaseShape(self._shapes)))
        yield from self._script("a diff, the other way round" if inverted else "a diff", ordered, now)

    def _script(self, what: str, steps: Iterable[Step], now: datetime) -> Iterator[str]:
        dialect = self.dialect
        yield comment(f"{what}, written by auditcli at {now:%Y-%m-%d %H:%M} UTC: plain statements, in one transaction")
        yield comment(f"run it with: {dialect.client} < this file; rows are found by their keys, whatever they hold")
        script_steps = (ScriptStep("", self._statement(step)) for step in steps if step.cells)
        yield from dialect.script(script_steps, self._settings(), _LOCK_TIMEOUT, checked=False)

    def _settings(self) -> dict[str, str]:
        read = [self.dialect.reading_settings(shape) for shape in self._shapes.values()]
        return {name: value for each in (*read, self.dialect.writing_settings) for name, value in each.items()}

    def _statement(self, step: Step) -> str:
        return self.dialect.inlined(plain_step_sql(self.dialect, self._shape(step.table), step))

    def _step(self, change: Change) -> Step:
        """The step that a change is."""
        shape = self._shape(change.table)
        before, after = change.before or {}, change.after or {}
        if change.after is None:
            known = tuple(CellStep(column, value, ABSENT) for column, value in before.items())
            return Step(StepKind.DELETE, change.table, change.row, _key(shape, before), known)
        touched = set(touched_columns(change))
        cells = tuple(
            CellStep(column, before.get(column, ABSENT), after[column])
            for column in shape.writable
            if column in touched and column in after and not _is_masked(after[column])
        )
        kind = StepKind.INSERT if change.before is None else StepKind.UPDATE
        return Step(kind, change.table, change.row, _key(shape, after if change.before is None else before), cells)

    def _shape(self, table: TableName) -> TableShape:
        """The table as it is, or as the log remembers it where it is gone."""
        known = self._shapes.get(table)
        if known is None:
            known = self._reader.table_shape(table)
            if known is None:
                raise AuditError(
                    f"{table} is gone, and the log does not know its columns", hint=f"leave it out: not:table:{table}"
                )
            self._shapes[table] = known
        return known

    def _in_order(self, steps: list[Step]) -> list[Step]:
        """The steps, each after those that make the rows which it takes for its parents."""
        if len(steps) < 2 or not any(self._shape(step.table).foreign_keys for step in steps):
            return steps
        makers = _Makers(steps, self._shapes)
        ordered: list[Step] = []
        met: set[int] = set()
        for start in range(len(steps)):
            pending = [] if start in met else [(start, makers.of(start))]
            met.add(start)
            while pending:
                at, before = pending[-1]
                maker = next((maker for maker in before if maker not in met), None)
                if maker is None:
                    ordered.append(steps[at])
                    pending.pop()
                else:
                    met.add(maker)
                    pending.append((maker, makers.of(maker)))
        return ordered


class _Made(NamedTuple):
    """A row by values that others may refer to."""

    table: TableName
    columns: tuple[str, ...]
    values: str


class _Makers:
    """Which later step makes the row that a step refers to."""

    def __init__(self, steps: list[Step], shapes: Mapping[TableName, TableShape]) -> None:
        self._steps = steps
        self._shapes = shapes
        referred = {(key.referred, key.referred_columns) for shape in shapes.values() for key in shape.foreign_keys}
        self._makers: dict[_Made, int] = {}
        for at, step in enumerate(steps):
            for table, columns in referred:
                if table == step.table and set(columns) & set(step.set_columns):
                    values = _values(step, columns)
                    if values is not None:
                        self._makers.setdefault(_Made(table, columns, values), at)

    def of(self, at: int) -> Iterator[int]:
        """The steps behind this one that have to come before it."""
        step = self._steps[at]
        for key in self._foreign_keys(step):
            values = _values(step, key.columns)
            maker = None if values is None else self._makers.get(_Made(key.referred, key.referred_columns, values))
            if maker is not None and maker > at:
                yield maker

    def _foreign_keys(self, step: Step) -> Iterator[ForeignKeyShape]:
        shape = self._shapes.get(step.table)
        for key in shape.foreign_keys if shape is not None else ():
            if set(key.columns) & set(step.set_columns):
                yield key


def _values(step: Step, columns: Iterable[str]) -> str | None:
    """What the step leaves in these columns, as a word; None where one of them is not known, or NULL."""
    values: list[JsonValue] = []
    for column in columns:
        value = step.target_value(column)
        if value is None or value is ABSENT:
            return None
        values.append(value)
    return codec.dump(values)


def _in_groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Neighbours of one transaction, not too many at once; changes without a transaction stand alone."""
    for transaction_id, neighbours in groupby(changes, key=lambda change: change.transaction_id):
        most = 1 if transaction_id is None else _MOST_AT_ONCE
        group: list[Change] = []
        for change in neighbours:
            group.append(change)
            if len(group) == most:
                yield group
                group = []
        if group:
            yield group


def _key(shape: TableShape, image: Image) -> Image:
    """What a row is found by: its key, or all of it where it has none."""
    columns = shape.primary_key or tuple(column for column in shape.writable if not _is_masked(image.get(column)))
    return {column: image[column] for column in columns if column in image}


def _is_masked(value: JsonValue) -> bool:
    return isinstance(value, dict) and "$masked" in value
