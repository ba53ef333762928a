"""What there is to know of one change, aspect by aspect, as lines; read in a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from auditcli.fold import ABSENT
from auditcli.model import Change
from auditcli.present import (
    Line,
    Span,
    Style,
    cell_diff,
    change_heading,
    change_lines,
    change_summary,
    changes_summary,
    heading_of,
    hint_line,
    row_word,
    shortened,
    time_text,
    value_text,
    visible,
)

if TYPE_CHECKING:
    from datetime import datetime

    from auditcli.log.reader import LogReader

_LONGEST_LINE = 2_000
"""How many characters of a value are shown where it is shown as it is; `y` copies all of it."""

_MOST = 200
"""How many changes of a row or of a transaction are listed one by one."""


class Aspect(StrEnum):
    """What of a change is looked at."""

    DIFF = "Diff"
    ROW = "Row"
    BLAME = "Blame"
    TRANSACTION = "Tx"
    THEN = "Then"
    SQL = "SQL"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Looking:
    """How details are shown."""

    now: datetime
    utc: bool = False
    unchanged: bool = False
    as_of: int | None = None


Describe: TypeAlias = "Callable[[LogReader, Change, Looking], list[Line]]"


def describe(aspect: Aspect, reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    """An aspect of a change."""
    return _ASPECTS[aspect](reader, change, looking)


def diff_lines(change: Change, looking: Looking) -> list[Line]:
    """A change column by column, which takes no look at the log."""
    lines = [change_heading(change), heading_of(change, now=looking.now, utc=looking.utc), ()]
    cells = change_lines(change, unchanged=looking.unchanged)
    hidden = len(change.image) - len(cells)
    return [*lines, *cells, *([(), hint_line(f"{hidden} unchanged, . shows them")] if hidden > 0 else [])]


def _diff(_reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    return diff_lines(change, looking)


def _row(reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    from auditcli.history import row_history

    if change.row is None:
        return [hint_line(f"{visible(str(change.table))} has no key: its rows have no history of their own")]
    history = row_history(reader, change.row)[::-1]
    lines: list[Line] = [(Span(f"{row_word(change.table, change.row_id)}: {len(history):,} changes", Style.STRONG),)]
    for each in history[:_MOST]:
        here = "▸" if each.id == change.id else " "
        who = f"{here}{time_text(each.timestamp, utc=looking.utc)}  {visible(each.actor or '-')}"
        lines += [(Span(who, Style.DIM),), change_summary(each)]
    return lines + _more(len(history), "audit row")


def _blame(reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    from auditcli.history import blame

    if change.row is None:
        return [hint_line(f"{visible(str(change.table))} has no key: nobody can say which row this was")]
    lines: list[Line] = []
    for each in blame(reader, change.row):
        by = each.change
        who = "before the log knew it" if by is None else f"← #{by.id:,} {visible(by.actor or '-')}"
        when = "" if by is None else f", {time_text(by.timestamp, utc=looking.utc)}"
        lines.append((Span(f"{visible(each.column)}  ", Style.STRONG), Span(value_text(each.value))))
        lines.append((Span(f"  {who}{when}", Style.DIM),))
    return lines


def _transaction(reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    heading = heading_of(change, now=looking.now, utc=looking.utc)
    if change.transaction_id is None:
        return [heading, hint_line("this writer could not tell its transaction"), change_summary(change)]
    changes = list(islice(reader.transaction_changes(change.transaction_id), _MOST + 1))
    known = reader.headers([change.transaction_id]).get(change.transaction_id)
    origin = [] if known is None else [known.db_user, known.client, known.application]
    named = ", ".join(visible(each) for each in origin if each)
    lines = [heading, *([hint_line(f"from {named}")] if named else [])]
    lines += [
        (Span(f"  {visible(key)}: {value_text(value)}", Style.DIM),) for key, value in sorted(change.context.items())
    ]
    if len(changes) <= _MOST:
        return [*lines, (), *map(change_summary, changes)]
    whole = reader.transaction_changes(change.transaction_id)
    return [*lines, (), *changes_summary(whole)]


def _json(_reader: LogReader, change: Change, _looking: Looking) -> list[Line]:
    from auditcli.export import change_to_json

    text = json.dumps(change_to_json(change), ensure_ascii=False, indent=2)
    return [(Span(shortened(visible(line), _LONGEST_LINE)),) for line in text.split("\n")]


def _then(reader: LogReader, change: Change, looking: Looking) -> list[Line]:
    """The row as it was at a place, against what it is now."""
    from auditcli.history import row_state

    if change.row is None:
        return [hint_line(f"{visible(str(change.table))} has no key: its rows have no history of their own")]
    place = _committed_at(reader, change) if looking.as_of is None else looking.as_of
    then, now = (row_state(reader, change.row, each) for each in (place, reader.last_id()))
    heading = Span(f"{row_word(change.table, change.row_id)} as of #{place:,}", Style.STRONG)
    lines: list[Line] = [(heading, Span("  against now", Style.DIM))]
    if then.since is not None:
        who = f"{visible(then.since.actor or '-')}, {time_text(then.since.timestamp, utc=looking.utc)}"
        lines.append(hint_line(f"so since #{then.since.id:,} by {who}"))
    if then.image is None:
        return [*lines, (Span("it did not exist then", Style.WARNING),)]
    current = now.image or {}
    for column, value in then.image.items():
        same = now.image is not None and current.get(column) == value
        cells = (Span(value_text(value)),) if same else cell_diff(value, current.get(column, ABSENT))
        lines.append((Span(f"  {visible(column)}  ", Style.DIM if same else Style.STRONG), *cells))
    return lines if now.image is not None else [*lines, (Span("it is gone now", Style.WARNING),)]


def _committed_at(reader: LogReader, change: Change) -> int:
    """The place after a change and all that was committed with it."""
    return change.id if change.transaction_id is None else reader.transaction_span(change.transaction_id)[1]


def statements_of(reader: LogReader, change: Change, *, inverted: bool) -> list[str]:
    """The statements that do a change again, or take it back, as its database's own client runs them."""
    from auditcli.patch import Patch

    return list(Patch(reader).of_changes([change], inverted=inverted, now=change.timestamp))


def _sql(reader: LogReader, change: Change, _looking: Looking) -> list[Line]:
    lines: list[Line] = []
    for title, inverted in (("does it again", False), ("takes it back, unguarded: u looks first", True)):
        lines += [
            (Span(title, Style.STRONG),),
            *((Span(shortened(visible(line), _LONGEST_LINE)),) for line in _statement_lines(reader, change, inverted)),
            (),
        ]
    return lines


def _statement_lines(reader: LogReader, change: Change, inverted: bool) -> list[str]:
    wanted = ("INSERT", "UPDATE", "DELETE")
    return [line for line in statements_of(reader, change, inverted=inverted) if line.startswith(wanted)]


def _more(count: int, command: str) -> list[Line]:
    return [hint_line(f"… {count - _MOST:,} more: `{command}`")] if count > _MOST else []


_ASPECTS: Mapping[Aspect, Describe] = {
    Aspect.DIFF: _diff,
    Aspect.ROW: _row,
    Aspect.BLAME: _blame,
    Aspect.TRANSACTION: _transaction,
    Aspect.THEN: _then,
    Aspect.SQL: _sql,
    Aspect.JSON: _json,
}
