"""A plan that was made a while ago against the rows as they are now: what is done already, what is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from auditcli import codec
from auditcli.changeset import touched_columns
from auditcli.fold import Absent
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.model import Change, EventType, Image, RowKey, TableName
from auditcli.plan import CellStep, Conflict, ConflictKind, Plan, Runs, Step, StepKind, shown
from auditcli.planning.order import order_steps
from auditcli.rows import LiveRow, RowReader
from auditcli.shape import DatabaseShape

_ROWS_A_BATCH = 500


def recheck(reader: LogReader, plan: Plan, position: int) -> Plan:
    """The plan as it is to be applied now; `position` is the highest log id that it saw when it was made.

    A cell at its target is done already. One that is neither there nor as expected is a conflict, which names who
    wrote it since.
    """
    shapes = read_shapes(reader.connection, reader.dialect)
    rows = RowReader(reader.connection, reader.dialect)
    without_key = _WithoutKey(reader, position)
    checked: list[_Checked] = []
    for start in range(0, len(plan.steps), _ROWS_A_BATCH):
        batch = plan.steps[start : start + _ROWS_A_BATCH]
        present = [step for step in batch if step.table in shapes.tables]
        checked += [_no_table(step) for step in batch if step.table not in shapes.tables]
        since = _changes_since(reader, present, position)
        for step, before, after in zip(present, *_live(rows, shapes, present), strict=True):
            if step.row is None:
                checked.append(without_key.check(step, before))
                continue
            own = since.get(step.row, [])
            elsewhere = _check_moved(reader, step, after, own)
            checked.append(elsewhere or _check(step, before, after, own))
    return replace(
        plan,
        steps=tuple(order_steps([each.step for each in checked if each.step is not None], shapes)),
        conflicts=(*plan.conflicts, *(conflict for each in checked for conflict in each.conflicts)),
        already=plan.already + sum(each.step is None and not each.conflicts for each in checked),
        notes=(*plan.notes, *(note for each in checked for note in each.notes)),
    )


@dataclass(frozen=True)
class _Checked:
    """What is left of a step."""

    step: Step | None
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()


def _live(
    rows: RowReader, shapes: DatabaseShape, steps: Sequence[Step]
) -> tuple[list[LiveRow | None], list[LiveRow | None]]:
    """The rows where the steps expect them, and where the steps bring them."""
    shape_of = shapes.tables.__getitem__
    before = [replace(step, kind=StepKind.UPDATE) for step in steps]
    after = [replace(step, kind=StepKind.UPDATE, key=step.key_after) for step in steps]
    return rows.of_steps(before, shape_of), rows.of_steps(after, shape_of)


def _changes_since(reader: LogReader, steps: Iterable[Step], position: int) -> Mapping[RowKey, list[Change]]:
    """The later changes at the keys of these steps, oldest first."""
    asked: dict[TableName, set[str]] = {}
    for step in steps:
        if step.row is not None:
            asked.setdefault(step.table, set()).add(step.row.row_id)
    found: dict[RowKey, list[Change]] = {}
    for table, row_ids in asked.items():
        for change in reader.row_records(table, row_ids, after_id=position):
            if change.event_type is not EventType.SNAPSHOT:
                for key in {change.row_id, change.old_row_id} & row_ids:
                    found.setdefault(RowKey(table, str(key)), []).append(change)
    return found


def _check_moved(reader: LogReader, step: Step, after: LiveRow | None, since: Sequence[Change]) -> _Checked | None:
    """What is left of a step whose row has another key by now; whatever stands at the old one is another row."""
    moves = [change for change in since if step.row is not None and change.old_row_id == step.row.row_id]
    if not moves or step.kind is StepKind.INSERT or step.row is None:
        return None
    place = _place_now(reader, step.row, moves[0].id - 1)
    if place == step.row.row_id:
        return None
    is_there = after is not None and place is not None and place == codec.row_id_of(after.image, tuple(step.key))
    if is_there and after is not None and all(after.has(cell.column, cell.target) for cell in step.cells):
        return _Checked(None)
    message = f"its key changed since the plan was made{_by(moves[-1])}"
    return _Checked(None, (_conflict(step, ConflictKind.CHANGED, None, message, moves[-1]),))


def _place_now(reader: LogReader, row: RowKey, position: int) -> str | None:
    """Where the row that stood at a key at some position stands now; None where it is gone."""
    place = row.row_id
    while True:
        later = reader.row_records(row.table, [place], after_id=position)
        leaving = (change for change in later if change.old_row_id == place or change.after is None)
        left = next(leaving, None)
        if left is None or left.after is None or left.row_id is None:
            return place if left is None else None
        place, position = left.row_id, left.id


def _check(step: Step, before: LiveRow | None, after: LiveRow | None, since: Sequence[Change]) -> _Checked:
    if step.kind is StepKind.INSERT:
        return _check_insert(step, after, since)
    if step.kind is StepKind.DELETE:
        return _Checked(None) if before is None else _check_cells(step, before, since)
    if before is None:
        if after is not None and all(after.has(cell.column, cell.target) for cell in step.cells):
            return _Checked(None)
        remover = next((change for change in reversed(since) if change.after is None), None)
        return _Checked(None, (_conflict(step, ConflictKind.MISSING, None, f"the row is gone{_by(remover)}", remover),))
    return _check_cells(step, before, since)


def _check_insert(step: Step, row: LiveRow | None, since: Sequence[Change]) -> _Checked:
    if row is None:
        return _Checked(step)
    if all(row.has(cell.column, cell.target) for cell in step.cells):
        return _Checked(None)
    maker = next((change for change in reversed(since) if change.before is None), None)
    message = f"the key is taken by another row{_by(maker)}"
    return _Checked(None, (_conflict(step, ConflictKind.EXISTS, None, message, maker),))


def _check_cells(step: Step, row: LiveRow, since: Sequence[Change]) -> _Checked:
    cells: list[CellStep] = []
    conflicts: list[Conflict] = []
    notes: list[str] = []
    for cell in step.cells:
        writer = _writer(cell.column, row.image, since)
        if isinstance(cell.expected, Absent) or row.has(cell.column, cell.expected):
            cells.append(cell)
            if writer is not None:
                notes.append(f"{_word(step, cell.column)}: written since to the same value{_by(writer)}")
        elif not row.has(cell.column, cell.target):
            message = f"changed since the plan was made{_by(writer)}: {_moved(cell, row.image)}"
            conflicts.append(_conflict(step, ConflictKind.CHANGED, cell.column, message, writer))
    is_whole = step.kind is StepKind.UPDATE or not conflicts
    left = replace(step, cells=tuple(cells)) if cells and is_whole else None
    return _Checked(left, tuple(conflicts), tuple(notes))


def _writer(column: str, live: Image, since: Iterable[Change]) -> Change | None:
    """Who wrote what is there now."""
    later = [change for change in since if column in touched_columns(change)]
    last = later[-1] if later else None
    wrote_it = last is not None and last.after is not None and column in last.after and column in live
    return last if last is not None and wrote_it and codec.same((last.after or {})[column], live[column]) else None


def _moved(cell: CellStep, live: Image) -> str:
    now = shown(live[cell.column]) if cell.column in live else "no column"
    return f"{shown(cell.expected)} is {now} now"


class _WithoutKey:
    """Checks steps on tables without a key, where only the log tells a row that is done from its equals."""

    def __init__(self, reader: LogReader, position: int) -> None:
        self._reader = reader
        self._position = position
        self._records: dict[TableName, list[Change]] = {}

    def check(self, step: Step, row: LiveRow | None) -> _Checked:
        """What is left of a step; `row` is one of those that it may be about."""
        records = self._since(step.table)
        if self._is_done(step, records):
            return _Checked(None)
        near = [change for change in records if _is_like(change, step)]
        if near:
            message = f"an equal row was written since the plan was made{_by(near[-1])}"
            return _Checked(None, (_conflict(step, ConflictKind.CHANGED, None, message, near[-1]),))
        if row is None and step.kind is not StepKind.INSERT:
            return _Checked(None, (_conflict(step, ConflictKind.MISSING, None, "the row is gone", None),))
        return _Checked(step)

    def _since(self, table: TableName) -> list[Change]:
        if table not in self._records:
            log = self._reader.tables.changelog.c
            conditions = (log.id > self._position, log.row_id.is_(None), *self._reader.in_table(table))
            self._records[table] = list(self._reader.records(Criteria(conditions)))
        return self._records[table]

    def _is_done(self, step: Step, records: Sequence[Change]) -> bool:
        """Whether a transaction has taken the step's records back, and no later one has taken back that."""
        entries = self._reader.undo_runs({change.transaction_id for change in records if change.transaction_id})
        doers = {each.transaction_id for each in entries.values() if _covers(each.runs, step.takes_back)}
        written = [change.id for change in records if change.transaction_id in doers]
        return bool(doers) and not any(_covers(each.runs, written) for each in entries.values())


def _is_like(change: Change, step: Step) -> bool:
    return any(
        image is not None and all(column in image and codec.same(image[column], value) for column, value in key.items())
        for image in (change.before, change.after)
        for key in (step.key, step.key_after)
    )


def _covers(runs: Runs, ids: Iterable[int]) -> bool:
    return any(first <= log_id <= last for log_id in ids for first, last in runs)


def _no_table(step: Step) -> _Checked:
    return _Checked(None, (_conflict(step, ConflictKind.MISSING, None, "the table no longer exists", None),))


def _conflict(step: Step, kind: ConflictKind, column: str | None, message: str, by: Change | None) -> Conflict:
    return Conflict(kind, step.table, step.row, column, f"{_word(step, column)}: {message}", by)


def _word(step: Step, column: str | None) -> str:
    row = str(step.row) if step.row is not None else f"a row of {step.table}"
    return row if column is None else f"{row} {column}"


def _by(change: Change | None) -> str:
    if change is None:
        return ", outside the log"
    return f", by {change.actor or 'an unknown actor'} (change {change.id}, {change.timestamp:%Y-%m-%d %H:%M:%S} UTC)"
