"""The one writer of user tables: applies a plan in one transaction, or leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from auditcli.applying.carrying import CarriedWriting
from auditcli.applying.carrying_out import CarryingOut, Outcome
from auditcli.applying.refusal import PlanConflict
from auditcli.applying.rehearsal import Rehearsal
from auditcli.applying.retrying import done_at_last
from auditcli.applying.troubles import explained
from auditcli.capture.handover import take_back
from auditcli.capture.recorder import Recorder
from auditcli.capture.scene import Scene, quiet
from auditcli.capture.scenes import Scenes
from auditcli.capture.triggers import waiting_at_most
from auditcli.clock import Clock, utc_now
from auditcli.dialects import Dialect
from auditcli.driver import dialect_of, run, run_if_there
from auditcli.errors import LockTimeout, ReadOnly, UsageError
from auditcli.log.tables import LogTables, log_tables
from auditcli.plan import Plan, Step
from auditcli.rows import LiveRow
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
        return _apply(connection, plan, tables or log_tables(), clock, CarryingOut.run, _commit)


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
        return _apply(connection, plan, tables or log_tables(), clock, CarryingOut.rehearse, _leave_nothing)


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
    act: Callable[[CarryingOut], _Seen],
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
                outcome = act(CarryingOut(connection, plan, scene, clock))
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
        run_if_there(connection, dialect.usual_values_sql)


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
