"""One row's history folded for an undo, cell by cell, so that a selection may have holes.

Only selected records count as touching a cell. Records of an undo or redo cancel with what they took back and then
touch nothing. Whether the row exists is one more cell.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from auditcli.changeset import touched_columns
from auditcli.model import Change, EventType, Image, JsonValue


class Absent(Enum):
    """Stands where there is no value because there was no row."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
Value: TypeAlias = "JsonValue | Absent"

_EXISTENCE = None
"""The name of the cell that says whether the row exists; no column has it."""

_Cell: TypeAlias = "str | None"


@dataclass(frozen=True, slots=True)
class CellFold:
    """What taking back means for one cell: from `expected` to `target`.

    `column` is None for the row's existence (the values are then booleans). `blocked_by` is a record of somebody
    else's between the selected ones, `last_id` the last selected record that touched the cell, `rewritten_by` the last
    one that touched it after that and was not taken back.
    """

    column: str | None
    target: Value
    expected: Value
    last_id: int
    blocked_by: Change | None = None
    rewritten_by: Change | None = None


@dataclass(frozen=True)
class RowFold:
    """What taking back the selected records means for one row.

    `settled` are the cells whose selected records have all been taken back before; `takes_back` are the selected
    records of which something is left.
    """

    history: tuple[Change, ...]
    cells: tuple[CellFold, ...]
    existence: CellFold | None
    settled: tuple[str, ...]
    selected: tuple[int, ...]
    takes_back: tuple[int, ...]

    @property
    def exists_by_log(self) -> bool:
        """Whether the row exists now, as far as the log knows."""
        return self.history[-1].after is not None

    @property
    def comes_back(self) -> bool:
        """Whether taking back makes a row that the selected records had removed."""
        return self.existence is not None and self.existence.target is True and self.existence.expected is False

    @property
    def goes_away(self) -> bool:
        """Whether taking back removes a row that the selected records had made."""
        return self.existence is not None and self.existence.target is False and self.existence.expected is True

    @property
    def target_image(self) -> Image:
        """The row as it was, where every cell of it is known."""
        return {
            cell.column: cell.target
            for cell in self.cells
            if cell.column is not None and not isinstance(cell.target, Absent)
        }

    @property
    def place(self) -> Image:
        """An image whose key says where the row is to be looked for."""
        last = self.history[-1]
        if last.after is not None:
            return last.after
        return self.target_image if self.comes_back else last.before or {}

    def later_writer(self, cell: CellFold) -> Change | None:
        """Who wrote the cell last after the selected records, taken back or not."""
        later = (change for change in reversed(self.history) if change.id > cell.last_id)
        return next((change for change in later if cell.column in cells_touched(change)), None)

    def remover(self) -> Change | None:
        """Who removed the row last."""
        return next((change for change in reversed(self.history) if change.after is None), None)

    def maker(self) -> Change | None:
        """Who made the row last."""
        return next((change for change in reversed(self.history) if change.before is None), None)


def fold(
    history: Sequence[Change],
    selected: Container[int],
    undone_by: Mapping[int, Container[int]] | None = None,
    parts: Mapping[int, Container[str | None]] | None = None,
) -> RowFold:
    """Fold all records of one row, in id order, from the first that is selected or was taken back since, to now.

    `undone_by` gives, for each record that an undo or redo wrote, the ids that it took back; `parts`, for records that
    are selected with some of their cells only, which ones.
    """
    steps = tuple(change for change in history if change.event_type is not EventType.SNAPSHOT)
    touched = {change.id: cells_touched(change) for change in steps}
    chosen = {change.id for change in steps if change.id in selected}
    wanted = {log_id: _part(touched[log_id], log_id, parts or {}) for log_id in chosen}
    cancelled = _Cancelling(steps, chosen, touched, undone_by).run() if undone_by else _Cancelled({}, {})
    folded = [
        _fold_cell(cell, steps, {log_id for log_id in chosen if cell in wanted[log_id]}, touched, cancelled)
        for cell in dict.fromkeys(cell for change in steps if change.id in chosen for cell in wanted[change.id])
    ]
    live = [cell for cell in folded if isinstance(cell, CellFold)]
    return RowFold(
        history=steps,
        cells=tuple(cell for cell in live if cell.column is not None),
        existence=next((cell for cell in live if cell.column is None), None),
        settled=tuple(cell for cell in folded if isinstance(cell, str)),
        selected=tuple(change.id for change in steps if change.id in chosen),
        takes_back=tuple(
            change.id
            for change in steps
            if change.id in chosen and any((change.id, cell) not in cancelled.cells for cell in wanted[change.id])
        ),
    )


@dataclass(frozen=True)
class _Cancelled:
    """Cells that were taken back, by the undo's transaction, and per cell who took back what since when."""

    cells: Mapping[tuple[int, _Cell], str | None]
    spans: Mapping[_Cell, Collection[tuple[int, Change]]]


class _Cancelling:
    """Matches undos with what they took back, from the newest to the oldest, so that a redo frees the original."""

    def __init__(
        self,
        steps: Sequence[Change],
        chosen: Collection[int],
        touched: Mapping[int, Collection[_Cell]],
        undone_by: Mapping[int, Container[int]],
    ) -> None:
        self._steps = steps
        self._chosen = chosen
        self._touched = touched
        self._undone_by = undone_by
        self._cells: dict[tuple[int, _Cell], str | None] = {}
        self._spans: dict[_Cell, list[tuple[int, Change]]] = {}

    def run(self) -> _Cancelled:
        for position in range(len(self._steps) - 1, 0, -1):
            undo = self._steps[position]
            if undo.id in self._undone_by:
                self._cancel(undo, [old for old in self._steps[:position] if old.id in self._undone_by[undo.id]])
        return _Cancelled(self._cells, self._spans)

    def _cancel(self, undo: Change, taken_back: Sequence[Change]) -> None:
        for cell in self._touched[undo.id]:
            if (undo.id, cell) in self._cells:
                continue
            partners = [old for old in taken_back if cell in self._touched[old.id] and self._is_open(old, cell, undo)]
            # Asked to take back the undo but not what it undid: that is a redo, and the undo counts.
            if not partners or (undo.id in self._chosen and any(old.id not in self._chosen for old in partners)):
                continue
            for change in (undo, *partners):
                self._cells[change.id, cell] = undo.transaction_id
            self._spans.setdefault(cell, []).append((partners[0].id, undo))

    def _is_open(self, old: Change, cell: _Cell, undo: Change) -> bool:
        """Whether no later undo took the cell back; one transaction may have written it twice."""
        cancelled_by = self._cells.get((old.id, cell), ABSENT)
        return cancelled_by is ABSENT or (undo.transaction_id is not None and cancelled_by == undo.transaction_id)


def _fold_cell(
    cell: _Cell,
    steps: Sequence[Change],
    chosen: Container[int],
    touched: Mapping[int, Collection[_Cell]],
    cancelled: _Cancelled,
) -> CellFold | str | None:
    """The cell's fold; its name (None for existence) where all that was selected of it has been taken back."""
    live = [change for change in steps if cell in touched[change.id] and (change.id, cell) not in cancelled.cells]
    own = [change for change in live if change.id in chosen]
    if not own:
        return cell
    first, last = own[0], own[-1]
    return CellFold(
        column=cell,
        target=_value(first.before, cell),
        expected=_value(last.after, cell),
        last_id=last.id,
        blocked_by=_between(live, chosen, first.id, last.id) or _straddling(cancelled, cell, first, last),
        rewritten_by=live[-1] if live[-1].id > last.id else None,
    )


def _between(live: Iterable[Change], chosen: Container[int], first_id: int, last_id: int) -> Change | None:
    """An unselected record between the selected ones that touched the cell."""
    return next((change for change in live if first_id < change.id < last_id and change.id not in chosen), None)


def _straddling(cancelled: _Cancelled, cell: _Cell, first: Change, last: Change) -> Change | None:
    """An undo between the selected records of something before them: the first `before` no longer holds."""
    spans = cancelled.spans.get(cell, ())
    return next((undo for start, undo in spans if start < first.id < undo.id < last.id), None)


def cells_touched(change: Change) -> tuple[str | None, ...]:
    """The columns that a record touched, and None where it made or removed the row."""
    columns = touched_columns(change)
    return columns if change.event_type is EventType.UPDATE else (_EXISTENCE, *columns)


def _part(touched: tuple[_Cell, ...], log_id: int, parts: Mapping[int, Container[_Cell]]) -> tuple[_Cell, ...]:
    return tuple(cell for cell in touched if cell in parts[log_id]) if log_id in parts else touched


def _value(image: Image | None, cell: _Cell) -> Value:
    if cell is None:
        return image is not None
    if image is None or cell not in image:
        return ABSENT
    return image[cell]
