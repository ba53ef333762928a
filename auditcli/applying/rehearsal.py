"""What a plan would do beyond itself: seen in a real transaction, which is then rolled back.

Part of `apply.py`, which opens and ends the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from auditcli import codec
from auditcli.applying.refusal import PlanConflict
from auditcli.capture.scene import Scene
from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.errors import ConflictError
from auditcli.log.reader import LogReader
from auditcli.model import Change, RowKey, TableName
from auditcli.plan import Plan, Step


@dataclass(frozen=True)
class Rehearsal:
    """What happened before it was rolled back.

    `moved` are cells that triggers of the application's had changed (each step's `expected`) and that were set again;
    `outside` are changes of rows that the plan does not name. What triggers did to tables in `unseen` is not known:
    they are recorded by listeners.
    """

    plan: Plan
    rows: int
    moved: tuple[Step, ...]
    outside: tuple[Change, ...]
    unseen: tuple[TableName, ...]


class Stage:
    """The transaction of a rehearsal."""

    def __init__(self, connection: Connection, scene: Scene, plan: Plan) -> None:
        self._connection = connection
        self._scene = scene
        self._plan = plan
        self._dialect: Dialect = scene.dialect
        self._tables = tuple(dict.fromkeys(step.table for step in plan.steps))
        self._triggered = [table for table in self._tables if self._has_triggers(table)]
        self._broken_before = self._broken()

    def refuse_what_would_stay(self) -> None:
        """Raise ConflictError where triggers might write what no rollback takes back."""
        stays = [str(shape.table) for shape in self._scene.shapes.tables.values() if not shape.is_transactional]
        if stays and self._triggered:
            raise ConflictError(
                f"can't rehearse it: triggers of {self._triggered[0]} may write to {', '.join(sorted(stays))}, "
                "whose engine has no transactions, and no rollback would take that back",
                hint="--dry-run only looks",
            )

    def check_deferred(self) -> None:
        """Raise PlanConflict where a constraint that was put off would refuse the commit."""
        if self._dialect.check_deferred_sql is not None:
            try:
                run(self._connection, self._dialect.check_deferred_sql)
            except IntegrityError as error:
                raise PlanConflict((), f"a constraint refuses it at the end: {error.orig}") from error
        broken = sorted({f"{row[0]} refers to {row[2]}" for row in self._broken() - self._broken_before})
        if broken:
            raise PlanConflict((), f"rows would refer to what is gone: {', '.join(broken)}")

    def seen(self, transaction_id: str, rows: int, moved: Collection[Step]) -> Rehearsal:
        """What the log of the transaction tells."""
        reader = LogReader(self._connection, self._scene.tables)
        planned = set(self._planned_rows())
        outside = tuple(
            change
            for change in reader.transaction_changes(transaction_id)
            if change.row not in planned and (change.row is not None or change.table not in self._tables)
        )
        unseen = tuple(table for table in self._triggered if self._scene.records(table))
        return Rehearsal(self._plan, rows, tuple(moved), outside, unseen)

    def _planned_rows(self) -> Iterator[RowKey]:
        for step in self._plan.steps:
            key = self._scene.shape(step.table).primary_key
            for image in (step.key, step.key_after):
                row_id = codec.row_id_of(image, key)
                if row_id is not None:
                    yield RowKey(step.table, row_id)

    def _has_triggers(self, table: TableName) -> bool:
        return bool(run(self._connection, self._dialect.trigger_names_sql(), (table.name,)).fetchall())

    def _broken(self) -> set[tuple[Any, ...]]:
        sql = self._dialect.foreign_key_check_sql
        return set() if sql is None else {tuple(row) for row in run(self._connection, sql).fetchall()}
