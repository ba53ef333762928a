"""Whether the log of a transaction tells all that became of the rows: they are read before and after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection

from auditcli import codec
from auditcli.dialects import dialect_named
from auditcli.log.reader import LogReader, Window
from auditcli.log.schema import read_shapes
from auditcli.log.tables import LogTables
from auditcli.rows import RowReader

Rows = Counter[str]


@dataclass
class Witness:
    """The rows of a database as a transaction's first write found them.

    `is_blind` is true where something was written that is known to be unrecorded.
    """

    connection: Connection
    log: LogTables
    before: Rows
    last_id: int
    is_blind: bool = False

    @classmethod
    def of(cls, connection: Connection, log: LogTables) -> Witness:
        """Look at the rows, and where the log ends."""
        return cls(connection, log, _rows(connection, log), _reader(connection, log).last_id())

    def complaint(self) -> str | None:
        """How what was recorded differs from what became of the rows, if it does."""
        if self.is_blind:
            return None
        folded = Counter(self.before)
        for change in _reader(self.connection, self.log).changes(window=Window(self.last_id, None)):
            if change.before is not None:
                folded[f"{change.table} {codec.dump(change.before)}"] -= 1
            if change.after is not None:
                folded[f"{change.table} {codec.dump(change.after)}"] += 1
        now = _rows(self.connection, self.log)
        missing, unfounded = now - folded, folded - now
        return f"recorded: {dict(unfounded)}, in truth: {dict(missing)}" if missing or unfounded else None


def _reader(connection: Connection, log: LogTables) -> LogReader:
    return LogReader(connection, log)


def _rows(connection: Connection, log: LogTables) -> Rows:
    dialect = dialect_named(connection.dialect.name)
    reader = RowReader(connection, dialect)
    shapes = read_shapes(connection, dialect).tables
    own = {name: shape for name, shape in shapes.items() if name not in log.table_names}
    return Counter(
        f"{name} {codec.dump(row.image)}" for name, shape in own.items() for row in reader.page(shape, None, 10**6)
    )
