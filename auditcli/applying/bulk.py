"""Doing many steps of one kind by one statement, which reads what they set from the log.

Part of `apply.py`, which opens and ends the transaction. Where it does not come out as planned, to the row, nothing of
it may stay: the steps are then done one by one, which finds out why.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from auditcli.capture.scene import Scene
from auditcli.driver import ValueReading, run, run_many
from auditcli.log.reader import LogReader
from auditcli.netrows import NetStatements
from auditcli.plan import Bulk, Plan

_IDS_A_PART = 10_000


class BulkWriting:
    """The bulks of one plan, in one transaction."""

    def __init__(self, connection: Connection, scene: Scene, plan: Plan, now: datetime) -> None:
        self._connection = connection
        self._dialect = scene.dialect
        self._scene = scene
        self._reading = ValueReading(connection, scene.dialect)
        self._reader = LogReader(connection, scene.tables)
        self._bulks = plan.bulks
        self._now = now

    @property
    def is_possible(self) -> bool:
        """Whether triggers record what the statements do."""
        return all(bulk.table in self._scene.triggered for bulk in self._bulks)

    def write(self) -> bool:
        """Lock the rows, check them and do the steps; False where some are not as planned."""
        return all(self._write(bulk, statements) for bulk, statements in self._statements())

    def is_done(self) -> bool:
        """Whether all rows are as they should be now; forgets what it had to know."""
        done = all(self._count(bulk, statements.count) == bulk.rows for bulk, statements in self._statements())
        for _, statements in self._statements():
            run(self._connection, statements.forget)
        return done

    def _statements(self) -> Iterator[tuple[Bulk, NetStatements]]:
        for number, bulk in enumerate(self._bulks):
            yield bulk, NetStatements(self._reader, bulk, self._scene.shapes, number, self._now)

    def _write(self, bulk: Bulk, statements: NetStatements) -> bool:
        self._keep(bulk, statements)
        if self._count(bulk, statements.lock) != bulk.rows:
            return False
        with self._reading.of(self._scene.shape(bulk.table)):
            return run(self._connection, statements.write).rowcount == bulk.rows

    def _count(self, bulk: Bulk, sql: str) -> int:
        with self._reading.of(self._scene.shape(bulk.table)):
            return int(run(self._connection, sql).scalar_one())

    def _keep(self, bulk: Bulk, statements: NetStatements) -> None:
        """Have the database read the rows from the log into a table of their own."""
        for sql in statements.keep_runs:
            run(self._connection, sql)
        if statements.reads_lock:
            run(self._connection, statements.keep_none)
            for part in _parts(bulk):
                self._put_runs(statements, part)
                rows = run(self._connection, statements.read).fetchall()
                run_many(self._connection, statements.put(len(rows[0])), rows)
                run(self._connection, statements.empty_runs)
        else:
            self._put_runs(statements, bulk.undone_ids)
            run(self._connection, statements.keep)
        if statements.measure is not None:
            run(self._connection, statements.measure)
        run(self._connection, statements.forget_runs)

    def _put_runs(self, statements: NetStatements, runs: tuple[tuple[int, int], ...]) -> None:
        run_many(self._connection, statements.put_runs, runs)
        if statements.measure_runs is not None:
            run(self._connection, statements.measure_runs)


def _parts(bulk: Bulk) -> Iterator[tuple[tuple[int, int], ...]]:
    """The ids in runs that make parts of a limited size, unless a row's records could end up in two of them."""
    if not bulk.is_single:
        yield bulk.undone_ids
        return
    short = (
        (start, min(last, start + _IDS_A_PART - 1))
        for first, last in bulk.undone_ids
        for start in range(first, last + 1, _IDS_A_PART)
    )
    part: list[tuple[int, int]] = []
    size = 0
    for first, last in short:
        if size + last - first >= _IDS_A_PART:
            yield tuple(part)
            part, size = [], 0
        part.append((first, last))
        size += last - first + 1
    yield tuple(part)
