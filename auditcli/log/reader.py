"""The one reader of the change log: changes, transactions, rows, table shapes, undo links and gaps."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, Executable, Result, Row, Text, func, or_, select, type_coerce

from auditcli import codec
from auditcli.changeset import threads
from auditcli.dialects import Dialect, dialect_named
from auditcli.errors import LogError, NotFound, UsageError
from auditcli.log.prefilter import criteria_of
from auditcli.log.query import ALL, PAGE, Condition, Criteria, Window, read_pages, window_conditions
from auditcli.log.tables import LogTables
from auditcli.log.transactions import summed_up
from auditcli.log.undo_links import UndoEntry, last_undo_of, undo_entries
from auditcli.model import Change, EventType, JsonValue, RowKey, Source, TableName, Transaction
from auditcli.position import transaction_prefix
from auditcli.selection import Selection, matches
from auditcli.shape import TableShape

__all__ = ["ALL", "Gap", "Header", "LogReader", "UndoEntry", "Window"]

_CANDIDATES = 5
_KEYS_A_WALK = 200
_FEW_WALKS = 4
_MOST_WALKS = 40
_EVENTS = {event.value: event for event in EventType}
_SOURCES = {source.value: source for source in Source}


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the log in which changes of a table may be missing; without an end it is still open."""

    id: int
    table: TableName
    after_id: int
    until_id: int | None
    timestamp: datetime
    until_timestamp: datetime | None
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a transaction besides its records."""

    reason: str | None = None
    context: Mapping[str, JsonValue] | None = None
    db_user: str | None = None
    client: str | None = None
    application: str | None = None


_NO_HEADER = Header()
_EVERYTHING = Selection()


class LogReader:
    """Reads one log over one connection, in whatever transaction the caller has open."""

    def __init__(self, connection: Connection, tables: LogTables, *, dialect: Dialect | None = None) -> None:
        self.connection = connection
        self.tables = tables
        self.dialect = dialect or dialect_named(connection.dialect.name)
        log = tables.changelog.c
        self._columns = (
            *(log.id, log.transaction_id, log.timestamp, log.actor, log.table_schema, log.table_name),
            *(log.row_id, log.old_row_id, log.event_type, log.source),
            # As text: `codec.load_images` parses both at once, and only of records that are wanted.
            *(type_coerce(log.before, Text).label("before_text"), type_coerce(log.after, Text).label("after_text")),
        )

    def changes(
        self,
        selection: Selection = _EVERYTHING,
        window: Window = ALL,
        *,
        after_id: int | None = None,
        until_id: int | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[Change]:
        """The selected changes in id order; `after_id` and `until_id` bound single records, the latter included."""
        criteria = self.criteria(selection, window, after_id, until_id)
        if criteria.exact:
            yield from self.records(criteria, newest_first=newest_first, limit=limit)
            return
        left = limit
        for change in self.records(criteria, newest_first=newest_first) if left != 0 else ():
            if matches(selection, change):
                yield change
                left = None if left is None else left - 1
                if left == 0:
                    return

    def change(self, change_id: int) -> Change:
        """One change; raises NotFound where there is no such id."""
        for change in self.records(Criteria((self.tables.changelog.c.id == change_id,))):
            return change
        raise self._no_such_change(change_id)

    def find_transaction(self, prefix: str) -> str:
        """The full id of the one transaction that begins so; raises NotFound, or UsageError with the candidates."""
        wanted = transaction_prefix(prefix)
        candidates = self._transactions_like(wanted)
        if wanted in candidates:
            return wanted
        if not candidates:
            raise NotFound(f"no transaction tx:{prefix}", hint="`audit log --transactions` lists them")
        if len(candidates) > 1:
            more = ", …" if len(candidates) > _CANDIDATES else ""
            words = ", ".join(f"tx:{candidate}" for candidate in candidates[:_CANDIDATES])
            raise UsageError(f"tx:{prefix} fits more than one transaction", hint=f"one of {words}{more}")
        return candidates[0]

    def transaction_changes(self, transaction_id: str) -> Iterator[Change]:
        """All changes of a transaction in id order."""
        return self.records(Criteria(ways=(self.tables.changelog.c.transaction_id == transaction_id,)))

    def transaction_span(self, transaction_id: str) -> tuple[int, int]:
        """A transaction's lowest and highest log id; raises NotFound where it has no records."""
        log = self.tables.changelog.c
        ends = select(func.min(log.id), func.max(log.id)).where(log.transaction_id == transaction_id)
        first, last = self.execute(ends).one()
        if last is None:
            raise NotFound(f"no transaction tx:{transaction_id}", hint="`audit log --transactions` lists them")
        return first, last

    def transactions(
        self,
        selection: Selection = _EVERYTHING,
        window: Window = ALL,
        *,
        after_id: int | None = None,
        until_id: int | None = None,
        sort: str = "time",
        limit: int | None = None,
    ) -> Iterator[Transaction]:
        """The transactions with selected changes, counting only those; newest or (`sort="rows"`) largest first."""
        criteria = self.criteria(selection, window, after_id, until_id)
        return summed_up(self, criteria, selection, sort=sort, limit=limit)

    def row_records(
        self, table: TableName, row_ids: Iterable[str], *, after_id: int = 0, window: Window = ALL
    ) -> Iterator[Change]:
        """All records of rows that stood at one of these keys, before or after, in id order."""
        keys = sorted(set(row_ids))
        log = self.tables.changelog.c
        bounds = window_conditions(self.connection, self.tables, window)
        criteria = Criteria((log.id > after_id, *self.in_table(table), *bounds))
        if len(keys) > _KEYS_A_WALK * _MOST_WALKS:
            return self._scan_for(criteria, frozenset(keys))
        batches = [keys[start : start + _KEYS_A_WALK] for start in range(0, len(keys), _KEYS_A_WALK)]
        return self._merged(
            Criteria(criteria.conditions, (log.row_id.in_(batch), log.old_row_id.in_(batch))) for batch in batches
        )

    def row_thread(self, row: RowKey) -> list[Change]:
        """All records of the row that stands at this key now, or stood there last, followed through key changes."""
        shape = self.table_shape(row.table)
        keys = {row.row_id}
        while True:
            records = list(self.row_records(row.table, keys))
            stories = threads(records, shape.primary_key if shape else ())
            ended_here = [story for story in stories if any(row.row_id in _keys(record) for record in story)]
            if not ended_here:
                return []
            story = max(ended_here, key=lambda story: max(r.id for r in story if row.row_id in _keys(r)))
            met = {key for record in story for key in _keys(record)}
            if met <= keys:
                return list(story)
            keys |= met

    def first_id(self) -> int:
        """The lowest log id; 0 for an empty log."""
        return self.scalar(select(func.min(self.tables.changelog.c.id))) or 0

    def last_id(self) -> int:
        """The highest log id; 0 for an empty log."""
        return self.scalar(select(func.max(self.tables.changelog.c.id))) or 0

    def id_at_or_before(self, boundary: int) -> int:
        """The highest log id up to a boundary; 0 where there is none."""
        log_id = self.tables.changelog.c.id
        return self.scalar(select(func.max(log_id)).where(log_id <= boundary)) or 0

    def last_id_stamped_before(self, moment: datetime) -> int:
        """The highest log id whose record was written before a moment; 0 where there is none."""
        log = self.tables.changelog.c
        return self.scalar(select(func.max(log.id)).where(log.timestamp < moment)) or 0

    def transaction_at(self, change_id: int) -> tuple[bool, str | None]:
        """Whether there is a record with this id, and its transaction."""
        log = self.tables.changelog.c
        found = self.execute(select(log.transaction_id).where(log.id == change_id)).first()
        return (False, None) if found is None else (True, found[0])

    def straddling(self, boundary: int) -> frozenset[str]:
        """The transactions that have records on both sides of a boundary."""
        log = self.tables.changelog.c
        if self.dialect.log_ids_follow_commits:
            nearest = (
                select(log.transaction_id).where(log.id <= boundary).order_by(log.id.desc()).limit(1),
                select(log.transaction_id).where(log.id > boundary).order_by(log.id).limit(1),
            )
            before, after = (self.scalar(statement) for statement in nearest)
            return frozenset({before} if before is not None and before == after else ())
        earlier = self.tables.changelog.alias().c
        began_before = select(earlier.id).where(earlier.transaction_id == log.transaction_id, earlier.id <= boundary)
        both = select(log.transaction_id).where(log.id > boundary, began_before.exists()).distinct()
        return frozenset(self.execute(both).scalars())

    def tracked_tables(self) -> list[TableName]:
        """The tables that the log knows, by their shapes or by their records."""
        shapes = self.tables.table_shape.c
        known = {
            TableName(name, schema)
            for name, schema in self.execute(select(shapes.table_name, shapes.table_schema).distinct())
        }
        return sorted(known | self._recorded_tables({table.name for table in known}), key=str)

    def tables_and_keys(self) -> dict[TableName, tuple[str, ...]]:
        """The tables that the log knows with their primary keys, as the words of selections and rows need them."""
        shapes = {table: self.table_shape(table) for table in self.tracked_tables()}
        return {table: shape.primary_key if shape else () for table, shape in shapes.items()}

    def in_table(self, table: TableName) -> tuple[Condition, ...]:
        """The conditions that a record of the table meets; served by the index alone, where they can be."""
        log = self.tables.changelog.c
        by_name = log.table_name == table.name
        if [other.schema for other in self._known_tables if other.name == table.name] == [table.schema]:
            return (by_name,)
        return (by_name, log.table_schema.is_not_distinct_from(table.schema))

    def table_shape(self, table: TableName, at_id: int | None = None) -> TableShape | None:
        """The table as it was at a boundary, or is now; None where the log does not know it yet."""
        shapes = self.tables.table_shape.c
        statement = (
            select(shapes.shape)
            .where(shapes.table_name == table.name, shapes.table_schema.is_not_distinct_from(table.schema))
            .order_by(shapes.after_id.desc(), shapes.id.desc())
            .limit(1)
        )
        if at_id is not None:
            statement = statement.where(shapes.after_id <= at_id)
        stored = self.scalar(statement)
        return None if stored is None else TableShape.from_json(stored)

    def undo_runs(self, transaction_ids: Iterable[str]) -> Mapping[str, UndoEntry]:
        """What those of the transactions that are an undo or a redo took back."""
        return undo_entries(self, transaction_ids)

    def last_undo(self, actor: str | None) -> UndoEntry | None:
        """The newest undo of this actor that no redo has taken back."""
        return last_undo_of(self, actor)

    @cached_property
    def _known_tables(self) -> list[TableName]:
        return self.tracked_tables()

    def gaps(
        self, *, after_id: int = 0, until_id: int | None = None, tables: Iterable[TableName] | None = None
    ) -> list[Gap]:
        """The recorded gaps that reach into a stretch of the log, of all tables or of some, oldest first."""
        gap = self.tables.gap.c
        statement = select(*gap).where(or_(gap.until_id.is_(None), gap.until_id >= after_id)).order_by(gap.id)
        if until_id is not None:
            statement = statement.where(gap.after_id <= until_id)
        wanted = None if tables is None else frozenset(tables)
        found = (_gap(row) for row in self.execute(statement))
        return [each for each in found if wanted is None or each.table in wanted]

    def log_uuid(self) -> str:
        """The log's own identity."""
        meta = self.tables.meta.c
        found = self.scalar(select(meta.value).where(meta.name == "uuid"))
        if found is None:
            raise LogError(
                f"the log {self.tables.changelog_name} does not say which one it is", hint="run `audit init` to mend it"
            )
        return str(found)

    def headers(self, transaction_ids: Iterable[str]) -> dict[str, Header]:
        """Reason, context and origin of transactions; one that has none is left out."""
        header = self.tables.transaction.c
        columns = (
            *(header.transaction_id, header.reason, header.context),
            *(header.db_user, header.client, header.application),
        )
        found: dict[str, Header] = {}
        for batch in self.batches(sorted(set(transaction_ids))):
            # No unique key keeps a transaction from having two of these: the first one written counts.
            statement = select(*columns).where(header.transaction_id.in_(batch)).order_by(header.id)
            for transaction_id, *known in self.execute(statement):
                found.setdefault(transaction_id, Header(*known))
        return found

    def execute(self, statement: Executable) -> Result[*tuple[Any, ...]]:
        """Run a statement that reads."""
        return self.connection.execute(statement)

    def scalar(self, statement: Executable) -> Any:
        """The one value that a statement reads, None without a row."""
        return self.execute(statement).scalar()

    def batches(self, values: Sequence[str]) -> Iterator[Sequence[str]]:
        """The values in parts that fit into one statement."""
        size = self.dialect.most_marks
        return (values[start : start + size] for start in range(0, len(values), size))

    def criteria(
        self,
        selection: Selection,
        window: Window = ALL,
        after_id: int | None = None,
        until_id: int | None = None,
    ) -> Criteria:
        """What a record has to meet for the database to say that it may be selected."""
        log_id = self.tables.changelog.c.id
        bounds = window_conditions(self.connection, self.tables, window)
        if after_id is not None:
            bounds.append(log_id > after_id)
        if until_id is not None:
            bounds.append(log_id <= until_id)
        return criteria_of(self.connection, self.tables, selection).also(*bounds)

    def records(
        self, criteria: Criteria, *, newest_first: bool = False, limit: int | None = None, page: int = PAGE
    ) -> Iterator[Change]:
        """The changes that meet conditions of SQL."""
        pages = read_pages(
            self.connection, self.tables, self._columns, criteria, newest_first=newest_first, limit=limit, page=page
        )
        for rows in pages:
            yield from self._changes_of(rows)

    def _changes_of(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> Iterator[Change]:
        headers = self.headers(row[1] for row in rows if row[1] is not None)
        for row in rows:
            yield _change(row, headers.get(row[1], _NO_HEADER))

    def _merged(self, parts: Iterable[Criteria]) -> Iterator[Change]:
        """The records of several walks in id order, each once."""
        every = list(parts)
        page = PAGE if len(every) <= _FEW_WALKS else PAGE // 5
        walks = [self.records(criteria, page=page) for criteria in every]
        last_id = 0
        for change in heapq.merge(*walks, key=lambda change: change.id):
            if change.id != last_id:
                yield change
            last_id = change.id

    def _scan_for(self, criteria: Criteria, keys: frozenset[str]) -> Iterator[Change]:
        """The records of very many rows: one walk along the log instead of many along the index."""
        for rows in read_pages(self.connection, self.tables, self._columns, criteria):
            wanted = [row for row in rows if row.row_id in keys or row.old_row_id in keys]
            yield from self._changes_of(wanted)

    def _recorded_tables(self, known: Set[str]) -> set[TableName]:
        """The tables of records whose name is not known, name by name along the index instead of over all records."""
        log = self.tables.changelog.c
        found: set[TableName] = set()
        name = self.scalar(select(func.min(log.table_name)))
        while name is not None:
            if name not in known:
                schemas = select(log.table_schema).where(log.table_name == name).distinct()
                found |= {TableName(name, schema) for schema in self.execute(schemas).scalars()}
            name = self.scalar(select(func.min(log.table_name)).where(log.table_name > name))
        return found

    def _transactions_like(self, prefix: str) -> list[str]:
        transaction_id = self.tables.changelog.c.transaction_id
        # A UUID is written in 0-9, a-f and dashes, so `g` sorts after whatever may follow.
        statement = (
            select(transaction_id)
            .where(transaction_id >= prefix, transaction_id < prefix + "g")
            .where(func.substr(transaction_id, 1, len(prefix)) == prefix)
            .distinct()
            .order_by(transaction_id)
            .limit(_CANDIDATES + 1)
        )
        return list(self.execute(statement).scalars())

    def _no_such_change(self, change_id: int) -> NotFound:
        first, last = self.first_id(), self.last_id()
        held = f"the log holds {first} to {last}" if last else "the log is empty"
        return NotFound(f"no change {change_id}", hint=held)


def _change(row: Row[*tuple[Any, ...]], header: Header) -> Change:
    (change_id, transaction_id, timestamp, actor, schema, name, row_id, old_row_id, event, source, before, after) = row
    old, new = codec.load_images(before, after)
    return Change(
        id=change_id,
        timestamp=timestamp,
        table=_table(name, schema),
        row_id=row_id,
        event_type=_EVENTS[event],
        before=old,
        after=new,
        transaction_id=transaction_id,
        actor=actor,
        old_row_id=old_row_id,
        source=_SOURCES[source],
        reason=header.reason,
        context=header.context or {},
    )


@lru_cache(maxsize=1024)
def _table(name: str, schema: str | None) -> TableName:
    return TableName(name, schema)


def _keys(record: Change) -> set[str]:
    return {key for key in (record.row_id, record.old_row_id) if key is not None}


def _gap(row: Row[*tuple[Any, ...]]) -> Gap:
    return Gap(
        id=row.id,
        table=TableName(row.table_name, row.table_schema),
        after_id=row.after_id,
        until_id=row.until_id,
        timestamp=row.timestamp,
        until_timestamp=row.until_timestamp,
        actor=row.actor,
        reason=row.reason,
    )
