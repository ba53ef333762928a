"""A small tracked shop database for tests of undo: raw DDL, writes through a tracked engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

import auditcli
from auditcli.apply import Outcome, apply_plan
from auditcli.capture.scene import quiet
from auditcli.log.tables import log_tables
from auditcli.plan import Conflict, Plan, PlanOptions
from auditcli.undo import plan_redo, plan_undo

LOG = log_tables()

DDL = """
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT UNIQUE, boss INTEGER REFERENCES artist);
CREATE TABLE album (
    id INTEGER PRIMARY KEY,
    title TEXT COLLATE NOCASE,
    price,
    artist_id INTEGER REFERENCES artist ON DELETE CASCADE ON UPDATE CASCADE,
    updated_at TEXT,
    version INTEGER
);
CREATE TABLE review (id INTEGER PRIMARY KEY, album_id INTEGER REFERENCES album, stars INTEGER);
"""


class Shop:
    """Writes as somebody, plans and applies."""

    def __init__(self, path: Path, ddl: str = DDL, **settings: Any) -> None:
        self.engine = sa.create_engine(f"sqlite:///{path}")
        event.listen(self.engine, "connect", _enforce_foreign_keys)
        self.behind(ddl)
        auditcli.track(self.engine, create=True, **settings)

    def behind(self, script: str) -> None:
        """Run SQL that nobody records."""
        with self.engine.connect() as connection, quiet(connection):
            connection.connection.driver_connection.executescript(script)  # type: ignore[union-attr]

    def insert(self, table: str, actor: str = "alice", **values: Any) -> int:
        return self._write(sa.insert(self._table(table, values)).values(values), actor)

    def update(self, table: str, key: Any, actor: str = "alice", **values: Any) -> int:
        target = self._table(table, values)
        return self._write(sa.update(target).where(target.c.id == key).values(values), actor)

    def delete(self, table: str, key: Any, actor: str = "alice") -> int:
        target = self._table(table, {})
        return self._write(sa.delete(target).where(target.c.id == key), actor)

    @contextmanager
    def as_one(self, actor: str = "alice") -> Iterator[sa.Connection]:
        """One transaction."""
        with auditcli.context(actor=actor), self.engine.begin() as connection:
            yield connection

    def undo(self, *ids: int, transaction: str | None = None, **options: Any) -> Plan:
        with self.engine.connect() as connection:
            chosen = PlanOptions(**options)
            return plan_undo(connection, LOG, ids=ids or None, transaction=transaction, options=chosen)

    def redo(self, actor: str | None = "alice", transaction: str | None = None) -> Plan:
        with self.engine.connect() as connection:
            return plan_redo(connection, LOG, actor=actor, transaction=transaction)

    def apply(self, plan: Plan, actor: str = "alice", reason: str | None = None, **options: Any) -> Outcome:
        with auditcli.context(actor=actor, reason=reason):
            return apply_plan(self.engine, plan, **options)

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(f'SELECT {columns} FROM "{table}" ORDER BY 1')
            return [tuple(row) for row in found]

    def log(self) -> Sequence[sa.Row[Any]]:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(LOG.changelog).order_by(LOG.changelog.c.id)).all()

    def last_id(self) -> int:
        return max((record.id for record in self.log()), default=0)

    def _write(self, statement: Any, actor: str) -> int:
        """The id of the last record that the statement led to."""
        with self.as_one(actor) as connection:
            connection.execute(statement)
        return self.last_id()

    def _table(self, name: str, values: Mapping[str, Any]) -> sa.Table:
        columns = [sa.Column(column, sa.types.NullType()) for column in values if column != "id"]
        return sa.Table(name, sa.MetaData(), sa.Column("id", sa.types.NullType(), primary_key=True), *columns)


def kinds(conflicts: Sequence[Conflict]) -> list[str]:
    """The kinds of some conflicts."""
    return [str(conflict.kind) for conflict in conflicts]


def _enforce_foreign_keys(driver_connection: Any, _record: object) -> None:
    driver_connection.execute("PRAGMA foreign_keys = ON")
