"""Stalls: who holds the log up, what was gone past, and what of that was committed after all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import and_, or_

from auditcli.connect import Database
from auditcli.feed import Delivered
from auditcli.following.news import CameLate, News, Skipped, Stalled, WentOn
from auditcli.holders import Holder, open_writers
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.model import Change
from auditcli.selection import Selection, matches
from auditcli.watermark import Watermark

_STALL_AFTER = 2.0
_TELL_AGAIN = (10.0, 60.0, 300.0)
"""Seconds from one word about a stall to the next; the last of them again and again."""

_SKIPS_EVERY = 5.0
_LATE_EVERY = 1.0
_MOST_RANGES = 200
_MOST_LATE = 1000


class Stalls:
    """Looks after each poll at how the watermark does, and tells."""

    def __init__(
        self, database: Database, watermark: Watermark, selection: Selection, tell: Callable[[News], None]
    ) -> None:
        self._database = database
        self._watermark = watermark
        self._selection = selection
        self._tell = tell
        self._words = 0
        self._longest = 0.0
        self._next_word = 0.0
        self._next_skip = 0.0
        self._next_late = 0.0
        self._skipped: list[range] = []
        self._settled: set[str | int] = set()

    @property
    def is_due(self) -> bool:
        """Whether to look although nothing new has come: what was gone past may have."""
        return bool(self._skipped) and time.monotonic() >= self._next_late

    def look(self, delivered: Sequence[Delivered]) -> None:
        """Tell what is new: a stall, its end, ids that were gone past, changes that came late."""
        now = time.monotonic()
        self._look_at_hold(now)
        self._settle(change for each in delivered for change in each.changes)
        if self._watermark.skipped and now >= self._next_skip:
            self._tell_skipped()
            self._next_skip = now + _SKIPS_EVERY
        if self.is_due:
            self._tell_late()
            self._next_late = now + _LATE_EVERY

    def _look_at_hold(self, now: float) -> None:
        seconds = self._watermark.held_for
        if self._words and seconds < self._longest:
            if not self._watermark.skipped:
                self._tell(WentOn(self._longest))
            self._words, self._longest = 0, 0.0
        if seconds < _STALL_AFTER:
            return
        self._longest = seconds
        if not self._words or now >= self._next_word:
            self._tell(Stalled(seconds, self._watermark.waiting, self._holders(), self._way_to_see))
            self._next_word = now + _TELL_AGAIN[min(self._words, len(_TELL_AGAIN) - 1)]
            self._words += 1

    def _tell_skipped(self) -> None:
        ids = tuple(self._watermark.skipped)
        self._watermark.skipped.clear()
        self._skipped = [*self._skipped, *ids][-_MOST_RANGES:]
        self._tell(Skipped(ids, self._holders(), self._way_to_see))

    def _tell_late(self) -> None:
        """Tell which of the skipped ids were committed after all, unless the feed has them or will have them."""
        late: dict[str | int, list[Change]] = {}
        with self._database.engine.connect() as connection:
            reader = LogReader(connection, self._database.tables, dialect=self._database.dialect)
            log = self._database.tables.changelog.c
            skipped = or_(*(and_(log.id >= ids.start, log.id < ids.stop) for ids in self._skipped))
            for change in reader.records(Criteria((skipped,)), limit=_MOST_LATE):
                late.setdefault(change.transaction_id or change.id, []).append(change)
        for key, changes in late.items():
            ids = tuple(change.id for change in changes if matches(self._selection, change))
            if key not in self._settled and ids:
                self._tell(CameLate(changes[0].transaction_id, ids))
            self._settled.add(key)

    def _settle(self, changes: Iterable[Change]) -> None:
        """What was delivered did not come late."""
        if self._skipped:
            self._settled.update(change.transaction_id or change.id for change in changes)

    def _holders(self) -> Sequence[Holder] | None:
        """The open transactions that may be what is waited for."""
        with self._database.engine.connect() as connection:
            holders = open_writers(connection, self._database.dialect)
        blockers, held = self._watermark.blockers, self._watermark.held_for
        if holders is None:
            return None
        if blockers is not None:
            return [holder for holder in holders if holder.key in blockers]
        return [holder for holder in holders if holder.seconds is None or holder.seconds >= held]

    @property
    def _way_to_see(self) -> str:
        return self._database.dialect.see_writers_right
