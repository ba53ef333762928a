"""What the selected changes of a row amount to, and how many rows of a table that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditcli import codec
from auditcli.changeset import net, touched_columns
from auditcli.fold import ABSENT, RowFold, fold
from auditcli.model import Change, EventType, Image, TableName


@dataclass(frozen=True, slots=True)
class NetChange:
    """What the selected changes of one row amount to.

    `change` has the id, time and actor of the last of them; `count` says how many there are, `actors` whose they are.
    `interrupted` names, for a column that somebody else wrote in between, the first such change.
    """

    change: Change
    first_id: int
    last_id: int
    count: int
    actors: tuple[str | None, ...]
    interrupted: Mapping[str, Change] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that differ in the end."""
        return touched_columns(self.change)


@dataclass(frozen=True)
class TableStat:
    """How many rows of a table came, went or differ, and how many of those differ in each column."""

    table: TableName
    inserted: int
    updated: int
    deleted: int
    columns: Mapping[str, int]

    @property
    def rows(self) -> int:
        """All rows with a net change."""
        return self.inserted + self.updated + self.deleted


def diff_stat(net_changes: Iterable[NetChange]) -> list[TableStat]:
    """The net changes summed up by table; a column is counted where a row that stays differs in it."""
    events: dict[TableName, Counter[EventType]] = {}
    columns: dict[TableName, Counter[str]] = {}
    for net_change in net_changes:
        change = net_change.change
        events.setdefault(change.table, Counter())[_kind(change)] += 1
        counted = columns.setdefault(change.table, Counter())
        if change.event_type is EventType.UPDATE:
            counted.update(net_change.columns)
    return [
        TableStat(table, kinds[EventType.INSERT], kinds[EventType.UPDATE], kinds[EventType.DELETE], columns[table])
        for table, kinds in sorted(events.items(), key=lambda item: str(item[0]))
    ]


def net_of_story(story: Sequence[Change], selected: Collection[int] | None) -> NetChange | None:
    """What a row's selected records, or all of them, amount to; None where nothing differs in the end."""
    steps = [change for change in story if change.event_type is not EventType.SNAPSHOT]
    own = steps if selected is None else [change for change in steps if change.id in selected]
    if not own:
        return None
    run = [change for change in steps if own[0].id <= change.id <= own[-1].id]
    interrupted: Mapping[str, Change] = {}
    if len(run) == len(own):
        change = net(run)
    else:
        folded = fold(run, {change.id for change in own})
        change, interrupted = _net_of_fold(folded, own), _interrupted(folded)
    if change is None:
        return None
    actors = actors_in_order({each.actor for each in own})
    return NetChange(change, own[0].id, own[-1].id, len(own), actors, interrupted)


def actors_in_order(actors: Iterable[str | None]) -> tuple[str | None, ...]:
    """The actors by name, nobody last."""
    return tuple(sorted(actors, key=lambda actor: (actor is None, actor or "")))


def _kind(change: Change) -> EventType:
    return EventType.DELETE if change.event_type.removes else change.event_type


def _net_of_fold(folded: RowFold, own: Sequence[Change]) -> Change | None:
    """The selected changes of a row between which others wrote: only the cells that they touched differ."""
    existed, exists = (True, True) if folded.existence is None else (folded.existence.target, folded.existence.expected)
    last = own[-1]
    after = _overlaid(last.image, ((cell.column, cell.expected) for cell in folded.cells))
    before = _overlaid(after, ((cell.column, cell.target) for cell in folded.cells))
    if existed == exists and (not exists or codec.same_image(before, after)):
        return None
    start = own[0].old_row_id or own[0].row_id
    moved = existed is exists is True and start != last.row_id and any(change.old_row_id for change in own)
    return replace(
        last,
        event_type=EventType.UPDATE if existed is exists else EventType.INSERT if exists else EventType.DELETE,
        before=before if existed else None,
        after=after if exists else None,
        old_row_id=start if moved else None,
    )


def _overlaid(image: Image, cells: Iterable[tuple[str | None, Any]]) -> Image:
    """The image with other values; a column that was not there leaves it."""
    values: dict[str, Any] = dict(image)
    values |= {column: value for column, value in cells if column is not None}
    return {column: value for column, value in values.items() if value is not ABSENT}


def _interrupted(folded: RowFold) -> Mapping[str, Change]:
    return {cell.column: cell.blocked_by for cell in folded.cells if cell.column is not None and cell.blocked_by}
