"""The one writer of the log's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, column, insert, literal, select, table, update

from auditcli.log.tables import LogTables, UtcDateTime
from auditcli.model import TableName

RECORD_COLUMNS = (
    "transaction_id",
    "timestamp",
    "actor",
    "table_schema",
    "table_name",
    "row_id",
    "old_row_id",
    "event_type",
    "before",
    "after",
    "source",
)


Record: TypeAlias = tuple[str | None, str, str | None, str | None, str, str | None, str | None, str]
"""The values of `RECORD_COLUMNS` from `table_schema` on; the images are text."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all records have in common that are written together."""

    transaction_id: str
    timestamp: datetime
    actor: str | None


@dataclass(frozen=True, slots=True)
class TransactionHeader:
    """What is written once a transaction, with its first record."""

    transaction_id: str
    timestamp: datetime
    reason: str | None
    context: Mapping[str, Any]
    db_user: str | None
    client: str | None
    application: str | None


class LogWriter:
    """Writes to one log; every method belongs to the caller's transaction."""

    def __init__(self, tables: LogTables) -> None:
        self._tables = tables

    def write_header(self, connection: Connection, header: TransactionHeader, *, unless_there: bool = False) -> None:
        """Say who and why, before the transaction's first record; a trigger may have done so already."""
        known = self._tables.transaction.c.transaction_id
        if unless_there and connection.scalar(select(known).where(known == header.transaction_id).limit(1)):
            self.amend_header(connection, header.transaction_id, header.timestamp, header.reason, header.context)
            return
        values = {
            "transaction_id": header.transaction_id,
            "timestamp": header.timestamp,
            "reason": header.reason,
            "context": dict(header.context) or None,
            "db_user": header.db_user,
            "client": header.client,
            "application": header.application,
        }
        connection.execute(insert(self._tables.transaction).values(values))

    def amend_header(
        self, connection: Connection, transaction_id: str, now: datetime, reason: str | None, context: Mapping[str, Any]
    ) -> None:
        """Add what the context said later in the same transaction, if there is a header: readers put both together.

        A row of its own, so that a program which writes to the log needs no right to change it.
        """
        header = self._tables.transaction
        said = {
            "transaction_id": transaction_id,
            "timestamp": now,
            "reason": reason,
            "context": dict(context) or None,
        }
        values = [literal(value, header.c[name].type) for name, value in said.items()]
        if_there = select(*values).where(header.c.transaction_id == transaction_id).limit(1)
        connection.execute(insert(header).from_select(list(said), if_there, include_defaults=False))

    def write_records(self, connection: Connection, records: Iterable[Record], stamp: Stamp) -> None:
        """Append records in this order."""
        # Straight to the driver: SQLAlchemy's own processing would cost as much as all the rest.
        sql, is_positional = _records_sql(self._tables, connection.dialect)
        process = UtcDateTime().dialect_impl(connection.dialect).bind_processor(connection.dialect)
        moment = process(stamp.timestamp) if process else stamp.timestamp
        head = (stamp.transaction_id, moment, stamp.actor)
        rows: list[Any] = [(*head, *record) for record in records]
        if not is_positional:
            rows = [dict(zip(RECORD_COLUMNS, row, strict=True)) for row in rows]
        connection.exec_driver_sql(sql, rows)

    def write_gap(
        self,
        connection: Connection,
        gap_tables: Iterable[TableName],
        *,
        after_id: int,
        now: datetime,
        actor: str | None,
        reason: str | None,
        is_open: bool = False,
    ) -> None:
        """Record that changes of these tables up to now, or from now on (`is_open`), are not in the log."""
        rows = [
            {
                "table_schema": name.schema,
                "table_name": name.name,
                "after_id": after_id,
                "until_id": None if is_open else after_id,
                "timestamp": now,
                "until_timestamp": None if is_open else now,
                "actor": actor,
                "reason": reason,
            }
            for name in gap_tables
        ]
        connection.execute(insert(self._tables.gap), rows)

    def close_gap(self, connection: Connection, name: TableName, *, until_id: int, now: datetime) -> None:
        """Record that the table's changes are in the log again."""
        gap = self._tables.gap
        of_table = (gap.c.table_name == name.name, gap.c.table_schema.is_not_distinct_from(name.schema))
        still_open = update(gap).where(*of_table, gap.c.until_id.is_(None))
        connection.execute(still_open.values(until_id=until_id, until_timestamp=now))

    def write_undo(
        self, connection: Connection, transaction_id: str, kind: str, runs: Iterable[tuple[int, int]]
    ) -> None:
        """Link a transaction to the runs of log ids that it takes back; `kind` is `undo`, `redo` or `part`."""
        rows = [
            {"transaction_id": transaction_id, "kind": kind, "first_id": first, "last_id": last} for first, last in runs
        ]
        if rows:
            connection.execute(insert(self._tables.undo), rows)


@lru_cache(maxsize=64)
def _records_sql(tables: LogTables, dialect: Dialect) -> tuple[str, bool]:
    """An INSERT whose values are for the driver as they are, and whether it takes them by position."""
    target = table(tables.name, *map(column, RECORD_COLUMNS), schema=tables.schema)
    compiled = insert(target).compile(dialect=dialect)
    return str(compiled), bool(compiled.positional)
