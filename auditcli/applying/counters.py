"""Counters past the numbers that rows brought with them, so that the database gives none of these to a later row.

Part of `apply.py`, which opens and ends the transaction. Where a database keeps its counters outside of transactions
they stay where they are put; numbers are left out then, as they are by any transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from auditcli.dialects import Dialect, Fragment
from auditcli.driver import run
from auditcli.model import TableName
from auditcli.plan import Step
from auditcli.shape import TableShape


@dataclass(frozen=True, slots=True)
class Moved:
    """A counter and the numbers that steps bring to its column."""

    counter: str
    column: str
    lowest: int
    highest: int

    def statement(self, dialect: Dialect) -> Fragment:
        """Moves the counter past the numbers, never back."""
        return dialect.advance_counter(self.counter, self.lowest, self.highest)


def moved_counters(steps: Iterable[Step], shape_of: Callable[[TableName], TableShape]) -> Iterator[Moved]:
    """The counters that steps bring numbers of their own for."""
    ranges: dict[tuple[str, str], tuple[int, int]] = {}
    counted: dict[TableName, dict[str, str]] = {}
    for step in steps:
        if step.table not in counted:
            columns = shape_of(step.table).columns
            counted[step.table] = {column.name: column.counter for column in columns if column.counter is not None}
        for column in counted[step.table].keys() & set(step.set_columns):
            number = step.target_value(column)
            if type(number) is int:
                place = (counted[step.table][column], f"{step.table}.{column}")
                lowest, highest = ranges.get(place, (number, number))
                ranges[place] = (min(lowest, number), max(highest, number))
    return (Moved(*place, *found) for place, found in ranges.items())


def advance_counters(
    connection: Connection, dialect: Dialect, steps: Iterable[Step], shape_of: Callable[[TableName], TableShape]
) -> list[str]:
    """Move the counters; returns a note for each that the user has no right to move."""
    notes = []
    for moved in moved_counters(steps, shape_of):
        statement = moved.statement(dialect)
        found = run(connection, statement.sql, statement.values).first()
        if found is not None and not found[0]:
            notes.append(
                f"{moved.counter} may give {moved.column} a number up to {moved.highest:,} again, and the user has no "
                "right to move it on"
            )
    return notes
