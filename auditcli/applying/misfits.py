"""A value that its column can't hold: which column it is, however little the database says.

Part of `apply.py`, which opens and ends the transaction.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import StatementError

from auditcli.applying.refusal import PlanConflict, step_word
from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.fold import Absent
from auditcli.plan import Conflict, ConflictKind, Step, shown
from auditcli.shape import TableShape

REFUSALS = (StatementError, OverflowError, UnicodeEncodeError)
"""What statements raise, the drivers' own refusals of values included."""

_SAVEPOINT = "auditcli_misfit"


def misfit(
    connection: Connection, dialect: Dialect, shape: TableShape, step: Step, error: BaseException
) -> PlanConflict:
    """The conflict that a refused value is; the transaction has to be in working order."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
    column = (
        _column_named(step, reason)
        or _column_found(connection, dialect, shape, step)
        or _column_quoted(dialect, shape, step, reason)
    )
    value = next((cell.target for cell in step.cells if cell.column == column), None)
    what = f"{step_word(step)} {column}: {shown(value)}" if column else step_word(step)
    message = f"{what} can't be stored: {reason}"
    found = Conflict(ConflictKind.CONSTRAINT, step.table, step.row, column, message)
    return PlanConflict((found,), "a value does not fit")


def _column_named(step: Step, reason: str) -> str | None:
    """The column that the database names by itself."""
    marks = ("'{}'", '"{}"', "`{}`")
    return next(
        (
            cell.column
            for cell in step.cells
            if any(mark.format(cell.column) in reason for mark in marks) or reason.endswith(f".{cell.column}")
        ),
        None,
    )


def _column_found(connection: Connection, dialect: Dialect, shape: TableShape, step: Step) -> str | None:
    """The first column whose value the database refuses even by itself."""
    for cell in step.cells:
        if isinstance(cell.target, Absent):
            continue
        bound = dialect.bind(cell.target, shape.known_column(cell.column))
        connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
        try:
            run(connection, f"SELECT {bound.sql}", bound.values).fetchall()
        except REFUSALS:
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            return cell.column
        connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return None


def _column_quoted(dialect: Dialect, shape: TableShape, step: Step, reason: str) -> str | None:
    """The one column whose value the database's words repeat."""
    set_to = [(cell.column, cell.target) for cell in step.cells if not isinstance(cell.target, Absent)]
    bound = [(column, dialect.bind(value, shape.known_column(column))) for column, value in set_to]
    quoted = [column for column, part in bound if any(f"'{value}'" in reason for value in part.values)]
    return quoted[0] if len(quoted) == 1 else None
