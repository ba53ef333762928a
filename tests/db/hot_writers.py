"""Programs that write the same few rows at once: `python -m tests.db.hot_writers URL SECONDS WRITERS SEED PACE`.

Each writer is a thread with a connection of its own that waits for the database most of the time. A tenth of the
transactions is rolled back, some of the writes stand in savepoints, half of which are rolled back. Of several writers
the first one is slow.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import create_engine

HOT_ROWS = range(8)
SLOW_ROW = 8
TABLE = "CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER NOT NULL)"

_SLOW = 0.8
"""Seconds for which the slow transaction is open."""


class Writer(threading.Thread):
    """Writes until a moment; `pace` is the longest pause between two writes, in seconds."""

    def __init__(self, url: str, until: float, seed: int, pace: float, *, is_slow: bool) -> None:
        super().__init__()
        self._url = url
        self._until = until
        self._is_slow = is_slow
        self._random = random.Random(seed)
        self._pace = pace

    def run(self) -> None:
        """One transaction after the other."""
        engine = create_engine(self._url, connect_args={"timeout": 30} if self._url.startswith("sqlite") else {})
        connection = engine.raw_connection()
        cursor = connection.cursor()
        while time.monotonic() < self._until:
            try:
                self._transaction(connection, cursor)
            except engine.dialect.dbapi.OperationalError:  # type: ignore[union-attr]  # it has one
                # A deadlock, or a file that was locked for too long.
                connection.rollback()
        connection.close()
        engine.dispose()

    def _transaction(self, connection: Any, cursor: Any) -> None:
        if self._is_slow:
            self._write(cursor, SLOW_ROW)
            time.sleep(_SLOW)
        else:
            self._write_some(cursor)
        if self._random.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()

    def _write_some(self, cursor: Any) -> None:
        # In one order, so that nobody waits in a circle.
        for key in sorted(self._random.sample(HOT_ROWS, self._random.randint(1, 4))):
            if self._random.random() < 0.25:
                cursor.execute("SAVEPOINT part")
                self._write(cursor, key)
                cursor.execute(
                    "ROLLBACK TO SAVEPOINT part" if self._random.random() < 0.5 else "RELEASE SAVEPOINT part"
                )
            else:
                self._write(cursor, key)
            if self._pace:
                time.sleep(self._random.random() * self._pace)

    @staticmethod
    def _write(cursor: Any, key: int) -> None:
        cursor.execute(f"UPDATE item SET number = number + 1 WHERE id = {key}")


def main(arguments: Sequence[str]) -> None:
    """Write for so many seconds."""
    url, seconds, writers, seed, pace = arguments
    until = time.monotonic() + float(seconds)
    numbers = range(int(writers))
    threads = [
        Writer(url, until, int(seed) * 1000 + number, float(pace), is_slow=number == 0 and len(numbers) > 1)
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
