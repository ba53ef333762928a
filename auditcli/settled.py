"""Up to which id near the end of a log nothing can be committed any more; what may still come is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import select

from auditcli.holders import Holder, open_writers
from auditcli.log.reader import LogReader
from auditcli.watermark import Watermark

_RECENT = 10_000
"""Of older ids than so many before the last one none is still to come, where it can't be told who writes."""

_CLOCKS = timedelta(seconds=2)
"""By how much the stamp of a record and the beginning of its transaction may be wrong against each other."""

_INTERVAL = 0.02
_PATIENCE = 1.5


def settled_id(
    reader: LogReader, wanted: int, *, seconds: float | None = None, pause: Callable[[float], object] = time.sleep
) -> int:
    """The highest id, `wanted` at the most, up to which nothing can be committed any more.

    Whoever may own a missing one is waited for, for so many seconds or as long as it takes to tell; `pause` sleeps,
    and says whether to give up. Ends the reader's transaction.
    """
    dialect = reader.dialect
    if dialect.log_ids_follow_commits:
        return wanted
    mark = Watermark(reader.tables, dialect, _before(reader, wanted, open_writers(reader.connection, dialect)))
    give_up = time.monotonic() + (dialect.gap_grace + _PATIENCE if seconds is None else seconds)
    complete = mark.look(reader.connection)
    while complete < wanted and not mark.is_complete and time.monotonic() < give_up and not pause(_INTERVAL):
        complete = mark.look(reader.connection)
    return min(complete, wanted)


def _before(reader: LogReader, last: int, holders: Sequence[Holder] | None) -> int:
    """An id that is certainly older than what the holders have written, and all that was given out just now."""
    log = reader.tables.changelog.c
    newest = reader.scalar(select(log.timestamp).where(log.id == reader.id_at_or_before(last)))
    if newest is None:
        return 0
    known = [] if holders is None else [holder.began for holder in holders if holder.began is not None]
    stamped = reader.last_id_stamped_before(min([newest, *known]) - _CLOCKS)
    is_exact = holders is not None and len(known) == len(holders)
    return stamped if is_exact else min(stamped, max(0, last - _RECENT))
