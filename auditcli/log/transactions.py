"""The log summed up, one line a transaction: how one finds the bad UPDATE among live traffic."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, and_, func, select

from auditcli.errors import UsageError
from auditcli.log.query import Condition, Criteria, read_pages, unindexed
from auditcli.model import EventType, TableName, Transaction
from auditcli.selection import Selection, matches

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader


SORTS = ("time", "rows")

_BATCH = 100
_RECENT = 1000

Key: TypeAlias = "str | datetime"
"""A transaction's id; for records that have none, the time that they share."""

_COUNTED = {
    EventType.INSERT: "inserts",
    EventType.UPDATE: "updates",
    EventType.DELETE: "deletes",
    EventType.TRUNCATE: "deletes",
}


@dataclass
class _Tally:
    """What is counted of one transaction."""

    counts: Counter[str] = field(default_factory=Counter)
    tables: set[TableName] = field(default_factory=set)

    def add(self, table: TableName, event: EventType, count: int) -> None:
        self.tables.add(table)
        if event in _COUNTED:
            self.counts[_COUNTED[event]] += count


@dataclass(frozen=True)
class _Grouping:
    """One of the two ways in which records belong together: by transaction, or without one by time."""

    column: ColumnElement[Any]
    condition: Condition


def summed_up(
    reader: LogReader, criteria: Criteria, selection: Selection, *, sort: str, limit: int | None
) -> Iterator[Transaction]:
    """The transactions with records that meet the criteria, in the order asked for."""
    if sort not in SORTS:
        raise UsageError(f"can't sort transactions by {sort!r}", hint=f"sort by {' or '.join(SORTS)}")
    summing = _Summing(reader, criteria, selection)
    keys = summing.newest_keys() if sort == "time" else summing.largest_keys(limit)
    return summing.transactions(islice(keys, limit))


class _Summing:
    def __init__(self, reader: LogReader, criteria: Criteria, selection: Selection) -> None:
        log = reader.tables.changelog.c
        self._reader = reader
        self._criteria = criteria
        self._selection = selection
        self._groupings = (
            _Grouping(log.transaction_id, log.transaction_id.is_not(None)),
            # The index on the transaction would find all such records of the log at once; the one on the time few.
            _Grouping(log.timestamp, unindexed(log.transaction_id) == ""),
        )

    def transactions(self, keys: Iterable[Key]) -> Iterator[Transaction]:
        keys = iter(keys)
        while batch := list(islice(keys, _BATCH)):
            by_id, by_time = self._groupings
            known = self._summaries(by_id, [key for key in batch if isinstance(key, str)])
            known |= self._summaries(by_time, [key for key in batch if not isinstance(key, str)])
            yield from (known[key] for key in batch)

    def newest_keys(self) -> Iterator[Key]:
        """Each group where its newest selected record stands."""
        seen: dict[Key, None] = {}
        for key in self._keys():
            if key in seen:
                continue
            yield key
            seen[key] = None
            # Where transactions don't interleave, what was seen long ago doesn't come again.
            if self._reader.dialect.log_ids_follow_commits and len(seen) > _RECENT:
                del seen[next(iter(seen))]

    def largest_keys(self, limit: int | None) -> Iterator[Key]:
        """The groups with most selected changes; among equals the newest."""
        if not self._criteria.exact:
            counted = Counter(self._keys())
            return iter([key for key, _ in counted.most_common(limit)])
        ranked = (self._ranked(grouping, limit) for grouping in self._groupings)
        return (key for _, _, key in heapq.merge(*ranked, key=lambda entry: entry[:2], reverse=True))

    def _ranked(self, grouping: _Grouping, limit: int | None) -> list[tuple[int, int, Key]]:
        log = self._reader.tables.changelog.c
        steps = func.count(func.nullif(log.event_type, EventType.SNAPSHOT.value))
        statement = (
            select(steps, func.max(log.id), grouping.column)
            .where(self._criteria.where(), grouping.condition)
            .group_by(grouping.column)
            .order_by(steps.desc(), func.max(log.id).desc())
            .limit(limit)
        )
        return [(count, last_id, key) for count, last_id, key in self._reader.execute(statement)]

    def _keys(self) -> Iterator[Key]:
        """The group of each selected record, newest first."""
        reader = self._reader
        if not self._criteria.exact:
            for change in reader.records(self._criteria, newest_first=True):
                if matches(self._selection, change):
                    yield change.transaction_id or change.timestamp
            return
        log = reader.tables.changelog.c
        columns = (log.id, log.transaction_id, log.timestamp)
        pages = read_pages(
            reader.connection, reader.tables, columns, self._criteria, newest_first=True, watch=reader.watch
        )
        for rows in pages:
            for _, transaction_id, timestamp in rows:
                yield transaction_id or timestamp

    def _summaries(self, grouping: _Grouping, keys: Sequence[Key]) -> dict[Key, Transaction]:
        if not keys:
            return {}
        reader = self._reader
        log = reader.tables.changelog.c
        tallies = self._tallies(grouping, keys)
        ends = select(grouping.column, func.min(log.id), func.max(log.id))
        ends = ends.where(grouping.column.in_(keys), grouping.condition).group_by(grouping.column)
        spans = {key: (first, last) for key, first, last in reader.execute(ends)}
        newest = select(log.id, log.timestamp, log.actor).where(log.id.in_([last for _, last in spans.values()]))
        last_records = {change_id: (timestamp, actor) for change_id, timestamp, actor in reader.execute(newest)}
        headers = reader.headers(key for key in keys if isinstance(key, str))
        return {
            key: _transaction(key, span, last_records[span[1]], tallies[key], headers.get(str(key)))
            for key, span in spans.items()
        }

    def _tallies(self, grouping: _Grouping, keys: Sequence[Key]) -> Mapping[Key, _Tally]:
        tallies = {key: _Tally() for key in keys}
        if self._criteria.exact:
            for key, schema, name, event, count in self._reader.execute(self._counts(grouping, keys)):
                tallies[key].add(TableName(name, schema), EventType(event), count)
            return tallies
        for key in keys:
            within = and_(self._criteria.where(), grouping.condition)
            for change in self._reader.records(Criteria((within,), (grouping.column == key,))):
                if matches(self._selection, change):
                    tallies[key].add(change.table, change.event_type, 1)
        return tallies

    def _counts(self, grouping: _Grouping, keys: Sequence[Key]) -> Any:
        log = self._reader.tables.changelog.c
        groups = (grouping.column, log.table_schema, log.table_name, log.event_type)
        wanted = (grouping.column.in_(keys), grouping.condition, self._criteria.where())
        return select(*groups, func.count()).where(*wanted).group_by(*groups)


def _transaction(
    key: Key, span: tuple[int, int], newest: tuple[datetime, str | None], tally: _Tally, header: Any
) -> Transaction:
    timestamp, actor = newest
    return Transaction(
        id=key if isinstance(key, str) else None,
        first_id=span[0],
        last_id=span[1],
        timestamp=timestamp,
        actor=actor,
        tables=tuple(sorted(tally.tables, key=str)),
        inserts=tally.counts["inserts"],
        updates=tally.counts["updates"],
        deletes=tally.counts["deletes"],
        reason=header.reason if header else None,
        context=(header.context if header else None) or {},
        db_user=header.db_user if header else None,
        client=header.client if header else None,
        application=header.application if header else None,
    )
