"""How steps get into the database: guarded statements, recorded, read back, put right where triggers interfere.

Part of `apply.py`, which opens and ends the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from auditcli import codec
from auditcli.applying.misfits import REFUSALS, misfit
from auditcli.applying.refusal import PlanConflict, Refused, step_word
from auditcli.capture.recorder import Recorder, Unit
from auditcli.dialects import Fragment
from auditcli.driver import run
from auditcli.fold import Absent, Value
from auditcli.model import Image, TableName
from auditcli.plan import CellStep, Conflict, ConflictKind, Step, StepKind, shown
from auditcli.planning.stamps import moved_on
from auditcli.rows import LiveRow, RowReader, key_word
from auditcli.shape import CHANGES_CHILD, TableShape
from auditcli.statements import step_sql

_SAVEPOINT = "auditcli_step"


class Writing:
    """What both ways of writing share; belongs to one transaction."""

    def __init__(self, connection: Connection, recorder: Recorder, now: datetime) -> None:
        self.recorder = recorder
        self.corrected = 0
        self.moved: list[Step] = []
        self._connection = connection
        self._scene = recorder.scene
        self._dialect = recorder.scene.dialect
        self._rows = RowReader(connection, self._dialect)
        self._now = now

    def _prepare(self, unit: Unit, steps: Sequence[Step], live: Mapping[int, LiveRow]) -> None:
        """Tell the unit which rows the steps will touch; `live` has the rows by the steps' identity."""
        alike: dict[tuple[TableName, frozenset[str] | None], list[tuple[Any, ...]]] = {}
        for step in steps:
            row = live.get(id(step))
            if row is None:
                self._expect_new(unit, self._scene.shape(step.table), step)
                continue
            changed = None if step.kind is StepKind.DELETE else frozenset((*step.set_columns, *step.bumps))
            alike.setdefault((step.table, changed), []).append((*row.locator, *row.values))
        # Rows without an address are recorded by triggers alone.
        alike = {of: rows for of, rows in alike.items() if self._scene.shape(of[0]).locator}
        for (table, _), rows in alike.items():
            unit.remember(table, rows)
        for (table, changed), rows in alike.items():
            if changed is None:
                unit.note_removal(table)
            else:
                unit.note_changes(table, changed)
            unit.remember_children(table, rows, changed)
        self._expect_moves(unit, steps, live)

    def _expect_moves(self, unit: Unit, steps: Iterable[Step], live: Mapping[int, LiveRow]) -> None:
        """Say which rows will lie elsewhere, once all of them are known where they lie now."""
        for step in steps:
            shape = self._scene.shape(step.table)
            row = live.get(id(step))
            if row is not None and self._moves(shape, step) and not self._is_placed_anew(shape, step):
                unit.expect_move(step.table, row.locator, _new_locator(shape, step))

    def _expect_new(self, unit: Unit, shape: TableShape, step: Step) -> None:
        if self._finds_by_key(shape, step):
            unit.expect(step.table, shape.primary_key, [_decoded(step.key, shape.primary_key)])

    def _moves(self, shape: TableShape, step: Step) -> bool:
        return step.kind is StepKind.UPDATE and bool(set(step.set_columns) & set(shape.moved_by))

    def _is_placed_anew(self, shape: TableShape, step: Step) -> bool:
        """Whether the row will lie where only the database knows, so that its place is asked for as it is written."""
        if not shape.locator:
            return False
        if step.kind is StepKind.INSERT:
            return not self._finds_by_key(shape, step)
        has_place = not shape.primary_key and not all(map(shape.column, shape.locator))
        return has_place and self._moves(shape, step)

    def _finds_by_key(self, shape: TableShape, step: Step) -> bool:
        """Whether a new row can be found again by its key."""
        broken = any(isinstance(codec.decode(value), codec.BrokenText) for value in step.key.values())
        return bool(shape.primary_key) and not broken

    def _statement(self, step: Step, row: LiveRow | None) -> Fragment:
        image = row.image if row is not None else {}
        bumped = {column: moved_on(image[column], self._now) for column in step.bumps if column in image}
        locator = row.locator if row is not None else None
        return step_sql(self._dialect, self._scene.shape(step.table), step, bumped, locator)

    def _run(self, step: Step, row: LiveRow | None, unit: Unit) -> None:
        """Do one step; raises IntegrityError where a constraint refuses it."""
        shape = self._scene.shape(step.table)
        statement = self._statement(step, row)
        if self._is_placed_anew(shape, step):
            sql = f"{statement.sql} RETURNING {', '.join(shape.locator)}"
            placed = [tuple(place) for place in self._execute(sql, statement.values).fetchall()]
            self._note_places(unit, step, row, placed)
            count = len(placed)
        else:
            count = self._execute(statement.sql, statement.values).rowcount
        if count != 1:
            self._reconcile(step)

    def _note_places(self, unit: Unit, step: Step, row: LiveRow | None, placed: Sequence[tuple[Any, ...]]) -> None:
        if row is None:
            unit.expect(step.table, self._scene.shape(step.table).locator, placed)
            return
        for place in placed:
            unit.expect_move(step.table, row.locator, place)

    def _reconcile(self, step: Step) -> None:
        """A statement found no row with its guards, though they held before: the steps before it have moved the row.

        What a cascade has put at its target is done; the rest is set where it is still as planned, or as a cascade of
        an equal value has left it, which another collation may spell otherwise.
        """
        row = self._row_of(step)
        if step.kind is StepKind.DELETE and row is None:
            return
        if row is None or step.kind is StepKind.DELETE:
            self._give_up([step], "it was changed on the way")
        left = tuple(cell for cell in step.cells if not self._holds(row, cell.column, cell.target))
        if not left:
            return
        moved = {cell.column for cell in left if not self._holds(row, cell.column, cell.expected)}
        if moved - self._following(step.table):
            self._give_up([step], "it was changed on the way")
        cells = tuple(replace(cell, expected=row.image[cell.column]) for cell in left)
        statement = self._statement(replace(step, key=present_key(step, row), cells=cells), row)
        if self._execute(statement.sql, statement.values).rowcount != 1:
            self._give_up([step], "the database does not change it")

    def _following(self, table: TableName) -> set[str]:
        """The columns that the database itself changes along with what they refer to."""
        keys = self._scene.shape(table).foreign_keys
        return {column for key in keys if key.on_update in CHANGES_CHILD for column in key.columns}

    def _holds(self, row: LiveRow, column: str, value: Value) -> bool:
        """Whether the row has what the step wants there."""
        return row.has(column, value)

    def _row_of(self, step: Step) -> LiveRow | None:
        there = replace(step, kind=StepKind.UPDATE, key=step.key_after, cells=())
        for place in (replace(step, kind=StepKind.UPDATE, cells=()), there):
            [row] = self._rows.of_steps([place], self._scene.shape)
            if row is not None:
                return row
        return None

    # Reading back.

    def _correct(self, unit: Unit, steps: Sequence[Step], *, remember: bool) -> None:
        """Set the cells again that triggers moved after the steps had set them; `remember` for rows new to the unit.

        Raises Refused where a constraint does not let it.
        """
        moved = self._moved_cells(steps)
        for step, row in moved:
            if remember:
                self._prepare(unit, [step], {id(step): row})
            statement = self._statement(step, row)
            try:
                count = self._execute(statement.sql, statement.values).rowcount
            except IntegrityError as error:
                raise Refused([(step, error)]) from error
            if count != 1:
                self._give_up([step], "it does not keep the value that it had before")
        still = self._moved_cells(steps) if moved else []
        if still:
            self._give_up([step for step, _ in still], "it does not keep the value that it had before")
        self.corrected += len(moved)
        self.moved += [step for step, _ in moved]

    def _moved_cells(self, steps: Sequence[Step]) -> list[tuple[Step, LiveRow]]:
        """What differs from the plan, as guarded steps that put it right."""
        by_table: dict[TableName, list[Step]] = {}
        for step in steps:
            by_table.setdefault(step.table, []).append(step)
        found: list[tuple[Step, LiveRow]] = []
        for table, own in by_table.items():
            shape = self._scene.shape(table)
            found += self._moved_rows(shape, own) if shape.primary_key else self._check_equals(shape, own)
        return found

    def _moved_rows(self, shape: TableShape, steps: Sequence[Step]) -> list[tuple[Step, LiveRow]]:
        live = self._rows.at_keys(shape, [step.key_after for step in steps])
        arrived = {key_word(step.key_after, shape.primary_key) for step in steps if step.kind is not StepKind.DELETE}
        found = []
        for step in steps:
            word = key_word(step.key_after, shape.primary_key)
            row = live.get(word)
            if step.kind is StepKind.DELETE:
                if row is not None and word not in arrived:
                    self._give_up([step], "it does not stay deleted")
                continue
            if row is None:
                self._give_up([step], "it does not stay there")
            cells = [cell for cell in step.cells if not self._holds(row, cell.column, cell.target)]
            if cells:
                found.append((_correction(step, row, cells), row))
        return found

    def _check_equals(self, shape: TableShape, steps: Sequence[Step]) -> list[tuple[Step, LiveRow]]:
        """Rows without a key can only be looked for as they should be."""
        for step in steps:
            wanted = {
                column: value for column, value in image_after(step).items() if not shape.known_column(column).generated
            }
            if step.kind is not StepKind.DELETE and not self._rows.equal_to(shape, [wanted]):
                self._give_up([step], "it does not keep the values that it had before")
        return []

    def _give_up(self, steps: Sequence[Step], reason: str) -> NoReturn:
        conflicts = []
        for step in steps:
            names = [row[0] for row in self._execute(self._dialect.trigger_names_sql(), (step.table.name,))]
            blamed = f"; triggers of {step.table}: {', '.join(names)}" if names else ""
            cells = ", ".join(f"{cell.column} = {shown(cell.target)}" for cell in step.cells[:3])
            message = f"{step_word(step)} ({step.kind.lower()} {cells}): {reason}{blamed}"
            conflicts.append(Conflict(ConflictKind.CONSTRAINT, step.table, step.row, None, message))
        raise PlanConflict(conflicts, "the rows did not come out as planned")

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        with self._refusals_as_such():
            return run(self._connection, sql, values)

    @contextmanager
    def _refusals_as_such(self) -> Iterator[None]:
        """Inside this block whatever a constraint refuses is an IntegrityError."""
        try:
            yield
        except OperationalError as error:
            if not self._dialect.is_hidden_refusal(error):
                raise
            raise IntegrityError(error.statement, error.params, error.orig or error) from error

    @contextmanager
    def _taken_back_where_refused(self, step: Step) -> Iterator[None]:
        """What a constraint refuses inside this block leaves nothing, and the transaction can go on.

        Raises PlanConflict where a column can't hold a value of the step.
        """
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            yield
        except IntegrityError as error:
            self._check_still_open(error)
            self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
            raise
        except REFUSALS as error:
            if not self._dialect.is_refused_value(error):
                raise
            self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            raise misfit(self._connection, self._dialect, self._scene.shape(step.table), step, error) from error
        self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")

    def _check_still_open(self, error: IntegrityError) -> None:
        """Some constraints end the transaction when they refuse (ON CONFLICT ROLLBACK); then all is as before."""
        if not self._dialect.in_transaction(self._connection.connection.driver_connection):
            raise PlanConflict((), f"a constraint rolled everything back: {error.orig}") from error


def _correction(step: Step, row: LiveRow, cells: Iterable[CellStep]) -> Step:
    corrected = tuple(CellStep(cell.column, row.image[cell.column], cell.target) for cell in cells)
    return replace(step, kind=StepKind.UPDATE, key=step.key_after, cells=corrected, bumps=())


def image_after(step: Step) -> Image:
    """The values that the step knows its row to have afterwards."""
    set_to = {cell.column: cell.target for cell in step.cells if not isinstance(cell.target, Absent)}
    known = {column: value for column, value in step.key.items() if column not in step.bumps}
    return {**known, **set_to}


def present_key(step: Step, row: LiveRow) -> Image:
    """The step's key as its row has it now."""
    return {column: row.image[column] for column in step.key}


def _decoded(image: Image, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(codec.decode(image[column]) for column in columns)


def _new_locator(shape: TableShape, step: Step) -> tuple[Any, ...]:
    """Where the row lies after its key was set; a single integer key is the row id itself."""
    columns = shape.locator if shape.locator == shape.primary_key else shape.moved_by
    return _decoded(step.key_after, columns)
