"""How soon `audit tail` prints what was committed, and how many changes a second, on each kind of database."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import URL, Connection, Engine, create_engine, text

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from benchmarks.rounds import NAME_WIDTH, Ratio, ratio_of, seconds
from benchmarks.scratch import KINDS, scratch
from benchmarks.sizes import sized

_COMMITS = sized(100, 10)
_SECONDS = 0.1
_RATE = 5_000
"""Changes a second that a tail has to keep up with."""

_CHANGES = sized(20_000, 2_000)


@dataclass(frozen=True)
class Delay:
    """Seconds from the return of a commit to the line at the other end of the pipe."""

    name: str
    delays: tuple[float, ...]
    bar: float

    def row(self) -> str:
        """One line of a table with other columns."""
        return f"{self.name:<{NAME_WIDTH}} {self.figure}  {self.bar_text}{'' if self.met else '  missed'}"

    @property
    def figure(self) -> str:
        """The median, the 95th percentile and the longest."""
        middle, longest = (1000 * found for found in (statistics.median(self.delays), max(self.delays)))
        return f"p50 {middle:.0f} ms, p95 {1000 * self._late:.0f} ms, longest {longest:.0f} ms"

    @property
    def bar_text(self) -> str:
        """What the 95th percentile is held against."""
        return f"p95 <= {self.bar * 1000:.0f} ms"

    @property
    def met(self) -> bool:
        """Whether it is short enough."""
        return self._late <= self.bar

    @property
    def _late(self) -> float:
        return statistics.quantiles(self.delays, n=20)[-1]


def tail_rows(rounds: int) -> Iterator[Ratio | Delay]:
    """For each kind of database that is there: the delay of single commits, and how long it takes to print many."""
    for kind in KINDS:
        with scratch(kind) as url:
            if url is not None:
                engine = create_engine(url)
                _prepare(engine)
                yield Delay(f"tail: committed to printed, {kind}", tuple(_delays(engine, url)), _SECONDS)
                yield _rate(kind, engine, url, rounds)
                engine.dispose()


def _prepare(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER NOT NULL)"))
        connection.commit()
        prepare(connection, log_tables(), dialect_named(engine.name), Wishes(triggers=True), now=utc_now())


def _delays(engine: Engine, url: URL) -> Iterator[float]:
    printed: dict[int, float] = {}
    pause = random.Random(1)
    with _tail(url, "-n", "0") as process, engine.connect() as connection:
        reader = threading.Thread(target=_note_times, args=(process, printed))
        reader.start()
        # The first one may come before the tail has begun.
        while not printed:
            _insert(connection, -1 - int(time.monotonic() * 1000) % 1_000_000_000)
            time.sleep(0.2)
        committed = {}
        for key in range(_COMMITS):
            _insert(connection, key)
            committed[key] = time.monotonic()
            time.sleep(pause.uniform(0.03, 0.12))
        while len([key for key in printed if key >= 0]) < _COMMITS:
            time.sleep(0.05)
        process.terminate()
        reader.join()
    return (printed[key] - at for key, at in committed.items())


def _note_times(process: subprocess.Popen[str], printed: dict[int, float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        printed[int(json.loads(line)["row_id"])] = time.monotonic()


def _rate(kind: str, engine: Engine, url: URL, rounds: int) -> Ratio:
    """The time to print so many changes, of ten a transaction, as a part of the time in which they may be made."""
    with engine.connect() as connection:
        before = connection.scalar(text("SELECT max(id) FROM changelog"))
        for first in range(_COMMITS, _COMMITS + _CHANGES, 10):
            values = ", ".join(f"({key}, 0)" for key in range(first, first + 10))
            connection.execute(text(f"INSERT INTO item VALUES {values}"))
            connection.commit()

    def print_all() -> None:
        with _tail(url, "--since", str(before), "--exit-after", str(_CHANGES)) as process:
            process.communicate()

    took = [seconds(print_all) for _ in range(sized(max(3, rounds // 3), 1))]
    name = f"tail: {_CHANGES} changes at once / at {_RATE} a second, {kind}"
    return ratio_of(name, [(_CHANGES / _RATE, each) for each in took], bar=1.0)


def _insert(connection: Connection, key: int) -> None:
    connection.execute(text(f"INSERT INTO item VALUES ({key}, 0)"))
    connection.commit()


@contextmanager
def _tail(url: URL, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "auditcli", "-q", "-u", url.render_as_string(hide_password=False), "tail"]
    with subprocess.Popen([*command, "-o", "jsonl", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
