"""Whether the log of a transaction tells all that became of the rows: they are read before and after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection

from auditcli import codec
from auditcli.dialects import dialect_named
from auditcli.log.reader import LogReader, Window
from auditcli.log.schema import read_shapes
from auditcli.log.tables import LogTables
from auditcli.rows import RowReader

Rows: TypeAlias = dict[str, Counter[str]]
"""How often each image stands in each table."""


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
        return cls(connection, log, _rows(connection, log), LogReader(connection, log).last_id())

    def complaint(self) -> str | None:
        """How what was recorded differs from what became of the rows, if it does."""
        if self.is_blind:
            return None
        folded = {table: Counter(rows) for table, rows in self.before.items()}
        for change in LogReader(self.connection, self.log).changes(window=Window(self.last_id, None)):
            rows = folded.setdefault(str(change.table), Counter())
            if change.before is not None:
                rows[codec.dump(change.before)] -= 1
            if change.after is not None:
                rows[codec.dump(change.after)] += 1
        wrong = []
        # A table that was dropped meanwhile took its rows along.
        for table, rows in _rows(self.connection, self.log).items():
            rows.subtract(folded.get(table, Counter()))
            wrong += [f"{table}: {image}, {count:+} in truth" for image, count in rows.items() if count]
        return "; ".join(wrong) or None


def _rows(connection: Connection, log: LogTables) -> Rows:
    dialect = dialect_named(connection.dialect.name)
    reader = RowReader(connection, dialect)
    shapes = read_shapes(connection, dialect).tables
    return {
        str(name): Counter(codec.dump(row.image) for row in reader.page(shape, None, 10**6))
        for name, shape in shapes.items()
        if name not in log.table_names
    }
