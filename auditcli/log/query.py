"""Which records of the log, as SQL: read page by page after the last id, so that memory stays flat at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, union_all

from auditcli.log.tables import LogTables
from auditcli.log.walk import Span, Walk, Watch, nobody_watches

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

    Each way is a condition that an index serves by itself. `exact` says that nothing is left to test in Python. `span`
    bounds the ids of all such records, where that is known: without ways they are then looked for stretch by stretch.
    """

    conditions: tuple[Condition, ...] = ()
    ways: tuple[Condition, ...] = ()
    exact: bool = True
    span: Span | None = None

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
    page: int | Callable[[], int] = PAGE,
    watch: Watch = nobody_watches,
    fetch: Callable[[Select[Any]], Sequence[Any]] | None = None,
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """The records in id order, a page at a time; the first of `columns` is the id.

    `fetch` runs the query of a page in a way of its own; `page` may say before each how many records it holds.
    """
    size_of = page if callable(page) else lambda: page
    fetch = fetch or (lambda statement: connection.execute(statement).all())
    if criteria.span is not None and not criteria.ways:
        walk = Walk(connection, tables.changelog.c.id, criteria.span, newest_first=newest_first, watch=watch)
        yield from _pages_along(walk, fetch, tables, columns, criteria, newest_first, limit, size_of)
        return
    log_id = tables.changelog.c.id
    last_id: int | None = None
    left = limit
    while left is None or left > 0:
        size = size_of() if left is None else min(size_of(), left)
        further = criteria if last_id is None else criteria.also(log_id < last_id if newest_first else log_id > last_id)
        rows = fetch(_page(tables, columns, further, newest_first, size))
        if rows:
            yield rows
            last_id = rows[-1][0]
        if len(rows) < size:
            return
        left = None if left is None else left - len(rows)


def read_aggregates(
    connection: Connection,
    tables: LogTables,
    statement: Select[Any],
    criteria: Criteria,
    *,
    watch: Watch = nobody_watches,
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of a statement that counts records; those of one group may come several times, and add up."""
    if criteria.span is None or criteria.ways:
        yield from connection.execute(statement.where(criteria.where()))
        return
    walk = Walk(connection, tables.changelog.c.id, criteria.span, watch=watch)
    while not walk.is_over:
        first, last = walk.stretch()
        inside = criteria.also(tables.changelog.c.id.between(first, last))
        with walk.looking():
            rows = connection.execute(statement.where(inside.where())).all()
        walk.reached(last)
        yield from rows
        if not rows:
            walk.skip_gap()


def _pages_along(
    walk: Walk,
    fetch: Callable[[Select[Any]], Sequence[Any]],
    tables: LogTables,
    columns: Columns,
    criteria: Criteria,
    newest_first: bool,
    limit: int | None,
    size_of: Callable[[], int],
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """Each page as soon as it is found: full, or all that one stretch has of it."""
    left = limit
    while not walk.is_over and (left is None or left > 0):
        size = size_of() if left is None else min(size_of(), left)
        first, last = walk.stretch()
        inside = criteria.also(tables.changelog.c.id.between(first, last))
        with walk.looking():
            rows = fetch(_page(tables, columns, inside, newest_first, size))
        is_full = len(rows) == size
        walk.reached(rows[-1][0] if is_full else first if newest_first else last)
        if rows:
            yield rows
        else:
            walk.skip_gap()
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
