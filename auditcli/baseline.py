"""Recording rows as they are, so that the log can be folded from there: a statement a row, not a step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from auditcli import codec
from auditcli.capture.context import current_context
from auditcli.capture.recorder import Recorder
from auditcli.capture.rowrecords import RecordMaker
from auditcli.capture.scene import Scene, quiet
from auditcli.capture.scenes import Scenes
from auditcli.clock import Clock, utc_now
from auditcli.driver import dialect_of, run
from auditcli.log.meta import forget_meta, read_meta, write_meta
from auditcli.log.tables import LogTables, log_tables
from auditcli.model import TableName
from auditcli.rows import RowReader

_META_NAME = "baseline"
_CHUNK = 1000
_ALL = 2**62
"""A table without a key has no places to go on from: all of it is one chunk."""


@dataclass(frozen=True, slots=True)
class BaselineProgress:
    """How far a table has got; `rows` counts those of this run."""

    table: TableName
    rows: int
    is_done: bool


@dataclass(frozen=True)
class Baseline:
    """What was recorded, by table; `resumed` says that an earlier run had been broken off."""

    rows: Mapping[TableName, int]
    resumed: bool


def record_baseline(
    engine: Engine,
    *,
    tables: LogTables | None = None,
    clock: Clock = utc_now,
    chunk: int = _CHUNK,
    on_progress: Callable[[BaselineProgress], None] | None = None,
    on_resume: Callable[[], None] | None = None,
) -> Baseline:
    """Record every row of every tracked table as a SNAPSHOT, in chunks, while others go on writing.

    Each chunk is a transaction of its own in which nobody changes its rows, so that a record of a later change has a
    higher id than the snapshot. Broken off and called again it calls `on_resume` and goes on where it stopped; called
    again after its end it records all rows anew. Raises LogError where there is no log.
    """
    with engine.connect() as connection, quiet(connection):
        run = _Run(connection, tables or log_tables(), clock, chunk)
        return run.record(on_progress or (lambda _: None), on_resume or (lambda: None))


class _Run:
    def __init__(self, connection: Connection, tables: LogTables, clock: Clock, chunk: int) -> None:
        self._connection = connection
        self._tables = tables
        self._clock = clock
        self._chunk = chunk
        self._dialect = dialect_of(connection)
        self._scenes = Scenes(tables, {}, create=False, clock=clock)

    def record(self, on_progress: Callable[[BaselineProgress], None], on_resume: Callable[[], None]) -> Baseline:
        with self._connection.begin():
            names = [shape.table for shape in self._enter().tracked_shapes()]
            stored = self._stored()
        if stored:
            on_resume()
        counts = dict.fromkeys(sorted(names, key=str), 0)
        for table in counts:
            is_done = stored.get(str(table)) == "done"
            while not is_done:
                rows, is_done = self._next_chunk(table)
                counts[table] += rows
                on_progress(BaselineProgress(table, counts[table], is_done))
        with self._connection.begin():
            forget_meta(self._connection, self._tables, _META_NAME)
        return Baseline(counts, resumed=bool(stored))

    def _enter(self) -> Scene:
        if self._dialect.begin_write_sql is not None:
            run(self._connection, self._dialect.begin_write_sql)
        return self._scenes.enter(self._connection)

    def _next_chunk(self, table: TableName) -> tuple[int, bool]:
        """Record the next rows of a table; returns how many, and whether they were the last."""
        with self._connection.begin():
            scene = self._enter()
            if table not in scene.shapes.tables:
                return 0, True
            shape = scene.tracking.recorded(scene.shapes.tables[table])
            stored = self._stored()
            after = stored.get(str(table))
            place = None if after is None else tuple(codec.decode(part) for part in after)
            size = self._chunk if shape.locator else _ALL
            rows = RowReader(self._connection, self._dialect).page(shape, place, size, keeping=True)
            if rows:
                maker = RecordMaker(self._dialect, shape, scene.masked(table))
                recorder = Recorder(self._connection, scene, self._clock)
                recorder.write([maker.snapshot(row.values) for row in rows], current_context())
            is_done = len(rows) < size
            reached: Any = "done" if is_done else [codec.encode(part) for part in rows[-1].locator]
            self._store({**stored, str(table): reached})
            return len(rows), is_done

    def _stored(self) -> dict[str, Any]:
        text = read_meta(self._connection, self._tables, _META_NAME)
        return {} if text is None else json.loads(text)

    def _store(self, progress: Mapping[str, Any]) -> None:
        write_meta(self._connection, self._tables, {_META_NAME: json.dumps(progress)})
