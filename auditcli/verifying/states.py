"""Where a fold keeps the rows' last states: in a scratch database that goes to disk when it grows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from auditcli import codec
from auditcli.model import Image, TableName

_TABLE = """
CREATE TABLE IF NOT EXISTS state (
  of_table TEXT, word TEXT, image TEXT, change_id INTEGER, timestamp TEXT, actor TEXT);
CREATE INDEX IF NOT EXISTS state_word ON state (of_table, word);
"""
_COLUMNS = "rowid, image, change_id, timestamp, actor"


@dataclass(frozen=True, slots=True)
class State:
    """What the log says of a row last; without an image it is gone."""

    change_id: int
    timestamp: datetime
    actor: str | None
    image: Image | None


class Scratch:
    """The database of the states of all tables' rows; without a file it is gone when it is closed."""

    def __init__(self, path: Path | None = None) -> None:
        # Without a name the database lives in memory until it grows.
        self.connection = sqlite3.connect("" if path is None else path, isolation_level=None)

    def __enter__(self) -> Self:
        self.connection.executescript(_TABLE)
        self.connection.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def of(self, table: TableName) -> States:
        """The states of one table's rows."""
        return States(self.connection, json.dumps([table.schema, table.name]))

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What is taken inside this block is there again afterwards."""
        self.connection.execute("SAVEPOINT untouched")
        yield
        self.connection.execute("ROLLBACK TO untouched")
        self.connection.execute("RELEASE untouched")


class States:
    """The states of one table's rows, by a word for each row; equal rows of a table without a key share one."""

    def __init__(self, scratch: sqlite3.Connection, table: str) -> None:
        self._scratch = scratch
        self._table = table

    def put(self, word: str, state: State) -> None:
        """Remember a row's state."""
        image = None if state.image is None else codec.dump(state.image)
        values = (self._table, word, image, state.change_id, state.timestamp.isoformat(), state.actor)
        self._scratch.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", values)

    def take(self, word: str, image: Image) -> State | None:
        """The state of the row of that word, preferably the one that looks like the image; it is forgotten."""
        rows = self._at(word, "image IS NOT NULL")
        fitting = (row for row in rows if codec.same_image(json.loads(row[1]), image))
        return self._taken(next(fitting, rows[-1] if rows else None))

    def take_gone(self, word: str) -> State | None:
        """The state of a row of that word that is gone; it is forgotten."""
        rows = self._at(word, "image IS NULL")
        return self._taken(rows[-1] if rows else None)

    def left(self) -> Iterator[State]:
        """The states of rows that nobody took, in the order of their last changes."""
        of_table = f"SELECT {_COLUMNS} FROM state WHERE of_table = ? AND image IS NOT NULL ORDER BY change_id"
        return (_state(row) for row in self._scratch.execute(of_table, (self._table,)))

    def forget(self) -> None:
        """The table's rows are done with."""
        self._scratch.execute("DELETE FROM state WHERE of_table = ?", (self._table,))

    def _at(self, word: str, condition: str) -> list[tuple[int, str, int, str, str | None]]:
        sql = (
            f"SELECT {_COLUMNS} FROM state WHERE of_table = ? AND word = ? AND {condition} ORDER BY change_id LIMIT 20"
        )
        return self._scratch.execute(sql, (self._table, word)).fetchall()

    def _taken(self, row: tuple[int, str, int, str, str | None] | None) -> State | None:
        if row is None:
            return None
        self._scratch.execute("DELETE FROM state WHERE rowid = ?", row[:1])
        return _state(row)


def _state(row: tuple[int, str | None, int, str, str | None]) -> State:
    _, image, change_id, timestamp, actor = row
    return State(change_id, datetime.fromisoformat(timestamp), actor, None if image is None else json.loads(image))
