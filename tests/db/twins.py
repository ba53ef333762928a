"""Tables that are there twice, once recorded and once untouched: what clients do must come to the same in both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, Text, select, type_coerce

from auditcli import codec
from auditcli.driver import dialect_of
from auditcli.log.tables import log_tables
from auditcli.rows import RowReader
from auditcli.shape import TableShape


@dataclass(frozen=True)
class Twins:
    """A connection to tables with triggers, one to the same tables without, and the shapes of them by name."""

    recorded: Connection
    untouched: Connection
    shapes: dict[str, TableShape]

    def live(self) -> Counter[str]:
        """The recorded tables' rows, as table and image."""
        reader = RowReader(self.recorded, dialect_of(self.recorded))
        rows = ((name, row.image) for name, shape in self.shapes.items() for row in reader.page(shape, None, 10_000))
        return Counter(f"{name} {codec.dump(image)}" for name, image in rows)

    def folded(self) -> Counter[str]:
        """The rows that the log leaves, each record starting from a row that is there."""
        rows: Counter[str] = Counter()
        dialect = dialect_of(self.recorded)
        log = log_tables().changelog.c
        images = type_coerce(log.before, Text), type_coerce(log.after, Text)
        records = self.recorded.execute(select(log.id, log.table_name, *images).order_by(log.id))
        for log_id, table, before, after in records.fetchall():
            old, new = dialect.image_reader([self.shapes[table]])(before, after)
            if old is not None:
                word = f"{table} {codec.dump(old)}"
                assert rows[word] > 0, f"#{log_id} starts from {word}, which is not there"
                rows[word] -= 1
            if new is not None:
                rows[f"{table} {codec.dump(new)}"] += 1
        return +rows
