"""What changed between two positions: one net change a row.

A row of which all records are selected needs only its first and its last one; the database finds them. Where others'
records stand between the selected ones, the row is folded cell by cell, so that only what is selected shows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, String, func, select, type_coerce
from sqlalchemy.types import TypeEngine

from auditcli import codec
from auditcli.changeset import threads
from auditcli.log.prefilter import asks_for_tables_only
from auditcli.log.query import Condition, Criteria, read_pages, window_conditions
from auditcli.log.reader import ALL, Header, LogReader, Window
from auditcli.log.records import NO_HEADER
from auditcli.log.row_records import records_held_at
from auditcli.log.tables import StoredText
from auditcli.model import Change, EventType, Image, Source, TableName
from auditcli.netchange import NetChange, TableStat, actors_in_order, diff_stat, net_of_story
from auditcli.selection import Selection
from auditcli.shape import TableShape

__all__ = ["NetChange", "TableStat", "diff", "diff_stat"]

_PAGE = 500
_LONGEST_PAGE = 4000
_PAGE_SIZE = 2_000_000
"""So many characters of images a page should have: of wide rows there are fewer on it."""

_END = "\x1f"
_NOBODY = "\x1e"
"""What no name but a very odd one has in it."""

_KEYS = 200
_NARROW = 100_000
"""Windows of so few records are gathered in memory: walking the index would touch every row of the log."""

_EVERYTHING = Selection()
_EVENTS = {event.value: event for event in EventType}
_SOURCES = {source.value: source for source in Source}


class _Run(NamedTuple):
    """All records of a row in the window, by what matters of the first and of the last."""

    row_id: str
    first_id: int
    last_id: int
    records: int
    named: int
    actors: str
    before_text: str | None
    after_text: str | None
    first_event: str
    last_event: str
    actor: str | None
    timestamp: datetime | str
    transaction_id: str | None
    source: str


def diff(reader: LogReader, selection: Selection = _EVERYTHING, window: Window = ALL) -> Iterator[NetChange]:
    """The net change of each row with selected changes, by table; rows that end as they began are left out."""
    if not asks_for_tables_only(selection) or _is_narrow(reader, window):
        yield from _gathered(reader, selection, window)
        return
    for table in reader.tracked_tables():
        if selection.tables.passes(table.__eq__):
            yield from _WholeTable(reader, table, window).net_changes()


def _is_narrow(reader: LogReader, window: Window) -> bool:
    last_id = reader.last_id() if window.until_id is None else window.until_id
    return last_id - window.since_id <= _NARROW


# Whole tables: the database finds the ends of each run.


class _WholeTable:
    """One table of which every change in the window is selected."""

    def __init__(self, reader: LogReader, table: TableName, window: Window) -> None:
        self._reader = reader
        self._table = table
        self._window = window
        self._log = reader.tables.changelog.c
        self._shape = reader.table_shape(table)
        self._read_images = reader.images_of(table)
        self._spell = reader.image_spelling(table)
        self._page = _PAGE
        self._conditions = (*reader.in_table(table), *window_conditions(reader.connection, reader.tables, window))
        self._moves = _moves(reader, self._conditions)

    def net_changes(self) -> Iterator[NetChange]:
        stories = _Stories(self._reader, self._table, self._window)
        if _keys_may_share_text(self._shape):
            yield from stories.of_all()
            return
        apart = {key for move in self._moves for key in move}
        for runs in self._runs():
            apart |= {run.row_id for run in runs if EventType.SNAPSHOT in (run.first_event, run.last_event)}
            apart |= {run.row_id for run in runs if codec.is_shortened(run.row_id)}
            yield from self._net_runs([run for run in runs if run.row_id not in apart])
        yield from stories.of_keys(sorted(apart))
        yield from stories.of_keyless()

    def _net_runs(self, runs: Sequence[_Run]) -> Iterator[NetChange]:
        differing = [run for run in runs if run.before_text != run.after_text]
        actors = self._actors(differing)
        headers = self._reader.headers(run.transaction_id for run in differing if run.transaction_id is not None)
        for run, before, after in zip(differing, *self._images(differing), strict=True):
            if not codec.same_image(before, after):
                change = self._net_of(run, before, after, headers.get(run.transaction_id or "", NO_HEADER))
                yield NetChange(change, run.first_id, run.last_id, run.records, actors[run.row_id])

    def _net_of(self, run: _Run, before: Image | None, after: Image | None, header: Header) -> Change:
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

    def _images(self, runs: Sequence[_Run]) -> tuple[list[Image | None], list[Image | None]]:
        """The first `before` and the last `after` of each run; those that can be read as they are, all at once."""
        if not runs:
            return [], []
        old = self._spell([run.first_id for run in runs], [run.before_text or "" for run in runs])
        new = self._spell([run.last_id for run in runs], [run.after_text or "" for run in runs])
        before, after = (json.loads(f"[{','.join([text or 'null' for text in each])}]") for each in (old, new))
        for at, (run, left, right) in enumerate(zip(runs, old, new, strict=True)):
            if left is None:
                before[at] = self._read_images(run.first_id, run.before_text, None)[0]
            if right is None:
                after[at] = self._read_after(run)
        return before, after

    def _read_after(self, run: _Run) -> Image | None:
        if run.after_text is not None and '"$same"' in run.after_text:
            return self._reader.change(run.last_id).after
        return self._read_images(run.last_id, None, run.after_text)[1]

    def _runs(self) -> Iterator[Sequence[_Run]]:
        """Each row's first `before` and last `after`, in the order of the index, a page at a time."""
        log = self._log
        ends = self._ends_of_runs()
        page = ends
        while True:
            runs = [_Run(*row) for row in self._fetch(page.limit(self._page))]
            is_last = len(runs) < self._page
            size = sum(len(run.before_text or "") + len(run.after_text or "") for run in runs)
            self._page = max(_PAGE, min(_LONGEST_PAGE, len(runs) * _PAGE_SIZE // (size + 1)))
            yield runs
            if is_last:
                return
            page = ends.where(log.row_id > runs[-1].row_id)

    def _fetch(self, page: Select[Any]) -> Sequence[Sequence[Any]]:
        """The runs as the driver returns them: no value is touched that need not be."""
        try:
            found: Sequence[Sequence[Any]] = self._reader.connection.execute(
                self._joined(page, String)
            ).cursor.fetchall()
            return found
        except Exception as error:
            if not self._reader.dialect.is_broken_text(error):
                raise
        return self._reader.execute(self._joined(page, StoredText)).all()

    def _ends_of_runs(self) -> Select[Any]:
        log = self._log
        # Each ends in a sign of its own, so that it shows where the database has cut the text off.
        actors = func.aggregate_strings(func.coalesce(log.actor, _NOBODY) + _END, "")
        return (
            select(
                log.row_id,
                func.min(log.id).label("first_id"),
                func.max(log.id).label("last_id"),
                func.count().label("records"),
                func.count(log.actor).label("named"),
                actors.label("actors"),
            )
            .where(*self._conditions, log.row_id.is_not(None))
            .group_by(log.row_id)
            .order_by(log.row_id)
        )

    def _joined(self, ends: Select[Any], text: type[TypeEngine[str]] | type[StoredText]) -> Select[Any]:
        run = ends.subquery()
        first, last = (self._reader.tables.changelog.alias(name) for name in ("first", "last"))
        columns = (
            *run.c,
            type_coerce(first.c.before, text).label("before_text"),
            type_coerce(last.c.after, text).label("after_text"),
            *(first.c.event_type.label("first_event"), last.c.event_type.label("last_event")),
            *(last.c.actor, last.c.timestamp, last.c.transaction_id, last.c.source),
        )
        joined = run.join(first, first.c.id == run.c.first_id).join(last, last.c.id == run.c.last_id)
        return select(*columns).select_from(joined).order_by(run.c.row_id)

    def _actors(self, runs: Iterable[_Run]) -> Mapping[str, tuple[str | None, ...]]:
        """Whose changes each run holds; where the joined names can't be taken apart for sure, they are looked up."""
        found: dict[str, tuple[str | None, ...]] = {}
        unsure: dict[str, set[str | None]] = {}
        for run in runs:
            if _is_taken_apart(run):
                found[run.row_id] = _actors_of(run.actors)
            else:
                unsure[run.row_id] = set()
        log = self._log
        for batch in self._reader.batches(list(unsure)):
            statement = select(log.row_id, log.actor).where(*self._conditions, log.row_id.in_(batch)).distinct()
            for row_id, actor in self._reader.execute(statement).all():
                unsure[row_id].add(actor)
        return found | {row_id: actors_in_order(actors) for row_id, actors in unsure.items()}


def _is_taken_apart(run: _Run) -> bool:
    text = run.actors
    return text.count(_END) == run.records and text.endswith(_END) and text.count(_NOBODY) == run.records - run.named


@lru_cache(maxsize=4096)
def _actors_of(joined: str) -> tuple[str | None, ...]:
    return actors_in_order({None if actor == _NOBODY else actor for actor in joined[:-1].split(_END)})


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
