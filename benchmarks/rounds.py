"""Timing two sides in turn, so that a machine whose speed drifts still gives a fair ratio."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.sizes import QUICK

NAME_WIDTH = 72
HEADER = f"{'what':<{NAME_WIDTH}} {'ratio':>7} {'lowest':>7} {'highest':>7} {'seconds':>9}  recorded or bar"


class Figure(Protocol):
    """Something measured, as a line of a table and as what a bar is held against."""

    @property
    def name(self) -> str:
        """What was measured."""

    @property
    def figure(self) -> str:
        """What came of it."""

    @property
    def bar_text(self) -> str:
        """The bar, if there is one."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""

    def row(self) -> str:
        """One line of the table."""


@dataclass(frozen=True)
class Ratio:
    """How much longer one side took than the other: the median over the rounds, and the spread.

    `seconds` is the median time of the measured side. A bar is a highest ratio, or a highest number of seconds.
    `recorded` says how many of the changes made a way to record them saw.
    """

    name: str
    median: float
    lowest: float
    highest: float
    seconds: float
    bar: float | None = None
    seconds_bar: float | None = None
    recorded: str = ""

    def row(self) -> str:
        """One line of the table."""
        numbers = f"{self.median:7.2f} {self.lowest:7.2f} {self.highest:7.2f} {self.seconds:9.4f}"
        missed = "missed" if self.met is False else ""
        told = "  ".join(filter(None, (self.recorded, self.bar_text, missed)))
        return f"{self.name:<{NAME_WIDTH}} {numbers}  {told}".rstrip()

    @property
    def figure(self) -> str:
        """What a bar is held against, and how far it went up and down."""
        if self.seconds_bar is not None:
            return f"{self.seconds:.3f} s"
        return f"{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})"

    @property
    def bar_text(self) -> str:
        """The bar, if there is one."""
        if self.bar is not None:
            return f"<= {self.bar:g}"
        return "" if self.seconds_bar is None else f"<= {self.seconds_bar:g} s"

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is not None:
            return self.median <= self.bar
        return None if self.seconds_bar is None else self.seconds <= self.seconds_bar


def measure(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int,
    bar: float | None = None,
    seconds_bar: float | None = None,
) -> Ratio:
    """Run both sides in turn, a warm-up first unless it has to be quick; the ratio is taken round by round."""
    if not QUICK:
        ours()
        theirs()
    pairs = [(seconds(theirs), seconds(ours)) for _ in range(rounds)]
    return ratio_of(name, pairs, bar=bar, seconds_bar=seconds_bar)


def ratio_of(name: str, pairs: Iterable[tuple[float, float]], **more: Any) -> Ratio:
    """What rounds of (their seconds, our seconds) come to."""
    pairs = list(pairs)
    ratios = [mine / other for other, mine in pairs]
    mine = statistics.median(mine for _, mine in pairs)
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), mine, **more)


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
