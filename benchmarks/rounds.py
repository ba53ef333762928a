"""Timing two sides in turn, so that a machine whose speed drifts still gives a fair ratio."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

HEADER = f"{'what':<58} {'ratio':>7} {'lowest':>7} {'highest':>7} {'seconds':>9}  bar"


@dataclass(frozen=True)
class Ratio:
    """How much longer one side took than the other: the median over the rounds, and the spread.

    `seconds` is the median time of the measured side. A bar is a highest ratio, or a highest number of seconds.
    """

    name: str
    median: float
    lowest: float
    highest: float
    seconds: float
    bar: float | None = None
    seconds_bar: float | None = None

    def row(self) -> str:
        """One line of the table."""
        numbers = f"{self.median:7.2f} {self.lowest:7.2f} {self.highest:7.2f} {self.seconds:9.4f}"
        return f"{self.name:<58} {numbers}  {self._bar_text()}".rstrip()

    def _bar_text(self) -> str:
        if self.bar is not None:
            return f"<= {self.bar:g}{'' if self.median <= self.bar else '  missed'}"
        if self.seconds_bar is not None:
            return f"<= {self.seconds_bar:g} s{'' if self.seconds <= self.seconds_bar else '  missed'}"
        return ""


def measure(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int,
    bar: float | None = None,
    seconds_bar: float | None = None,
) -> Ratio:
    """Run both sides in turn, a warm-up first; the ratio is taken round by round."""
    ours()
    theirs()
    pairs = [(seconds(theirs), seconds(ours)) for _ in range(rounds)]
    ratios = [mine / other for other, mine in pairs]
    mine = statistics.median(mine for _, mine in pairs)
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), mine, bar, seconds_bar)


def measure_overhead(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    bare: Callable[[], object],
    *,
    rounds: int,
    bar: float | None = None,
) -> Ratio:
    """What we add to the bare run, as a part of what the others add to it."""
    for warm_up in (ours, theirs, bare):
        warm_up()
    triples = [(seconds(bare), seconds(theirs), seconds(ours)) for _ in range(rounds)]
    ratios = [(mine - plain) / (other - plain) for plain, other, mine in triples]
    mine = statistics.median(mine for _, _, mine in triples)
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), mine, bar)


def seconds(run: Callable[[], object]) -> float:
    """How long one run takes, with no collection of earlier garbage in it."""
    gc.collect()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def process(*words: str) -> Callable[[], None]:
    """A run of the interpreter as a process of its own, with compiled modules kept as an installation keeps them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        command = [sys.executable, *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run
