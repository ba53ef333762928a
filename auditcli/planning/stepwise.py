"""A plan's steps taken apart into the single records behind them, newest first: the way back that the rows came.

Net steps can collide where the single ones did not: two rows that swapped a unique value went through a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from auditcli.changeset import touched_columns
from auditcli.fold import ABSENT
from auditcli.model import Change, EventType, Image
from auditcli.plan import CellStep, Step, StepKind


@dataclass(frozen=True)
class Single:
    """One record's part of a step; `step` is the number of the net step that it belongs to."""

    log_id: int
    step: int
    part: Step


def single_steps(steps: Sequence[Step], records: Mapping[int, Change]) -> list[Single]:
    """Every step as its records' inverses, all of them from the newest record to the oldest.

    The key of each part is the row's present one: whoever applies them follows the row.
    """
    singles = [single for at, step in enumerate(steps) for single in _parts(at, step, records)]
    return sorted(singles, key=lambda single: single.log_id, reverse=True)


def needed_records(steps: Iterable[Step]) -> list[int]:
    """The log ids that `single_steps` has to know."""
    return sorted({log_id for step in steps if not step.forced for log_id in step.takes_back})


def _parts(at: int, step: Step, records: Mapping[int, Change]) -> list[Single]:
    own = [records[log_id] for log_id in step.takes_back if log_id in records]
    remade = step.kind is StepKind.UPDATE and any(change.event_type is not EventType.UPDATE for change in own)
    # A row that was deleted and made again is changed in place: its children would not survive the way back.
    if step.forced or remade or not own:
        return [Single(max(step.takes_back, default=0), at, step)]
    parts = [(change.id, part) for change in own if (part := _part(step, change)) is not None]
    return [Single(log_id, at, part) for log_id, part in _bumping_once(parts)]


def _part(step: Step, change: Change) -> Step | None:
    if change.after is None and change.before is not None:
        return _insert(step, change.before)
    if change.before is None and change.after is not None:
        return _delete(step, change.after)
    columns = _columns(step, change)
    if not columns or change.before is None or change.after is None:
        return None
    cells = tuple(CellStep(column, change.after[column], change.before[column]) for column in columns)
    return replace(step, kind=StepKind.UPDATE, cells=cells)


def _columns(step: Step, change: Change) -> list[str]:
    known = {cell.column for cell in step.cells}
    return [
        column
        for column in touched_columns(change)
        if column in known and column in (change.before or {}) and column in (change.after or {})
    ]


def _insert(step: Step, image: Image) -> Step:
    cells = tuple(CellStep(cell.column, ABSENT, image[cell.column]) for cell in step.cells if cell.column in image)
    return replace(step, kind=StepKind.INSERT, cells=cells, bumps=())


def _delete(step: Step, image: Image) -> Step:
    cells = tuple(CellStep(cell.column, image[cell.column], ABSENT) for cell in step.cells if cell.column in image)
    return replace(step, kind=StepKind.DELETE, cells=cells, bumps=())


def _bumping_once(parts: Sequence[tuple[int, Step]]) -> list[tuple[int, Step]]:
    """Only the last part to be done moves the bookkeeping columns on; `parts` are in the order of the log."""
    return [(log_id, part if at == 0 else replace(part, bumps=())) for at, (log_id, part) in enumerate(parts)]
