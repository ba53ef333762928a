"""The order of a plan's steps: so sorted that foreign keys and the database's own cascades don't get in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from auditcli import codec
from auditcli.fold import Absent
from auditcli.model import JsonValue, TableName
from auditcli.plan import Step, StepKind
from auditcli.shape import DatabaseShape, ForeignKeyShape

_RANK = {StepKind.DELETE: 0, StepKind.UPDATE: 1, StepKind.INSERT: 2}


def order_steps(steps: Iterable[Step], shapes: DatabaseShape) -> list[Step]:
    """The steps in an order in which a database that checks foreign keys takes them."""
    return list(chain.from_iterable(step_levels(steps, shapes)))


def step_levels(steps: Iterable[Step], shapes: DatabaseShape) -> list[list[Step]]:
    """The steps in levels, each of one kind; within a level the order does not matter to foreign keys.

    A row lets go of its parent before the parent leaves its key, so that no cascade takes the row along; and it takes a
    key for its parent only once the row that had that key has left it. Then new rows come, parents before children.
    Deletes go before updates and updates before inserts where nothing speaks against it, so that keys are free.
    """
    ordered = list(steps)
    references = [key for shape in shapes.tables.values() for key in shape.foreign_keys]
    before = _predecessors(ordered, references)
    levels: dict[tuple[bool, int, int], list[Step]] = {}
    for step, depth in zip(ordered, _longest_paths(before), strict=True):
        levels.setdefault((step.kind is StepKind.INSERT, depth, _RANK[step.kind]), []).append(step)
    return [levels[level] for level in sorted(levels)]


def _predecessors(steps: Sequence[Step], references: Iterable[ForeignKeyShape]) -> list[set[int]]:
    """For each step the numbers of those that have to be done before it."""
    by_table: dict[TableName, list[int]] = {}
    for at, step in enumerate(steps):
        by_table.setdefault(step.table, []).append(at)
    before: list[set[int]] = [set() for _ in steps]
    for reference in references:
        if reference.table in by_table and reference.referred in by_table:
            for first, second in _pairs(steps, by_table, reference):
                if first != second:
                    before[second].add(first)
    return before


def _pairs(
    steps: Sequence[Step], by_table: Mapping[TableName, Sequence[int]], reference: ForeignKeyShape
) -> Iterator[tuple[int, int]]:
    parents, children = by_table[reference.referred], by_table[reference.table]
    leaving = dict(_words(steps, parents, reference.referred_columns, after=False))
    made = {
        word: at
        for word, at in _words(steps, parents, reference.referred_columns, after=True)
        if steps[at].kind is StepKind.INSERT
    }
    for word, child in _words(steps, children, reference.columns, after=False):
        if word in leaving:
            yield child, leaving[word]
    for word, child in _words(steps, children, reference.columns, after=True):
        if steps[child].kind is StepKind.INSERT:
            if word in made:
                yield made[word], child
        elif word in leaving:
            yield leaving[word], child


def _words(
    steps: Sequence[Step], places: Iterable[int], columns: Sequence[str], *, after: bool
) -> Iterator[tuple[str, int]]:
    """The values, as words, that steps take rows to (`after`) or away from in these columns."""
    without = StepKind.DELETE if after else StepKind.INSERT
    for at in places:
        step = steps[at]
        if step.kind is without or (step.kind is StepKind.UPDATE and not set(columns) & set(step.set_columns)):
            continue
        values: list[JsonValue] = []
        for column in columns:
            value = step.target_value(column) if after else step.expected_value(column)
            if value is None or isinstance(value, Absent):
                break
            values.append(value)
        else:
            yield codec.dump(values), at


def _longest_paths(before: Sequence[set[int]]) -> list[int]:
    """How long a chain of others each has to wait for; what waits for itself round a circle is cut somewhere."""
    depths: dict[int, int] = {}
    for start in range(len(before)):
        pending = [start]
        entered: set[int] = set()
        while pending:
            at = pending[-1]
            waiting = [other for other in before[at] if other not in depths and other not in entered]
            entered.add(at)
            if waiting:
                pending += waiting
                continue
            depths[at] = 1 + max((depths.get(other, -1) for other in before[at]), default=-1)
            pending.pop()
    return [depths[at] for at in range(len(before))]
