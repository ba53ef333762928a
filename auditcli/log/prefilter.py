"""What of a selection the database can test by itself, cheaply and without getting it wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import isqrt
from typing import TypeVar

from sqlalchemy import Connection, and_, func, literal, not_, or_, select

from auditcli import codec
from auditcli.filters.rowword import RowWord
from auditcli.log.query import PAGE, Condition, Criteria, unindexed
from auditcli.log.tables import LogTables
from auditcli.model import EventType, TableName
from auditcli.selection import Alternatives, Selection

T = TypeVar("T")

_FEW = 5_000
_MOST_WAYS = 40
_UUID_LENGTH = 36
_AFTER_DIGITS = "g"
"""Sorts after whatever may follow in a UUID: 0-9, a-f and dashes."""

_STEPS = frozenset(EventType) - {EventType.SNAPSHOT}


def asks_for_tables_only(selection: Selection) -> bool:
    """Whether every change of some tables is selected, so that no row's changes can have holes."""
    others = (selection.ids, selection.transactions, selection.rows, selection.columns, selection.actors)
    return not any((*others, selection.cells, selection.texts)) and selection.event_types >= _STEPS


def criteria_of(connection: Connection, tables: LogTables, selection: Selection) -> Criteria:
    """Criteria that every selected record meets; `exact` where no other record does."""
    return _Prefilter(connection, tables).criteria(selection)


class _Prefilter:
    def __init__(self, connection: Connection, tables: LogTables) -> None:
        self._connection = connection
        self._log = tables.changelog.c

    def criteria(self, selection: Selection) -> Criteria:
        ways = self._ways(selection)
        conditions = list(self._cheap(selection))
        tables = list(self._of_tables(selection.tables))
        if not ways and selection.tables.any_of and self._are_rare(selection.tables.any_of):
            ways = [or_(*(self._of_table(table, indexed=True) for table in selection.tables.any_of))]
        conditions += tables
        if len(ways) > _MOST_WAYS:
            conditions.append(or_(*ways))
            ways = []
        actors = (*selection.actors.any_of, *selection.actors.none_of)
        row_ids = [row_id for row in selection.rows.any_of for row_id in row.row_ids]
        has_long_keys = any(map(codec.is_shortened, map(codec.look_up_key, row_ids)))
        exact = not (
            selection.looks_at_images or selection.rows.none_of or has_long_keys or any(map(_needs_python, actors))
        )
        return Criteria(tuple(conditions), tuple(ways), exact)

    def _ways(self, selection: Selection) -> list[Condition]:
        """The most selective of what an index serves; what else of it there is stands among the conditions."""
        if selection.ids.any_of:
            return [self._log.id.in_(selection.ids.any_of)]
        if selection.transactions.any_of:
            return [self._in_transaction(prefix) for prefix in selection.transactions.any_of]
        return list(self._in_rows(selection.rows.any_of))

    def _cheap(self, selection: Selection) -> Iterator[Condition]:
        log = self._log
        if selection.ids.none_of:
            yield log.id.not_in(selection.ids.none_of)
        if selection.ids.any_of and selection.transactions.any_of:
            yield or_(*map(self._in_transaction, selection.transactions.any_of))
        if selection.rows.any_of and (selection.ids.any_of or selection.transactions.any_of):
            yield or_(*self._in_rows(selection.rows.any_of))
        for prefix in selection.transactions.none_of:
            yield func.substr(unindexed(log.transaction_id), 1, len(prefix)) != prefix
        if selection.event_types != frozenset(EventType):
            yield log.event_type.in_(sorted(selection.event_types))
        yield from _alternatives(selection.actors, self._by_actor)

    def _of_tables(self, words: Alternatives[TableName]) -> Iterator[Condition]:
        if words.any_of:
            yield or_(*(self._of_table(table, indexed=False) for table in words.any_of))
        yield from (not_(self._of_table(table, indexed=False)) for table in words.none_of)

    def _of_table(self, table: TableName, *, indexed: bool) -> Condition:
        name = self._log.table_name if indexed else unindexed(self._log.table_name)
        return and_(name == table.name, self._log.table_schema.is_not_distinct_from(table.schema))

    def _are_rare(self, tables: Iterable[TableName]) -> bool:
        """Whether the tables have so few records that an index is the better way to all of them.

        It would be sorted anew for every page: their number squared, by the page, against all records looked at once.
        """
        log = self._log
        most = max(_FEW, isqrt(PAGE * (self._connection.scalar(select(func.max(log.id))) or 0)))
        some = select(literal(1)).where(log.table_name.in_([table.name for table in tables])).limit(most + 1)
        return (self._connection.scalar(select(func.count()).select_from(some.subquery())) or 0) <= most

    def _in_transaction(self, prefix: str) -> Condition:
        transaction_id = self._log.transaction_id
        if len(prefix) >= _UUID_LENGTH:
            return transaction_id == prefix
        return and_(transaction_id >= prefix, transaction_id < prefix + _AFTER_DIGITS)

    def _in_rows(self, rows: Iterable[RowWord]) -> Iterator[Condition]:
        log = self._log
        for row in rows:
            table = (log.table_name == row.table.name, log.table_schema.is_not_distinct_from(row.table.schema))
            for held in map(codec.look_up_key, row.row_ids):
                yield and_(*table, log.row_id == held)
                yield and_(*table, log.old_row_id == held)

    def _by_actor(self, pattern: str) -> Condition | None:
        actor = unindexed(self._log.actor)
        if _needs_python(pattern):
            return None
        if not pattern.endswith("*"):
            return actor == pattern
        prefix = pattern[:-1]
        return and_(actor != "", func.substr(actor, 1, len(prefix)) == prefix)


def _needs_python(pattern: str) -> bool:
    """Whether a pattern has a `*` that is not its only one, at its end."""
    return "*" in pattern[:-1]


def _alternatives(words: Alternatives[T], test: Callable[[T], Condition | None]) -> Iterator[Condition]:
    """One of the wanted and none of the unwanted, as far as the database can tell."""
    wanted = [condition for condition in map(test, words.any_of) if condition is not None]
    if wanted and len(wanted) == len(words.any_of):
        yield or_(*wanted)
    for word in words.none_of:
        condition = test(word)
        if condition is not None:
            yield not_(condition)
