"""A database whose history is taken back, brought again and taken back, by way of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

import auditcli
from auditcli import codec
from auditcli.apply import Outcome, apply_plan
from auditcli.driver import define, dialect_of
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import TableName
from auditcli.plan import Plan
from auditcli.rows import RowReader
from auditcli.shape import TableShape
from auditcli.undo import plan_redo, plan_undo
from tests.db.histories import KEPT, History, Part

LOG = log_tables()
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Stretch:
    """What a transaction left: the ids of its records, and the rows as they were before and after it."""

    ids: range
    before: Rows
    after: Rows


@dataclass(frozen=True)
class Rewound:
    """A database, and the tables that the story is about."""

    engine: Engine
    names: Sequence[str]

    def run(self, history: History) -> list[Stretch]:
        """Run transactions as far as the database accepts them; returns those that left something."""
        stretches = []
        before, last_id = self.rows(), self.last_id()
        for transaction in history:
            with self.engine.connect() as connection:
                self._begin(connection)
                for part in transaction.parts:
                    self._run(connection, part)
                self._end(connection, commits=transaction.commits)
            after, latest_id = self.rows(), self.last_id()
            if latest_id > last_id:
                stretches.append(Stretch(range(last_id + 1, latest_id + 1), before, after))
            assert latest_id > last_id or before == after
            before, last_id = after, latest_id
        return stretches

    def _begin(self, connection: Connection) -> None:
        begin = dialect_of(connection).begin_write_sql
        connection.begin()
        if begin is not None:
            # A savepoint outside of a transaction would be one by itself.
            define(connection, begin)

    def _run(self, connection: Connection, part: Part) -> None:
        if part.end != KEPT:
            define(connection, "SAVEPOINT part")
        for statement in part.statements:
            define(connection, "SAVEPOINT one")
            try:
                define(connection, statement)
                define(connection, "RELEASE SAVEPOINT one")
            except DBAPIError:
                define(connection, "ROLLBACK TO SAVEPOINT one")
        if part.end != KEPT:
            define(connection, part.end)

    def _end(self, connection: Connection, *, commits: bool) -> None:
        if not commits:
            connection.rollback()
            return
        try:
            connection.commit()
        except DBAPIError:
            connection.rollback()

    def rows(self) -> Rows:
        """All rows, as the codec writes them."""
        with self.engine.connect() as connection:
            reader = RowReader(connection, dialect_of(connection))
            return {
                name: sorted(codec.dump(row.image) for row in reader.all_of(self._shapes[TableName(name)]))
                for name in self.names
            }

    @cached_property
    def _shapes(self) -> Mapping[TableName, TableShape]:
        with self.engine.connect() as connection:
            return read_shapes(connection, dialect_of(connection)).tables

    def last_id(self) -> int:
        """The id of the last record, 0 before the first one."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.max(LOG.changelog.c.id))) or 0

    def ids_of(self, stretches: Iterable[Stretch]) -> list[int]:
        """The ids of all their records; some ids have none."""
        wanted = {log_id for stretch in stretches for log_id in stretch.ids}
        with self.engine.connect() as connection:
            return [log_id for log_id in connection.scalars(select(LOG.changelog.c.id)) if log_id in wanted]

    def undo(self, stretches: Iterable[Stretch]) -> Plan:
        """The plan that takes these back."""
        ids = self.ids_of(stretches)
        with self.engine.connect() as connection:
            return plan_undo(connection, LOG, ids=ids)

    def redo(self, transaction: str | None = None) -> Plan:
        """The plan that takes an undo back, the last one unless one is named."""
        with self.engine.connect() as connection:
            return plan_redo(connection, LOG, actor="undoer", transaction=transaction)

    def apply(self, plan: Plan) -> Outcome:
        """Apply a plan."""
        with auditcli.context(actor="undoer"):
            return apply_plan(self.engine, plan)

    def apply_cleanly(self, plan: Plan) -> Outcome:
        """Apply a plan that must not be in conflict."""
        assert plan.conflicts == ()
        return self.apply(plan)
