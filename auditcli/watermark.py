"""Up to which id the log is complete: nothing at or below it can still be committed.

Ids are given out before their transactions commit, in any order. So the mark moves on over ids that are there one
after the other; at a gap it waits until whoever may own the missing id has ended.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import Connection, func, select

from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.errors import LogError
from auditcli.log.tables import LogTables

_IDS = 50_000
"""How many ids one look takes in."""


@dataclass(frozen=True, slots=True)
class _Fence:
    """When these transactions have ended, no id up to `until_id` is missing any more."""

    until_id: int
    writers: frozenset[str]
    since: float


class Watermark:
    """Moves on from a place; every look ends the connection's transaction and begins the one that is read in.

    After `max_hold` seconds it goes on past ids that may still be committed, and notes them in `skipped`.
    """

    def __init__(
        self,
        tables: LogTables,
        dialect: Dialect,
        start: int = 0,
        *,
        max_hold: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_complete = False
        self.waiting = 0
        """How many committed records the last look saw above the mark."""
        self.top = start
        """The highest committed id that was seen."""
        self.skipped: list[range] = []
        self._log_id = tables.changelog.c.id
        self._dialect = dialect
        self._complete = start
        self._fence: _Fence | None = None
        self._passed: frozenset[str] = frozenset()
        self._missed: dict[int, float] = {}
        self._max_hold = math.inf if max_hold is None else max_hold
        self._held: tuple[int, float] | None = None
        self._is_checked = False
        self._now = now

    @property
    def held_for(self) -> float:
        """For how many seconds committed records have waited behind the same missing one."""
        return 0.0 if self._held is None else self._now() - self._held[1]

    @property
    def blockers(self) -> frozenset[str] | None:
        """What stands for the transactions of which the mark waits for some, where that can be told."""
        return None if self._fence is None else self._fence.writers

    def look(self, connection: Connection) -> int:
        """The mark as it is now, for a read in the transaction that the look leaves open.

        `is_complete` then says whether nothing is above it.
        """
        if self._dialect.log_ids_follow_commits:
            self._complete = self.top = connection.scalar(select(func.max(self._log_id))) or 0
            self.is_complete = True
        elif self._dialect.running_writers_sql is not None:
            self._look_past_writers(connection, self._dialect.running_writers_sql)
        else:
            self._look_past_gaps(connection)
        if not self.waiting:
            self._held = None
        elif self._held is None or self._held[0] != self._complete:
            self._held = (self._complete, self._now())
        return self._complete

    # Where it can be told which transactions are running.

    def _look_past_writers(self, connection: Connection, running_writers: str) -> None:
        if not self._is_checked and self._dialect.hides_writers_sql is not None:
            if run(connection, self._dialect.hides_writers_sql).scalar():
                raise LogError(
                    "this server is a standby, which does not tell whose transactions are open: what is committed late "
                    "would be lost",
                    hint="connect to the primary server",
                )
            self._is_checked = True
        running = self._running(connection, running_writers)
        # What has ended by then is seen by a transaction that begins now, and perhaps by none that began before.
        connection.rollback()
        ids = self._ids(connection)
        self._passed &= running
        if self._fence is not None:
            self._pass(self._fence, running, ids)
        self._complete = _contiguous(self._complete, ids)
        self._see(ids)
        self.is_complete = not self.waiting
        if not self.is_complete and self._fence is None:
            # Asked after the ids: whoever owns one that is missing below them is running, or has ended by now.
            self._fence = _Fence(ids[-1], self._running(connection, running_writers), self._now())

    def _pass(self, fence: _Fence, running: frozenset[str], ids: Sequence[int]) -> None:
        """Go on past the fence if nobody stands before it any more, or has stood there for too long."""
        blockers = fence.writers & running
        if self._now() - fence.since >= self._max_hold:
            self._passed |= blockers
        if blockers <= self._passed:
            if blockers:
                self.skipped += _missing(self._complete, fence.until_id, ids)
            self._complete = max(self._complete, fence.until_id)
            self._fence = None

    @staticmethod
    def _running(connection: Connection, running_writers: str) -> frozenset[str]:
        return frozenset(run(connection, running_writers).scalars())

    # Where what is not committed can be seen.

    def _look_past_gaps(self, connection: Connection) -> None:
        connection.rollback()
        if self._dialect.dirty_read_sql is not None:
            run(connection, self._dialect.dirty_read_sql)
        written = self._ids(connection)
        connection.rollback()
        committed = self._ids(connection)
        self.is_complete = not written and not committed
        self.waiting = 0
        if self.is_complete:
            return
        highest = min(each[-1] for each in (written, committed) if each) if len(written) >= _IDS else None
        top = highest or max([*written[-1:], *committed[-1:]])
        self._complete = self._before_first_open(set(written), set(committed), top)
        self._see(committed)
        self.is_complete = self._complete >= top and highest is None
        self._missed = {log_id: since for log_id, since in self._missed.items() if log_id > self._complete}

    def _before_first_open(self, written: set[int], committed: set[int], top: int) -> int:
        """The id before the first one that may still be committed; all that are missing are timed at once."""
        now = self._now()
        mark = top
        overdue = []
        for log_id in range(top, self._complete, -1):
            if log_id in committed:
                continue
            missing_for = now - self._missed.setdefault(log_id, now)
            if log_id in written and missing_for >= self._max_hold:
                overdue.append(log_id)
            elif log_id in written or missing_for < self._dialect.gap_grace:
                mark = log_id - 1
        self.skipped += [range(log_id, log_id + 1) for log_id in reversed(overdue) if log_id <= mark]
        return mark

    def _ids(self, connection: Connection) -> Sequence[int]:
        above = select(self._log_id).where(self._log_id > self._complete).order_by(self._log_id).limit(_IDS)
        return connection.scalars(above).all()

    def _see(self, ids: Sequence[int]) -> None:
        """Note how many of the committed ids are above the mark."""
        self.top = max([self.top, *ids[-1:]])
        self.waiting = len(ids) - bisect_right(ids, self._complete)


def _contiguous(mark: int, ids: Sequence[int]) -> int:
    for log_id in ids[bisect_right(ids, mark) :]:
        if log_id != mark + 1:
            break
        mark = log_id
    return mark


def _missing(mark: int, until_id: int, ids: Sequence[int]) -> list[range]:
    """The stretches between a mark and another id that are not among the ids."""
    edges = [mark, *(log_id for log_id in ids if log_id <= until_id)]
    return [range(left + 1, right) for left, right in pairwise(edges) if right > left + 1]
