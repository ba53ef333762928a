"""The histories of rows that an undo is about: read along the log, through changes of key, folded row by row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from auditcli.changeset import threads
from auditcli.fold import RowFold, fold
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.model import Change, TableName
from auditcli.plan import Runs
from auditcli.planning.cascading import Cells

# Each batch reads along the log for keys that rows had before, which no index knows: few large ones, not many small.
_ROWS_A_BATCH = 10_000


@dataclass
class Chosen:
    """The selected records of one table."""

    ids: set[int] = field(default_factory=set)
    row_ids: dict[str, int] = field(default_factory=dict)
    first_without_key: int | None = None

    def add(self, change: Change) -> None:
        self.ids.add(change.id)
        if change.row_id is None:
            self.first_without_key = self.first_without_key or change.id
        else:
            self.row_ids.setdefault(change.old_row_id or change.row_id, change.id)


class RunSet:
    """Log ids given as runs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = sorted(runs)
        self._starts = [first for first, _ in self._runs]

    @property
    def first(self) -> int:
        """The lowest of them."""
        return self._starts[0]

    def __contains__(self, log_id: object) -> bool:
        if not isinstance(log_id, int):
            return False
        at = bisect_right(self._starts, log_id) - 1
        return at >= 0 and log_id <= self._runs[at][1]


class Histories:
    """Reads one log; `parts` says of some records which of their cells are selected, where it is not all of them."""

    def __init__(self, reader: LogReader, parts: Mapping[int, Cells]) -> None:
        self._reader = reader
        self._parts = parts
        self._links: dict[str, RunSet | None] = {}

    def folds(self, table: TableName, primary_key: Sequence[str], chosen: Chosen) -> Iterator[list[RowFold]]:
        """The selected rows of a table with what became of them, batch by batch."""
        row_ids = sorted(chosen.row_ids, key=chosen.row_ids.__getitem__)
        pending = set(chosen.ids)
        for start in range(0, len(row_ids), _ROWS_A_BATCH):
            batch = row_ids[start : start + _ROWS_A_BATCH]
            records = self._row_records(table, batch, chosen.row_ids[batch[0]] - 1)
            yield self._fold_all(records, primary_key, chosen.ids, pending)
        if chosen.first_without_key is not None:
            records = self._records_without_key(table, chosen.first_without_key - 1)
            yield self._fold_all(records, (), chosen.ids, pending)

    def _fold_all(
        self, records: Sequence[Change], primary_key: Sequence[str], chosen: Collection[int], pending: set[int]
    ) -> list[RowFold]:
        undone_by = self.undone_by(records)
        folds = []
        for story in threads(records, primary_key, undone_by):
            own = [change.id for change in story if change.id in pending]
            if own:
                pending.difference_update(own)
                # From its beginning: what an undo took back tells whether the undo itself is to be taken back.
                folds.append(fold(story, chosen, undone_by, self._parts))
        return folds

    def _row_records(self, table: TableName, row_ids: Collection[str], after_id: int) -> list[Change]:
        """The records of these rows from a place on, and from before what later undos of them took back.

        Whose row an undo deleted or brought back at a key can only be told from the records that it took back.
        """
        records = self.follow_keys(table, row_ids, after_id)
        before = self._before_linked(records, after_id)
        return records if before == after_id else self._row_records(table, row_ids, before)

    def _before_linked(self, records: Sequence[Change], after_id: int) -> int:
        """The place before all that undos among these records took back, `after_id` where nothing is older."""
        return min((after_id, *(runs.first - 1 for runs in self.undone_by(records).values())))

    def follow_keys(self, table: TableName, row_ids: Collection[str], after_id: int) -> list[Change]:
        """The records of these rows and, where a row was at another key, those of that key too."""
        found: dict[int, Change] = {}
        known: set[str] = set()
        unread = set(row_ids)
        while unread:
            known |= unread
            met: set[str] = set()
            for change in self._reader.row_records(table, unread, after_id=after_id):
                found[change.id] = change
                met.update(key for key in (change.row_id, change.old_row_id) if key is not None)
            unread = met - known
        return [found[log_id] for log_id in sorted(found)]

    def _records_without_key(self, table: TableName, after_id: int) -> list[Change]:
        log = self._reader.tables.changelog.c
        own = (log.table_name == table.name, log.table_schema.is_not_distinct_from(table.schema))
        records = list(self._reader.records(Criteria((log.id > after_id, log.row_id.is_(None), *own))))
        before = self._before_linked(records, after_id)
        return records if before == after_id else self._records_without_key(table, before)

    def undone_by(self, records: Sequence[Change]) -> dict[int, RunSet]:
        """What those of the records that belong to an undo took back."""
        unknown = {
            change.transaction_id
            for change in records
            if change.transaction_id is not None and change.transaction_id not in self._links
        }
        entries = self._reader.undo_runs(unknown)
        for transaction_id in unknown:
            entry = entries.get(transaction_id)
            self._links[transaction_id] = None if entry is None else RunSet(entry.runs)
        linked = ((change.id, self._links.get(change.transaction_id or "")) for change in records)
        return {log_id: runs for log_id, runs in linked if runs is not None}
