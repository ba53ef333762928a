"""The statements of a plan's steps as SQL text; executes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from auditcli.dialects import Dialect, Fragment
from auditcli.fold import Absent
from auditcli.model import Image, JsonValue
from auditcli.plan import Step, StepKind
from auditcli.rows import guards
from auditcli.shape import TableShape


def step_sql(
    dialect: Dialect,
    shape: TableShape,
    step: Step,
    also_set: Mapping[str, JsonValue],
    locator: tuple[Any, ...] | None = None,
) -> Fragment:
    """The one statement of a step; `also_set` are bookkeeping columns, which no guard looks at.

    `locator` says which one of equals a step on a table without a key is about.
    """
    if step.kind is StepKind.INSERT:
        return _insert(dialect, shape, step)
    where = _where(dialect, shape, step, locator)
    if not shape.locator:
        where = Fragment(f"{where.sql} {dialect.one_row_sql}", where.values)
    if step.kind is StepKind.DELETE:
        return Fragment(f"DELETE FROM {dialect.table_sql(shape.table)} WHERE {where.sql}", where.values)
    assigned = _listed([*_targets(step).items(), *also_set.items()], dialect, shape)
    sql = f"{dialect.update_words(shape)} {dialect.table_sql(shape.table)} SET {assigned.sql} WHERE {where.sql}"
    return Fragment(assigned.before + sql, assigned.values + where.values)


def _insert(dialect: Dialect, shape: TableShape, step: Step) -> Fragment:
    targets = _targets(step)
    columns = ", ".join(map(dialect.quote, targets))
    bound = [dialect.bind(value, shape.known_column(column)) for column, value in targets.items()]
    sql = (
        f"{dialect.insert_words(shape)} {dialect.table_sql(shape.table)} ({columns}) "
        f"{dialect.values_words(shape)} ({', '.join(part.sql for part in bound)})"
    )
    return Fragment(_before(bound) + sql, tuple(chain.from_iterable(part.values for part in bound)))


def _before(bound: Iterable[Fragment]) -> str:
    return next((part.before for part in bound if part.before), "")


def _where(dialect: Dialect, shape: TableShape, step: Step, locator: tuple[Any, ...] | None) -> Fragment:
    expected = {cell.column: cell.expected for cell in step.cells}
    guarded = guards(dialect, shape, {**step.key, **expected})
    if not shape.locator:
        return guarded
    if not shape.primary_key:
        # The very row that is recorded: another one of equals would go unseen.
        here = dialect.in_list(dialect.locator_sql(shape), 1) if locator is not None else "1 = 0"
        return Fragment(f"{here} AND {guarded.sql}", (locator or ()) + guarded.values)
    # The plain comparison is what an index serves; the guard is what makes it exact.
    plain = _listed(list(step.key.items()), dialect, shape, " AND ")
    return Fragment(f"{plain.sql} AND {guarded.sql}", plain.values + guarded.values)


def _targets(step: Step) -> Image:
    return {cell.column: cell.target for cell in step.cells if not isinstance(cell.target, Absent)}


def _listed(pairs: list[tuple[str, JsonValue]], dialect: Dialect, shape: TableShape, separator: str = ", ") -> Fragment:
    bound = [(dialect.quote(column), dialect.bind(value, shape.known_column(column))) for column, value in pairs]
    sql = separator.join(f"{name} = {part.sql}" for name, part in bound)
    values = tuple(chain.from_iterable(part.values for _, part in bound))
    return Fragment(sql, values, before=_before(part for _, part in bound))
