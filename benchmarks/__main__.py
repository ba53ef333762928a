"""`python -m benchmarks [PART …]`: one table of ratios, and with `--write` the page that keeps them."""

from __future__ import annotations

import argparse
import platform
import sqlite3
import sys
import time

import sqlalchemy

from auditcli.clock import utc_now
from benchmarks.machine import machine_lines
from benchmarks.parts import PARTS
from benchmarks.report import RESULTS, Run, write_results
from benchmarks.rounds import HEADER, Figure
from benchmarks.sizes import sized


def main(arguments: list[str]) -> int:
    """Measure what is asked for; judges nothing, since a busy machine is no failure."""
    asked = _parser().parse_args(arguments)
    versions = f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}"
    print(f"{versions}, SQLite {sqlite3.sqlite_version}, {asked.rounds} rounds, medians")
    print(HEADER)
    run = Run(" ".join(["python -m benchmarks", *arguments]), asked.rounds, tuple(machine_lines(utc_now())))
    for name in asked.parts or PARTS:
        run = run.with_part(name, *_measured(name, asked.rounds))
        # After each part: a run that is broken off has not been for nothing.
        if asked.write:
            write_results(run)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure everything, or some parts.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all, where none is named")
    parser.add_argument("--rounds", type=int, default=sized(5, 1), help="how many turns each side has (%(default)s)")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    return parser


def _measured(name: str, rounds: int) -> tuple[list[Figure], float]:
    figures = []
    started = time.monotonic()
    for figure in PARTS[name].figures(rounds):
        print(figure.row(), flush=True)
        figures.append(figure)
    took = time.monotonic() - started
    print(f"-- {name}: {took:.0f} seconds", flush=True)
    return figures, took


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
