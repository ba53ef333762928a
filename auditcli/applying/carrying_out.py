"""One plan carried out in an open transaction: looked at again under locks, then written and read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from auditcli.applying.bulk import BulkWriting
from auditcli.applying.counters import advance_counters
from auditcli.applying.refusal import PlanConflict, Refused, step_word
from auditcli.applying.rehearsal import Rehearsal, Stage
from auditcli.applying.ways import NetWriting, SingleWriting
from auditcli.applying.writing import Writing
from auditcli.bulks import bulk_steps
from auditcli.capture.context import current_context
from auditcli.capture.destinations import refuse_without_address
from auditcli.capture.handover import take_back
from auditcli.capture.recorder import Recorder
from auditcli.capture.scene import Scene
from auditcli.checks import Surroundings, check_steps
from auditcli.clock import Clock
from auditcli.fold import Absent
from auditcli.log.reader import LogReader
from auditcli.log.writer import LogWriter
from auditcli.model import Change
from auditcli.plan import Bulk, Conflict, ConflictKind, Plan, Step, StepKind, shown
from auditcli.planning.planner import TableRules
from auditcli.planning.stepwise import needed_records, single_steps
from auditcli.rows import LiveRow, RowReader

_SAVEPOINT = "auditcli_apply"
_BULKS = "auditcli_bulks"


@dataclass(frozen=True)
class Outcome:
    """What applying a plan did; `transaction_id` is None where there was nothing to write.

    `corrected` are rows that triggers of the application's had to be overruled for; `stepwise` says that the rows went
    back record by record, since the net steps were in each other's way. `notes` are what the user should know of.
    """

    plan: Plan
    transaction_id: str | None = None
    rows: int = 0
    corrected: int = 0
    stepwise: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether something was left out."""
        return bool(self.plan.conflicts)


class CarryingOut:
    """One plan, under the lock."""

    def __init__(self, connection: Connection, plan: Plan, scene: Scene, clock: Clock) -> None:
        self._connection = connection
        self._plan = plan
        self._scene = scene
        self._clock = clock
        self._rows = RowReader(connection, scene.dialect, locking=True)
        self._steps = plan.single_steps

    def rehearse(self) -> Rehearsal:
        self._steps = self._all_steps()
        self._plan = replace(self._plan, steps=self._steps)
        stage = Stage(self._connection, self._scene, self._plan)
        stage.refuse_what_would_stay()
        writing = self._do()
        stage.check_deferred()
        return stage.seen(writing.recorder.transaction_id, self._plan.rows, writing.moved)

    def run(self) -> Outcome:
        writing = self._do()
        steps = chain(self._steps, self._new_rows_of_bulks())
        notes = advance_counters(self._connection, self._scene.dialect, steps, self._scene.shape)
        return Outcome(
            plan=self._plan,
            transaction_id=writing.recorder.transaction_id,
            rows=self._plan.rows,
            corrected=writing.corrected,
            stepwise=isinstance(writing, SingleWriting),
            notes=tuple(notes),
        )

    def _do(self) -> Writing:
        self._check_tables()
        recorder = self._new_recorder()
        writing = self._do_bulks(recorder) if self._plan.bulks else self._do_steps(recorder)
        self._link(writing.recorder)
        take_back(self._connection, self._scene.dialect)
        return writing

    def _do_bulks(self, recorder: Recorder) -> Writing:
        """Do what one statement can do, then the rest; or all of it step by step where that does not come out right."""
        bulks = BulkWriting(self._connection, self._scene, self._plan, self._clock())
        if bulks.is_possible:
            self._execute(f"SAVEPOINT {_BULKS}")
            writing = self._try_bulks(bulks, recorder)
            if writing is not None:
                self._execute(f"RELEASE SAVEPOINT {_BULKS}")
                return writing
            self._execute(f"ROLLBACK TO SAVEPOINT {_BULKS}")
            recorder = self._new_recorder(recorder.transaction_id)
        self._steps = self._all_steps()
        return self._do_steps(recorder)

    def _all_steps(self) -> tuple[Step, ...]:
        in_bulks = chain.from_iterable(map(self._steps_of, self._plan.bulks))
        return (*self._plan.single_steps, *in_bulks)

    def _steps_of(self, bulk: Bulk) -> Iterator[Step]:
        reader = LogReader(self._connection, self._scene.tables)
        return bulk_steps(reader, TableRules(bulk.table, self._scene.shape(bulk.table)), bulk)

    def _new_rows_of_bulks(self) -> Iterator[Step]:
        """The rows that came back in bulk with numbers of their own for a counter."""
        for bulk in self._plan.bulks:
            has_counter = any(column.counter is not None for column in self._scene.shape(bulk.table).columns)
            if bulk.example.kind is StepKind.INSERT and has_counter:
                yield from self._steps_of(bulk)

    def _try_bulks(self, bulks: BulkWriting, recorder: Recorder) -> Writing | None:
        try:
            if not bulks.write():
                return None
        except (IntegrityError, DataError, ProgrammingError):
            return None
        writing = self._do_steps(recorder)
        return writing if bulks.is_done() else None

    def _do_steps(self, recorder: Recorder) -> Writing:
        live = self._check_guards()
        self._check_surroundings()
        return self._write(live, recorder)

    def _check_guards(self) -> list[LiveRow | None]:
        """Read every row again, now that nobody else can write; raises PlanConflict where one is not as planned."""
        live = self._rows.of_steps(self._steps, self._scene.shape)
        found = [
            conflict
            for step, row in zip(self._steps, live, strict=True)
            if step.kind is not StepKind.INSERT
            for conflict in _broken_guards(step, row)
        ]
        if found:
            raise PlanConflict(tuple(found), "rows changed after the plan was made")
        return live

    def _check_tables(self) -> None:
        shown = (*self._plan.single_steps, *(bulk.example for bulk in self._plan.bulks))
        gone = [step for step in shown if step.table not in self._scene.shapes.tables]
        if gone:
            found = [
                Conflict(
                    ConflictKind.MISSING, step.table, step.row, None, f"{step_word(step)}: the table no longer exists"
                )
                for step in gone
            ]
            raise PlanConflict(found, "tables changed after the plan was made")
        for table in dict.fromkeys(step.table for step in shown):
            if self._scene.records(table) or not self._scene.dialect.one_row_sql:
                refuse_without_address(self._scene, table)

    def _check_surroundings(self) -> None:
        # Where plain reads are as old as the transaction, only locking ones find what others committed meanwhile.
        rows = RowReader(self._connection, self._scene.dialect, locking=self._scene.dialect.writes_see_latest)
        around = Surroundings(rows, self._scene.shapes, self._scene.tracking.recorded)
        checked = check_steps(self._steps, around, self._plan.options)
        unseen = [cascade for cascade in checked.cascades if cascade not in self._plan.cascades]
        by_cascade = tuple(
            Conflict(ConflictKind.DEPENDENT, cascade.table, None, None, f"{cascade}, which the plan did not show")
            for cascade in unseen
        )
        if checked.conflicts or by_cascade:
            raise PlanConflict((*checked.conflicts, *by_cascade), "rows changed after the plan was made")

    def _write(self, live: list[LiveRow | None], recorder: Recorder) -> Writing:
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        writing = NetWriting(self._connection, recorder, self._clock())
        try:
            writing.write(self._steps, live)
        except (Refused, PlanConflict) as refused:
            if not self._scene.dialect.in_transaction(self._connection.connection.driver_connection):
                raise
            self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            return self._write_singly(refused, writing.recorder.transaction_id)
        self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return writing

    def _write_singly(self, refused: Refused | PlanConflict, transaction_id: str) -> Writing:
        reader = LogReader(self._connection, self._scene.tables)
        records: dict[int, Change] = {log_id: reader.change(log_id) for log_id in needed_records(self._steps)}
        # Under the same id: some triggers go on with the one that they were told first.
        writing = SingleWriting(self._connection, self._new_recorder(transaction_id), self._clock())
        try:
            writing.write(self._steps, single_steps(self._steps, records))
        except Refused as again:
            raise PlanConflict(again.conflicts, "a constraint refuses it") from refused
        return writing

    def _link(self, recorder: Recorder) -> None:
        recorder.write_header(current_context())
        writer = LogWriter(self._scene.tables)
        # What other columns were undone to still stands.
        kind = "part" if self._plan.kind == "redo" and self._plan.options.only else self._plan.kind
        writer.write_undo(self._connection, recorder.transaction_id, kind, self._plan.undone_ids)

    def _new_recorder(self, transaction_id: str | None = None) -> Recorder:
        recorder = Recorder(self._connection, self._scene, self._clock, transaction_id)
        recorder.hand_over()
        return recorder

    def _execute(self, sql: str) -> None:
        self._connection.exec_driver_sql(sql)


def _broken_guards(step: Step, row: LiveRow | None) -> list[Conflict]:
    word = step_word(step)
    if row is None:
        return [Conflict(ConflictKind.MISSING, step.table, step.row, None, f"{word}: the row is gone")]
    changed = [
        cell for cell in step.cells if not isinstance(cell.expected, Absent) and not row.has(cell.column, cell.expected)
    ]
    return [
        Conflict(
            ConflictKind.CHANGED,
            step.table,
            step.row,
            cell.column,
            f"{word} {cell.column}: {shown(cell.expected)} is {shown(row.image.get(cell.column))} now",
        )
        for cell in changed
    ]
