"""`python -m benchmarks [ROUNDS]`: one table of ratios."""

from __future__ import annotations

import platform
import sqlite3
import sys

import sqlalchemy

from benchmarks.capture import capture_rows
from benchmarks.export import export_rows
from benchmarks.reading import reading_rows
from benchmarks.replay import replay_rows
from benchmarks.rounds import HEADER
from benchmarks.startup import startup_rows
from benchmarks.tail import tail_rows
from benchmarks.triggers import trigger_rows
from benchmarks.undo import undo_rows


def main(arguments: list[str]) -> int:
    """Measure everything; judges nothing, since a busy machine is no failure."""
    rounds = int(arguments[0]) if arguments else 9
    versions = f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}"
    print(f"{versions}, SQLite {sqlite3.sqlite_version}, {rounds} rounds, medians")
    print(HEADER)
    parts = (capture_rows, trigger_rows, startup_rows, reading_rows, export_rows, tail_rows, undo_rows, replay_rows)
    for rows in parts:
        for ratio in rows(rounds):
            print(ratio.row(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
