"""One folded row against the live one: the steps and conflicts of a plan. Pure: live rows are passed in."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from auditcli import codec
from auditcli.fold import ABSENT, Absent, CellFold, RowFold, Value
from auditcli.model import Change, Image, JsonValue, RowKey, TableName
from auditcli.plan import CellStep, Conflict, ConflictKind, PlanOptions, Step, StepKind, shown
from auditcli.shape import ColumnShape, TableShape


@dataclass(frozen=True)
class TableRules:
    """What a plan has to know of a table; `shape` is None where the table no longer exists."""

    table: TableName
    shape: TableShape | None
    bookkeeping: Collection[str] = ()
    masked: Collection[str] = ()
    excluded: Collection[str] = ()

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns that tell its rows apart."""
        return self.shape.primary_key if self.shape is not None else ()

    def column(self, name: str) -> ColumnShape | None:
        """The live column of that name."""
        return self.shape.column(name) if self.shape is not None else None

    def key_of(self, image: Image) -> Image:
        """What a row is found by: its key, or all that the log knows of it."""
        columns = self.primary_key or [name for name in image if name not in self.excluded]
        return {column: image[column] for column in columns if column in image}

    def row_of(self, image: Image) -> RowKey | None:
        """The row's name."""
        row_id = codec.row_id_of(image, self.primary_key)
        return None if row_id is None else RowKey(self.table, row_id)


@dataclass(frozen=True)
class RowPlan:
    """What is to be done about one row."""

    step: Step | None = None
    conflicts: tuple[Conflict, ...] = ()
    already: bool = False
    notes: tuple[str, ...] = ()


_ALREADY = RowPlan(already=True)


def plan_row(fold: RowFold, live: Image | None, rules: TableRules, options: PlanOptions | None = None) -> RowPlan:
    """Plan one row: `live` is the row that stands where `fold.place` says, if there is one."""
    return _RowPlanner(fold, live, rules, options or PlanOptions()).plan()


class _RowPlanner:
    def __init__(self, fold: RowFold, live: Image | None, rules: TableRules, options: PlanOptions) -> None:
        self._fold = fold
        self._live = live
        self._rules = rules
        self._options = options
        self._row = rules.row_of(fold.place) or fold.history[-1].row
        self._conflicts: list[Conflict] = []
        self._notes: list[str] = []
        self._forced = False

    def plan(self) -> RowPlan:
        if self._rules.shape is None:
            return RowPlan(conflicts=(self._conflict(ConflictKind.MISSING, None, "the table no longer exists"),))
        if not self._fold.cells and self._fold.existence is None:
            return _ALREADY
        step = self._step()
        if step is None and not self._conflicts and not self._notes:
            return _ALREADY
        return RowPlan(step, tuple(self._conflicts), False, tuple(self._notes))

    def _step(self) -> Step | None:
        existence = self._fold.existence
        comes_or_goes = self._fold.comes_back or self._fold.goes_away
        if comes_or_goes and self._options.only:
            self._notes.append(f"{self._word()}: only columns are taken back, not whether the row exists")
            return None
        if self._fold.goes_away:
            return self._delete()
        if self._fold.comes_back:
            return self._insert(self._fold.target_image) if self._live is None else self._overwrite(self._live)
        if existence is not None and existence.target is False:
            return None
        return self._update(self._live) if self._live is not None else self._missing()

    # The row goes away again.

    def _delete(self) -> Step | None:
        if self._live is None:
            return None
        for cell, column in self._restorable():
            if cell.blocked_by is not None:
                self._changed(cell, cell.blocked_by)
            elif not _is(self._live[column], cell.expected):
                self._changed(cell, self._fold.later_writer(cell))
            elif cell.rewritten_by is not None:
                self._note_rewritten(cell, cell.rewritten_by)
        if self._conflicts:
            return None
        guards = [column for _, column in self._restorable()]
        cells = tuple(CellStep(column, self._live[column], ABSENT) for column in guards)
        return self._make(StepKind.DELETE, self._live, cells)

    # The row comes back.

    def _insert(self, image: Image) -> Step | None:
        for cell in self._fold.cells:
            if cell.blocked_by is not None and cell.column not in self._rules.bookkeeping:
                self._changed(cell, cell.blocked_by)
        self._check_lossless(image)
        if self._conflicts:
            return None
        writable = self._rules.shape.writable if self._rules.shape is not None else ()
        cells = tuple(CellStep(column, ABSENT, image[column]) for column in writable if column in image)
        return self._make(StepKind.INSERT, image, cells)

    def _check_lossless(self, image: Image) -> None:
        for column, value in image.items():
            if self._rules.column(column) is None and value is not None:
                self._add(ConflictKind.MISSING, column, f"the column no longer exists and held {shown(value)}")
            elif column in self._rules.masked and value is not None:
                self._add(ConflictKind.LOSSY, column, "the column is masked in the log")
        for live_column in self._rules.shape.columns if self._rules.shape is not None else ():
            if live_column.name not in image and not live_column.generated:
                self._check_left_out(live_column)

    def _check_left_out(self, column: ColumnShape) -> None:
        is_excluded = column.name in self._rules.excluded
        why = "is excluded from the log" if is_excluded else "was not in the log then"
        if not column.nullable and column.default is None:
            self._add(ConflictKind.LOSSY, column.name, f"the column must have a value and {why}")
        elif is_excluded and not self._options.force:
            self._add(
                ConflictKind.LOSSY, column.name, f"the column {why}; --force brings the row back with its default"
            )
        elif is_excluded:
            self._notes.append(f"{self._word(column.name)}: the column {why}; it comes back with its default")

    def _overwrite(self, live: Image) -> Step | None:
        """The row comes back, but its key is taken."""
        differing = [
            (cell, column)
            for cell, column in self._restorable()
            if not _is(live[column], cell.target) and cell.target is not ABSENT
        ]
        if not differing:
            return None
        if not self._options.force:
            maker = self._fold.maker() if self._fold.exists_by_log else None
            self._add(ConflictKind.EXISTS, None, f"the key is taken by another row{_made_by(maker)}", maker)
            return None
        self._forced = True
        cells = tuple(CellStep(column, live[column], cell.target) for cell, column in differing)
        return self._make(StepKind.UPDATE, live, cells)

    # The row stays.

    def _missing(self) -> Step | None:
        remover = None if self._fold.exists_by_log else self._fold.remover()
        if not any(self._wanted(cell) for cell in self._fold.cells):
            return None
        if self._options.force and remover is not None and remover.before is not None:
            self._forced = True
            return self._insert({**remover.before, **self._fold.target_image})
        self._add(ConflictKind.MISSING, None, f"the row is gone{_made_by(remover, 'deleted')}", remover)
        return None

    def _update(self, live: Image) -> Step | None:
        cells = [step for cell in self._fold.cells if self._wanted(cell) for step in self._cell_step(cell, live)]
        if not cells:
            return None
        set_columns = {cell.column for cell in cells}
        return self._make(StepKind.UPDATE, live, tuple(cells), without=set_columns)

    def _cell_step(self, cell: CellFold, live: Image) -> Iterable[CellStep]:
        column = str(cell.column)
        shape = self._rules.column(column)
        if shape is None:
            self._add(ConflictKind.MISSING, column, "the column no longer exists")
        elif shape.generated or column not in live or cell.target is ABSENT or _is(live[column], cell.target):
            return
        elif column in self._rules.masked:
            self._add(ConflictKind.LOSSY, column, "the column is masked in the log")
        elif cell.blocked_by is not None:
            if column not in self._rules.bookkeeping:
                yield from self._contested(cell, cell.blocked_by, live)
        elif _equal(cell.target, cell.expected):
            return
        elif _is(live[column], cell.expected):
            if cell.rewritten_by is not None:
                self._note_rewritten(cell, cell.rewritten_by)
            yield CellStep(column, cell.expected, cell.target)
        elif column not in self._rules.bookkeeping:
            yield from self._contested(cell, self._fold.later_writer(cell), live)

    def _contested(self, cell: CellFold, by: Change | None, live: Image) -> Iterable[CellStep]:
        column = str(cell.column)
        self._changed(cell, by)
        if self._options.force and cell.target is not ABSENT:
            yield CellStep(column, live[column], cell.target)

    # Shared.

    def _wanted(self, cell: CellFold) -> bool:
        """Whether the cell is to be taken back; bookkeeping only where that was asked for exactly."""
        if self._options.only and cell.column not in self._options.only:
            return False
        return self._options.exact or cell.column not in self._rules.bookkeeping

    def _restorable(self) -> list[tuple[CellFold, str]]:
        """The cells that log and live row can be compared by."""
        live = self._live or {}
        return [
            (cell, cell.column)
            for cell in self._fold.cells
            if cell.column is not None
            and cell.column in live
            and cell.column not in self._rules.bookkeeping
            and cell.column not in self._rules.masked
            and not self._is_generated(cell.column)
        ]

    def _is_generated(self, column: str) -> bool:
        shape = self._rules.column(column)
        return shape is None or shape.generated

    def _make(self, kind: StepKind, image: Image, cells: tuple[CellStep, ...], without: Collection[str] = ()) -> Step:
        bumps = [column for column in self._rules.bookkeeping if column in image and column not in without]
        return Step(
            kind=kind,
            table=self._rules.table,
            row=self._rules.row_of(image),
            key=self._rules.key_of(image),
            cells=cells,
            bumps=tuple(bumps) if kind is StepKind.UPDATE else (),
            takes_back=self._fold.takes_back,
            forced=self._forced,
        )

    def _changed(self, cell: CellFold, by: Change | None) -> None:
        live = (self._live or {}).get(str(cell.column))
        if self._options.force:
            self._forced = True
            self._notes.append(f"{self._word(cell.column)}: overwrites {shown(live)}{_made_by(by, 'written')}")
            return
        if by is not None and by is not cell.blocked_by and not _is(live, _after(by, str(cell.column))):
            by = None
        if by is cell.blocked_by and by is not None:
            message = f"written in between by {_who(by)}"
        elif by is not None:
            message = f"changed since, by {_who(by)}: {shown(cell.expected)} is {shown(live)} now"
        else:
            message = f"changed outside the log: {shown(cell.expected)} is {shown(live)} now"
        self._add(ConflictKind.CHANGED, cell.column, message, by)

    def _note_rewritten(self, cell: CellFold, by: Change) -> None:
        self._notes.append(f"{self._word(cell.column)}: written since to the same value, by {_who(by)}")

    def _add(self, kind: ConflictKind, column: str | None, message: str, by: Change | None = None) -> None:
        self._conflicts.append(self._conflict(kind, column, message, by))

    def _conflict(self, kind: ConflictKind, column: str | None, message: str, by: Change | None = None) -> Conflict:
        return Conflict(kind, self._rules.table, self._row, column, f"{self._word(column)}: {message}", by)

    def _word(self, column: str | None = None) -> str:
        row = str(self._row) if self._row is not None else f"a row of {self._rules.table}"
        return f"{row} {column}" if column is not None else row


def _is(live: JsonValue, value: Value) -> bool:
    return not isinstance(value, Absent) and codec.same(live, value)


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, Absent) or isinstance(right, Absent):
        return left is right
    return codec.same(left, right)


def _after(change: Change, column: str) -> Value:
    return ABSENT if change.after is None or column not in change.after else change.after[column]


def _who(change: Change) -> str:
    return f"{change.actor or 'an unknown actor'} (change {change.id})"


def _made_by(change: Change | None, verb: str = "made") -> str:
    return ", outside the log" if change is None else f", {verb} by {_who(change)}"
