"""A plan as a script that is run by hand in the database's own client: the statements of `apply`, with their guards.

It executes nothing. What `apply` checks under its lock stands in the statements themselves; what triggers of the
application's own do is neither read back nor put right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection

from auditcli.applying.counters import moved_counters
from auditcli.applying.refusal import PlanConflict, step_word
from auditcli.applying.writes import step_sql
from auditcli.dialects import Dialect, ScriptStep
from auditcli.dialects.script import comment
from auditcli.driver import dialect_of
from auditcli.errors import AuditError
from auditcli.fold import Absent
from auditcli.log.schema import read_shapes
from auditcli.plan import Conflict, ConflictKind, Plan, Step, StepKind
from auditcli.planning.order import order_steps
from auditcli.planning.stamps import moved_on
from auditcli.rows import LiveRow, RowReader
from auditcli.shape import CHANGES_CHILD, DatabaseShape, ForeignKeyShape, TableShape


def plan_script(connection: Connection, plan: Plan, *, now: datetime, lock_timeout: float = 5.0) -> Iterator[str]:
    """The lines of a script that does a plan's steps, or nothing at all where a row is no longer as the plan saw it.

    Raises PlanConflict where the plan has conflicts, or a row is gone by now.
    """
    if plan.refused:
        raise PlanConflict(plan.conflicts, "the plan has conflicts")
    dialect = dialect_of(connection)
    writer = _ScriptWriter(dialect, read_shapes(connection, dialect), plan, now)
    steps = order_steps(plan.steps, writer.shapes)
    live = RowReader(connection, dialect).of_steps(steps, writer.shapes.tables.__getitem__)
    yield comment(
        f"{plan.kind} of {plan.rows:,} rows in {plan.target}, planned by auditcli at {now:%Y-%m-%d %H:%M} UTC"
    )
    yield comment(f"run it with: {dialect.client} < this file; a row that is not as planned leaves all as it was")
    pairs = zip(steps, live, strict=True)
    script_steps = (ScriptStep(f"{step.kind} {step_word(step)}", writer.statement(step, row)) for step, row in pairs)
    yield from dialect.script(script_steps, writer.settings(), int(lock_timeout * 1000), writer.counters(steps))


class _ScriptWriter:
    """Writes the statements of one plan out."""

    def __init__(self, dialect: Dialect, shapes: DatabaseShape, plan: Plan, now: datetime) -> None:
        self.shapes = shapes
        self._dialect = dialect
        self._now = now
        self._follows = {cascade.table for cascade in plan.cascades}

    def settings(self) -> dict[str, str]:
        """The settings under which the values of these tables are read and compared."""
        read = [self._dialect.reading_settings(shape) for shape in self.shapes.tables.values()]
        return {name: value for each in (*read, self._dialect.writing_settings) for name, value in each.items()}

    def counters(self, steps: Iterable[Step]) -> list[str]:
        """The statements that move counters past the rows' numbers."""
        moved = moved_counters(steps, self.shapes.tables.__getitem__)
        return [self._dialect.inlined(each.statement(self._dialect)) for each in moved]

    def statement(self, step: Step, row: LiveRow | None) -> str:
        """The step's one statement, which finds no row where something is not as planned."""
        shape = self.shapes.tables[step.table]
        if step.kind is not StepKind.INSERT:
            _check_there(shape, step, row)
        image = row.image if row is not None else {}
        bumped = {column: moved_on(image[column], self._now) for column in step.bumps if column in image}
        written = step_sql(self._dialect, shape, step, bumped, row.locator if row is not None else None)
        conditions = self._no_dependants(shape, step) if step.kind is not StepKind.INSERT else ()
        return " AND ".join((self._dialect.inlined(written), *conditions))

    def _no_dependants(self, shape: TableShape, step: Step) -> list[str]:
        """Conditions: no row refers to what the step takes away and would be changed by the database, unseen."""
        goes_away = step.kind is StepKind.DELETE
        return [
            self._no_reference(shape, reference, step)
            for reference in self.shapes.references_to.get(shape.table, ())
            if (reference.on_delete if goes_away else reference.on_update) in CHANGES_CHILD
            and reference.table not in self._follows
            and (goes_away or set(reference.referred_columns) & set(step.set_columns))
            and reference.table in self.shapes.tables
        ]

    def _no_reference(self, shape: TableShape, reference: ForeignKeyShape, step: Step) -> str:
        child = self.shapes.tables[reference.table]
        pairs = [
            (column, value)
            for column, referred in zip(reference.columns, reference.referred_columns, strict=True)
            if not isinstance(value := step.expected_value(referred), Absent)
        ]
        alike = [
            f"auditcli_child.{self._dialect.quote(column)} = "
            + self._dialect.inlined(self._dialect.bind(value, child.known_column(column)))
            for column, value in pairs
        ]
        own = [self._is_another(step)] if child.table == shape.table else []
        found = f"SELECT 1 FROM {self._dialect.table_sql(child.table)} AS auditcli_child"
        return f"NOT EXISTS ({found} WHERE {' AND '.join([*alike, *own])})"

    def _is_another(self, step: Step) -> str:
        shape = self.shapes.tables[step.table]
        same = [
            f"auditcli_child.{self._dialect.quote(column)} = "
            + self._dialect.inlined(self._dialect.bind(value, shape.known_column(column)))
            for column, value in step.key.items()
        ]
        return f"NOT ({' AND '.join(same)})"


def _check_there(shape: TableShape, step: Step, row: LiveRow | None) -> None:
    if row is None:
        gone = Conflict(ConflictKind.MISSING, step.table, step.row, None, f"{step_word(step)}: the row is gone")
        raise PlanConflict((gone,), "rows changed after the plan was made")
    if not shape.locator:
        raise AuditError(
            f"{step.table} has no primary key, so no script can name one of its rows",
            hint="apply the plan without --sql",
        )
