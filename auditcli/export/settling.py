"""Up to where a log can be exported so that the next export can go on from there."""

from __future__ import annotations

from auditcli.log.positions import window
from auditcli.log.reader import LogReader, Window
from auditcli.settled import settled_id


def settled(reader: LogReader, chosen: Window) -> Window:
    """The window, without what comes after an id that may still be committed; that is waited for a moment.

    Ends the reader's transaction.
    """
    last = chosen.until_id or 0
    complete = settled_id(reader, last)
    return chosen if complete >= last else window(reader, min(chosen.since_id, complete), complete)
