"""Where rows of the past lie: in a database of their own, which goes to disk when it grows, not in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from auditcli import codec
from auditcli.model import Change, EventType, Image
from auditcli.rows import image_word

_TABLES = """
CREATE TABLE touched (place INTEGER PRIMARY KEY, number INTEGER, word TEXT, was INTEGER, image TEXT, delta INTEGER,
  latest TEXT, UNIQUE (number, word));
CREATE TABLE told (place INTEGER PRIMARY KEY, number INTEGER, word TEXT, image TEXT, copies INTEGER, seen INTEGER,
  UNIQUE (number, word));
CREATE TABLE kept (place INTEGER PRIMARY KEY, number INTEGER, image TEXT);
"""
_PAGE = 1000


@contextmanager
def scratch() -> Iterator[sqlite3.Connection]:
    """Room for rows; it is gone when the block ends."""
    database = sqlite3.connect("", isolation_level=None)
    try:
        database.executescript(_TABLES)
        database.execute("BEGIN")
        yield database
    finally:
        database.close()


class Words:
    """What finds a row again: the values of its key, whatever the columns are called by then, else all its values.

    `keys` are those that the table had, the one that counts first; `comparable` are the columns that a row without a
    key is told apart by.
    """

    def __init__(self, keys: Sequence[Sequence[str]], comparable: Collection[str] | None) -> None:
        self._keys = keys
        self._comparable = comparable

    def of(self, image: Image) -> str:
        """A row's word; those of keys are JSON arrays, those of whole rows objects."""
        for key in self._keys:
            if all(column in image for column in key):
                values = [image[column] for column in key]
                if len(values) == 1 and type(values[0]) is int:
                    return f"[{values[0]}]"
                # SQLite lets NULL into most keys, and into many rows.
                return image_word(image) if None in values else codec.dump(values)
        return image_word(self.told_apart(image))

    def told_apart(self, image: Image) -> Image:
        """What counts of a row without a key."""
        if self._comparable is None:
            return image
        return {column: value for column, value in image.items() if column in self._comparable}


class Touched:
    """The rows of one table that records since a position are about.

    The first record about a key says whether a row stood there: its `before`. Rows without a key are told apart by
    nothing but their values: so many equal ones were there as are there now, less those that came, and those that went.
    """

    def __init__(self, database: sqlite3.Connection, number: int, words: Words) -> None:
        self._database = database
        self._number = number
        self._words = words

    def add(self, change: Change) -> None:
        """Note a record; they come in id order."""
        if change.event_type is EventType.SNAPSHOT:
            return
        if change.before is not None:
            self._left(self._words.of(change.before), change.before)
        if change.after is not None:
            self._reached(self._words.of(change.after), change.after)

    def as_it_was(self, live: Image) -> Image | None:
        """What a row that is there now was like at the position; None where it was not there."""
        word = self._words.of(live)
        known = self._known(word)
        if known is None:
            return live
        was, image, delta, latest = known
        if not _is_key(word):
            self._put(word, was, image, delta + (delta < 0), latest)
            return None if delta < 0 else live
        self._database.execute("DELETE FROM touched WHERE number = ? AND word = ?", (self._number, word))
        # As many records end at the key as begin there: somebody stood at it all the time, beside one who moved in.
        return (live if image is None else json.loads(image)) if was or delta >= 0 else None

    def gone(self) -> Iterator[Image]:
        """The rows that stood at the position where none stands now, in the order in which they were first touched."""
        sql = "SELECT word, was, image, delta FROM touched WHERE number = ? ORDER BY place"
        for word, was, image, delta in self._database.execute(sql, (self._number,)):
            copies = int(was or (delta > 0 and image is not None)) if _is_key(word) else max(0, delta)
            for _ in range(copies):
                yield json.loads(image)

    def _left(self, word: str, image: Image) -> None:
        known = self._known(word)
        if known is None:
            told = image if _is_key(word) else self._words.told_apart(image)
            self._put(word, _is_key(word), codec.dump(told), 1, None)
            return
        was, first, delta, latest = known
        # A statement that moves rows on (`id = id + 1`) may bring one to a key before it moves the one that is there.
        if first is None and image_word(image) != latest:
            first = codec.dump(image)
        if not was:
            self._put(word, was, first, delta + 1, latest)

    def _reached(self, word: str, image: Image) -> None:
        known = self._known(word)
        if known is None:
            told = None if _is_key(word) else codec.dump(self._words.told_apart(image))
            self._put(word, False, told, -1, image_word(image))
        elif not known[0]:
            self._put(word, False, known[1], known[2] - 1, image_word(image))

    def _known(self, word: str) -> tuple[bool, str | None, int, str | None] | None:
        sql = "SELECT was, image, delta, latest FROM touched WHERE number = ? AND word = ?"
        found: tuple[bool, str | None, int, str | None] | None = self._database.execute(
            sql, (self._number, word)
        ).fetchone()
        return found

    def _put(self, word: str, was: bool, image: str | None, delta: int, latest: str | None) -> None:
        sql = (
            "INSERT INTO touched (number, word, was, image, delta, latest) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (number, word) DO UPDATE SET image = excluded.image, delta = excluded.delta, "
            "latest = excluded.latest"
        )
        self._database.execute(sql, (self._number, word, was, image, delta, latest))


class Told:
    """The rows of one table as records leave them: what is known of a table, or a column, that is there no more."""

    def __init__(self, database: sqlite3.Connection, number: int, words: Words) -> None:
        self._database = database
        self._number = number
        self._words = words

    def fold(self, changes: Iterable[Change]) -> None:
        """Note records, in id order."""
        for change in changes:
            if change.event_type is EventType.SNAPSHOT:
                self._count(change.image, 0, seen=1)
                continue
            if change.before is not None:
                self._count(change.before, -1)
            if change.after is not None:
                self._count(change.after, 1)

    def image(self, image: Image) -> Image:
        """The row with the key of this one; nothing where there is none."""
        sql = "SELECT image FROM told WHERE number = ? AND word = ? AND copies > 0"
        found = self._database.execute(sql, (self._number, self._words.of(image))).fetchone()
        return {} if found is None else json.loads(found[0])

    def rows(self) -> Iterator[Image]:
        """All rows."""
        sql = "SELECT image, copies FROM told WHERE number = ? ORDER BY place"
        for image, copies in self._database.execute(sql, (self._number,)):
            for _ in range(copies):
                yield json.loads(image)

    def _count(self, image: Image, step: int, *, seen: int = 0) -> None:
        """So many more of the row; a baseline saw it as often as it says so, and at least so many there are."""
        word = self._words.of(image)
        most = 1 if _is_key(word) else 2**62
        sql = (
            "INSERT INTO told (number, word, image, copies, seen) VALUES (?1, ?2, ?3, max(0, ?4, ?6), ?6) "
            "ON CONFLICT (number, word) DO UPDATE SET image = excluded.image, seen = seen + ?6, "
            "copies = min(?5, max(0, copies + ?4, (seen + ?6) * ?6))"
        )
        self._database.execute(sql, (self._number, word, codec.dump(image), step, most, seen))


class Kept:
    """Rows of one table that are done."""

    def __init__(self, database: sqlite3.Connection, number: int) -> None:
        self._database = database
        self._number = number
        self._first = 1
        self.count = 0

    def start(self) -> None:
        """Begin behind the rows of all other tables: each table's lie side by side."""
        self._first = self._database.execute("SELECT coalesce(max(place), 0) + 1 FROM kept").fetchone()[0]

    def keep(self, images: Iterable[Image]) -> None:
        """Put rows behind those that are there."""
        sql = "INSERT INTO kept (number, image) VALUES (?, ?)"
        arriving = iter(images)
        while page := [(self._number, codec.dump(image)) for image in islice(arriving, _PAGE)]:
            self._database.executemany(sql, page)
            self.count += len(page)

    def rows(self) -> Iterator[Image]:
        """The rows in the order in which they came."""
        last = self._first + self.count
        for first in range(self._first, last, _PAGE):
            sql = "SELECT image FROM kept WHERE place >= ? AND place < ? ORDER BY place"
            for (image,) in self._database.execute(sql, (first, min(first + _PAGE, last))).fetchall():
                yield json.loads(image)


def _is_key(word: str) -> bool:
    return word.startswith("[")
