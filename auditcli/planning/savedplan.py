"""A plan that is kept, reviewed and applied later: where it comes from, and what was decided of each of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import chain

from auditcli.errors import ConflictError
from auditcli.model import RowKey
from auditcli.plan import Conflict, ConflictKind, Plan, Step, StepKind, as_runs

_FORCEABLE = frozenset({ConflictKind.CHANGED, ConflictKind.MISSING, ConflictKind.EXISTS})
"""What lies within one row: the other kinds are about rows outside the plan, or about values that nobody has."""


class Decision(StrEnum):
    """What becomes of a cell, or of the coming or going of a row."""

    TAKE_BACK = "take_back"
    KEEP = "keep"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which database a plan is about, as it was when, and who asked for it in which words.

    `position` is the highest log id that the plan saw, `position_transaction` its transaction.
    """

    log_uuid: str
    log_version: int
    target: str
    dialect: str
    position: int
    position_transaction: str | None
    made_at: datetime
    made_by: str
    words: str


@dataclass(frozen=True)
class SavedPlan:
    """A plan with a reviewer's decisions.

    `step_decisions` has for each step one decision a cell, or a single one where the row comes or goes. `ways` has for
    each conflict the step that takes the cell (or the row) back all the same, None where there is none;
    `conflict_decisions` what was decided of it, None as long as nothing was.
    """

    origin: Origin
    plan: Plan
    step_decisions: tuple[tuple[Decision, ...], ...]
    ways: tuple[Step | None, ...]
    conflict_decisions: tuple[Decision | None, ...]

    @property
    def undecided(self) -> tuple[Conflict, ...]:
        """The conflicts that wait for a decision."""
        pairs = zip(self.plan.conflicts, self.conflict_decisions, strict=True)
        return tuple(conflict for conflict, decision in pairs if decision is None)

    @property
    def kept(self) -> int:
        """How many cells, and rows that were to come or go, are left as they are by decision."""
        decided = chain(chain.from_iterable(self.step_decisions), self.conflict_decisions)
        return sum(decision in (Decision.KEEP, Decision.SKIP) for decision in decided)


def plan_to_save(plan: Plan, forced: Plan | None, origin: Origin) -> SavedPlan:
    """A plan before any review; `forced` is the same one planned with `force`, needed where there are conflicts."""
    ways = _ways(plan.conflicts, forced.steps if forced is not None else ())
    decisions = tuple(_all_taken_back(decision_count(step)) for step in plan.steps)
    return SavedPlan(origin, plan, decisions, ways, (None,) * len(plan.conflicts))


@lru_cache
def _all_taken_back(count: int) -> tuple[Decision, ...]:
    return (Decision.TAKE_BACK,) * count


def rest_of(saved: SavedPlan) -> SavedPlan:
    """What is left of a plan once its steps are done: its conflicts alone."""
    keys = {step.row: step.key_after for step in saved.plan.steps if step.row is not None}
    ways = [
        way if way is None or way.row not in keys or way.kind is StepKind.INSERT else replace(way, key=keys[way.row])
        for way in saved.ways
    ]
    options = replace(saved.plan.options, skip_conflicts=False)
    left = replace(saved.plan, steps=(), already=0, notes=(), undone_ids=(), cascades=(), options=options)
    return replace(saved, plan=left, step_decisions=(), ways=tuple(ways))


def decision_count(step: Step) -> int:
    """How many decisions a step takes: one a cell, or one for a row that comes or goes."""
    return len(step.cells) if step.kind is StepKind.UPDATE else 1


def decided(saved: SavedPlan, *, keep_undecided: bool = False) -> Plan:
    """The plan that the decisions make of it; its conflicts are those that nobody decided.

    Raises ConflictError where there are any, unless `keep_undecided`.
    """
    if saved.undecided and not keep_undecided:
        raise _undecided(saved.undecided)
    skipped = _skipped_rows(saved)
    steps = [
        kept
        for step, decisions in zip(saved.plan.steps, saved.step_decisions, strict=True)
        if step.row not in skipped and (kept := _decided_step(step, decisions)) is not None
    ]
    merged = _merged(steps, _forced_steps(saved, skipped))
    planned_ids = {log_id for step in saved.plan.steps for log_id in step.takes_back}
    settled = {log_id for first, last in saved.plan.undone_ids for log_id in range(first, last + 1)} - planned_ids
    taken_back = {log_id for step in merged for log_id in step.takes_back}
    return replace(
        saved.plan,
        steps=tuple(merged),
        conflicts=saved.undecided,
        undone_ids=as_runs(settled | taken_back),
        options=replace(saved.plan.options, skip_conflicts=keep_undecided),
    )


def _ways(conflicts: Sequence[Conflict], forced: Iterable[Step]) -> tuple[Step | None, ...]:
    by_row = {step.row: step for step in forced if step.row is not None}
    return tuple(_way(conflict, by_row) for conflict in conflicts)


def _way(conflict: Conflict, forced: Mapping[RowKey, Step]) -> Step | None:
    step = forced.get(conflict.row) if conflict.row is not None and conflict.kind in _FORCEABLE else None
    if step is None or conflict.column is None or step.kind is not StepKind.UPDATE:
        return step
    cells = tuple(cell for cell in step.cells if cell.column == conflict.column)
    return replace(step, cells=cells, forced=True) if cells and conflict.kind is ConflictKind.CHANGED else None


def _skipped_rows(saved: SavedPlan) -> set[RowKey]:
    by_step = zip(saved.plan.steps, saved.step_decisions, strict=True)
    by_conflict = zip(saved.plan.conflicts, saved.conflict_decisions, strict=True)
    return {
        *(step.row for step, decisions in by_step if Decision.SKIP in decisions and step.row is not None),
        *(conflict.row for conflict, decision in by_conflict if decision is Decision.SKIP and conflict.row is not None),
    }


def _decided_step(step: Step, decisions: Sequence[Decision]) -> Step | None:
    """What is left of a step; a row without a key is skipped here, since it has no name."""
    if Decision.SKIP in decisions:
        return None
    if step.kind is not StepKind.UPDATE:
        return step if decisions[0] is Decision.TAKE_BACK else None
    pairs = zip(step.cells, decisions, strict=True)
    cells = tuple(cell for cell, decision in pairs if decision is Decision.TAKE_BACK)
    return replace(step, cells=cells) if cells else None


def _forced_steps(saved: SavedPlan, skipped: set[RowKey]) -> list[Step]:
    """The ways past conflicts that were chosen; a row comes or goes only if all of its conflicts say so."""
    triples = list(zip(saved.plan.conflicts, saved.ways, saved.conflict_decisions, strict=True))
    refused = {conflict.row for conflict, _, decision in triples if decision is not Decision.TAKE_BACK}
    cells: list[Step] = []
    rows: dict[RowKey | None, Step] = {}
    for conflict, way, decision in triples:
        if way is None or decision is not Decision.TAKE_BACK or conflict.row in skipped:
            continue
        if way.kind is StepKind.UPDATE and conflict.column is not None:
            cells.append(way)
        elif conflict.row not in refused:
            rows[conflict.row] = way
    return [*cells, *rows.values()]


def _merged(steps: Sequence[Step], forced: Sequence[Step]) -> list[Step]:
    """One step a row."""
    merged = list(steps)
    places = {step.row: at for at, step in enumerate(merged) if step.row is not None}
    for way in forced:
        at = places.get(way.row) if way.row is not None else None
        if at is None:
            if way.row is not None:
                places[way.row] = len(merged)
            merged.append(way)
            continue
        step = merged[at]
        taken_back = tuple(sorted({*step.takes_back, *way.takes_back}))
        merged[at] = replace(step, cells=(*step.cells, *way.cells), takes_back=taken_back, forced=True)
    return merged


def _undecided(conflicts: Sequence[Conflict]) -> ConflictError:
    count = len(conflicts)
    what = "1 conflict is" if count == 1 else f"{count:,} conflicts are"
    return ConflictError(
        f"{what} not decided, nothing was written; the first: {conflicts[0].message}",
        hint='write "take_back" or "keep" in the place of each null in the file; --skip-conflicts keeps them all',
    )
