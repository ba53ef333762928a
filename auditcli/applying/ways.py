"""Two ways of writing a plan: its net steps in batches, or the single records behind them, newest first.

Part of `apply.py`, which opens and ends the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import IntegrityError

from auditcli.applying.misfits import REFUSALS
from auditcli.applying.refusal import Refused
from auditcli.applying.writing import Writing, image_after, present_key
from auditcli.capture.recorder import Unit
from auditcli.driver import run_many
from auditcli.model import Image, TableName
from auditcli.plan import Step, StepKind
from auditcli.planning.order import step_levels
from auditcli.planning.stepwise import Single
from auditcli.rows import LiveRow

_SAVEPOINT = "auditcli_batch"


class NetWriting(Writing):
    """Writes the net steps, in batches of equal statements."""

    _first_parts: dict[int, Step]
    _second_parts: list[Step]

    def write(self, steps: Sequence[Step], live: Sequence[LiveRow | None]) -> None:
        """Do all steps; raises Refused where constraints leave no way, PlanConflict where rows come out otherwise."""
        rows = {id(step): row for step, row in zip(steps, live, strict=True) if row is not None}
        self._first_parts, self._second_parts = {}, []
        stages = [stage for stage in self._stages(step_levels(steps, self._scene.shapes)) if stage]
        for stage in stages:
            self._write_stage(stage, rows)
        if self._second_parts:
            self._write_second_parts()
        if len(stages) > 1 or self._second_parts:
            unit = self.recorder.unit()
            self._correct(unit, steps, remember=True)
            unit.finish()

    def _stages(self, levels: Sequence[list[Step]]) -> Sequence[Sequence[list[Step]]]:
        """The levels in units: a new row may take the physical place of one that has just been deleted."""
        return [
            [level for level in levels if level[0].kind is not StepKind.INSERT],
            [level for level in levels if level[0].kind is StepKind.INSERT],
        ]

    def _write_stage(self, levels: Sequence[Sequence[Step]], rows: Mapping[int, LiveRow]) -> None:
        unit = self.recorder.unit()
        steps = [step for level in levels for step in level]
        self._prepare(unit, steps, rows)
        refused: list[tuple[Step, IntegrityError]] = []
        for level in levels:
            # Before the next level: a row that has not let go of its parent yet would go with it.
            refused = self._write_again(refused, rows, unit)
            refused += self._write_level(level, rows, unit)
        refused = self._write_again(refused, rows, unit)
        while refused:
            refused = self._write_again(self._write_parted(refused, rows, unit), rows, unit)
        self._correct(unit, [self._first_parts.get(id(step), step) for step in steps], remember=False)
        unit.finish()

    def _write_again(
        self, refused: list[tuple[Step, IntegrityError]], rows: Mapping[int, LiveRow], unit: Unit
    ) -> list[tuple[Step, IntegrityError]]:
        """Do what a constraint refused, as long as that helps; returns what it still refuses."""
        while refused:
            again = self._write_singly([step for step, _ in refused], rows, unit)
            if len(again) == len(refused):
                return again
            refused = again
        return refused

    def _write_parted(
        self, refused: Sequence[tuple[Step, IntegrityError]], rows: Mapping[int, LiveRow], unit: Unit
    ) -> list[tuple[Step, IntegrityError]]:
        """Write rows that are in each other's way first without what is refused, then with it.

        Second parts that are refused still wait until new rows are there. Returns what can't be parted; raises Refused
        where that is all, or where a first part is refused as well.
        """
        tables = {step.table for step, _ in refused}
        parted = [(step, parts) for step, _ in refused if (parts := self._parts(step, tables))]
        if not parted:
            raise Refused(refused)
        live = {id(part): rows[id(step)] for step, parts in parted for part in parts if id(step) in rows}
        again = self._write_singly([first for _, (first, _) in parted], live, unit)
        if again:
            raise Refused(again)
        waiting = {id(step) for step, _ in self._write_singly([second for _, (_, second) in parted], live, unit)}
        for step, (first, second) in parted:
            if id(second) in waiting:
                self._first_parts[id(step)] = first
                self._second_parts.append(second)
        whole = {id(step) for step, _ in parted}
        return [each for each in refused if id(each[0]) not in whole]

    def _parts(self, step: Step, tables: Collection[TableName]) -> tuple[Step, Step] | None:
        """A row's step without the values that others may have in its way, and the update that sets them."""
        shape = self._scene.shape(step.table)
        if step.kind is StepKind.DELETE or not shape.primary_key:
            return None
        is_new = step.kind is StepKind.INSERT
        keys = [key.columns for key in shape.foreign_keys if not is_new or key.referred in tables]
        in_the_way = {column for key in (*keys, *(() if is_new else shape.unique_keys)) for column in key}
        parted = [cell for cell in step.cells if cell.column in in_the_way and shape.known_column(cell.column).nullable]
        if all(cell.target is None for cell in parted):
            return None
        rest = tuple(cell for cell in step.cells if cell not in parted)
        without = tuple(replace(cell, target=None) for cell in parted)
        later = tuple(replace(cell, expected=None) for cell in parted)
        if is_new:
            return replace(step, cells=(*rest, *without)), replace(step, kind=StepKind.UPDATE, cells=later)
        return replace(step, cells=without, bumps=()), replace(step, cells=(*rest, *later))

    def _write_second_parts(self) -> None:
        steps = self._second_parts
        live = self._rows.of_steps(steps, self._scene.shape)
        rows = {id(step): row for step, row in zip(steps, live, strict=True) if row is not None}
        unit = self.recorder.unit()
        self._prepare(unit, steps, rows)
        refused = self._write_singly(steps, rows, unit)
        refused = self._write_again(refused, rows, unit)
        if refused:
            raise Refused(refused)
        unit.finish()

    def _write_level(
        self, level: Sequence[Step], rows: Mapping[int, LiveRow], unit: Unit
    ) -> list[tuple[Step, IntegrityError]]:
        batches: dict[str, list[tuple[Step, tuple[Any, ...]]]] = {}
        for step in level:
            statement = self._statement(step, rows.get(id(step)))
            batches.setdefault(statement.sql, []).append((step, statement.values))
        refused: list[tuple[Step, IntegrityError]] = []
        for sql, batch in batches.items():
            if not self._write_batch(sql, batch):
                refused += self._write_singly([step for step, _ in batch], rows, unit)
        return refused

    def _write_batch(self, sql: str, batch: Sequence[tuple[Step, tuple[Any, ...]]]) -> bool:
        """Do equal statements at once; False where they have to be done one by one, with nothing written."""
        first = batch[0][0]
        shape = self._scene.shape(first.table)
        if any(self._is_placed_anew(shape, step) for step, _ in batch):
            return False
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            with self._refusals_as_such():
                result = run_many(self._connection, sql, [values for _, values in batch])
            done = result.rowcount == len(batch)
        except IntegrityError as error:
            self._check_still_open(error)
            done = False
        except REFUSALS as error:
            if not self._dialect.is_refused_value(error):
                raise
            done = False
        if not done:
            self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return done

    def _write_singly(
        self, steps: Iterable[Step], rows: Mapping[int, LiveRow], unit: Unit
    ) -> list[tuple[Step, IntegrityError]]:
        refused = []
        for step in steps:
            try:
                with self._taken_back_where_refused(step):
                    self._run(step, rows.get(id(step)), unit)
            except IntegrityError as error:
                refused.append((step, error))
        return refused


class SingleWriting(Writing):
    """Writes record by record, from the newest to the oldest, each as a unit of its own."""

    def write(self, steps: Sequence[Step], singles: Sequence[Single]) -> None:
        """Do all parts; raises Refused and PlanConflict as `NetWriting` does."""
        keys = [step.key for step in steps]
        pending = list(singles)
        while pending:
            refused = self._write_pass(pending, keys)
            if len(refused) == len(pending):
                refused = self._end_followers(steps, refused)
            pending = [single for single, _ in refused]
        unit = self.recorder.unit()
        self._correct(unit, steps, remember=True)
        unit.finish()

    def _write_pass(self, singles: Sequence[Single], keys: list[Image]) -> list[tuple[Single, IntegrityError]]:
        refused: dict[int, list[tuple[Single, IntegrityError]]] = {}
        for single in singles:
            if single.step in refused:
                # What comes before it on the same row has to wait as well.
                refused[single.step].append((single, refused[single.step][0][1]))
                continue
            error = self._refusal(single, keys)
            if error is not None:
                refused[single.step] = [(single, error)]
            elif refused:
                self._write_followers(single.part.table, refused, keys)
        return [part for waiting in refused.values() for part in waiting]

    def _end_followers(
        self, steps: Sequence[Step], refused: Sequence[tuple[Single, IntegrityError]]
    ) -> list[tuple[Single, IntegrityError]]:
        """Bring rows to their end at once that a cascade took past values on their way, which are not there any more.

        Returns the parts of the others; raises Refused where there is none of the kind.
        """
        waiting = {single.step for single, _ in refused}
        ended = {at for at in waiting if self._end_follower(steps[at])}
        if not ended:
            raise Refused([(single.part, error) for single, error in refused])
        return [(single, error) for single, error in refused if single.step not in ended]

    def _end_follower(self, step: Step) -> bool:
        """Whether the row of a net step is where the step takes it, or could be brought there."""
        row = self._row_of(step) if step.kind is StepKind.UPDATE else None
        if row is None or not set(step.set_columns) & self._following(step.table):
            return False
        left = [cell for cell in step.cells if not self._holds(row, cell.column, cell.target)]
        if not left:
            return True
        rest = tuple(replace(cell, expected=row.image[cell.column]) for cell in left)
        last = replace(step, key=present_key(step, row), cells=rest)
        unit = self.recorder.unit()
        self._prepare(unit, [last], {id(last): row})
        try:
            with self._taken_back_where_refused(last):
                self._run(last, row, unit)
        except IntegrityError:
            return False
        unit.finish()
        return True

    def _write_followers(
        self, parent: TableName, refused: dict[int, list[tuple[Single, IntegrityError]]], keys: list[Image]
    ) -> None:
        """Do what waits for rows of a table that has just been written to, before these move on.

        The database may have done it by itself: a row that follows its parent's key is where it should be only until
        this key changes again.
        """
        for step, waiting in list(refused.items()):
            referred = {key.referred for key in self._scene.shape(waiting[0][0].part.table).foreign_keys}
            while waiting and parent in referred and self._refusal(waiting[0][0], keys) is None:
                waiting.pop(0)
            if not waiting:
                del refused[step]

    def _refusal(self, single: Single, keys: list[Image]) -> IntegrityError | None:
        """Do one part; what a constraint says against it, None where it is done."""
        try:
            with self._taken_back_where_refused(single.part):
                keys[single.step] = self._write_single(single.part, keys[single.step])
        except IntegrityError as error:
            return error
        return None

    def _write_single(self, part: Step, key: Image) -> Image:
        """Do one part of a row's way; returns the key that the row has then."""
        if part.kind is StepKind.INSERT:
            made = image_after(replace(part, key={}))
            step = replace(part, key={column: made[column] for column in key if column in made})
        else:
            step = replace(part, key=key)
        [row] = self._rows.of_steps([step], self._scene.shape)
        unit = self.recorder.unit()
        self._prepare(unit, [step], {} if row is None else {id(step): row})
        self._run(step, row, unit)
        unit.finish()
        return step.key_after
