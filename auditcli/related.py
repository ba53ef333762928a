"""A row with the rows that refer to it, or did at any time: found along foreign keys in the images, deleted ones too.

Each level is one walk along the records of each table that refers; the database leaves out those in which no wanted
value stands, and no more is held in memory than the rows that were found. Rows that refer to it and were never
recorded are found among those that are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sqlalchemy import Text, or_, type_coerce

from auditcli import codec
from auditcli.changeset import threads
from auditcli.driver import begin_snapshot
from auditcli.errors import NotFound
from auditcli.log.reader import ALL, LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.settings import read_tracking
from auditcli.model import Change, EventType, Image, JsonValue, RowKey, TableName
from auditcli.rows import LiveRow, RowReader
from auditcli.selection import Alternatives, Selection
from auditcli.shape import ForeignKeyShape, TableShape

__all__ = ["Family", "Member", "related"]

_MOST_TEXTS = 50
"""So many values the database looks for in the text of images; more are left to Python."""

_PLAIN = re.compile(r"[A-Za-z0-9 _.@-]+")
"""Text that stands in an image as it is, whoever wrote it."""

_Values: TypeAlias = dict[str, tuple[JsonValue, ...]]
"""Values of a key by one text for each; what a foreign key takes for equal may be spelled in two types."""


@dataclass(frozen=True, slots=True)
class Member:
    """A row of a family: how far from the first one it is, the foreign key by which it refers, and its records.

    A row that was never recorded has none, and `live` is what it is now. A row without a key has no `row`.
    """

    table: TableName
    row: RowKey | None
    depth: int
    reference: ForeignKeyShape | None
    history: tuple[Change, ...] = ()
    live: Image | None = None

    @property
    def images(self) -> Iterator[Image]:
        """All that the row ever looked like, as far as is known."""
        if self.live is not None:
            yield self.live
        for change in self.history:
            yield from (image for image in (change.before, change.after) if image is not None)

    def image_at(self, boundary: int, unfinished: frozenset[str]) -> Image | None:
        """What the row looked like after a log id; None where it was not there."""
        if not self.history:
            return self.live
        past = [each for each in self.history if each.id <= boundary and each.transaction_id not in unfinished]
        return past[-1].after if past else self.history[0].before


@dataclass(frozen=True)
class Family:
    """A row and those that refer to it, nearest first; `references` are the foreign keys that point at each table."""

    members: tuple[Member, ...]
    references: Mapping[TableName, tuple[ForeignKeyShape, ...]]

    @property
    def changes(self) -> list[Change]:
        """All their records, oldest first and each transaction's together."""
        records = {change.id: change for member in self.members for change in member.history}
        last = {change.transaction_id: log_id for log_id, change in sorted(records.items())}
        return sorted(records.values(), key=lambda change: (_end_of(change, last), change.id))

    def at(self, boundary: int, unfinished: frozenset[str]) -> list[tuple[Member, Image]]:
        """Those that referred to the row after a log id, as they were then; nothing where the row was not there."""
        first, *others = self.members
        left = [(each, image) for each in others if (image := each.image_at(boundary, unfinished)) is not None]
        start = first.image_at(boundary, unfinished)
        found = level = [] if start is None else [(first, start)]
        for depth in range(1, max(each.depth for each in self.members) + 1):
            wanted = _wanted(((member.table, [image]) for member, image in level), self.references)
            level = [(replace(member, depth=depth), image) for member, image in left if _refers(member, image, wanted)]
            met = {id(image) for _, image in level}
            left = [(member, image) for member, image in left if id(image) not in met]
            found = found + level
        return found


def related(
    reader: LogReader, row: RowKey, depth: int = 1, *, tell: Callable[[str], None] = lambda _text: None
) -> Family:
    """The row, those that ever referred to it, those that referred to them, and so on; each once.

    Raises NotFound for a row that is not there, and of which nothing is recorded.
    The reader's connection is given a transaction of its own.
    """
    begin_snapshot(reader.connection, reader.dialect)
    search = _Search(reader, tell)
    level = [search.first(row)]
    members = search.unmet(level)
    for distance in range(1, depth + 1):
        level = list(search.referring(level, distance))
        members += level
    reader.connection.rollback()
    return Family(tuple(members), search.references)


class _Search:
    def __init__(self, reader: LogReader, tell: Callable[[str], None]) -> None:
        self._reader = reader
        self._tell = tell
        self._tracking = read_tracking(reader.connection, reader.tables)
        self._live = read_shapes(reader.connection, reader.dialect).tables
        tables = {*self._live, *reader.tracked_tables()} - reader.tables.table_names
        self._epochs = {table: [shape for _, shape in reader.epochs(table)] for table in sorted(tables, key=str)}
        self.references = self._all_references()
        self._met: set[object] = set()
        self._row_ids: dict[TableName, set[str]] = {}

    def first(self, row: RowKey) -> Member:
        """The row that a family is of: by its records, or as it is now."""
        history = tuple(self._reader.row_thread(row))
        if history:
            return Member(row.table, row, 0, None, history)
        live = self._live.get(row.table)
        for found in () if live is None else self._rows_of(self._tracking.recorded(live), row.row_id):
            return Member(row.table, row, 0, None, live=self._shown(row.table, found.image))
        raise NotFound(
            f"{row} is not there, and no change of it is recorded", hint=f"`audit log table:{row.table}` lists what is"
        )

    def _rows_of(self, shape: TableShape, row_id: str) -> Iterator[LiveRow]:
        """The row of this key, its values read in the types that the table's first row has."""
        rows = RowReader(self._reader.connection, self._reader.dialect)
        key = shape.primary_key
        for sample in rows.page(shape, None, 1) if key else ():
            words = [row_id] if len(key) == 1 else _parsed(row_id)
            if isinstance(words, list) and len(words) == len(key):
                kinds = (sample.image[column] for column in key)
                yield from rows.with_values(shape, key, [tuple(map(_typed, kinds, words))])

    def unmet(self, members: Iterable[Member]) -> list[Member]:
        """Those that were not met yet: circles of references end here."""
        found = []
        for member in members:
            marks: set[object] = {change.id for change in member.history}
            marks = marks or {(member.table, member.row)}
            if not marks & self._met:
                found.append(member)
            self._met |= marks
            self._row_ids.setdefault(member.table, set()).update(_row_ids(member.history))
        return found

    def referring(self, level: Sequence[Member], depth: int) -> Iterator[Member]:
        """The rows not met yet that at any time referred to what these rows ever were."""
        wanted = _wanted(((member.table, member.images) for member in level), self.references)
        tables = sorted({key.table for key, values in wanted.items() if values}, key=str)
        for table in tables:
            self._tell(f"looking through the changes of {table}")
            keys = {key: values for key, values in wanted.items() if key.table == table and values}
            yield from self.unmet(self._recorded(table, keys, depth))
            yield from self.unmet(self._silent(table, keys, depth))

    def _recorded(self, table: TableName, keys: Mapping[ForeignKeyShape, _Values], depth: int) -> Iterator[Member]:
        def key_of(story: Iterable[Change]) -> ForeignKeyShape | None:
            images = (image for change in story for image in (change.after, change.before) if image is not None)
            return next((key for image in images for key in keys if _text(image, key.columns) in keys[key]), None)

        found = [change for change in self._candidates(table, keys) if key_of([change]) is not None]
        for story in self._stories(table, found, key_of):
            row_id = story[-1].row_id
            row = None if row_id is None else RowKey(table, row_id)
            yield Member(table, row, depth, key_of(story), story)

    def _candidates(self, table: TableName, keys: Mapping[ForeignKeyShape, _Values]) -> Iterator[Change]:
        """Records in which a wanted value may stand."""
        selection = Selection(tables=Alternatives((table,)), events=Alternatives(tuple(EventType)))
        criteria = self._reader.criteria(selection, ALL)
        texts = {_plain_text(values[0]) for known in keys.values() for values in known.values()}
        if None not in texts and len(texts) <= _MOST_TEXTS:
            log = self._reader.tables.changelog.c
            images = (log.before, log.after)
            tests = [type_coerce(image, Text).contains(text, autoescape=True) for image in images for text in texts]
            criteria = criteria.also(or_(*tests))
        return self._reader.records(criteria)

    def _stories(
        self, table: TableName, found: Sequence[Change], key_of: Callable[[Iterable[Change]], object]
    ) -> list[tuple[Change, ...]]:
        """All records of the rows that these are of, followed through changes of their keys."""
        primary_key = self._primary_key(table)
        row_ids = _row_ids(found)
        if not row_ids:
            return threads(found, primary_key)
        while True:
            records = self._reader.row_records(table, row_ids)
            stories = [story for story in threads(records, primary_key) if key_of(story) is not None]
            met = {row_id for story in stories for row_id in _row_ids(story)}
            if met <= row_ids:
                return stories
            row_ids |= met

    def _silent(self, table: TableName, keys: Mapping[ForeignKeyShape, _Values], depth: int) -> Iterator[Member]:
        """Rows that are there, refer, and have no record."""
        live = self._live.get(table)
        if live is None or not live.primary_key:
            return
        shape = self._tracking.recorded(live)
        rows = RowReader(self._reader.connection, self._reader.dialect)
        silent: dict[str, Member] = {}
        for key, values in keys.items():
            if all(shape.column(column) is not None for column in key.columns):
                for found in rows.with_values(shape, key.columns, values.values()):
                    row_id = codec.row_id_of(found.image, shape.primary_key) or ""
                    silent[row_id] = Member(
                        table, RowKey(table, row_id), depth, key, live=self._shown(table, found.image)
                    )
        unknown = silent.keys() - self._row_ids.get(table, set())
        recorded = _row_ids(self._reader.row_records(table, unknown)) if unknown else set()
        yield from (silent[row_id] for row_id in silent if row_id in unknown - recorded)

    def _shown(self, table: TableName, image: Image) -> Image:
        """The row without what is masked in the log."""
        masked = self._tracking.masked_of(table)
        return {column: value for column, value in image.items() if column not in masked}

    def _primary_key(self, table: TableName) -> tuple[str, ...]:
        shape = self._live.get(table) or next(iter(self._epochs[table][::-1]), None)
        return shape.primary_key if shape else ()

    def _all_references(self) -> dict[TableName, tuple[ForeignKeyShape, ...]]:
        """The foreign keys that tables have or ever had, by the table that they point at."""
        found: dict[TableName, dict[ForeignKeyShape, None]] = {}
        for table, epochs in self._epochs.items():
            live = self._live.get(table)
            for shape in (*epochs, *([live] if live is not None else ())):
                for key in shape.foreign_keys:
                    referred = key.referred_columns or self._primary_key_of(key.referred)
                    if len(referred) == len(key.columns):
                        same = replace(key, referred_columns=referred, on_delete="", on_update="")
                        found.setdefault(key.referred, {})[same] = None
        return {table: tuple(keys) for table, keys in found.items()}

    def _primary_key_of(self, table: TableName) -> tuple[str, ...]:
        return self._primary_key(table) if table in self._epochs else ()


def _wanted(
    rows: Iterable[tuple[TableName, Iterable[Image]]], references: Mapping[TableName, Sequence[ForeignKeyShape]]
) -> dict[ForeignKeyShape, _Values]:
    """For each foreign key the values by which one refers to some of the rows."""
    found: dict[ForeignKeyShape, _Values] = {}
    for table, images in rows:
        for image in images:
            for key in references.get(table, ()):
                text = _text(image, key.referred_columns)
                if text is not None:
                    values = tuple(image[column] for column in key.referred_columns)
                    found.setdefault(key, {}).setdefault(text, values)
    return found


def _refers(member: Member, image: Image, wanted: Mapping[ForeignKeyShape, _Values]) -> bool:
    return any(key.table == member.table and _text(image, key.columns) in values for key, values in wanted.items())


def _text(image: Image, columns: Sequence[str]) -> str | None:
    """One text for the values of a key, whatever their types; None where it refers to nothing."""
    values = [image.get(column) for column in columns]
    return None if None in values else codec.dump([codec.row_id([value]) for value in values])


def _plain_text(value: JsonValue) -> str | None:
    """What stands in the text of an image that holds the value; None where that can't be told."""
    text = codec.row_id([value])
    return text if type(value) in (int, str) and _PLAIN.fullmatch(text) else None


def _typed(kind: JsonValue, word: JsonValue) -> JsonValue:
    """A part of a key's text as a value like another one; None where it can't be one."""
    if isinstance(kind, str):
        return word if isinstance(word, str) else codec.dump(word)
    value = _parsed(word) if isinstance(word, str) else word
    return value if type(value) is type(kind) else None


def _parsed(text: str) -> JsonValue:
    """The JSON value that a text is; None for any other text."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return None
    return value


def _row_ids(records: Iterable[Change]) -> set[str]:
    return {row_id for change in records for row_id in (change.row_id, change.old_row_id) if row_id is not None}


def _end_of(change: Change, last: Mapping[str | None, int]) -> int:
    return change.id if change.transaction_id is None else last[change.transaction_id]
