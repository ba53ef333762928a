"""Changes in full, in one line each and summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import TypeAlias

from auditcli.changeset import touched_columns
from auditcli.fold import ABSENT, Value
from auditcli.model import Change, EventType, JsonValue, TableName
from auditcli.present.spans import SIGNS, Line, Span, Style
from auditcli.present.text import counted, row_word, value_text, visible
from auditcli.present.transactions import context_lines, heading_of
from auditcli.present.worddiff import added, cell_diff, removed

GroupKey: TypeAlias = "str | datetime"
"""A transaction's id; for changes that have none, the time that they share."""

_GROUPED_AT_ONCE = 500

_EVENT_STYLES = {
    EventType.INSERT: Style.ADDED,
    EventType.UPDATE: Style.CHANGED,
    EventType.DELETE: Style.REMOVED,
    EventType.TRUNCATE: Style.REMOVED,
    EventType.SNAPSHOT: Style.DIM,
}


def change_lines(change: Change, *, unchanged: bool = False) -> list[Line]:
    """A change column by column: what went, what came; unchanged columns on request."""
    touched = set(touched_columns(change))
    columns = [
        *(change.before or {}),
        *(column for column in change.after or {} if column not in (change.before or {})),
    ]
    width = max((len(visible(column)) for column in columns if unchanged or column in touched), default=0)
    lines: list[Line] = []
    for column in columns:
        name = Span(f"  {visible(column).ljust(width)}  ", Style.STRONG if column in touched else Style.DIM)
        if column in touched:
            lines.append((name, *_cell_of(change, column)))
        elif unchanged:
            lines.append((name, Span(value_text(change.image.get(column)), Style.DIM)))
    return lines


def change_heading(change: Change) -> Line:
    """The line above a change's cells."""
    style = _EVENT_STYLES[change.event_type]
    moved = () if change.old_row_id is None else (Span(f"  (was {visible(change.old_row_id)})", Style.DIM),)
    return (
        Span(f"#{change.id} ", Style.IDENTITY),
        Span(f"{SIGNS[style]} {change.event_type} ", style),
        Span(row_word(change.table, change.row_id), Style.STRONG),
        *moved,
    )


def change_summary(change: Change) -> Line:
    """A change in one line: its sign, its row, and what became of which cells."""
    return (Span("  "), *change_heading(change), Span("  "), *cells_summary(change))


def cells_summary(change: Change, cells: int = 3) -> Line:
    """The cells that an UPDATE touched, or the first values of a row that came or went."""
    columns = touched_columns(change)
    spans: list[Span] = []
    for position, column in enumerate(columns[:cells]):
        separator = "" if position == 0 else ", "
        spans.append(Span(f"{separator}{visible(column)} ", Style.DIM))
        spans += _short_cell(change, column)
    if len(columns) > cells:
        spans.append(Span(f", … {len(columns) - cells} more", Style.DIM))
    return tuple(spans)


def net_heading(change: Change, count: int = 1, actors: Sequence[str | None] = ()) -> Line:
    """The line above a net change's cells: it belongs to no single record, but to so many changes of these actors."""
    style = _EVENT_STYLES[change.event_type]
    moved = () if change.old_row_id is None else (Span(f"  (was {visible(change.old_row_id)})", Style.DIM),)
    return (
        Span(f"{SIGNS[style]} {change.event_type} ", style),
        Span(row_word(change.table, change.row_id), Style.STRONG),
        *moved,
        Span(_by(count, actors), Style.DIM),
    )


def grouped_lines(changes: Iterable[Change], *, now: datetime, utc: bool = False) -> Iterator[Line]:
    """Changes one a line, under a heading a transaction; without a transaction those of one time belong together."""
    for group in grouped(changes):
        yield heading_of(group[0], now=now, utc=utc)
        yield from map(change_summary, group)


def full_lines(
    changes: Iterable[Change],
    *,
    now: datetime,
    utc: bool = False,
    about: Mapping[GroupKey, Sequence[Line]] | None = None,
) -> Iterator[Line]:
    """Changes column by column, under a heading a transaction; `about` are lines about some of these."""
    for group in grouped(changes):
        yield heading_of(group[0], now=now, utc=utc)
        yield from (about or {}).get(group_key(group[0]), ())
        yield from context_lines(group[0])
        for change in group:
            yield change_heading(change)
            yield from change_lines(change, unchanged=change.event_type is EventType.UPDATE)


def group_key(change: Change) -> GroupKey:
    """What changes that are shown together have in common."""
    return change.transaction_id or change.timestamp


def grouped(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Neighbours of one transaction, in parts that stay small."""
    for _, members in groupby(changes, group_key):
        while part := list(islice(members, _GROUPED_AT_ONCE)):
            yield part


def changes_summary(changes: Iterable[Change]) -> list[Line]:
    """Many changes summed up by table, event and column, each with an example."""
    rows: Counter[tuple[TableName, EventType]] = Counter()
    cells: Counter[tuple[TableName, EventType, str]] = Counter()
    examples: dict[tuple[TableName, EventType, str], Change] = {}
    for change in changes:
        rows[change.table, change.event_type] += 1
        if change.event_type is EventType.UPDATE:
            for column in touched_columns(change):
                cells[change.table, change.event_type, column] += 1
                examples.setdefault((change.table, change.event_type, column), change)
    lines: list[Line] = []
    for (table, event), count in sorted(rows.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        style = _EVENT_STYLES[event]
        words = f"{SIGNS[style]} {event} {visible(str(table))}: {counted(count, 'row')}"
        lines.append((Span(words, style),))
        lines += [_column_summary(key, cells[key], examples[key]) for key in examples if key[:2] == (table, event)]
    return lines


def interruption_lines(interrupted: Mapping[str, Change]) -> list[Line]:
    """Which cells somebody else wrote between the changes that are shown."""
    return [
        (
            Span(
                f"  {visible(column)} was also written by {_change_word(change)}",
                Style.WARNING,
            ),
        )
        for column, change in interrupted.items()
    ]


def _column_summary(key: tuple[TableName, EventType, str], count: int, example: Change) -> Line:
    table, _, column = key
    name = f"    {visible(str(table))}.{visible(column)}: {counted(count, 'row')}, e.g. "
    return (Span(name), Span(row_word(table, example.row_id), Style.STRONG), Span(" "), *_short_cell(example, column))


def _by(count: int, actors: Sequence[str | None]) -> str:
    named = ", ".join(visible(actor) if actor else "nobody named" for actor in actors)
    changes = "" if count == 1 else f"{counted(count, 'change')} "
    return f"  ({changes}by {named})" if named else ""


def _change_word(change: Change) -> str:
    return f"#{change.id}" + (f", {visible(change.actor)}" if change.actor else "")


def _value_in(image: Mapping[str, JsonValue], column: str) -> Value:
    return image.get(column, ABSENT)


def _cell_of(change: Change, column: str) -> Line:
    before, after = _value_in(change.before or {}, column), _value_in(change.after or {}, column)
    # Absent with the row, or because the column came or went with a migration.
    if before is ABSENT:
        return added(value_text(after))
    return removed(value_text(before)) if after is ABSENT else cell_diff(before, after)


def _short_cell(change: Change, column: str) -> Line:
    short = 24
    before, after = _value_in(change.before or {}, column), _value_in(change.after or {}, column)
    if before is ABSENT or after is ABSENT:
        style, value = (Style.ADDED, after) if before is ABSENT else (Style.REMOVED, before)
        return (Span(value_text(value, short), style),)
    return (*removed(value_text(before, short)), *added(value_text(after, short)))
