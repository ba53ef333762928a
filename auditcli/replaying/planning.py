"""What the changes of one transaction come to in another database: guarded steps and conflicts, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from auditcli.changeset import net, threads, touched_columns
from auditcli.fold import ABSENT
from auditcli.model import Change, Image, RowKey, TableName
from auditcli.plan import CellStep, Conflict, ConflictKind, PlanOptions, Step, StepKind, shown
from auditcli.rows import LiveRow
from auditcli.shape import TableShape
from auditcli.transfer import Transfer


@dataclass(frozen=True)
class Arrival:
    """One row's net change, in the words of the target's table; `key` is where its row is looked for."""

    change: Change
    shape: TableShape
    before: Image | None
    after: Image | None

    @property
    def key(self) -> Image:
        """The values that find the row: of its key, or all of them in a table without one."""
        image = self.before if self.before is not None else self.after or {}
        columns = self.shape.primary_key or tuple(image)
        return {column: image[column] for column in columns if column in image}

    @property
    def looking(self) -> Step:
        """A step that finds the row as it is now; one that is new to a table without a key has none."""
        is_new = self.before is None and not self.shape.primary_key
        kind = StepKind.INSERT if is_new else StepKind.UPDATE
        return Step(kind, self.shape.table, self.row, self.key, ())

    @property
    def leaves(self) -> bool:
        """Whether the row stands at its key no more afterwards."""
        if self.before is None or self.after is None:
            return self.after is None
        return any(self.after.get(column) != value for column, value in self.key.items())

    @property
    def row(self) -> RowKey | None:
        """The row's name in messages."""
        row_id = self.change.old_row_id or self.change.row_id
        return None if row_id is None else RowKey(self.shape.table, row_id)


@dataclass
class Draft:
    """What a transaction comes to: `live` has the rows of `steps`, in their order."""

    steps: list[Step] = field(default_factory=list)
    live: list[LiveRow | None] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    already: int = 0


def net_changes(changes: Iterable[Change], keys: Mapping[TableName, Sequence[str]]) -> Iterator[Change]:
    """What each row comes to by the changes of one transaction; `keys` are the tables' primary keys."""
    by_table: dict[TableName, list[Change]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    for table, records in by_table.items():
        for story in threads(records, keys.get(table, ())):
            whole = net(story)
            if whole is not None:
                yield whole


def arrival(change: Change, shape: TableShape, transfer: Transfer) -> Arrival:
    """A net change on its way into a table of the target."""
    before, after = (None if image is None else transfer.image(image, shape) for image in (change.before, change.after))
    if before is not None and after is not None:
        # A text that an UPDATE left alone is no reason to look at the column.
        touched = frozenset(touched_columns(change))
        after = {column: value if column in touched else before[column] for column, value in after.items()}
    return Arrival(change, shape, before, after)


def plan_arrivals(
    arrivals: Sequence[Arrival], live: Sequence[LiveRow | None], transfer: Transfer, options: PlanOptions
) -> Draft:
    """Steps for what can be done and conflicts for what can't; `live` are the target's rows at the arrivals' keys."""
    draft = Draft()
    leaving = {(each.shape.table, row.locator) for each, row in zip(arrivals, live, strict=True) if row and each.leaves}
    for each, row in zip(arrivals, live, strict=True):
        # At the place of a new row may stand one that leaves it in the same transaction.
        makes_room = row is not None and each.before is None and (each.shape.table, row.locator) in leaving
        _Arriving(each, None if makes_room else row, transfer, options, draft).plan()
    return draft


class _Arriving:
    """One row."""

    def __init__(
        self, arriving: Arrival, row: LiveRow | None, transfer: Transfer, options: PlanOptions, draft: Draft
    ) -> None:
        self._arriving = arriving
        self._row = row
        self._same = transfer.same
        self._force = options.force
        self._draft = draft

    def plan(self) -> None:
        before, after = self._arriving.before, self._arriving.after
        if before is None:
            self._insert(after or {})
        elif after is None:
            self._delete(before)
        else:
            self._update(before, after)

    def _insert(self, after: Image) -> None:
        row = self._row
        if row is None:
            cells = tuple(CellStep(column, ABSENT, value) for column, value in after.items())
            self._step(StepKind.INSERT, after, cells)
            return
        different = [column for column, value in after.items() if not self._is(row, column, value)]
        if not different:
            self._draft.already += 1
        elif self._force:
            self._set(row, {column: after[column] for column in different})
        else:
            shown_values = f"{different[0]} is {shown(row.image.get(different[0]))}, not {shown(after[different[0]])}"
            self._conflict(ConflictKind.EXISTS, different[0], f"the row is there already, and its {shown_values}")

    def _delete(self, before: Image) -> None:
        row = self._row
        if row is None:
            self._draft.already += 1
            return
        for column in () if self._force else before:
            if not self._is(row, column, before[column]):
                self._changed(row, column, before)
                return
        cells = tuple(CellStep(column, value, ABSENT) for column, value in row.image.items() if column in before)
        self._step(StepKind.DELETE, row.image, cells)

    def _update(self, before: Image, after: Image) -> None:
        row = self._row
        if row is None:
            if self._force:
                self._insert(after)
            else:
                self._conflict(ConflictKind.MISSING, None, "the row is not there")
            return
        targets: dict[str, object] = {}
        touched = [column for column in touched_columns(self._arriving.change) if column in after and column in before]
        for column in touched:
            if self._is(row, column, after[column]):
                continue
            if self._force or self._is(row, column, before[column]):
                targets[column] = after[column]
            else:
                self._changed(row, column, before)
        if targets:
            self._set(row, {column: after[column] for column in targets})
        elif touched:
            self._draft.already += 1

    def _set(self, row: LiveRow, targets: Image) -> None:
        cells = tuple(CellStep(column, row.image[column], value) for column, value in targets.items())
        self._step(StepKind.UPDATE, row.image, cells)

    def _is(self, row: LiveRow, column: str, value: object) -> bool:
        return column in row.image and self._same(value, row.image[column])  # type: ignore[arg-type]  # of an image

    def _step(self, kind: StepKind, image: Image, cells: tuple[CellStep, ...]) -> None:
        shape = self._arriving.shape
        columns = shape.primary_key or tuple(column for column in shape.writable if column in image)
        key = {column: image[column] for column in columns if column in image}
        change = self._arriving.change
        self._draft.steps.append(Step(kind, shape.table, self._arriving.row, key, cells, takes_back=(change.id,)))
        self._draft.live.append(self._row)

    def _changed(self, row: LiveRow, column: str, before: Image) -> None:
        was = f"{column} is {shown(row.image.get(column))}, and was {shown(before[column])} before the change"
        self._conflict(ConflictKind.CHANGED, column, was)

    def _conflict(self, kind: ConflictKind, column: str | None, message: str) -> None:
        each = self._arriving
        name = str(each.row) if each.row is not None else f"a row of {each.shape.table}"
        text = f"{name}: {message} (change #{each.change.id})"
        self._draft.conflicts.append(Conflict(kind, each.shape.table, each.row, column, text))


def without(draft: Draft, refused: Iterable[Conflict]) -> Draft:
    """The draft without the rows or cells that were refused; the conflicts are kept."""
    refused = list(refused)
    cells = {(each.table, each.row, each.column) for each in refused}
    kept = Draft(conflicts=[*draft.conflicts, *refused], already=draft.already)
    for step, row in zip(draft.steps, draft.live, strict=True):
        left = tuple(cell for cell in step.cells if (step.table, step.row, cell.column) not in cells)
        whole = len(left) == len(step.cells) and (step.table, step.row, None) not in cells
        if whole or (left and step.kind is StepKind.UPDATE and (step.table, step.row, None) not in cells):
            kept.steps.append(replace(step, cells=left))
            kept.live.append(row)
    return kept
