"""Writing rows that come from another database: what a column can't hold is a conflict that names it.

Part of `apply.py`, whose caller opens and ends the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from sqlalchemy.exc import IntegrityError

from auditcli.applying.misfits import REFUSALS, misfit
from auditcli.applying.refusal import PlanConflict, step_word
from auditcli.applying.ways import NetWriting
from auditcli.capture.recorder import Recorder, Unit
from auditcli.clock import Clock
from auditcli.fold import Absent, Value
from auditcli.plan import Conflict, ConflictKind, Step, StepKind, shown
from auditcli.rows import LiveRow
from auditcli.shape import TableShape
from auditcli.transfer import Transfer

_SAVEPOINT = "auditcli_carry"


class CarriedWriting(NetWriting):
    """Writes net steps whose values are in the words of this database, but began in another one."""

    def __init__(self, recorder: Recorder, clock: Clock, transfer: Transfer) -> None:
        super().__init__(recorder.connection, recorder, clock())
        self._transfer = transfer
        self._records = recorder.scene.is_recording

    def _stages(self, levels: Sequence[list[Step]]) -> Sequence[Sequence[list[Step]]]:
        # Where nobody records, rows may also come before those that go or change.
        return super()._stages(levels) if self._records else [levels]

    def _holds(self, row: LiveRow, column: str, value: Value) -> bool:
        if isinstance(value, Absent) or column not in row.image:
            return False
        return self._transfer.same(value, row.image[column])

    def _finds_by_key(self, shape: TableShape, step: Step) -> bool:
        return not self._records or super()._finds_by_key(shape, step)

    def _prepare(self, unit: Unit, steps: Sequence[Step], live: Mapping[int, LiveRow]) -> None:
        # Where nobody records, nobody has to know which rows cascades reach.
        if self._records:
            super()._prepare(unit, steps, live)

    def _write_batch(self, sql: str, batch: Sequence[tuple[Step, tuple[Any, ...]]]) -> bool:
        try:
            with self._whole_or_nothing():
                return super()._write_batch(sql, batch)
        except REFUSALS as error:
            if isinstance(error, IntegrityError) or not self._dialect.is_refused_value(error):
                raise
            return False

    def _write_singly(
        self, steps: Iterable[Step], rows: Mapping[int, LiveRow], unit: Unit
    ) -> list[tuple[Step, IntegrityError]]:
        refused = []
        for step in steps:
            try:
                with self._whole_or_nothing():
                    self._run(step, rows.get(id(step)), unit)
            except IntegrityError as error:
                if self._dialect.is_refused_value(error):
                    raise self._not_held(step, error) from error
                self._check_still_open(error)
                refused.append((step, error))
            except REFUSALS as error:
                if not self._dialect.is_refused_value(error):
                    raise
                raise self._not_held(step, error) from error
        return refused

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """A failure leaves nothing of the block, and the transaction in working order."""
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            yield
        except (*REFUSALS, PlanConflict) as error:
            is_over = self._dialect.lost_race(error)
            if not is_over and self._dialect.in_transaction(self._connection.connection.driver_connection):
                self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            raise
        self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")

    # Saying which value it was.

    def _not_held(self, step: Step, error: BaseException) -> PlanConflict:
        return misfit(self._connection, self._dialect, self._scene.shape(step.table), step, error)

    def _give_up(self, steps: Sequence[Step], reason: str) -> NoReturn:
        conflicts = [found for step in steps for found in self._not_kept(step)]
        if not conflicts:
            super()._give_up(steps, reason)
        names = [row[0] for row in self._execute(self._dialect.trigger_names_sql(), (steps[0].table.name,))]
        blamed = f"; triggers of {steps[0].table}: {', '.join(names)}" if names else ""
        raise PlanConflict(conflicts, f"values do not come back as they were{blamed}")

    def _not_kept(self, step: Step) -> Iterator[Conflict]:
        """The cells that came back as something else."""
        if step.kind is StepKind.DELETE:
            return
        row = self._row_of(step)
        for cell in step.cells if row is not None else ():
            assert row is not None
            if not self._holds(row, cell.column, cell.target):
                stored = shown(row.image.get(cell.column))
                message = f"{step_word(step)} {cell.column}: {shown(cell.target)} is stored as {stored}"
                yield Conflict(ConflictKind.CONSTRAINT, step.table, step.row, cell.column, message)
