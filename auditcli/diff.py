"""What changed between two positions: one net change a row.

A row of which all records are selected needs only its first and its last one; the database finds them. Where others'
records stand between the selected ones, the row is folded cell by cell, so that only what is selected shows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import select

from auditcli import codec
from auditcli.changeset import threads
from auditcli.log.prefilter import asks_for_tables_only
from auditcli.log.query import Condition, Criteria, read_pages, window_conditions
from auditcli.log.reader import ALL, Header, LogReader, Window
from auditcli.log.records import NO_HEADER
from auditcli.log.row_records import records_held_at
from auditcli.log.runs import Run, Runs
from auditcli.model import Change, EventType, Image, Source, TableName
from auditcli.netchange import NetChange, TableStat, actors_in_order, diff_stat, net_of_story
from auditcli.selection import Selection
from auditcli.shape import TableShape

__all__ = ["NetChange", "TableStat", "diff", "diff_stat"]

_KEYS = 200
_NARROW = 100_000
_PART = 20
"""Windows of so few records, one of so many in the log, are gathered in memory: the index has every row of the log."""

_EVERYTHING = Selection()
_in_order = lru_cache(maxsize=4096)(actors_in_order)
_EVENTS = {event.value: event for event in EventType}
_SOURCES = {source.value: source for source in Source}


def diff(reader: LogReader, selection: Selection = _EVERYTHING, window: Window = ALL) -> Iterator[NetChange]:
    """The net change of each row with selected changes, by table; rows that end as they began are left out."""
    if not asks_for_tables_only(selection) or _is_narrow(reader, window):
        yield from _gathered(reader, selection, window)
        return
    for table in reader.tracked_tables():
        if selection.tables.passes(table.__eq__):
            yield from _WholeTable(reader, table, window).net_changes()


def _is_narrow(reader: LogReader, window: Window) -> bool:
    last_id = reader.last_id()
    records = (last_id if window.until_id is None else window.until_id) - window.since_id
    return records <= min(_NARROW, last_id // _PART)


# Whole tables: the database finds the ends of each run.


class _WholeTable:
    """One table of which every change in the window is selected."""

    def __init__(self, reader: LogReader, table: TableName, window: Window) -> None:
        self._reader = reader
        self._table = table
        self._window = window
        self._shape = reader.table_shape(table)
        self._conditions = (*reader.in_table(table), *window_conditions(reader.connection, reader.tables, window))
        self._moves = _moves(reader, self._conditions)
        self._runs = Runs(reader, table, self._conditions)

    def net_changes(self) -> Iterator[NetChange]:
        stories = _Stories(self._reader, self._table, self._window)
        if _keys_may_share_text(self._shape):
            yield from stories.of_all()
            return
        apart = {key for move in self._moves for key in move}
        for runs in self._runs.pages():
            apart |= {run.row_id for run in runs if EventType.SNAPSHOT in (run.first_event, run.last_event)}
            apart |= {run.row_id for run in runs if codec.is_shortened(run.row_id)}
            yield from self._net_runs([run for run in runs if run.row_id not in apart])
        yield from stories.of_keys(sorted(apart))
        yield from stories.of_keyless()

    def _net_runs(self, runs: Sequence[Run]) -> Iterator[NetChange]:
        differing = [run for run in runs if run.before_text != run.after_text]
        actors = self._runs.actors(differing)
        headers = self._reader.headers(run.transaction_id for run in differing if run.transaction_id is not None)
        for run, before, after in zip(differing, *self._runs.images(differing), strict=True):
            if not codec.same_image(before, after):
                change = self._net_of(run, before, after, headers.get(run.transaction_id or "", NO_HEADER))
                yield NetChange(change, run.first_id, run.last_id, run.records, _in_order(actors[run.row_id]))

    def _net_of(self, run: Run, before: Image | None, after: Image | None, header: Header) -> Change:
        """What `changeset.net` makes of the run's records, from the two that matter."""
        kept = EventType.INSERT if before is None else EventType.UPDATE
        moment = datetime.fromisoformat(run.timestamp) if isinstance(run.timestamp, str) else run.timestamp
        return Change(
            id=run.last_id,
            timestamp=moment.replace(tzinfo=UTC),
            table=self._table,
            row_id=run.row_id,
            event_type=_EVENTS[run.last_event] if after is None else kept,
            before=before,
            after=after,
            transaction_id=run.transaction_id,
            actor=run.actor,
            source=_SOURCES[run.source],
            reason=header.reason,
            context=header.context or {},
        )


def _moves(reader: LogReader, conditions: Iterable[Condition]) -> list[tuple[str, str]]:
    """The keys that rows took and left: what stands at one of them may be several rows."""
    log = reader.tables.changelog.c
    statement = select(log.row_id, log.old_row_id).where(*conditions, log.old_row_id.is_not(None))
    return [(row_id, old_row_id) for row_id, old_row_id in reader.execute(statement)]


def _keys_may_share_text(shape: TableShape | None) -> bool:
    """Whether a key column keeps any value as it comes, so that 42 and '42' can be two rows under one look-up key."""
    if shape is None:
        return True
    types = [column.type.upper() for column in shape.columns if column.name in shape.primary_key]
    return any(not name or "BLOB" in name or name == "ANY" for name in types)


# Any selection: the selected ids are gathered, then all records of their rows are read.


def _gathered(reader: LogReader, selection: Selection, window: Window) -> Iterator[NetChange]:
    keys: dict[TableName, set[str | None]] = {}
    selected: set[int] = set()
    for change_id, table, row_id in _selected(reader, selection, window):
        keys.setdefault(table, set()).add(row_id)
        selected.add(change_id)
    for table in sorted(keys, key=str):
        stories = _Stories(reader, table, window, selected)
        yield from stories.of_keys(sorted(key for key in keys[table] if key is not None))
        if None in keys[table]:
            yield from stories.of_keyless()


def _selected(reader: LogReader, selection: Selection, window: Window) -> Iterator[tuple[int, TableName, str | None]]:
    log = reader.tables.changelog.c
    criteria = reader.criteria(selection, window).also(log.event_type != EventType.SNAPSHOT.value)
    if not criteria.exact:
        for change in reader.changes(selection, window):
            if change.event_type is not EventType.SNAPSHOT:
                yield change.id, change.table, None if change.row_id is None else codec.look_up_key(change.row_id)
        return
    columns = (log.id, log.table_name, log.table_schema, log.row_id)
    for rows in read_pages(reader.connection, reader.tables, columns, criteria):
        for change_id, name, schema, row_id in rows:
            yield change_id, TableName(name, schema), row_id


class _Stories:
    """The rows of one table by all their records in the window, of which some (`selected`) or all are selected."""

    def __init__(
        self, reader: LogReader, table: TableName, window: Window, selected: Collection[int] | None = None
    ) -> None:
        self._reader = reader
        self._table = table
        self._window = window
        self._selected = selected
        self._conditions = (*reader.in_table(table), *window_conditions(reader.connection, reader.tables, window))
        shape = reader.table_shape(table)
        self._primary_key = shape.primary_key if shape else ()

    def of_all(self) -> Iterator[NetChange]:
        """Every row, in memory at once."""
        return self._net_changes(self._reader.records(Criteria(self._conditions)))

    def of_keyless(self) -> Iterator[NetChange]:
        """The rows without a key, which only their images tell apart: in memory at once."""
        no_key = self._reader.tables.changelog.c.row_id.is_(None)
        return self._net_changes(self._reader.records(Criteria((*self._conditions, no_key))))

    def of_keys(self, keys: Sequence[str]) -> Iterator[NetChange]:
        """The rows at some keys, as the log holds these, and those that moves link with them."""
        if not keys:
            return
        for batch in _batches(keys, _moves(self._reader, self._conditions)):
            yield from self._net_changes(records_held_at(self._reader, self._table, sorted(batch), window=self._window))

    def _net_changes(self, records: Iterable[Change]) -> Iterator[NetChange]:
        for story in threads(records, self._primary_key):
            found = net_of_story(story, self._selected)
            if found is not None:
                yield found


def _batches(keys: Iterable[str], moves: Iterable[tuple[str, str]]) -> Iterator[set[str]]:
    """The keys in parts such that no row is in two of them."""
    linked: dict[str, set[str]] = {}
    for row_id, old_row_id in moves:
        linked.setdefault(row_id, set()).add(old_row_id)
        linked.setdefault(old_row_id, set()).add(row_id)
    done: set[str] = set()
    batch: set[str] = set()
    for key in keys:
        if key in done:
            continue
        component = _component(key, linked)
        batch |= component
        done |= component & linked.keys()
        if len(batch) >= _KEYS:
            yield batch
            batch = set()
    if batch:
        yield batch


def _component(key: str, linked: Mapping[str, set[str]]) -> set[str]:
    met = {key}
    ahead = [key]
    while ahead:
        for other in linked.get(ahead.pop(), ()):
            if other not in met:
                met.add(other)
                ahead.append(other)
    return met
