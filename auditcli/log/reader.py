"""The one reader of the change log: changes, transactions, rows, table shapes, undo links and gaps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Executable, Result, func, or_, select

from auditcli import codec
from auditcli.dialects import Dialect
from auditcli.driver import dialect_of
from auditcli.errors import LogError, NotFound, UsageError
from auditcli.log.images import ReadImages, SpellRecords, image_spelling, images_reader
from auditcli.log.meta import read_meta
from auditcli.log.prefilter import criteria_of
from auditcli.log.query import ALL, PAGE, Condition, Criteria, Window, read_pages, window_conditions
from auditcli.log.records import NO_HEADER, Gap, Header, change_of, gap_of, record_columns, table_of
from auditcli.log.row_records import records_of_rows, thread_of
from auditcli.log.tables import LogTables
from auditcli.log.transactions import summed_up
from auditcli.log.undo_links import UndoEntry, standing_undos, takers_back, undo_entries, whose_records
from auditcli.log.walk import Span, Watch, nobody_watches
from auditcli.model import Change, EventType, RowKey, TableName, Transaction
from auditcli.position import transaction_prefix
from auditcli.selection import Selection, matches
from auditcli.shape import TableShape

__all__ = ["ALL", "Gap", "Header", "LogReader", "UndoEntry", "Window"]

_CANDIDATES = 5
_NEAREST = 10_000
"""So many records may be stamped out of the order of their ids."""

_EVERYTHING = Selection()


class LogReader:
    """Reads one log over one connection, in whatever transaction the caller has open."""

    def __init__(self, connection: Connection, tables: LogTables, *, dialect: Dialect | None = None) -> None:
        self.connection = connection
        self.tables = tables
        self.dialect = dialect or dialect_of(connection)
        self.columns = record_columns(tables)
        self.watch: Watch = nobody_watches
        self._images_of: dict[TableName, ReadImages] = {}

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
        for change in self.records(Criteria(ways=(self.tables.changelog.c.id == change_id,))):
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
        return self.records(self.transaction_criteria(transaction_id))

    def transaction_criteria(self, transaction_id: str) -> Criteria:
        """What every record of a transaction meets, and no other."""
        return Criteria(ways=(self.tables.changelog.c.transaction_id == transaction_id,))

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
        return records_of_rows(self, table, row_ids, after_id=after_id, window=window)

    def row_thread(self, row: RowKey) -> list[Change]:
        """All records of the row that stands at this key now, or stood there last, followed through key changes."""
        return thread_of(self, row)

    def first_id(self) -> int:
        """The lowest log id; 0 for an empty log."""
        return self.scalar(select(func.min(self.tables.changelog.c.id))) or 0

    def last_id(self) -> int:
        """The highest log id; 0 for an empty log."""
        return self.scalar(select(func.max(self.tables.changelog.c.id))) or 0

    def has_more_changes_than(self, count: int) -> bool:
        """Whether the log has more changes, snapshots left out."""
        log = self.tables.changelog.c
        some = select(log.id).where(log.event_type != EventType.SNAPSHOT.value).limit(count + 1).subquery()
        return (self.scalar(select(func.count()).select_from(some)) or 0) > count

    def id_at_or_before(self, boundary: int) -> int:
        """The highest log id up to a boundary; 0 where there is none."""
        log_id = self.tables.changelog.c.id
        return self.scalar(select(func.max(log_id)).where(log_id <= boundary)) or 0

    def last_id_stamped_before(self, moment: datetime) -> int:
        """The highest log id whose record was written before a moment; 0 where there is none."""
        log = self.tables.changelog.c
        earlier = select(log.id).where(log.timestamp < moment)
        # Ids and times grow together but for what was written at once: these are not searched, the index gives them.
        nearest = earlier.order_by(log.timestamp.desc(), log.id.desc()).limit(_NEAREST).subquery()
        return self.scalar(select(func.max(nearest.c.id))) or 0

    def stamped_late(self, moment: datetime, boundary: int) -> int | None:
        """The id of a record up to a boundary that was stamped after the moment, as far as the nearest tell."""
        log = self.tables.changelog.c
        later = select(log.id).where(log.timestamp > moment).order_by(log.timestamp, log.id).limit(_NEAREST).subquery()
        found: int | None = self.scalar(select(func.max(later.c.id)).where(later.c.id <= boundary))
        return found

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
        other = self.tables.changelog.alias().c
        here, there = log.id > boundary, other.id <= boundary
        # Every transaction on one side has to be asked: on the shorter one.
        if self.last_id() - boundary > boundary - self.first_id():
            here, there = log.id <= boundary, other.id > boundary
        asked = select(log.transaction_id).where(here, log.transaction_id.is_not(None)).distinct().subquery()
        # A value and no EXISTS: that would be answered by sorting the whole of the longer side.
        elsewhere = select(other.id).where(other.transaction_id == asked.c.transaction_id, there).limit(1)
        both = select(asked.c.transaction_id).where(elsewhere.scalar_subquery().is_not(None))
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

    def images_of(self, table: TableName) -> ReadImages:
        """A function that reads images of the table."""
        known = self._images_of.get(table)
        if known is None:
            epochs = self.epochs(table) if self.dialect.images_need_types else ()
            known = self._images_of[table] = images_reader(self.dialect, epochs)
        return known

    def image_spelling(self, table: TableName) -> SpellRecords:
        """A function that gives the texts which `codec.dump` makes of images of the table, where that is certain."""
        epochs = self.epochs(table) if self.dialect.images_need_types else ()
        return image_spelling(self.dialect, epochs)

    def epochs(self, table: TableName) -> list[tuple[int, TableShape]]:
        """The shapes that the table had, in order, each with the log id after which it was noticed."""
        shapes = self.tables.table_shape.c
        statement = (
            select(shapes.after_id, shapes.shape)
            .where(shapes.table_name == table.name, shapes.table_schema.is_not_distinct_from(table.schema))
            .order_by(shapes.after_id, shapes.id)
        )
        return [(after_id, TableShape.from_json(stored)) for after_id, stored in self.execute(statement)]

    def undo_runs(self, transaction_ids: Iterable[str]) -> Mapping[str, UndoEntry]:
        """What those of the transactions that are an undo or a redo took back."""
        return undo_entries(self, transaction_ids)

    def taken_back_of(self, entry: UndoEntry) -> list[str | None]:
        """The transactions whose records an undo or redo took back, None for records that have none."""
        return whose_records(self, entry)

    def taken_back_by(self, change_ids: Collection[int]) -> list[UndoEntry]:
        """The undos and redos that took back some of these records, oldest first."""
        return takers_back(self, change_ids)

    def standing_undos(self, actor: str | None) -> Iterator[tuple[UndoEntry, bool]]:
        """The undos of this actor that no redo has taken back, newest first, and whether one did so in part."""
        return standing_undos(self, actor)

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
        found = (gap_of(row) for row in self.execute(statement))
        return [each for each in found if wanted is None or each.table in wanted]

    def log_uuid(self) -> str:
        """The log's own identity."""
        found = read_meta(self.connection, self.tables, "uuid")
        if found is None:
            raise LogError(
                f"the log {self.tables.changelog_name} does not say which one it is", hint="run `audit init` to mend it"
            )
        return found

    def headers(self, transaction_ids: Iterable[str]) -> dict[str, Header]:
        """Reason, context and origin of transactions; one that has none is left out."""
        header = self.tables.transaction.c
        columns = (
            *(header.transaction_id, header.reason, header.context),
            *(header.db_user, header.client, header.application),
        )
        found: dict[str, Header] = {}
        for batch in self.batches(sorted(set(transaction_ids))):
            # A transaction has another one for what its context said later.
            statement = select(*columns).where(header.transaction_id.in_(batch)).order_by(header.id)
            for transaction_id, *known in self.execute(statement):
                earlier, said = found.get(transaction_id), Header(*known)
                found[transaction_id] = said if earlier is None else earlier.amended(said)
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
        # What was carried into the window begins before it.
        begins_at = 0 if window.carried else window.since_id
        span = Span(begins_at, window.until_id).narrowed(after_id, until_id)
        if after_id is not None:
            bounds.append(log_id > after_id)
        if until_id is not None:
            bounds.append(log_id <= until_id)
        return replace(criteria_of(self.connection, self.tables, selection).also(*bounds), span=span)

    def records(
        self, criteria: Criteria, *, newest_first: bool = False, limit: int | None = None, page: int = PAGE
    ) -> Iterator[Change]:
        """The changes that meet conditions of SQL."""
        pages = read_pages(
            self.connection,
            self.tables,
            self.columns,
            criteria,
            newest_first=newest_first,
            limit=limit,
            page=page,
            watch=self.watch,
        )
        for rows in pages:
            yield from self.changes_of(rows)

    def changes_of(self, rows: Sequence[Sequence[Any]]) -> Iterator[Change]:
        """The changes that these records are, with what is known of their transactions."""
        headers = self.headers(row[1] for row in rows if row[1] is not None)
        for row in rows:
            change = change_of(row, headers.get(row[1], NO_HEADER), self.images_of(table_of(row[5], row[4])))
            is_short = not (codec.is_shortened(change.row_id) or codec.is_shortened(change.old_row_id))
            yield change if is_short else self._with_whole_keys(change)

    def _with_whole_keys(self, change: Change) -> Change:
        """The change with its keys as its images have them, which the record holds only the beginnings of."""
        shapes = (self.table_shape(change.table), self.table_shape(change.table, change.id))
        keys = [shape.primary_key for shape in shapes if shape is not None]
        whole = next((key for key in keys if set(key) <= change.image.keys()), ())
        row_id, old_row_id = (codec.row_id_of(image or {}, whole) for image in (change.image, change.before))
        if row_id is None:
            return change
        # What the log holds of two keys may be the same.
        return replace(change, row_id=row_id, old_row_id=None if old_row_id == row_id else old_row_id)

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
