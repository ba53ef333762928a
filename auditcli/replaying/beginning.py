"""The rows as they were at a place of the log, by the log: what a replay from there has to stand on.

A row is as its last record before the place left it. One without any is as its first record after it found it: as a
baseline saw it, or as it was before it was changed or deleted. One without any record at all is as it is now.
The rows lie in a file of their own, not in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from auditcli import codec
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.model import Change, EventType, Image, TableName
from auditcli.rows import image_word

_TABLE = """
CREATE TABLE row (number INTEGER, word TEXT, image TEXT, there INTEGER, still INTEGER, seen INTEGER,
  PRIMARY KEY (number, word)) WITHOUT ROWID
"""
_UPSERT = """
INSERT INTO row VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (number, word) DO UPDATE
SET image = excluded.image, there = excluded.there, still = excluded.still, seen = excluded.seen
"""


class Beginning:
    """The rows at a place: made by `read`, then handed out table by table."""

    def __init__(self, database: sqlite3.Connection, keys: Mapping[TableName, Sequence[str]]) -> None:
        self._database = database
        self._keys = keys
        self._numbers = {table: number for number, table in enumerate(keys)}

    def read(self, reader: LogReader, after_id: int, until_id: int, tell: Callable[[int], None]) -> None:
        """Fold all records up to `until_id`; those of transactions that end after `after_id` only tell what was."""
        straddling = reader.straddling(after_id) if after_id else frozenset()
        bounds = Criteria((reader.tables.changelog.c.id <= until_id,))
        for count, change in enumerate(reader.records(bounds)):
            if change.table in self._keys:
                later = change.id > after_id or change.transaction_id in straddling
                (self._tell_of_before if later else self._fold)(change)
            if count % 1000 == 0:
                tell(count)

    def add_untold(self, table: TableName, live: Iterable[Image]) -> None:
        """Rows that no record speaks of are as they always were: those that are there now and were not met yet.

        The rows have to be of the same moment as the records.
        """
        for image in live:
            known, there, still, seen = self._known(table, image)
            if still > 0:
                self._keep(table, known or image, there, still - 1, seen)
            elif known is None or not self._keys[table]:
                self._keep(table, known or image, there + 1, 0, seen)

    def rows(self, table: TableName) -> Iterator[Image]:
        """The table's rows at the place."""
        found = self._database.execute("SELECT image, there FROM row WHERE number = ?", (self._numbers[table],))
        for image, there in found:
            for _ in range(max(0, there)):
                yield json.loads(image)

    def _fold(self, change: Change) -> None:
        if change.event_type is EventType.SNAPSHOT:
            self._baseline(change)
            return
        if change.before is not None:
            image, there, still, seen = self._known(change.table, change.before)
            self._keep(change.table, image or change.before, max(0, there - 1), max(0, still - 1), seen)
        if change.after is not None:
            _, there, still, seen = self._known(change.table, change.after)
            self._keep(change.table, change.after, there + 1, still + 1, seen)

    def _tell_of_before(self, change: Change) -> None:
        """What a later record says of the row at the place, if nothing said so before."""
        if change.event_type is EventType.SNAPSHOT:
            self._baseline(change)
            return
        if change.before is not None:
            image, there, still, seen = self._known(change.table, change.before)
            if still:
                self._keep(change.table, image or change.before, there, still - 1, seen)
            elif image is None or not self._keys[change.table]:
                self._keep(change.table, change.before, there + 1, 0, seen)
        if change.after is not None:
            image, there, still, seen = self._known(change.table, change.after)
            self._keep(change.table, image or change.after, there, still + 1, seen)

    def _baseline(self, change: Change) -> None:
        image, there, still, seen = self._known(change.table, change.image)
        is_new = seen + 1 > still and (image is None or not self._keys[change.table])
        self._keep(change.table, image or change.image, there + is_new, still + is_new, seen + 1)

    def _known(self, table: TableName, image: Image) -> tuple[Image | None, int, int, int]:
        """The image at the row's word, how many there were at the place and are left, and how many a baseline saw."""
        place = (self._numbers[table], self._word(table, image))
        found = self._database.execute(
            "SELECT image, there, still, seen FROM row WHERE number = ? AND word = ?", place
        ).fetchone()
        return (None, 0, 0, 0) if found is None else (json.loads(found[0]), *found[1:])

    def _keep(self, table: TableName, image: Image, there: int, still: int, seen: int) -> None:
        word = self._word(table, image)
        self._database.execute(_UPSERT, (self._numbers[table], word, codec.dump(image), there, still, seen))

    def _word(self, table: TableName, image: Image) -> str:
        key = self._keys[table]
        if key and all(column in image for column in key):
            return codec.dump([image[column] for column in key])
        return image_word(image)


@contextmanager
def beginning(keys: Mapping[TableName, Sequence[str]]) -> Iterator[Beginning]:
    """Room for the rows of these tables, whose primary keys are given; it is gone when the block ends."""
    database = sqlite3.connect("", isolation_level=None)
    try:
        database.execute("BEGIN")
        database.execute(_TABLE)
        yield Beginning(database, keys)
    finally:
        database.close()


def in_parents_first_order(
    tables: Collection[TableName], references: Mapping[TableName, set[TableName]]
) -> list[TableName]:
    """The tables so that each comes after those that it refers to, as far as circles let it."""
    ordered: list[TableName] = []
    left = sorted(tables, key=str)
    while left:
        free = [table for table in left if not (references.get(table, set()) - {table}) & set(left)]
        chosen = free or left[:1]
        ordered += chosen
        left = [table for table in left if table not in chosen]
    return ordered
