"""Up to where a log can be exported so that the next export can go on from there."""

from __future__ import annotations

import time

from auditcli.log.positions import window
from auditcli.log.reader import LogReader, Window
from auditcli.watermark import Watermark

_RECENT = 10_000
"""So many ids before the last one are looked through for gaps that somebody's commit may still fill."""

_PATIENCE = 1.0
_INTERVAL = 0.02


def settled(reader: LogReader, chosen: Window) -> Window:
    """The window, without what comes after an id that may still be committed; that is waited for a moment.

    Ends the reader's transaction.
    """
    last = chosen.until_id or 0
    mark = Watermark(reader.tables, reader.dialect, max(0, last - _RECENT))
    complete = mark.look(reader.connection)
    give_up = time.monotonic() + _PATIENCE
    while complete < last and not mark.is_complete and time.monotonic() < give_up:
        time.sleep(_INTERVAL)
        complete = mark.look(reader.connection)
    return chosen if complete >= last else window(reader, min(chosen.since_id, complete), complete)
