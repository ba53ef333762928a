"""The log in commit order: committed transactions, whole, each once, from a place that can be kept and taken up again.

Log ids are not committed in order where several writers run at once, so a reader must not go past the *watermark*: the
highest id up to which nothing can appear any more. Transactions come ordered by their highest id, which is a valid
commit order for every row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, Engine, func, select

from auditcli.dialects import Dialect
from auditcli.errors import LogError
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.log.tables import LogTables
from auditcli.model import Change
from auditcli.selection import Selection, matches
from auditcli.watermark import Watermark

INTERVAL = 0.04
"""Seconds between two looks for new commits."""

_PAGE = 2000
_ENOUGH = 2000
"""How many selected changes one poll gathers before it hands them over."""

_EVERYTHING = Selection()

Committed: TypeAlias = tuple[Change, ...]
"""The selected changes of one transaction, in id order; never empty."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands: in which log, after which id, and whose record that is."""

    log_uuid: str
    log_id: int
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class _End:
    """The last record of a transaction; a record without a transaction is one by itself."""

    log_id: int
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one transaction committed, and the place of a reader that has seen it."""

    changes: Committed
    place: Place


def place_after(reader: LogReader, boundary: int) -> Place:
    """The place of a reader that has seen all up to a log id."""
    log_id = reader.id_at_or_before(boundary)
    _, transaction_id = reader.transaction_at(log_id)
    return Place(reader.log_uuid(), log_id, transaction_id)


class Feed:
    """Reads on from a place; between two reads it holds neither a snapshot nor a lock."""

    def __init__(
        self,
        engine: Engine,
        tables: LogTables,
        dialect: Dialect,
        start: int | Place = 0,
        *,
        until: int | None = None,
        max_hold: float | None = None,
    ) -> None:
        self._engine = engine
        self._tables = tables
        self._dialect = dialect
        self.until = until
        self.place = start if isinstance(start, Place) else self._place_after(start)
        self.mark = self.place.log_id
        """Up to which id the log was complete at the last look."""
        self._has_more = False
        self._going_on: dict[str, int] = {}
        """The last records of transactions that have begun among what was read, and end after it."""
        self.watermark = Watermark(tables, dialect, self.place.log_id, max_hold=max_hold)

    @property
    def is_complete(self) -> bool:
        """Whether the last look met nothing that may still be waiting for somebody's commit."""
        return self.watermark.is_complete

    @property
    def has_ended(self) -> bool:
        """Whether nothing up to the end is still to come, once a poll has found nothing."""
        return self.until is not None and self.mark >= self.until

    def poll(self, selection: Selection = _EVERYTHING) -> list[Committed]:
        """The next committed transactions with selected changes; none when there is nothing new.

        Raises LogError where the place is not one of this log.
        """
        return [delivered.changes for delivered in self.deliver(selection)]

    def deliver(self, selection: Selection = _EVERYTHING) -> list[Delivered]:
        """The same, each with the place after it."""
        while True:
            moved_on, delivered = self._read_on(selection)
            if delivered or not moved_on:
                return delivered

    def _read_on(self, selection: Selection) -> tuple[bool, list[Delivered]]:
        """Whether there was anything new, and what of it is selected."""
        last: _End | None = None
        committed: list[list[Change]] = []
        ends: list[_End] = []
        with self._engine.connect() as connection:
            reader = LogReader(connection, self._tables, dialect=self._dialect)
            next_ends = self._next_ends(connection)
            self._check_place(reader)
            for end, whole in self._whole(reader, next_ends):
                last = end
                _append(committed, [change for change in whole if matches(selection, change)])
                # Where nothing was added, or only to the last ones, the place after those moves on.
                ends[len(committed) - 1 :] = [end] if committed else []
                if sum(map(len, committed)) >= _ENOUGH:
                    self._has_more = True
                    break
        if last is not None:
            self.place = self._place_at(last)
        places = [self._place_at(end) for end in ends]
        return last is not None, [Delivered(tuple(each), at) for each, at in zip(committed, places, strict=True)]

    def _place_at(self, end: _End) -> Place:
        return Place(self.place.log_uuid, end.log_id, end.transaction_id)

    def _next_ends(self, connection: Connection) -> list[_End]:
        """The next transactions by their last records; where the mark is now is asked when no more are known."""
        ends = self._ends(connection) if self._has_more else []
        if not ends:
            self.mark = self.watermark.look(connection)
            ends = self._ends(connection)
        return ends

    def _ends(self, connection: Connection) -> list[_End]:
        """The next transactions that end at or below the mark, by their last records."""
        until_id = self.mark if self.until is None else min(self.mark, self.until)
        log = self._tables.changelog.c
        after, self._has_more = self.place.log_id, True
        ends: list[_End] = []
        # A long transaction may fill many pages before any ends.
        while not ends and self._has_more:
            page = select(log.id, log.transaction_id).where(log.id > after, log.id <= until_id)
            records = [_End(*row) for row in connection.execute(page.order_by(log.id).limit(_PAGE))]
            self._has_more = len(records) == _PAGE
            ends = self._ends_among(connection, records)
            after = records[-1].log_id if records else after
        return ends

    def _ends_among(self, connection: Connection, records: Sequence[_End]) -> list[_End]:
        """Those of the records, which follow each other, that are the last ones of their transactions."""
        last = {record.transaction_id: record.log_id for record in records}
        log = self._tables.changelog.c
        unknown = [each for each in last if each is not None and each not in self._going_on]
        for start in range(0, len(unknown), self._dialect.most_marks):
            some = unknown[start : start + self._dialect.most_marks]
            going_on = (
                select(log.transaction_id, func.max(log.id))
                .where(log.transaction_id.in_(some), log.id > records[-1].log_id)
                .group_by(log.transaction_id)
            )
            self._going_on.update((key, log_id) for key, log_id in connection.execute(going_on))
        found = [
            record
            for record in records
            if record.transaction_id is None
            or self._going_on.get(record.transaction_id, last[record.transaction_id]) == record.log_id
        ]
        for record in found:
            self._going_on.pop(record.transaction_id or "", None)
        return found

    def _whole(self, reader: LogReader, ends: Sequence[_End]) -> Iterator[tuple[_End, list[Change]]]:
        """Each of the transactions with all of its changes, in the order of their last ones."""
        if not ends:
            return
        log = self._tables.changelog.c
        by_id = {end.log_id: end for end in ends}
        ids = {end.transaction_id for end in ends} - {None}
        lowest = self.place.log_id + 1
        for some in reader.batches([each for each in ids if each is not None]):
            begun_before = select(func.min(log.id)).where(log.transaction_id.in_(some), log.id < lowest)
            lowest = reader.scalar(begun_before) or lowest
        begun: defaultdict[str | int, list[Change]] = defaultdict(list)
        for change in reader.records(Criteria((log.id >= lowest, log.id <= ends[-1].log_id))):
            key = change.transaction_id or change.id
            if change.transaction_id in ids or change.id in by_id:
                begun[key].append(change)
            if change.id in by_id:
                yield by_id[change.id], begun.pop(key)

    def _check_place(self, reader: LogReader) -> None:
        if reader.log_uuid() != self.place.log_uuid:
            raise _moved(f"this is another log than the one read up to {self.place.log_id}")
        exists, transaction_id = reader.transaction_at(self.place.log_id)
        if self.place.log_id and not (exists and transaction_id == self.place.transaction_id):
            raise _moved(f"the log's record {self.place.log_id} is not the one that was read before")

    def _place_after(self, boundary: int) -> Place:
        with self._engine.connect() as connection:
            return place_after(LogReader(connection, self._tables, dialect=self._dialect), boundary)


def _append(committed: list[list[Change]], changes: list[Change]) -> None:
    """Add what one transaction committed; neighbours without a transaction that share a time come together."""
    if not changes:
        return
    newest = committed[-1][-1] if committed else None
    loose = newest is not None and newest.transaction_id is None and changes[0].transaction_id is None
    if loose and newest is not None and newest.timestamp == changes[0].timestamp:
        committed[-1] += changes
    else:
        committed.append(changes)


def _moved(message: str) -> LogError:
    return LogError(message, hint="a backup may have been restored; start again with `--since` and a time or an id")
