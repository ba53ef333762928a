"""A fold that is kept in a file, so that the next one goes on from there.

Log ids are not committed in order where several writers run at once: a record may appear below the highest id that was
folded. Ids that were missing are therefore kept as well, as ranges, and looked for again each time. A row's own records
are committed in the order of their ids, since a writer holds its row until it commits: what appears late is later than
all that was folded of its row.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from sqlalchemy import func, select

from auditcli.errors import UsageError
from auditcli.log.reader import LogReader
from auditcli.model import TableName
from auditcli.verifying.states import Scratch

_VERSION = "1"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS checkpoint (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS missing (first INTEGER, last INTEGER)",
    "CREATE TABLE IF NOT EXISTS folded (of_table TEXT PRIMARY KEY)",
)


@dataclass(frozen=True)
class Stretch:
    """Log ids that a fold has to read: all after one, and those that were missing before."""

    after_id: int = 0
    missing: tuple[tuple[int, int], ...] = ()


class Checkpoint:
    """One fold's file, worked on as a copy; it takes the old one's place when the fold was completed."""

    def __init__(self, scratch: Scratch, reader: LogReader, *, is_new: bool) -> None:
        self.is_complete = False
        self._scratch = scratch
        self._reader = reader
        for statement in _TABLES:
            scratch.connection.execute(statement)
        self._known = dict(scratch.connection.execute("SELECT name, value FROM checkpoint"))
        if not is_new:
            self._check()

    def stretch(self, table: TableName) -> Stretch:
        """What of a table's records is not folded yet."""
        folded = self._scratch.connection.execute("SELECT 1 FROM folded WHERE of_table = ?", (str(table),)).fetchone()
        if not self._known or folded is None:
            return Stretch()
        missing = tuple(self._scratch.connection.execute("SELECT first, last FROM missing ORDER BY first"))
        return Stretch(int(self._known["log_id"]), missing)

    def complete(self, tables: list[TableName], last_id: int) -> None:
        """Say how far the fold of these tables has come; the reader still sees what was folded."""
        database, first = self._scratch.connection, int(self._known.get("log_id", "0"))
        missing = [
            gap
            for start, end in [*database.execute("SELECT first, last FROM missing"), (first + 1, last_id)]
            for gap in self._gaps(start, end)
        ]
        database.execute("DELETE FROM missing")
        if not self._reader.dialect.log_ids_follow_commits:
            database.executemany("INSERT INTO missing VALUES (?, ?)", missing)
        database.execute("DELETE FROM folded")
        database.executemany("INSERT INTO folded VALUES (?)", [(str(table),) for table in tables])
        _, transaction = self._reader.transaction_at(last_id)
        said = {
            "version": _VERSION,
            "log_uuid": self._reader.log_uuid(),
            "log_id": str(last_id),
            "transaction": transaction,
        }
        database.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", said.items())
        database.execute("COMMIT")
        self.is_complete = True

    def _gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The ids of a stretch that no record has."""
        log_id = self._reader.tables.changelog.c.id
        before = func.coalesce(func.lag(log_id).over(order_by=log_id), start - 1).label("before")
        ids = select(log_id.label("id"), before).where(log_id.between(start, end)).subquery()
        after_gaps = select(ids.c.before, ids.c.id).where(ids.c.id > ids.c.before + 1).order_by(ids.c.id)
        for previous, found in self._reader.execute(after_gaps):
            yield previous + 1, found - 1
        last = self._reader.scalar(select(func.max(log_id)).where(log_id.between(start, end)))
        if end > (start - 1 if last is None else last):
            yield (start if last is None else last + 1), end

    def _check(self) -> None:
        if self._known.get("version") != _VERSION:
            raise UsageError("this is no checkpoint of `audit verify`", hint=_AGAIN)
        if self._known["log_uuid"] != self._reader.log_uuid():
            raise UsageError("this checkpoint is of another log", hint=_AGAIN)
        log_id = int(self._known["log_id"])
        exists, transaction = self._reader.transaction_at(log_id)
        if log_id and not (exists and transaction == self._known["transaction"]):
            raise UsageError(
                f"the log's change {log_id} is not the one that this checkpoint knows: a backup may have been restored",
                hint=_AGAIN,
            )


_AGAIN = "name another file to begin anew, or verify without one"


@contextmanager
def checkpoint_file(path: Path, reader: LogReader) -> Iterator[tuple[Scratch, Checkpoint]]:
    """A fold that goes on from a file, or begins one; the file changes only when it was said to be complete.

    Raises UsageError for a file that is no checkpoint of this log, and OSError where none can be written.
    """
    is_new = not path.exists()
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as copy:
        work = Path(copy.name)
    try:
        if not is_new:
            shutil.copyfile(path, work)
        try:
            with Scratch(work) as scratch:
                checkpoint = Checkpoint(scratch, reader, is_new=is_new)
                yield scratch, checkpoint
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} can't be used as a checkpoint: {error}", hint=_AGAIN) from error
        if checkpoint.is_complete:
            work.replace(path)
    finally:
        work.unlink(missing_ok=True)
