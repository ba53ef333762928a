"""Where a fold keeps the rows' last states: in a database of its own, which goes to disk when it grows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from auditcli import codec
from auditcli.model import Image, JsonValue

TABLES = """
CREATE TABLE state (place INTEGER PRIMARY KEY, number INTEGER, word TEXT, image TEXT, change_id INTEGER,
  timestamp TEXT, actor TEXT);
CREATE INDEX state_word ON state (number, word);
CREATE TABLE broken (place INTEGER PRIMARY KEY, number INTEGER, image TEXT, change_id INTEGER, timestamp TEXT,
  actor TEXT, column_name TEXT, found TEXT, until_id INTEGER);
"""
_CACHE = 8_000
"""Kilobytes of it that are held in memory."""
_COLUMNS = "place, image, change_id, timestamp, actor"

_Stored = tuple[int, str | None, int, str, str | None]


@dataclass(frozen=True, slots=True)
class State:
    """What the log says of a row last; without an image it is gone."""

    change_id: int
    timestamp: datetime
    actor: str | None
    image: Image | None


@dataclass(frozen=True, slots=True)
class Break:
    """A record that does not start where the one before it ended: that one's state, a column, and its own id."""

    state: State
    column: str
    found: JsonValue
    until_id: int


def open_states(path: str = "") -> sqlite3.Connection:
    """A database for states; without a path it is gone when it is closed."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute(f"PRAGMA cache_size = -{_CACHE:d}")
        # A file takes its name only when it is finished and flushed.
        database.execute("PRAGMA synchronous = OFF")
    except sqlite3.Error:
        database.close()
        raise
    return database


class States:
    """The states of one table's rows, by a word for each row; equal rows of a table without a key share one."""

    def __init__(self, database: sqlite3.Connection, number: int) -> None:
        self._database = database
        self._number = number

    def put(self, word: str, state: State) -> None:
        """Remember a row's state."""
        values = (self._number, word, *_stored(state))
        sql = "INSERT INTO state (number, word, image, change_id, timestamp, actor) VALUES (?, ?, ?, ?, ?, ?)"
        self._database.execute(sql, values)

    def put_break(self, found: Break) -> None:
        """Remember what was wrong."""
        values = (self._number, *_stored(found.state), found.column, codec.dump(found.found), found.until_id)
        self._database.execute("INSERT INTO broken VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def breaks(self) -> list[Break]:
        """All that was wrong."""
        sql = f"SELECT {_COLUMNS}, column_name, found, until_id FROM broken WHERE number = ? ORDER BY place"
        rows = self._database.execute(sql, (self._number,)).fetchall()
        return [Break(_state(row[:5]), row[5], json.loads(row[6]), row[7]) for row in rows]

    def take(self, word: str, image: Image) -> State | None:
        """The state of the row of that word, preferably the one that looks like the image; it is forgotten."""
        rows = self._at(word, "image IS NOT NULL")
        fitting = (row for row in rows if codec.same_image(json.loads(row[1] or "null"), image))
        return self._taken(next(fitting, rows[-1] if rows else None))

    def take_gone(self, word: str) -> State | None:
        """The state of a row of that word that is gone; it is forgotten."""
        rows = self._at(word, "image IS NULL")
        return self._taken(rows[-1] if rows else None)

    def left(self) -> Iterator[State]:
        """The states of rows that nobody took, in the order of their last changes."""
        sql = f"SELECT {_COLUMNS} FROM state WHERE number = ? AND image IS NOT NULL ORDER BY change_id"
        return map(_state, self._database.execute(sql, (self._number,)))

    def forget(self) -> None:
        """Forget all rows."""
        for table in ("state", "broken"):
            self._database.execute(f"DELETE FROM {table} WHERE number = ?", (self._number,))

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What is taken inside the block is back after it."""
        self._database.execute("SAVEPOINT untouched")
        try:
            yield
        finally:
            self._database.execute("ROLLBACK TO untouched")
            self._database.execute("RELEASE untouched")

    def _at(self, word: str, condition: str) -> list[_Stored]:
        sql = (
            f"SELECT {_COLUMNS} FROM state WHERE number = ? AND word = ? AND {condition} ORDER BY change_id, place "
            "LIMIT 20"
        )
        return self._database.execute(sql, (self._number, word)).fetchall()

    def _taken(self, row: _Stored | None) -> State | None:
        if row is None:
            return None
        self._database.execute("DELETE FROM state WHERE place = ?", row[:1])
        return _state(row)


def _stored(state: State) -> tuple[str | None, int, str, str | None]:
    image = None if state.image is None else codec.dump(state.image)
    return image, state.change_id, state.timestamp.isoformat(), state.actor


def _state(row: _Stored) -> State:
    _, image, change_id, timestamp, actor = row
    return State(change_id, datetime.fromisoformat(timestamp), actor, None if image is None else json.loads(image))
