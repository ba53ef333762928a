"""How many changes, by time, table, actor or kind; counted by the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Integer, func, literal_column, select

from auditcli.dialects import Dialect
from auditcli.log.query import read_aggregates
from auditcli.log.reader import ALL, LogReader, Window
from auditcli.model import Change, EventType, TableName
from auditcli.selection import Selection

Key: TypeAlias = "datetime | TableName | EventType | str | None"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)


class StatBy(StrEnum):
    """What changes are counted by."""

    HOUR = "hour"
    DAY = "day"
    TABLE = "table"
    ACTOR = "actor"
    EVENT = "event"


@dataclass(frozen=True)
class StatLine:
    """The changes that share a key: an aware start of an hour or day, a table, an actor (None: unknown) or an event."""

    key: Key
    counts: Mapping[EventType, int]

    @property
    def total(self) -> int:
        """All changes of the line."""
        return sum(self.counts.values())


def count_changes(
    reader: LogReader, by: StatBy, selection: Selection, window: Window = ALL, *, zone: tzinfo | None = UTC
) -> list[StatLine]:
    """The selected changes counted: times in their order, everything else with the most changes first.

    Hours and days are those of `zone`; None stands for the local one.
    """
    raw_counts: dict[Any, Counter[EventType]] = {}
    for raw, event, count in _raw_counts(reader, by, selection, window):
        raw_counts.setdefault(raw, Counter())[event] += count
    counts: dict[Key, Counter[EventType]] = {}
    for raw, counted in raw_counts.items():
        counts.setdefault(_shown_key(by, raw, zone), Counter()).update(counted)
    lines = [StatLine(key, dict(counted)) for key, counted in counts.items()]
    if by in (StatBy.HOUR, StatBy.DAY):
        return sorted(lines, key=_time)
    return sorted(lines, key=lambda line: (-line.total, str(line.key)))


def _raw_counts(
    reader: LogReader, by: StatBy, selection: Selection, window: Window
) -> Iterable[tuple[Any, EventType, int]]:
    criteria = reader.criteria(selection, window)
    if not criteria.exact:
        key_of = _KEYS[by]
        return ((key_of(change), change.event_type, 1) for change in reader.changes(selection, window))
    log = reader.tables.changelog.c
    key = _key_columns(by, log, reader.dialect)
    statement = select(*key, log.event_type, func.count()).group_by(*key, log.event_type)
    rows = read_aggregates(reader.connection, reader.tables, statement, criteria, watch=reader.watch)
    return _parsed(by, rows)


def _parsed(by: StatBy, rows: Iterable[Any]) -> Iterator[tuple[Any, EventType, int]]:
    for *key, event, count in rows:
        yield _key_of_row(by, key), EventType(event), count


def _key_columns(by: StatBy, log: Any, dialect: Dialect) -> tuple[ColumnElement[Any], ...]:
    if by is StatBy.TABLE:
        return (log.table_name, log.table_schema)
    if by is StatBy.ACTOR:
        return (log.actor,)
    if by is StatBy.EVENT:
        # Beside the event that every line is counted by.
        return (func.upper(log.event_type),)
    # The least that zones differ by: quarters become hours and days of the zone afterwards.
    return (literal_column(dialect.quarters_sql.format(dialect.quote("timestamp")), Integer),)


def _key_of_row(by: StatBy, key: list[Any]) -> Any:
    if by is StatBy.TABLE:
        return TableName(*key)
    if by in (StatBy.ACTOR, StatBy.EVENT):
        return key[0]
    return _EPOCH + int(key[0]) * _QUARTER


_KEYS: Mapping[StatBy, Callable[[Change], Any]] = {
    StatBy.HOUR: lambda change: change.timestamp,
    StatBy.DAY: lambda change: change.timestamp,
    StatBy.TABLE: lambda change: change.table,
    StatBy.ACTOR: lambda change: change.actor,
    StatBy.EVENT: lambda change: change.event_type.value,
}


def _shown_key(by: StatBy, raw: Any, zone: tzinfo | None) -> Key:
    if by is StatBy.EVENT:
        return EventType(raw)
    if not isinstance(raw, datetime):
        shown: Key = raw
        return shown
    local = raw.astimezone(zone)
    if by is StatBy.HOUR:
        return local.replace(minute=0, second=0, microsecond=0)
    # Not by `replace`: on the days when clocks change, midnight has another offset.
    midnight = datetime.combine(local.date(), time.min, tzinfo=zone)
    return midnight.astimezone() if zone is None else midnight


def _time(line: StatLine) -> float:
    return line.key.timestamp() if isinstance(line.key, datetime) else 0.0
