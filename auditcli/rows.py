"""The one reader of the user's rows: as they are now, through the same codec as the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli import codec
from auditcli.dialects import Dialect, Fragment
from auditcli.driver import ValueReading, run
from auditcli.fold import Absent, Value
from auditcli.model import Image, JsonValue, TableName
from auditcli.plan import Step, StepKind
from auditcli.shape import TableShape

KeyValues: TypeAlias = tuple[JsonValue, ...]

Word: TypeAlias = int | str
"""Stands for values in a dict or set: equal for the same ones, and only for those."""

_IMAGES_A_QUERY = 20
_ROWS_A_UNION = 100


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row as it is now: where it lies, its stored values as the driver gives them, and its image."""

    locator: tuple[Any, ...]
    values: tuple[Any, ...]
    image: Image

    def has(self, column: str, value: Value) -> bool:
        """Whether it holds exactly this value."""
        return column in self.image and not isinstance(value, Absent) and codec.same(self.image[column], value)


class RowReader:
    """Reads rows of one database over one connection, in whatever transaction the caller has open.

    A reader that locks keeps the rows that it finds from others until the transaction ends, and finds the latest ones.
    """

    def __init__(self, connection: Connection, dialect: Dialect, *, locking: bool = False) -> None:
        self.connection = connection
        self.dialect = dialect
        self._locking = locking
        self._reading = ValueReading(connection, dialect)

    def page(
        self, shape: TableShape, after: tuple[Any, ...] | None, size: int, *, keeping: bool = False
    ) -> list[LiveRow]:
        """The next rows in the order of their locators; `keeping` keeps others from changing them meanwhile."""
        lock = self.dialect.row_share_sql if keeping else ""
        width = len(shape.locator)
        page_sql = partial(self.dialect.page_sql, shape, size, after=after is not None, lock=lock)
        sql, as_bytes = page_sql(as_bytes=False), page_sql(as_bytes=True)
        return [
            LiveRow(row[:width], row[width:], self._image(shape, row[width:]))
            for row in self._read(shape, sql, as_bytes, after or ())
        ]

    def all_of(self, shape: TableShape, size: int = 1000) -> Iterator[LiveRow]:
        """Every row, page by page; a table whose rows have no place is read at once."""
        place: tuple[Any, ...] | None = None
        while page := self.page(shape, place, size if shape.locator else 2**31):
            yield from page
            place = page[-1].locator
            if len(page) < size or not shape.locator:
                return

    def with_values(self, shape: TableShape, columns: Sequence[str], wanted: Iterable[KeyValues]) -> Iterator[LiveRow]:
        """The rows that the database finds by these values of some columns; they may be equal and not the same."""
        distinct = {value_word(values): values for values in wanted if None not in values}
        size = max(1, self.dialect.most_marks // max(1, len(columns)))
        found = list(distinct.values())
        if self._locking and len(found) > size:
            # In one order by all, or two that lock the same rows might wait for each other.
            found.sort(key=_place_in_order)
        for start in range(0, len(found), size):
            condition = self._one_of(shape, columns, found[start : start + size])
            yield from self.matching(shape, condition)

    def are_equal_to(
        self, shape: TableShape, columns: Sequence[str], values: KeyValues, others: Iterable[KeyValues]
    ) -> bool:
        """Whether the database takes some of the others for these values, by the columns' types and collations."""
        dialect = self.dialect
        shapes = [shape.known_column(column) for column in columns]
        names = [dialect.quote(column) for column in columns]
        # A union takes types and collations from its first part.
        typed = f"SELECT {', '.join(names)} FROM {dialect.table_sql(shape.table)} WHERE 1 = 0"
        wanted = [dialect.bind(*pair) for pair in zip(values, shapes, strict=True)]
        same = " AND ".join(f"r.{name} = {part.sql}" for name, part in zip(names, wanted, strict=True))
        listed = list(others)
        for start in range(0, len(listed), _ROWS_A_UNION):
            rows = [map(dialect.bind, row, shapes) for row in listed[start : start + _ROWS_A_UNION]]
            parts = [list(row) for row in rows]
            union = " UNION ALL ".join([typed, *(f"SELECT {', '.join(part.sql for part in row)}" for row in parts)])
            marks = chain.from_iterable(part.values for part in chain(*parts, wanted))
            found = self._fetch(f"SELECT COUNT(*) FROM ({union}) AS r WHERE {same}", tuple(marks))
            if found[0][0]:
                return True
        return False

    def at_keys(self, shape: TableShape, keys: Iterable[Image]) -> dict[Word, LiveRow]:
        """The rows with exactly these primary keys, by `key_word`."""
        columns = shape.primary_key
        wanted = [tuple(key[column] for column in columns) for key in keys if all(column in key for column in columns)]
        words = {value_word(values) for values in wanted}
        rows = self.with_values(shape, columns, wanted)
        found = {key_word(row.image, columns): row for row in rows}
        return {word: row for word, row in found.items() if word in words}

    def equal_to(self, shape: TableShape, images: Iterable[Image]) -> dict[str, list[LiveRow]]:
        """The rows that have these values in each column, for tables without a key; by `image_word`."""
        wanted = {image_word(image): image for image in images}
        listed = list(wanted.values())
        found: dict[str, list[LiveRow]] = {}
        for start in range(0, len(listed), _IMAGES_A_QUERY):
            part = listed[start : start + _IMAGES_A_QUERY]
            for row in self.matching(shape, _any_of([guards(self.dialect, shape, image) for image in part])):
                for image in part:
                    if all(codec.same(row.image[column], value) for column, value in image.items()):
                        found.setdefault(image_word(image), []).append(row)
        return found

    def of_steps(self, steps: Sequence[Step], shape_of: Callable[[TableName], TableShape]) -> list[LiveRow | None]:
        """For each step the row that it is about; None for an INSERT and where the row is gone."""
        by_table: dict[TableName, list[int]] = {}
        for at, step in enumerate(steps):
            if step.kind is not StepKind.INSERT:
                by_table.setdefault(step.table, []).append(at)
        live: list[LiveRow | None] = [None] * len(steps)
        for table, places in sorted(by_table.items(), key=lambda item: str(item[0])):
            for at, row in zip(places, self._at(shape_of(table), [steps[at].key for at in places]), strict=True):
                live[at] = row
        return live

    def _at(self, shape: TableShape, keys: Sequence[Image]) -> list[LiveRow | None]:
        """The row of each key; equal rows of a table without a key are given out one by one."""
        if shape.primary_key:
            found = self.at_keys(shape, keys)
            return [found.get(key_word(key, shape.primary_key)) for key in keys]
        equals = self.equal_to(shape, keys)
        return [rows.pop() if (rows := equals.get(image_word(key))) else None for key in keys]

    def matching(self, shape: TableShape, condition: Fragment) -> list[LiveRow]:
        """The rows that meet a condition."""
        width = len(shape.locator)
        return [
            LiveRow(row[:width], row[width:], self._image(shape, row[width:])) for row in self._select(shape, condition)
        ]

    def _select(self, shape: TableShape, condition: Fragment) -> list[tuple[Any, ...]]:
        rows_sql = partial(self.dialect.rows_sql, shape, condition.sql, locking=self._locking)
        return self._read(shape, rows_sql(as_bytes=False), rows_sql(as_bytes=True), condition.values)

    def _read(self, shape: TableShape, sql: str, as_bytes: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._reading.of(shape):
                return self._fetch(sql, values)
        except DBAPIError as error:
            if not self.dialect.is_broken_text(error):
                raise
        width = len(shape.locator)
        return [(*row[:width], *self.dialect.values_from_bytes(row[width:])) for row in self._fetch(as_bytes, values)]

    def _fetch(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in run(self.connection, sql, values).fetchall()]

    def _image(self, shape: TableShape, values: Sequence[Any]) -> Image:
        read = self.dialect.image_value
        return {column.name: read(column, value) for column, value in zip(shape.columns, values, strict=True)}

    def _one_of(self, shape: TableShape, columns: Sequence[str], wanted: Sequence[KeyValues]) -> Fragment:
        shapes = [shape.known_column(column) for column in columns]
        rows = [[self.dialect.bind(*pair) for pair in zip(values, shapes, strict=True)] for values in wanted]
        marks = tuple(chain.from_iterable(bound.values for row in rows for bound in row))
        names = [self.dialect.quote(column) for column in columns]
        if len(names) == 1:
            return Fragment(f"{names[0]} IN ({', '.join(row[0].sql for row in rows)})", marks)
        listed = ", ".join(f"({', '.join(bound.sql for bound in row)})" for row in rows)
        return Fragment(f"({', '.join(names)}) IN ({self.dialect.row_list_word}{listed})", marks)


def guards(dialect: Dialect, shape: TableShape, expected: Mapping[str, Value]) -> Fragment:
    """A condition: each column has exactly this value."""
    parts = [
        dialect.guard(shape.known_column(column), value)
        for column, value in expected.items()
        if not isinstance(value, Absent)
    ]
    sql = " AND ".join(part.sql for part in parts) or "1 = 1"
    return Fragment(sql, tuple(chain.from_iterable(part.values for part in parts)))


def value_word(values: Sequence[JsonValue]) -> Word:
    """A word for some values."""
    if len(values) == 1 and type(values[0]) is int:
        return values[0]
    return codec.dump(list(values))


def _place_in_order(values: KeyValues) -> list[tuple[int, int, str]]:
    """Where a key stands in an order of all keys."""
    return [(0, value, "") if type(value) is int else (1, 0, codec.dump(value)) for value in values]


def key_word(image: Image, columns: Sequence[str]) -> Word:
    """A word for the row's values in these columns."""
    return value_word([image[column] for column in columns])


def image_word(image: Image) -> str:
    """A word for all of a row's values, whatever the order of its columns."""
    return codec.dump({column: image[column] for column in sorted(image)})


def _any_of(conditions: Sequence[Fragment]) -> Fragment:
    sql = " OR ".join(f"({condition.sql})" for condition in conditions)
    return Fragment(sql, tuple(chain.from_iterable(condition.values for condition in conditions)))
