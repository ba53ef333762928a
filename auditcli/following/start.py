"""Where to begin with what comes: after the last id up to which nothing can be committed any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from auditcli.connect import Database
from auditcli.feed import Place, place_after
from auditcli.holders import Holder, open_writers
from auditcli.log.reader import LogReader
from auditcli.watermark import Watermark

_RECENT = 10_000
"""Of older ids than so many before the last one none is still to come, where it can't be told who writes."""

_CLOCKS = timedelta(seconds=2)
"""By how much the stamp of a record and the beginning of its transaction may be wrong against each other."""

_INTERVAL = 0.02
_PATIENCE = 1.5


def certain_place(database: Database) -> Place:
    """A place near the end of the log that nothing can be committed before.

    The last record is none where somebody writes: a transaction that is open may own lower ids.
    """
    dialect, tables = database.dialect, database.tables
    with database.engine.connect() as connection:
        reader = LogReader(connection, tables, dialect=dialect)
        last = reader.last_id()
        if dialect.log_ids_follow_commits:
            return place_after(reader, last)
        mark = Watermark(tables, dialect, _before(reader, last, open_writers(connection, dialect)))
        deadline = time.monotonic() + dialect.gap_grace + _PATIENCE
        complete = mark.look(connection)
        while complete < last and not mark.is_complete and time.monotonic() < deadline:
            time.sleep(_INTERVAL)
            complete = mark.look(connection)
        return place_after(reader, complete)


def _before(reader: LogReader, last: int, holders: Sequence[Holder] | None) -> int:
    """An id that is certainly older than what the holders have written, and all that was given out just now."""
    log = reader.tables.changelog.c
    newest = reader.scalar(select(log.timestamp).where(log.id == last))
    if newest is None:
        return 0
    known = [] if holders is None else [holder.began for holder in holders if holder.began is not None]
    stamped = reader.last_id_stamped_before(min([newest, *known]) - _CLOCKS)
    is_exact = holders is not None and len(known) == len(holders)
    return stamped if is_exact else min(stamped, max(0, last - _RECENT))
