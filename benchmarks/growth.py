"""How the time of something grows with its size: the exponent that fits what was measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.rounds import NAME_WIDTH
from benchmarks.sizes import sized

_PATIENCE = sized(90.0, 20.0)
"""Seconds that the next size may take with all that it needs; a size that would take longer is left out."""


@dataclass(frozen=True)
class Growth:
    """Seconds by size."""

    name: str
    seconds: Mapping[int, float]

    @property
    def exponent(self) -> float:
        """1 where twice the size takes twice the time, 2 where it takes four times."""
        return fitted_exponent(self.seconds)

    @property
    def figure(self) -> str:
        """The exponent, and what it was fitted to."""
        points = ", ".join(f"{size:,} in {seconds:.3g} s" for size, seconds in self.seconds.items())
        return f"n^{self.exponent:.2f} ({points})"

    bar_text = ""
    met = None

    def row(self) -> str:
        """One line of a table with other columns."""
        return f"{self.name:<{NAME_WIDTH}} {self.figure}"


def fitted_exponent(seconds: Mapping[int, float]) -> float:
    """The slope of the line through the logarithms of sizes and times, by least squares; NaN for a single point."""
    points = [(math.log(size), math.log(took)) for size, took in seconds.items()]
    middle = sum(size for size, _ in points) / len(points)
    height = sum(took for _, took in points) / len(points)
    spread = sum((size - middle) * (size - middle) for size, _ in points)
    if not spread:
        return math.nan
    return sum((size - middle) * (took - height) for size, took in points) / spread


def climb(name: str, sizes: Iterable[int], measure: Callable[[int], float | None]) -> Growth | None:
    """Measure one size after the other, while it may be expected to end soon; None where nothing could be measured."""
    seconds: dict[int, float] = {}
    spent: dict[int, float] = {}
    for size in sizes:
        if _expected(spent, size) > _PATIENCE:
            break
        started = time.perf_counter()
        found = measure(size)
        spent[size] = time.perf_counter() - started
        if found is None:
            break
        seconds[size] = found
    return Growth(name, seconds) if seconds else None


def _expected(spent: Mapping[int, float], size: int) -> float:
    """What the last two sizes lead to expect of the next one: at least that it grows as the size does."""
    # Fewer have no exponent, and the first of them mostly waits for a process and a database.
    if len(spent) < 2:
        return 0.0
    last = max(spent)
    exponent = fitted_exponent(dict(list(spent.items())[-2:]))
    return spent[last] * math.pow(size / last, max(1.0, exponent))
