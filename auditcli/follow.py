"""Following a log live: from a place on, through stalls and lost connections, to an end that was named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from sqlalchemy.exc import DBAPIError, OperationalError

from auditcli.clock import utc_now
from auditcli.connect import Database
from auditcli.dialects import Dialect
from auditcli.feed import Delivered, Feed, Place
from auditcli.following.lag import Lag
from auditcli.following.news import Back, Lost, News
from auditcli.following.stalls import Stalls
from auditcli.following.watch import Watch
from auditcli.log.reader import LogReader
from auditcli.selection import Selection

_FIRST_BACK_OFF = 0.2
_LONGEST_BACK_OFF = 10.0


class Stop(Protocol):
    """What ends a reader; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether it is to end."""

    def wait(self, timeout: float) -> bool:
        """Sleep for so many seconds, or until it is to end; returns whether it is."""


class Following:
    """The transactions of a log, batch by batch, each once.

    `until` is the last log id, or the moment up to which records are stamped; `tell` is called with what a person wants
    to know meanwhile. After `max_hold` seconds a transaction that is open no longer holds up the others.
    """

    def __init__(
        self,
        database: Database,
        start: Place,
        selection: Selection,
        *,
        stop: Stop,
        tell: Callable[[News], None],
        until: int | datetime | None = None,
        max_hold: float | None = None,
    ) -> None:
        self._database = database
        self._selection = selection
        self._stop = stop
        self._tell = tell
        self._ends_at = until if isinstance(until, datetime) else None
        until_id = until if isinstance(until, int) else None
        parts = (database.engine, database.tables, database.dialect)
        self._feed = Feed(*parts, start, until=until_id, max_hold=max_hold)
        self._watch = Watch(database)
        self._stalls = Stalls(database, self._feed.watermark, selection, tell)
        self._lag = Lag(tell)
        self._lost_at: float | None = None
        self._back_off = 0.0

    def batches(self) -> Iterator[list[Delivered]]:
        """What there is and then what is committed, until `stop` is set or the end has come; no batch is empty.

        Raises LogError where the place is not one of this log, also when a lost connection is there again.
        """
        while not self._stop.is_set():
            try:
                delivered = self._look()
            except DBAPIError as error:
                if not is_passing(error, self._database.dialect):
                    raise
                self._wait_for_database(error)
                continue
            if delivered:
                yield delivered
            elif self._feed.has_ended:
                break
        self._watch.close()

    def _look(self) -> list[Delivered]:
        """The next transactions; where there are none, what to do until it is worth looking again has been done."""
        began = time.monotonic()
        self._watch.count()
        self._find_end()
        delivered = self._feed.deliver(self._selection)
        self._tell_of_return()
        self._stalls.look(delivered)
        self._lag.look(self._feed, delivered)
        if not delivered and not self._feed.has_ended:
            self._wait(time.monotonic() - began)
        return delivered

    def _find_end(self) -> None:
        """Once the moment of the end has passed it is a log id."""
        if self._ends_at is None or self._feed.until is not None or utc_now() < self._ends_at:
            return
        with self._database.engine.connect() as connection:
            reader = LogReader(connection, self._database.tables, dialect=self._database.dialect)
            self._feed.until = reader.last_id_stamped_before(self._ends_at)

    def _wait(self, cost: float) -> None:
        """Sleep until it is worth looking: somebody has committed, or may have ended what holds the others up."""
        if not self._feed.is_complete:
            # What waits is read again each time.
            self._stop.wait(max(self._watch.interval, 2 * cost))
            return
        while not self._stop.wait(self._watch.interval):
            is_over = self._ends_at is not None and utc_now() >= self._ends_at
            if is_over or self._stalls.is_due or self._watch.has_moved():
                return

    def _wait_for_database(self, error: DBAPIError) -> None:
        self._watch.close()
        self._database.engine.dispose()
        self._lost_at = self._lost_at or time.monotonic()
        self._back_off = min(_LONGEST_BACK_OFF, 2 * self._back_off or _FIRST_BACK_OFF)
        self._tell(Lost(error, self._back_off))
        self._stop.wait(self._back_off)

    def _tell_of_return(self) -> None:
        if self._lost_at is not None:
            self._tell(Back(time.monotonic() - self._lost_at))
        self._lost_at, self._back_off = None, 0.0


def is_passing(error: DBAPIError, dialect: Dialect) -> bool:
    """Whether the same may go well later: the connection was lost, can't be made, or somebody holds a lock."""
    cannot_connect = isinstance(error, OperationalError) and error.statement is None
    return error.connection_invalidated or cannot_connect or dialect.is_lock_timeout(error)
