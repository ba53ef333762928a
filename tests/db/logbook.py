"""A change log filled by hand with plain SQLAlchemy, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, insert, text

from auditcli import codec
from auditcli.log.reader import LogReader
from auditcli.log.tables import LogTables, log_tables
from auditcli.model import TableName
from auditcli.shape import TableShape

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LOG_UUID = "7d3f0c52-0000-4000-8000-000000000000"

Row = Mapping[str, Any]


def tx(number: int) -> str:
    """The id of a transaction."""
    return str(UUID(int=number << 96))


@dataclass
class Logbook:
    """Writes records, each a second after the last one; `transaction` opens one with its who and why."""

    engine: Engine
    tables: LogTables = field(default_factory=log_tables)
    key: tuple[str, ...] = ("id",)
    now: datetime = START
    transactions: int = 0
    _open: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(cls, engine: Engine, tables: LogTables | None = None) -> Logbook:
        """An empty log with an identity."""
        book = cls(engine, tables or log_tables())
        book.tables.metadata.create_all(engine)
        book.write_meta(program="auditcli", uuid=LOG_UUID, version="1")
        return book

    @contextmanager
    def reader(self, **options: Any) -> Iterator[LogReader]:
        with self.engine.connect() as connection:
            yield LogReader(connection, self.tables, **options)

    @contextmanager
    def transaction(self, actor: str | None = None, reason: str | None = None, **header: Any) -> Iterator[str]:
        """Records written inside belong to one transaction."""
        transaction_id = self.begin(actor, reason, **header)
        try:
            yield transaction_id
        finally:
            self._open = {}

    def begin(self, actor: str | None = None, reason: str | None = None, **header: Any) -> str:
        """Open a transaction; the next records are its, until another one is begun or taken up."""
        self.transactions += 1
        transaction_id = tx(self.transactions)
        values = {"transaction_id": transaction_id, "timestamp": self.now, "reason": reason, **header}
        self._insert(self.tables.transaction, values)
        self.take_up(transaction_id, actor)
        return transaction_id

    def take_up(self, transaction_id: str | None, actor: str | None = None) -> None:
        """Let the next records be those of a transaction begun before, or of none."""
        self._open = {"transaction_id": transaction_id, "actor": actor}

    def insert(self, table: str, after: Row, **more: Any) -> int:
        return self.record("INSERT", table, None, after, **more)

    def update(self, table: str, before: Row, after: Row, **more: Any) -> int:
        return self.record("UPDATE", table, before, after, **more)

    def delete(self, table: str, before: Row, **more: Any) -> int:
        return self.record("DELETE", table, before, None, **more)

    def snapshot(self, table: str, image: Row, **more: Any) -> int:
        return self.record("SNAPSHOT", table, image, image, **more)

    def record(self, event: str, table: str, before: Row | None, after: Row | None, **more: Any) -> int:
        """Append one record and return its id; outside a transaction each has one of its own."""
        if not self._open and "transaction_id" not in more:
            with self.transaction(more.pop("actor", None), more.pop("reason", None)):
                return self.record(event, table, before, after, **more)
        self.now += timedelta(seconds=1)
        old_id, row_id = self._row_ids(before, after)
        values = {
            "timestamp": self.now,
            "table_name": table,
            "row_id": row_id,
            "old_row_id": old_id if old_id != row_id else None,
            "event_type": event,
            "before": before,
            "after": after,
            "source": "listener",
            **self._open,
            **more,
        }
        return self._insert(self.tables.changelog, values)

    def write_undo(self, transaction_id: str, kind: str, *runs: tuple[int, int]) -> None:
        for first, last in runs:
            link = {"transaction_id": transaction_id, "kind": kind, "first_id": first, "last_id": last}
            self._insert(self.tables.undo, link)

    def write_shape(self, shape: TableShape, after_id: int = 0) -> None:
        table = shape.table
        values = {"table_schema": table.schema, "table_name": table.name, "timestamp": self.now, "after_id": after_id}
        self._insert(self.tables.table_shape, {**values, "shape": shape.to_json()})

    def write_gap(self, table: TableName, after_id: int, until_id: int | None, reason: str | None = None) -> None:
        values = {"table_schema": table.schema, "table_name": table.name, "after_id": after_id, "until_id": until_id}
        self._insert(self.tables.gap, {**values, "timestamp": self.now, "reason": reason})

    def write_meta(self, **values: str) -> None:
        for name, value in values.items():
            self._insert(self.tables.meta, {"name": name, "value": value})

    def write_many(self, count: int, *, rows: int = 1000, table: str = "item") -> None:
        """So many updates of so many rows by three actors, ten a transaction, straight in SQL."""
        with self.engine.begin() as connection:
            connection.execute(
                text(_MANY.format(log=self.tables.name)),
                {"count": count, "rows": rows, "table_name": table, "start": "2026-03-02 08:00:00.000000"},
            )

    def _row_ids(self, before: Row | None, after: Row | None) -> tuple[str | None, str | None]:
        old_id = codec.row_id_of(before, self.key) if before is not None else None
        row_id = codec.row_id_of(after, self.key) if after is not None else old_id
        old_id, row_id = (None if each is None else codec.look_up_key(each) for each in (old_id, row_id))
        return old_id if old_id is not None else row_id, row_id

    def _insert(self, table: Any, values: Mapping[str, Any]) -> int:
        with self.engine.begin() as connection:
            inserted = connection.execute(insert(table).values(values)).inserted_primary_key
        return inserted[0] if inserted else 0


_MANY = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO "{log}" (transaction_id, timestamp, actor, table_name, row_id, event_type, "before", "after", source)
SELECT printf('%08x-0000-0000-0000-000000000000', (n + 9) / 10),
       strftime('%Y-%m-%d %H:%M:%f', :start, '+' || n || ' seconds') || '000',
       CASE n % 3 WHEN 0 THEN 'alice' WHEN 1 THEN 'bob' ELSE 'carol' END,
       :table_name, n % :rows, 'UPDATE',
       printf('{{"id":%d,"price":%d,"name":"row %d"}}', n % :rows, n / :rows, n % :rows),
       printf('{{"id":%d,"price":%d,"name":"row %d"}}', n % :rows, n / :rows + 1, n % :rows),
       'listener'
FROM numbers"""


def ids(changes: Iterable[Any]) -> list[int]:
    """The ids of changes."""
    return [change.id for change in changes]
