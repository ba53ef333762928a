"""Leaving tables unrecorded for a while, on purpose: with a gap in the log that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from auditcli.capture.triggers import refresh_triggers
from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.errors import NotFound
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking, write_tracking
from auditcli.log.tables import LogTables
from auditcli.log.upgrade import check_log
from auditcli.log.writer import LogWriter
from auditcli.model import TableName


@dataclass(frozen=True)
class PauseOutcome:
    """The tables that were paused or resumed, those that were so already, and the log id that it happened after."""

    tables: tuple[TableName, ...]
    already: tuple[TableName, ...]
    after_id: int


def pause(
    connection: Connection,
    tables: LogTables,
    dialect: Dialect,
    words: Sequence[str],
    *,
    now: datetime,
    actor: str | None,
    reason: str | None,
) -> PauseOutcome:
    """Stop recording these tables and open a gap for each; raises NotFound for a table that is not tracked."""

    def open_gaps(wanted: Sequence[TableName], after_id: int) -> None:
        writer = LogWriter(tables)
        writer.write_gap(connection, wanted, after_id=after_id, now=now, actor=actor, reason=reason, is_open=True)

    return _change(connection, tables, dialect, words, open_gaps, is_pause=True)


def resume(
    connection: Connection, tables: LogTables, dialect: Dialect, words: Sequence[str], *, now: datetime
) -> PauseOutcome:
    """Record these tables again and close their gaps; raises NotFound for a table that is not tracked."""

    def close_gaps(wanted: Sequence[TableName], after_id: int) -> None:
        for table in wanted:
            LogWriter(tables).close_gap(connection, table, until_id=after_id, now=now)

    return _change(connection, tables, dialect, words, close_gaps, is_pause=False)


def _change(
    connection: Connection,
    tables: LogTables,
    dialect: Dialect,
    words: Sequence[str],
    note_gaps: Callable[[Sequence[TableName], int], None],
    *,
    is_pause: bool,
) -> PauseOutcome:
    with connection.begin():
        if dialect.begin_write_sql is not None:
            run(connection, dialect.begin_write_sql)
        check_log(connection, tables)
        tracking = read_tracking(connection, tables)
        named = _named(connection, tables, dialect, tracking, words)
        already = tuple(table for table in named if (str(table) in tracking.paused) is is_pause)
        wanted = tuple(table for table in named if table not in already)
        words_now = {str(table) for table in wanted}
        paused = {*tracking.paused, *words_now} if is_pause else set(tracking.paused) - words_now
        after_id = connection.scalar(select(func.max(tables.changelog.c.id))) or 0
        if wanted:
            changed = replace(tracking, paused=tuple(sorted(paused)))
            write_tracking(connection, tables, changed)
            refresh_triggers(connection, tables, dialect, changed)
            note_gaps(wanted, after_id)
    return PauseOutcome(wanted, already, after_id)


def _named(
    connection: Connection, tables: LogTables, dialect: Dialect, tracking: Tracking, words: Sequence[str]
) -> tuple[TableName, ...]:
    live = read_shapes(connection, dialect).tables
    tracked = {str(table): table for table in live if table not in tables.table_names and tracking.covers(table)}
    for word in words:
        if word not in tracked:
            known = ", ".join(sorted(tracked)) or "none"
            raise NotFound(f"no tracked table {word!r}", hint=f"tracked tables: {known}")
    return tuple(tracked[word] for word in dict.fromkeys(words))
