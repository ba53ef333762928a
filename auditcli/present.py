"""Values, changes, transactions and plans as lines of styled text, for people; both front ends draw these."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import groupby, islice
from typing import TypeAlias

from auditcli import codec
from auditcli.changeset import touched_columns
from auditcli.fold import ABSENT, Value
from auditcli.model import Change, EventType, JsonValue, RowKey, TableName, Transaction
from auditcli.plan import CellStep, Conflict, ConflictKind, Plan, Step, StepKind

LONGEST_VALUE = 80
"""How many characters of a value a line shows."""

SHORT_ID = 8
"""How many characters of a transaction's id are shown where the whole one would only fill the line."""

_LONGEST_WORD_DIFF = 2_000
_LEAST_ALIKE = 0.35
_KEPT_AROUND = 24
_BYTES_SHOWN = 12
_GROUPED_AT_ONCE = 500

_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_NUMBER_LIKE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_READS_OTHERWISE = frozenset({"", "NULL", "true", "false", "NaN", "Infinity", "-Infinity"})
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_JOINER = "\u200d"


class Style(StrEnum):
    """What a piece of text is; a front end chooses its colour, the text itself has a sign."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    IDENTITY = "identity"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line: TypeAlias = tuple[Span, ...]

_EVENT_STYLES = {
    EventType.INSERT: Style.ADDED,
    EventType.UPDATE: Style.CHANGED,
    EventType.DELETE: Style.REMOVED,
    EventType.TRUNCATE: Style.REMOVED,
    EventType.SNAPSHOT: Style.DIM,
}
_STEP_STYLES = {StepKind.INSERT: Style.ADDED, StepKind.UPDATE: Style.CHANGED, StepKind.DELETE: Style.REMOVED}
_EVENT_SIGNS = {Style.ADDED: "+", Style.REMOVED: "-", Style.CHANGED: "~", Style.DIM: "="}


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join(span.text for span in line)


def visible(text: str) -> str:
    """Text that a terminal can't be made to obey: control, bidirectional and invisible characters stand escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _is_hidden(character) else character for character in text)


def value_text(value: Value, limit: int | None = LONGEST_VALUE) -> str:
    """An image's value in one line; text is quoted only where it would read as something else."""
    if value is ABSENT:
        return "(no row)"
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted_if_unclear(value, limit)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _tagged_text(value, limit)
    return shortened(visible(codec.dump(value)), limit)


def shortened(text: str, limit: int | None) -> str:
    """Text cut to a length, saying that it was and how long it is."""
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} characters)"


def word_diff(before: str, after: str) -> Line:
    """Two texts as one: what both have, `[-removed-]` and `{+added+}` words."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > _LONGEST_WORD_DIFF:
        return _replaced(before, after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < _LEAST_ALIKE:
        return _replaced(before, after)
    spans: list[Span] = []
    for operation, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if operation == "equal":
            spans.append(Span(_context_of("".join(old[old_from:old_to]))))
        else:
            spans += _replaced("".join(old[old_from:old_to]), "".join(new[new_from:new_to]), quote=False)
    return tuple(spans)


def cell_diff(before: Value, after: Value) -> Line:
    """One cell's old and new value, each with its sign."""
    if isinstance(before, str) and isinstance(after, str) and _has_words(before) and _has_words(after):
        return word_diff(before, after)
    return (*_removed(value_text(before)), *_added(value_text(after)))


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
        Span(f"{_EVENT_SIGNS[style]} {change.event_type} ", style),
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
        Span(f"{_EVENT_SIGNS[style]} {change.event_type} ", style),
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
    changes: Iterable[Change], *, now: datetime, utc: bool = False, origins: Mapping[str, Sequence[Line]] | None = None
) -> Iterator[Line]:
    """Changes column by column, under a heading a transaction; `origins` are lines about some transactions."""
    for group in grouped(changes):
        yield heading_of(group[0], now=now, utc=utc)
        yield from (origins or {}).get(group[0].transaction_id or "", ())
        yield from context_lines(group[0])
        for change in group:
            yield change_heading(change)
            yield from change_lines(change, unchanged=change.event_type is EventType.UPDATE)


def grouped(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Neighbours of one transaction, in parts that stay small."""
    for _, members in groupby(changes, lambda change: change.transaction_id or change.timestamp):
        while part := list(islice(members, _GROUPED_AT_ONCE)):
            yield part


def heading_of(change: Change, *, now: datetime, utc: bool = False) -> Line:
    """The heading of the transaction that a change belongs to."""
    return transaction_heading(change.transaction_id, change.timestamp, change.actor, change.reason, now=now, utc=utc)


def context_lines(change: Change) -> list[Line]:
    """What else is known of a transaction."""
    return [
        (Span(f"  {visible(key)}: {value_text(value)}", Style.DIM),) for key, value in sorted(change.context.items())
    ]


def origin_lines(db_user: str | None, client: str | None, application: str | None) -> list[Line]:
    """Where a transaction came from, as far as the server knows."""
    known = (("db user", db_user), ("client", client), ("application", application))
    return [(Span(f"  {name}: {visible(value)}", Style.DIM),) for name, value in known if value]


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
        words = f"{_EVENT_SIGNS[style]} {event} {visible(str(table))}: {counted(count, 'row')}"
        lines.append((Span(words, style),))
        lines += [_column_summary(key, cells[key], examples[key]) for key in examples if key[:2] == (table, event)]
    return lines


def _column_summary(key: tuple[TableName, EventType, str], count: int, example: Change) -> Line:
    table, _, column = key
    name = f"    {visible(str(table))}.{visible(column)}: {counted(count, 'row')}, e.g. "
    return (Span(name), Span(row_word(table, example.row_id), Style.STRONG), Span(" "), *_short_cell(example, column))


def _by(count: int, actors: Sequence[str | None]) -> str:
    named = ", ".join(visible(actor) if actor else "nobody named" for actor in actors)
    changes = "" if count == 1 else f"{counted(count, 'change')} "
    return f"  ({changes}by {named})" if named else ""


def transaction_heading(
    transaction_id: str | None,
    timestamp: datetime,
    actor: str | None,
    reason: str | None,
    *,
    now: datetime,
    utc: bool = False,
) -> Line:
    """The line above a transaction's changes: when, who and why."""
    name = "no transaction id" if transaction_id is None else f"tx:{transaction_id[:SHORT_ID]}"
    spans = [
        Span(name, Style.IDENTITY),
        Span(f"  {time_text(timestamp, utc=utc)}"),
        Span(f" ({ago(timestamp, now)})", Style.DIM),
        Span(f"  {visible(actor)}" if actor else "  (nobody named)", Style.STRONG if actor else Style.DIM),
    ]
    if reason:
        spans.append(Span(f"  {shortened(visible(reason), LONGEST_VALUE)}"))
    return tuple(spans)


def plan_lines(plan: Plan, *, most_rows: int = 10) -> list[Line]:
    """What a plan would do, row by row or, of many rows, column by column; then its conflicts, by kind and actor."""
    if plan.rows <= most_rows:
        lines = [line for step in plan.steps for line in step_lines(step)]
    else:
        lines = steps_summary(plan.steps)
    lines += conflict_lines(plan.conflicts, most_rows=most_rows)
    for table, columns in plan.bookkeeping.items():
        names = ", ".join(visible(column) for column in columns)
        lines.append((Span(f"bookkeeping of {visible(str(table))} moves on: {names}", Style.DIM),))
    lines += [(Span(f"note: {visible(note)}", Style.WARNING),) for note in plan.notes]
    return lines


def plan_summary(plan: Plan) -> Line:
    """How much a plan is: by table and kind, and what stands in the way."""
    parts = []
    for table, kinds in plan.counts.items():
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        parts.append(f"{visible(str(table))}: {counts}")
    return (
        Span(f"{plan.kind}: {visible(plan.summary)}", Style.STRONG),
        Span(f" ({'; '.join(parts)})" if parts else ""),
    )


def steps_summary(steps: Iterable[Step]) -> list[Line]:
    """Many steps summed up by table, kind and column, each with an example."""
    rows: Counter[tuple[TableName, StepKind]] = Counter()
    cells: Counter[tuple[TableName, StepKind, str]] = Counter()
    examples: dict[tuple[TableName, StepKind, str], tuple[Step, CellStep]] = {}
    for step in steps:
        rows[step.table, step.kind] += 1
        for cell in step.cells if step.kind is StepKind.UPDATE else ():
            cells[step.table, step.kind, cell.column] += 1
            examples.setdefault((step.table, step.kind, cell.column), (step, cell))
    lines: list[Line] = []
    for (table, kind), count in rows.items():
        style = _STEP_STYLES[kind]
        lines.append((Span(f"{_EVENT_SIGNS[style]} {kind} {visible(str(table))}: {counted(count, 'row')}", style),))
        for key, (step, cell) in examples.items():
            if key[:2] == (table, kind):
                name = f"    {visible(str(table))}.{visible(cell.column)}: {counted(cells[key], 'row')}, e.g. "
                where = row_word(table, None if step.row is None else step.row.row_id)
                lines.append((Span(name), Span(f"{where} ", Style.STRONG), *cell_diff(cell.expected, cell.target)))
    return lines


def step_lines(step: Step) -> list[Line]:
    """One row's way back."""
    style = _STEP_STYLES[step.kind]
    where = row_word(step.table, None if step.row is None else step.row.row_id)
    heading = (Span(f"{_EVENT_SIGNS[style]} {step.kind} ", style), Span(where, Style.STRONG))
    forced = (Span("  (forced)", Style.WARNING),) if step.forced else ()
    if step.kind is StepKind.DELETE:
        return [(*heading, *forced)]
    width = max((len(visible(cell.column)) for cell in step.cells), default=0)
    return [
        (*heading, *forced),
        *(
            (Span(f"  {visible(cell.column).ljust(width)}  "), *_step_cell(step.kind, cell.expected, cell.target))
            for cell in step.cells
        ),
    ]


def conflict_lines(conflicts: Sequence[Conflict], *, most_rows: int = 20) -> list[Line]:
    """Conflicts, grouped by kind and by who is in the way."""
    groups: dict[tuple[ConflictKind, str | None], list[Conflict]] = {}
    for conflict in conflicts:
        groups.setdefault((conflict.kind, conflict.actor), []).append(conflict)
    lines: list[Line] = []
    for (kind, actor), members in groups.items():
        by = f", by {visible(actor)}" if actor else ""
        lines.append((Span(f"{kind}: {counted(len(members), 'conflict')}{by}", Style.WARNING),))
        lines += [(Span(f"  {visible(member.message)}"),) for member in members[:most_rows]]
        if len(members) > most_rows:
            lines.append((Span(f"  … and {len(members) - most_rows:,} more", Style.DIM),))
    return lines


def hint_line(text: str) -> Line:
    """A word to the reader between data."""
    return (Span(text, Style.DIM),)


def row_word(table: TableName, row_id: str | None) -> str:
    """A row as one would type it; a table without a key has no word for its rows."""
    return visible(str(RowKey(table, row_id)) if row_id is not None else f"{table} (no key)")


def rows_by_event(transaction: Transaction) -> str:
    """How many rows came, changed and went, each with its sign."""
    counts = (("+", transaction.inserts), ("~", transaction.updates), ("-", transaction.deletes))
    return " ".join(f"{sign}{count:,}" for sign, count in counts if count) or "0"


def time_text(moment: datetime, *, utc: bool = False) -> str:
    """A moment in local time with its offset, or in UTC."""
    if utc:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    local = moment.astimezone()
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago a moment was, in its largest unit."""
    passed = now - moment
    if passed < timedelta(0):
        return "in the future"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed.total_seconds() >= length:
            return f"{int(passed.total_seconds() // length):,} {unit} ago"
    return f"{int(passed.total_seconds())} s ago"


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 row`, `2 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def text_width(text: str) -> int:
    """How many columns of a terminal a text fills."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def wrapped_names(names: Iterable[TableName], most: int = 4) -> str:
    """Some table names, saying how many more there are."""
    words = [visible(str(name)) for name in names]
    more = f", … {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _width(character: str) -> int:
    if unicodedata.combining(character) or character == _JOINER:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES and character != _JOINER


def _escaped(character: str) -> str:
    short = _SHORT_ESCAPES.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _quoted_if_unclear(text: str, limit: int | None) -> str:
    shown = shortened(visible(text), limit)
    unclear = text in _READS_OTHERWISE or text != text.strip() or _NUMBER_LIKE.fullmatch(text)
    return f"'{shown}'" if unclear else shown


def _tagged_text(value: Mapping[str, JsonValue], limit: int | None) -> str:
    ((tag, content),) = value.items() if len(value) == 1 else (("", None),)
    if tag in ("$hex", "$text"):
        return _bytes_text(str(content), "" if tag == "$hex" else ", broken text")
    if tag in ("$decimal", "$float"):
        return visible(str(content))
    return shortened(visible(codec.dump(value)), limit)


def _bytes_text(digits: str, more: str) -> str:
    size = len(digits) // 2
    shown = digits[: _BYTES_SHOWN * 2] + ("…" if size > _BYTES_SHOWN else "")
    return f"x'{shown}' ({counted(size, 'byte')}{more})"


def _has_words(text: str) -> bool:
    return len(text.split()) > 1


def _context_of(text: str) -> str:
    """Words that did not change: only what stands next to a change is worth a place."""
    if len(text) > 2 * _KEPT_AROUND + 1:
        text = f"{text[:_KEPT_AROUND]}…{text[-_KEPT_AROUND:]}"
    return visible(text)


def _replaced(before: str, after: str, *, quote: bool = True) -> Line:
    shown = value_text if quote else _plain_words
    return (
        *(_removed(shown(before)) if before or quote else ()),
        *(_added(shown(after)) if after or quote else ()),
    )


def _plain_words(text: str) -> str:
    return shortened(visible(text), LONGEST_VALUE)


def _removed(text: str) -> Line:
    return (Span(f"[-{text}-]", Style.REMOVED),)


def _added(text: str) -> Line:
    return (Span(f"{{+{text}+}}", Style.ADDED),)


def _value_in(image: Mapping[str, JsonValue], column: str) -> Value:
    return image.get(column, ABSENT)


def _cell_of(change: Change, column: str) -> Line:
    before, after = _value_in(change.before or {}, column), _value_in(change.after or {}, column)
    # Absent with the row, or because the column came or went with a migration.
    if before is ABSENT:
        return _added(value_text(after))
    return _removed(value_text(before)) if after is ABSENT else cell_diff(before, after)


def _short_cell(change: Change, column: str) -> Line:
    short = 24
    before, after = _value_in(change.before or {}, column), _value_in(change.after or {}, column)
    if before is ABSENT or after is ABSENT:
        style, value = (Style.ADDED, after) if before is ABSENT else (Style.REMOVED, before)
        return (Span(value_text(value, short), style),)
    return (*_removed(value_text(before, short)), *_added(value_text(after, short)))


def _step_cell(kind: StepKind, expected: Value, target: Value) -> Line:
    if kind is StepKind.INSERT:
        return _added(value_text(target))
    return cell_diff(expected, target)


def joined(lines: Iterable[Line]) -> Iterator[str]:
    """Lines without their styles."""
    return (plain(line) for line in lines)


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


def _change_word(change: Change) -> str:
    return f"#{change.id}" + (f", {visible(change.actor)}" if change.actor else "")


def column_counts(counts: Mapping[str, int]) -> str:
    """Columns with how many rows differ in each, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{visible(column)} {count:,}" for column, count in ranked)
