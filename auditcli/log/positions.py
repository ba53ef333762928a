"""Positions resolved, once, to boundaries after a log id; windows between two of them take transactions whole."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from auditcli.errors import NotFound, UsageError
from auditcli.log.marks import mark_position
from auditcli.log.reader import ALL, LogReader, Window
from auditcli.model import Change
from auditcli.position import AtChange, AtLatest, AtMark, AtTime, AtTransaction, Position, describe

__all__ = ["ALL", "Window", "latest", "resolve", "set_back", "window", "within"]


_SIDE_BY_SIDE = timedelta(minutes=1)


def resolve(position: Position, reader: LogReader, *, watermark: int | None = None) -> int:
    """The log id that a position stands after; `@latest` looks no further than the feed's watermark."""
    match position:
        case AtChange(0):
            return 0
        case AtChange(change_id):
            return reader.change(change_id).id
        case AtTransaction(prefix):
            return reader.transaction_span(reader.find_transaction(prefix))[1]
        case AtTime(moment):
            return reader.last_id_stamped_before(moment)
        case AtMark(name):
            return mark_position(reader.connection, reader.tables, name)
        case AtLatest():
            return latest(reader, watermark=watermark).id


def set_back(position: Position | None, reader: LogReader, log_id: int | None) -> Change | None:
    """A change that is before a time's place in the log and was stamped well after it: the clock was set back.

    What ran side by side may be stamped in another order too, by seconds.
    """
    if not isinstance(position, AtTime) or log_id is None:
        return None
    late = reader.stamped_late(position.moment + _SIDE_BY_SIDE, log_id)
    return None if late is None else reader.change(late)


def latest(reader: LogReader, *, watermark: int | None = None) -> Change:
    """The last record of the last transaction in feed order; raises NotFound for an empty log."""
    log = reader.tables.changelog.c
    boundary = reader.last_id() if watermark is None else watermark
    later = reader.tables.changelog.alias().c
    goes_on = select(later.id).where(later.transaction_id == log.transaction_id, later.id > log.id).exists()
    ends = select(log.id).where(log.id <= boundary, ~goes_on).order_by(log.id.desc()).limit(1)
    last_id = reader.scalar(ends)
    if last_id is None:
        raise NotFound("there is no latest transaction: the log is empty", hint="`audit status` says what is tracked")
    return reader.change(last_id)


def window(reader: LogReader, since: int | None = None, until: int | None = None) -> Window:
    """The transactions that end after one boundary and not after the other; none of them is half inside.

    A transaction is placed by its highest id, never by the times of its records: those of two transactions that ran
    side by side may overlap.
    """
    since_id = since or 0
    if until is not None and since_id > until:
        raise UsageError(
            f"since (after change {since_id}) is after until (change {until})",
            hint="give the earlier of the two as since",
        )
    begun = reader.straddling(since_id) if since_id else frozenset()
    unfinished = reader.straddling(until) if until is not None else frozenset()
    return Window(since_id, until, carried=begun - unfinished, left_out=unfinished)


def within(
    reader: LogReader, since: Position | None = None, until: Position | None = None, *, watermark: int | None = None
) -> Window:
    """The window between two positions; without an end it reaches to the watermark, or to the end of the log."""
    since_id = 0 if since is None else resolve(since, reader, watermark=watermark)
    until_id = watermark if until is None else resolve(until, reader, watermark=watermark)
    if since and until and until_id is not None and since_id > until_id:
        raise UsageError(
            f"since ({describe(since)}) is after until ({describe(until)})", hint="give the earlier of the two as since"
        )
    return window(reader, since_id, until_id)
