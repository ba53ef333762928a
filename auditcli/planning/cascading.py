"""What `--cascade` takes back as well: later writes of the same cells, and what made rows refer to those that go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from auditcli.fold import RowFold, cells_touched
from auditcli.model import Change, EventType
from auditcli.plan import Also, Conflict, ConflictKind, Dependant

Cells: TypeAlias = frozenset[str | None]
"""Some of a record's cells; None is whether the row exists."""

_SINCE = {ConflictKind.CHANGED, ConflictKind.MISSING, ConflictKind.EXISTS}


def later_writes(folded: RowFold, conflicts: Iterable[Conflict]) -> Iterator[tuple[Change, Cells]]:
    """The records after the first selected one that wrote the cells in conflict, and which of their cells."""
    first = folded.selected[0]
    for conflict in conflicts:
        if conflict.kind not in _SINCE:
            continue
        for change in folded.history:
            if change.id > first and conflict.column in cells_touched(change):
                yield change, part_of(change, (conflict.column,))
        if conflict.by is not None and conflict.column is None:
            yield conflict.by, part_of(conflict.by, (None,))


def referring_write(history: Sequence[Change], dependant: Dependant) -> tuple[Change, Cells] | None:
    """The last record that wrote the columns by which a live row refers to another, if the log knows it."""
    for change in reversed(history):
        is_step = change.event_type is not EventType.SNAPSHOT
        if is_step and change.after is not None and set(dependant.columns) & set(cells_touched(change)):
            return change, part_of(change, dependant.columns)
    return None


def part_of(change: Change, cells: Collection[str | None]) -> Cells:
    """These cells of an UPDATE; all of a record that made or removed its row."""
    return frozenset(cells if change.event_type is EventType.UPDATE else cells_touched(change))


def as_also(change: Change, cells: Collection[str | None]) -> Also:
    """The record as a plan shows it."""
    columns = tuple(sorted(cell for cell in cells if cell is not None))
    is_part = change.event_type is EventType.UPDATE
    return Also(change.id, change.table, change.row, change.event_type, columns if is_part else (), change.actor)


def grown(parts: Mapping[int, Cells], change: Change, cells: Cells) -> Cells | None:
    """The record's cells together with those known, None where nothing is added."""
    known = parts.get(change.id, frozenset())
    return None if cells <= known else known | cells
