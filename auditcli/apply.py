"""The one writer of user tables: applies a plan in one transaction, or leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from auditcli.applying.bulk import BulkWriting
from auditcli.applying.carrying import CarriedWriting
from auditcli.applying.counters import advance_counters
from auditcli.applying.refusal import PlanConflict, Refused, step_word
from auditcli.applying.rehearsal import Rehearsal, Stage
from auditcli.applying.retrying import done_at_last
from auditcli.applying.troubles import explained
from auditcli.applying.ways import NetWriting, SingleWriting
from auditcli.applying.writing import Writing
from auditcli.bulks import bulk_steps
from auditcli.capture.context import current_context
from auditcli.capture.destinations import refuse_without_address
from auditcli.capture.handover import take_back
from auditcli.capture.recorder import Recorder
from auditcli.capture.scene import Scene, quiet
from auditcli.capture.scenes import Scenes
from auditcli.capture.triggers import waiting_at_most
from auditcli.checks import Surroundings, check_steps
from auditcli.clock import Clock, utc_now
from auditcli.dialects import Dialect
from auditcli.driver import dialect_of, run
from auditcli.errors import LockTimeout, ReadOnly, UsageError
from auditcli.fold import Absent
from auditcli.log.reader import LogReader
from auditcli.log.tables import LogTables, log_tables
from auditcli.log.writer import LogWriter
from auditcli.model import Change
from auditcli.plan import Conflict, ConflictKind, Plan, Step, StepKind, shown
from auditcli.planning.planner import TableRules
from auditcli.planning.stepwise import needed_records, single_steps
from auditcli.rows import LiveRow, RowReader
from auditcli.shape import TableShape
from auditcli.transfer import Transfer

__all__ = [
    "Outcome",
    "PlanConflict",
    "Rehearsal",
    "apply_plan",
    "carry_steps",
    "clear_tables",
    "commit_carried",
    "rehearse_plan",
    "taking_any_value",
]

_Seen = TypeVar("_Seen", "Outcome", Rehearsal)

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


def apply_plan(
    target: Engine | Connection,
    plan: Plan,
    *,
    tables: LogTables | None = None,
    clock: Clock = utc_now,
    lock_timeout: float = 5.0,
    read_only: bool = False,
) -> Outcome:
    """Do all steps of the plan in one transaction, recorded with the current context, or none of them.

    Raises ConflictError where the rows are no longer as the plan saw them, LockTimeout where somebody else holds them
    for more than `lock_timeout` seconds, and ReadOnly where the target takes no writes.
    """
    if read_only:
        raise ReadOnly(f"{plan.target} is read-only", hint="remove read_only = true from its profile to write there")
    if plan.refused:
        raise PlanConflict(plan.conflicts, "the plan has conflicts")
    if plan.is_empty:
        return Outcome(plan)
    with _ready(target, lock_timeout) as connection:
        return _apply(connection, plan, tables or log_tables(), clock, _Applying.run, _commit)


def rehearse_plan(
    target: Engine | Connection,
    plan: Plan,
    *,
    tables: LogTables | None = None,
    clock: Clock = utc_now,
    lock_timeout: float = 5.0,
    read_only: bool = False,
) -> Rehearsal:
    """Do all steps of the plan in one transaction, look at what constraints and triggers did, and roll it back.

    Raises what `apply_plan` would raise, and ConflictError where a rollback would leave something.
    """
    if read_only:
        raise ReadOnly(f"{plan.target} is read-only", hint="--dry-run only looks")
    if plan.refused:
        raise PlanConflict(plan.conflicts, "the plan has conflicts")
    if plan.is_empty:
        return Rehearsal(plan, 0, (), (), ())
    with _ready(target, lock_timeout) as connection:
        return _apply(connection, plan, tables or log_tables(), clock, _Applying.rehearse, _leave_nothing)


@contextmanager
def _ready(target: Engine | Connection, lock_timeout: float) -> Iterator[Connection]:
    with (
        _connected(target) as connection,
        quiet(connection),
        waiting_at_most(connection, dialect_of(connection), lock_timeout),
    ):
        yield connection


def carry_steps(
    connection: Connection,
    scene: Scene,
    steps: Sequence[Step],
    live: Sequence[LiveRow | None],
    transfer: Transfer,
    clock: Clock = utc_now,
) -> None:
    """Do steps that come from another database, in the transaction that the caller has open and ends.

    `live` are the rows that they are about. Raises Refused where constraints leave no way, and PlanConflict where rows
    are no longer as the steps expect them, or do not come back as they were written; the caller then rolls back.
    """
    recorder = Recorder(connection, scene, clock)
    recorder.hand_over()
    CarriedWriting(recorder, clock, transfer).write(steps, live)
    take_back(connection, scene.dialect)


def commit_carried(connection: Connection, dialect: Dialect) -> None:
    """Commit what `carry_steps` did; raises PlanConflict where a reference that was put off is broken."""
    _commit(connection, dialect)


def clear_tables(connection: Connection, dialect: Dialect, shapes: Iterable[TableShape]) -> None:
    """Delete all rows of these tables, children first, in the caller's transaction; nothing of it is recorded here."""
    for shape in shapes:
        table = dialect.table_sql(shape.table)
        for column in _own_parents(shape):
            # Some databases check a reference row by row, also one within the table.
            run(connection, f"UPDATE {table} SET {dialect.quote(column)} = NULL")
        run(connection, f"DELETE FROM {table}")


def _own_parents(shape: TableShape) -> list[str]:
    """The columns that refer to other rows of the table, and may do without."""
    referring = {column for key in shape.foreign_keys if key.referred == shape.table for column in key.columns}
    return [column.name for column in shape.columns if column.name in referring and column.nullable]


@contextmanager
def _connected(target: Engine | Connection) -> Iterator[Connection]:
    if isinstance(target, Connection) and target.in_transaction():
        raise UsageError("the connection has a transaction open", hint="commit or roll back before the plan is applied")
    with nullcontext(target) if isinstance(target, Connection) else target.connect() as connection:
        yield connection


def _apply(
    connection: Connection,
    plan: Plan,
    tables: LogTables,
    clock: Clock,
    act: Callable[[_Applying], _Seen],
    end: Callable[[Connection, Dialect], None],
) -> _Seen:
    dialect = dialect_of(connection)

    def once() -> _Seen:
        with connection.begin():
            if dialect.begin_write_sql is not None:
                run(connection, dialect.begin_write_sql)
            scene = Scenes(tables, {}, create=False, clock=clock).enter(connection)
            if dialect.defer_constraints_sql is not None:
                run(connection, dialect.defer_constraints_sql)
            if dialect.writing_settings:
                settings = dialect.change_settings_sql(dialect.writing_settings)
                run(connection, settings.sql, settings.values)
            with taking_any_value(connection, dialect):
                outcome = act(_Applying(connection, plan, scene, clock))
                end(connection, dialect)
        return outcome

    try:
        return done_at_last(dialect, once)
    except DBAPIError as error:
        raise explained(connection, dialect, plan, error) from error


@contextmanager
def taking_any_value(connection: Connection, dialect: Dialect, *, of_its_kind: bool = True) -> Iterator[None]:
    """Inside this block the session takes what was stored; its owner finds it as it was.

    Only a database `of_its_kind` is known to have stored each of the values; of others it takes the numbers.
    """
    begin = dialect.any_value_sql if of_its_kind else dialect.own_numbers_sql
    if begin is None or dialect.usual_values_sql is None:
        yield
        return
    run(connection, begin)
    try:
        yield
    finally:
        run(connection, dialect.usual_values_sql)


def _commit(connection: Connection, dialect: Dialect) -> None:
    """Commit at the driver, which leaves the transaction open where a constraint that was put off is broken."""
    try:
        connection.connection.commit()
    except connection.dialect.loaded_dbapi.IntegrityError as error:
        raise _broken_references(connection, dialect, error) from error
    except connection.dialect.loaded_dbapi.Error as error:
        if dialect.is_lock_timeout(error):
            raise LockTimeout(f"can't commit, nothing was written: {error}", hint=dialect.lock_holder_hint()) from error
        raise DBAPIError(None, None, error) from error


def _leave_nothing(connection: Connection, _: Dialect) -> None:
    connection.connection.rollback()


def _broken_references(connection: Connection, dialect: Dialect, error: BaseException) -> PlanConflict:
    if dialect.foreign_key_check_sql is None:
        return PlanConflict((), str(error))
    broken = run(connection, dialect.foreign_key_check_sql).fetchall()
    named = ", ".join(sorted({f"{row[0]} refers to {row[2]}" for row in broken})) or "none is left"
    return PlanConflict((), f"{error}: {named}")


class _Applying:
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
        notes = advance_counters(self._connection, self._scene.dialect, self._plan.steps, self._scene.shape)
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
        bulks = BulkWriting(self._connection, self._scene, self._plan)
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
        reader = LogReader(self._connection, self._scene.tables)
        in_bulks = (
            step
            for bulk in self._plan.bulks
            for step in bulk_steps(reader, TableRules(bulk.table, self._scene.shape(bulk.table)), bulk)
        )
        return (*self._plan.single_steps, *in_bulks)

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
