"""Which records of the log, as SQL: read page by page after the last id, so that memory stays flat at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, union_all

from auditcli.log.tables import LogTables

PAGE = 500
"""How many records one page holds."""

Columns = Sequence[ColumnElement[Any]]
Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Window:
    """The transactions whose highest id is after `since_id` and not after `until_id`, each with all of its records.

    `carried` are those that began at or before `since_id`, `left_out` those that go on after `until_id`.
    """

    since_id: int = 0
    until_id: int | None = None
    carried: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()


ALL = Window()
"""The whole log."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a record has to meet: every condition and, where there are `ways`, at least one of them.

    Each way is a condition that an index serves by itself. `exact` says that nothing is left to test in Python.
    """

    conditions: tuple[Condition, ...] = ()
    ways: tuple[Condition, ...] = ()
    exact: bool = True

    def also(self, *conditions: Condition) -> Criteria:
        """These criteria and further conditions."""
        return replace(self, conditions=(*self.conditions, *conditions))

    def where(self) -> Condition:
        """Everything as one condition, for counting."""
        ways = (or_(*self.ways),) if self.ways else ()
        return and_(True, *self.conditions, *ways)


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column in a form that no index serves: pages are read in id order, and sorting each of them is quadratic."""
    return func.coalesce(column, "")


def read_pages(
    connection: Connection,
    tables: LogTables,
    columns: Columns,
    criteria: Criteria,
    *,
    newest_first: bool = False,
    limit: int | None = None,
    page: int = PAGE,
    fetch: Callable[[Select[Any]], Sequence[Any]] | None = None,
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """The records in id order, a page at a time; the first of `columns` is the id.

    `fetch` runs the query of a page in a way of its own.
    """
    fetch = fetch or (lambda statement: connection.execute(statement).all())
    log_id = tables.changelog.c.id
    last_id: int | None = None
    left = limit
    while left is None or left > 0:
        size = page if left is None else min(page, left)
        further = criteria if last_id is None else criteria.also(log_id < last_id if newest_first else log_id > last_id)
        rows = fetch(_page(tables, columns, further, newest_first, size))
        if rows:
            yield rows
            last_id = rows[-1][0]
        if len(rows) < size:
            return
        left = None if left is None else left - len(rows)


def _page(tables: LogTables, columns: Columns, criteria: Criteria, newest_first: bool, size: int) -> Select[Any]:
    log_id = tables.changelog.c.id
    order = log_id.desc() if newest_first else log_id.asc()
    statement = select(*columns).order_by(order).limit(size)
    if len(criteria.ways) < 2:
        return statement.where(*criteria.conditions, *criteria.ways)
    # One short index walk a way; OR would make the database sort all that any of them matches, for every page.
    walks = [
        select(select(log_id).where(way, *criteria.conditions).order_by(order).limit(size).subquery().c.id)
        for way in criteria.ways
    ]
    return statement.where(log_id.in_(union_all(*walks).scalar_subquery()))


def window_conditions(connection: Connection, tables: LogTables, window: Window) -> list[Condition]:
    """The conditions that a record of the window meets."""
    log = tables.changelog.c
    transaction_id = unindexed(log.transaction_id)
    conditions: list[Condition] = []
    if window.carried:
        lowest = select(func.min(log.id)).where(log.transaction_id.in_(window.carried))
        conditions.append(log.id >= connection.scalar(lowest))
        conditions.append(or_(log.id > window.since_id, transaction_id.in_(window.carried)))
    elif window.since_id:
        conditions.append(log.id > window.since_id)
    if window.until_id is not None:
        conditions.append(log.id <= window.until_id)
    if window.left_out:
        conditions.append(transaction_id.not_in(window.left_out))
    return conditions
