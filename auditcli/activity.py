"""How much happened when: the selected changes counted bar by bar, so that a counting can be shown as it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sqlalchemy import func, select

from auditcli.log.reader import ALL, LogReader, Window
from auditcli.model import EventType
from auditcli.selection import Selection, matches

Counts: TypeAlias = Mapping[EventType, int]

_WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
) + tuple(timedelta(days=days) for days in (1, 2, 7, 14, 28, 91, 182, 364))


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A stretch of time, in UTC; its end is not part of it."""

    start: datetime
    end: datetime

    @property
    def width(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


def bars_of(period: Period, most: int) -> list[Period]:
    """A stretch of time in at most so many bars of one round width, oldest first, each at a multiple of its width."""
    width = next((each for each in _WIDTHS if period.width <= each * (most - 1)), None)
    if width is None:
        width = timedelta(days=364) * -(-period.width // (timedelta(days=364) * (most - 1)))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    start = epoch + (period.start - epoch) // width * width
    bars: list[Period] = []
    while start < period.end and len(bars) < most:
        bars.append(Period(start, start + width))
        start += width
    return bars


def whole_period(reader: LogReader) -> Period | None:
    """From the first record of the log to just after its last; None where it is empty."""
    log = reader.tables.changelog.c
    first, last = reader.execute(select(func.min(log.timestamp), func.max(log.timestamp))).one()
    return None if first is None else Period(first, last + timedelta(microseconds=1))


def count_bar(reader: LogReader, selection: Selection, bar: Period, window: Window = ALL) -> Counts:
    """The selected changes of a stretch of time, by event; snapshots are counted only where they are selected."""
    log = reader.tables.changelog.c
    criteria = reader.criteria(selection, window).also(log.timestamp >= bar.start, log.timestamp < bar.end)
    if not criteria.exact:
        return Counter(change.event_type for change in reader.records(criteria) if matches(selection, change))
    counted = select(log.event_type, func.count()).where(criteria.where()).group_by(log.event_type)
    return {EventType(event): count for event, count in reader.execute(counted)}
