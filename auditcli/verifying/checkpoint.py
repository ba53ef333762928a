"""A fold that is kept in a file, so that the next one need not begin at the start of the log.

On a database whose ids are not committed in order, some at or below the one that was reached may still appear: the file
holds which were not there, and the next run looks for them. They come before the later ones, since a row's changes get
their ids while the row is locked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import or_, select

from auditcli.errors import UsageError
from auditcli.feed import Place, place_after
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.model import Change, TableName
from auditcli.verifying.states import TABLES, States, open_states
from auditcli.wholefile import appearing

_APPLICATION = 0x41554456
_VERSION = 1
_TABLES = f"""
{TABLES}
CREATE TABLE reached (log_uuid TEXT, log_id INTEGER, transaction_id TEXT, digest TEXT);
CREATE TABLE folded (number INTEGER PRIMARY KEY, table_schema TEXT, table_name TEXT, key TEXT);
CREATE TABLE missing (first_id INTEGER, last_id INTEGER);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""
_DIGESTED = ("state", "broken", "folded", "missing")
_AGAIN = "name another file, or remove it: the next run then begins at the start of the log"
_MANY = 200
_PAGE = 10_000

Ranges = Sequence[tuple[int, int]]


class Fold:
    """The states of all tables up to a place in the log; in a file it is kept, else each table's are forgotten."""

    def __init__(self, database: sqlite3.Connection, reader: LogReader, start: Place | None, *, is_kept: bool) -> None:
        self.start = start
        self.is_kept = is_kept
        self._database = database
        self._reader = reader
        self._late = self._appeared() if start is not None else []

    def states(self, table: TableName, key: tuple[str, ...]) -> tuple[States, Iterator[Change]]:
        """A table's states, and the records that are to be folded into them."""
        number, is_known = self._number(table, json.dumps(key))
        return States(self._database, number), self._records(table, is_known=is_known)

    def keep_only(self, tables: Collection[TableName]) -> None:
        """Forget tables that are not looked at any more: should they come back, they are folded anew."""
        rows = self._database.execute("SELECT number, table_schema, table_name FROM folded").fetchall()
        for number, schema, name in rows:
            if TableName(name, schema) not in tables:
                self._forget(number)

    def finish(self) -> Place:
        """Note how far the fold got."""
        place = place_after(self._reader, self._reader.last_id())
        if not self._reader.dialect.log_ids_follow_commits:
            self._note_missing(0 if self.start is None else self.start.log_id, place.log_id)
        self._database.execute("DELETE FROM reached")
        digest = _digest(self._database, place)
        values = (place.log_uuid, place.log_id, place.transaction_id, digest)
        self._database.execute("INSERT INTO reached VALUES (?, ?, ?, ?)", values)
        return place

    def _number(self, table: TableName, key: str) -> tuple[int, bool]:
        """A table's number, and whether its states are those of the start."""
        sql = "SELECT number, key FROM folded WHERE table_name = ? AND table_schema IS ?"
        found = self._database.execute(sql, (table.name, table.schema)).fetchone()
        if found is not None and found[1] == key:
            return found[0], self.start is not None
        if found is not None:
            # By another key the states are not found again.
            self._forget(found[0])
        sql = "INSERT INTO folded (table_schema, table_name, key) VALUES (?, ?, ?)"
        return int(self._database.execute(sql, (table.schema, table.name, key)).lastrowid or 0), False

    def _forget(self, number: int) -> None:
        States(self._database, number).forget()
        self._database.execute("DELETE FROM folded WHERE number = ?", (number,))

    def _records(self, table: TableName, *, is_known: bool) -> Iterator[Change]:
        inside = self._reader.in_table(table)
        log_id = self._reader.tables.changelog.c.id
        if not is_known or self.start is None:
            yield from self._reader.records(Criteria(inside))
            return
        for first in range(0, len(self._late), _MANY):
            yield from self._reader.records(Criteria((*inside, log_id.in_(self._late[first : first + _MANY]))))
        yield from self._reader.records(Criteria((*inside, log_id > self.start.log_id)))

    def _appeared(self) -> list[int]:
        """The ids that were missing and are there now."""
        log_id = self._reader.tables.changelog.c.id
        ranges = self._database.execute("SELECT first_id, last_id FROM missing ORDER BY first_id").fetchall()
        found: list[int] = []
        for first in range(0, len(ranges), _MANY):
            within = or_(*(log_id.between(*ends) for ends in ranges[first : first + _MANY]))
            found += self._reader.execute(select(log_id).where(within).order_by(log_id)).scalars()
        return found

    def _note_missing(self, after_id: int, until_id: int) -> None:
        known = self._database.execute("SELECT first_id, last_id FROM missing ORDER BY first_id").fetchall()
        self._database.execute("DELETE FROM missing")
        for first, last in known:
            inside = [log_id for log_id in self._late if first <= log_id <= last]
            self._put_missing(_between(first - 1, iter([*inside, last + 1])))
        self._put_missing(_between(after_id, self._ids(after_id, until_id)))

    def _put_missing(self, ranges: Iterator[tuple[int, int]]) -> None:
        self._database.executemany("INSERT INTO missing VALUES (?, ?)", ranges)

    def _ids(self, after_id: int, until_id: int) -> Iterator[int]:
        log_id = self._reader.tables.changelog.c.id
        while True:
            ahead = select(log_id).where(log_id > after_id, log_id <= until_id).order_by(log_id).limit(_PAGE)
            page = self._reader.execute(ahead).scalars().all()
            yield from page
            if len(page) < _PAGE:
                return
            after_id = page[-1]


@contextmanager
def folding(reader: LogReader, path: Path | None) -> Iterator[Fold]:
    """A fold that starts where the file says and is written there when the block ends well; a new one without a file.

    Raises UsageError for a file that is no checkpoint of this log, or is damaged.
    """
    if path is None:
        with closing(open_states()) as database:
            database.executescript(_TABLES)
            database.execute("BEGIN")
            yield Fold(database, reader, None, is_kept=False)
        return
    with appearing(path) as unfinished:
        is_known = path.exists()
        if is_known:
            shutil.copyfile(path, unfinished)
        with closing(_opened(unfinished, path)) as database:
            start = _checked(database, reader, path) if is_known else None
            if not is_known:
                database.executescript(_TABLES)
            try:
                database.execute("BEGIN")
                yield Fold(database, reader, start, is_kept=True)
                database.execute("COMMIT")
            except sqlite3.Error as error:
                raise UsageError(f"can't write the checkpoint {path}: {error}", hint="is the disk full?") from error


def _opened(unfinished: Path, path: Path) -> sqlite3.Connection:
    try:
        return open_states(str(unfinished))
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{path} is no checkpoint of `audit verify`", hint=_AGAIN) from error


def _checked(database: sqlite3.Connection, reader: LogReader, path: Path) -> Place:
    if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise UsageError(f"{path} is no checkpoint of `audit verify`", hint=_AGAIN)
    if database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
        raise UsageError(f"the checkpoint {path} is of another version of auditcli", hint=_AGAIN)
    try:
        *parts, digest = database.execute("SELECT * FROM reached").fetchone()
        place = Place(*parts)
        is_whole = digest == _digest(database, place)
    except (sqlite3.DatabaseError, TypeError) as error:
        raise UsageError(f"the checkpoint {path} is damaged", hint=_AGAIN) from error
    if not is_whole:
        raise UsageError(f"the checkpoint {path} is damaged", hint=_AGAIN)
    _check_place(reader, place, path)
    return place


def _check_place(reader: LogReader, place: Place, path: Path) -> None:
    if reader.log_uuid() != place.log_uuid:
        raise UsageError(f"the checkpoint {path} is of another log", hint=_AGAIN)
    exists, transaction_id = reader.transaction_at(place.log_id)
    if place.log_id and not (exists and transaction_id == place.transaction_id):
        raise UsageError(
            f"the log's change {place.log_id} is not the one that the checkpoint {path} ends with: "
            "a backup may have been restored",
            hint=_AGAIN,
        )


def _digest(database: sqlite3.Connection, place: Place) -> str:
    """What tells whether a file still holds what was written to it."""
    digest = hashlib.sha256(repr(place).encode())
    for table in _DIGESTED:
        for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid"):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _between(before: int, ids: Iterator[int]) -> Iterator[tuple[int, int]]:
    """The ranges of ids that are not there."""
    for log_id in ids:
        if log_id > before + 1:
            yield before + 1, log_id - 1
        before = log_id
