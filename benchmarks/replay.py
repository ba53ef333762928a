"""Replay of many changes into another database, against applying the same log by hand; and its memory.

`python -m benchmarks.replay [CHANGES]` measures this alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import make_url

from auditcli.connect import Database
from auditcli.replay import Replay, ReplayOptions
from benchmarks.places import fill, opened, places
from benchmarks.rounds import HEADER, Ratio, ratio_of, seconds
from benchmarks.scratch import KINDS
from benchmarks.sizes import sized
from benchmarks.undo import bad_update, most_memory

CHANGES = sized(100_000, 1_000)
_SMALL = 100
"""How many rows a transaction of a usual size changes."""


@dataclass(frozen=True)
class Replayed:
    """Seconds of a replay and of the same by hand, and the most memory that the replay had, in MB."""

    ours: float
    theirs: float
    memory: float


def replay_rows(_rounds: int, changes: int = CHANGES) -> Iterator[Ratio]:
    """From SQLite into each database that is found: usual transactions, then one that changes every row."""
    for number, kind in enumerate(KINDS):
        for size in (_SMALL, changes):
            found = replayed(number, changes, size)
            if found is not None:
                name = f"replay into {kind}: {changes:,} by {size:,} ({found.memory:.0f} MB) / by hand"
                yield ratio_of(name, [(found.theirs, found.ours)])


def replayed(number: int, changes: int, size: int) -> Replayed | None:
    """Replay so many changes, of so many a transaction, into one of the places; None where it isn't there."""
    with ExitStack() as stack:
        source, target, by_hand = (stack.enter_context(places()[at]) for at in (0, number, 0))
        if source is None or target is None or by_hand is None:
            return None
        fill(source, changes)
        for each in (target, by_hand):
            fill(each, changes, triggers=False)
        since = _last_id(source)
        for start in range(0, changes, size):
            bad_update(source, f"id > {start} AND id <= {start + size}")
        theirs = seconds(lambda: _by_hand(source, by_hand, since))
        words = [sys.executable, "-m", "benchmarks.replay", "--run", _url(source), _url(target), str(since)]
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        ours, memory = map(float, told.split())
        return Replayed(ours, theirs, memory)


def _url(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def _last_id(database: Database) -> int:
    with database.log() as reader:
        return reader.last_id()


def _by_hand(source: Database, target: Database, since: int) -> None:
    """Read the log and set what it says, row by row, in one transaction, with nothing checked or kept."""
    with source.engine.connect() as reading, target.engine.begin() as writing:
        found = reading.exec_driver_sql(f"SELECT row_id, after FROM changelog WHERE id > {since} ORDER BY id")
        while rows := found.fetchmany(10_000):
            values = [(json.loads(after)["price"], int(row_id)) for row_id, after in rows]
            writing.exec_driver_sql("UPDATE item SET price = ? WHERE id = ?", values)


def _run(source_url: str, target_url: str, since: str) -> None:
    source, target = opened(make_url(source_url)), opened(make_url(target_url))
    replay = Replay(source, target, ReplayOptions(since=int(since)))
    print(seconds(replay.run), most_memory())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        _run(*sys.argv[2:5])
    else:
        print(HEADER)
        for ratio in replay_rows(1, int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES):
            print(ratio.row(), flush=True)
