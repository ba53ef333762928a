"""Where replays into this database stand, one place for each log that is replayed; it moves with the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, insert, inspect, select

from auditcli.errors import LogError
from auditcli.log.tables import BIG, LONG_TEXT, OPTIONS, LogTables, UtcDateTime


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """The last record that is in, those before it that wait (`held`, by the last ids of their transactions), and the
    selection, as words, that all of it is about.
    """

    log_uuid: str
    log_id: int
    transaction_id: str | None
    held: tuple[int, ...] = ()
    selection: str = ""


class ReplayPlaces:
    """Reads and writes the table `changelog_replay` of one database, in the caller's transaction."""

    def __init__(self, tables: LogTables) -> None:
        self.table = _place_table(tables.name, tables.schema)

    def create(self, connection: Connection) -> None:
        """Make the table where it is missing."""
        self.table.create(connection, checkfirst=True)

    def read(self, connection: Connection, log_uuid: str) -> KeptPlace | None:
        """Where the replay of a log stands; None where none was begun."""
        if not inspect(connection).has_table(self.table.name, schema=self.table.schema):
            return None
        kept = self.table.c
        columns = (kept.log_id, kept.transaction_id, kept.held, kept.selection)
        found = connection.execute(select(*columns).where(kept.log_uuid == log_uuid)).first()
        if found is None:
            return None
        log_id, transaction_id, held, selection = found
        return KeptPlace(log_uuid, log_id, transaction_id, tuple(json.loads(held)), selection)

    def others(self, connection: Connection, log_uuid: str) -> dict[str, int]:
        """The logs besides this one that are replayed here, and up to which change each is in."""
        if not inspect(connection).has_table(self.table.name, schema=self.table.schema):
            return {}
        kept = self.table.c
        query = select(kept.log_uuid, kept.log_id).where(kept.log_uuid != log_uuid)
        return {row.log_uuid: row.log_id for row in connection.execute(query)}

    def move(self, connection: Connection, before: KeptPlace | None, after: KeptPlace, now: datetime) -> None:
        """Move the place on; raises LogError where it is not (any more) where this replay left it."""
        if before is not None:
            kept = self.table.c
            here = (kept.log_uuid == before.log_uuid, kept.log_id == before.log_id, kept.held == _listed(before.held))
            if connection.execute(delete(self.table).where(*here)).rowcount != 1:
                raise LogError(
                    f"the place in {self.table.name} is not the one that this replay left (change {before.log_id})",
                    hint="another replay into the same database is running; let one of them do it",
                )
        values = {
            "log_uuid": after.log_uuid,
            "log_id": after.log_id,
            "transaction_id": after.transaction_id,
            "held": _listed(after.held),
            "selection": after.selection,
            "timestamp": now,
        }
        connection.execute(insert(self.table).values(values))

    def forget(self, connection: Connection, log_uuid: str) -> None:
        """Take the place away."""
        connection.execute(delete(self.table).where(self.table.c.log_uuid == log_uuid))


def _listed(ids: Sequence[int]) -> str:
    return json.dumps(list(ids))


@lru_cache
def _place_table(name: str, schema: str | None) -> Table:
    return Table(
        f"{name}_replay",
        MetaData(schema=schema),
        Column("log_uuid", String(36), primary_key=True),
        Column("log_id", BIG, nullable=False),
        Column("transaction_id", String(36)),
        Column("held", Text, nullable=False),
        Column("selection", LONG_TEXT, nullable=False),
        Column("timestamp", UtcDateTime, nullable=False),
        **{**OPTIONS, "sqlite_autoincrement": False},
    )
