"""`RESULTS.md`: what was measured, above what was written by hand about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from benchmarks.parts import PARTS
from benchmarks.rounds import Figure, Ratio

RESULTS = Path(__file__).parent / "RESULTS.md"
BY_HAND = "## What the figures say"
"""This heading and all below it are kept."""

_VERDICTS = {True: "met", False: "**missed**", None: ""}


@dataclass(frozen=True)
class Run:
    """The figures of each part that was measured, on what, how, and in how many seconds."""

    command: str
    rounds: int
    machine: Sequence[tuple[str, str]]
    figures: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    seconds: float = 0.0

    def with_part(self, name: str, figures: Sequence[Figure], seconds: float) -> Run:
        """The run with one part more."""
        return replace(self, figures={**self.figures, name: figures}, seconds=self.seconds + seconds)


def write_results(run: Run, path: Path = RESULTS) -> None:
    """Put new figures above what was written by hand."""
    kept = path.read_text(encoding="utf-8").partition(BY_HAND)[2] if path.exists() else "\n"
    measured = "\n".join(_lines(run))
    path.write_text(f"{measured}\n{BY_HAND}{kept}", encoding="utf-8")


def _lines(run: Run) -> Iterator[str]:
    yield from ("# Results", "")
    yield f"Written by `{run.command}` in {run.seconds / 60:.0f} minutes, with {run.rounds} rounds or a part of them."
    yield "In each round all sides take their turn; a figure is the median of the rounds' ratios, with the lowest and"
    yield "highest. What else runs on the machine slows all sides, so that ratios say more than seconds."
    yield ""
    yield from _table(("", ""), run.machine)
    yield from ("## Bars", "", "Each figure that has a bar in the design.", "")
    barred = [figure for figures in run.figures.values() for figure in figures if figure.met is not None]
    rows = ((each.name, each.bar_text, each.figure, _VERDICTS[each.met]) for each in barred)
    yield from _table(("what", "bar", "measured", ""), rows)
    for name, figures in run.figures.items():
        yield from (f"## {PARTS[name].title}", "")
        yield from _part(figures)


def _part(figures: Sequence[Figure]) -> Iterator[str]:
    sided = [figure for figure in figures if isinstance(figure, Ratio) and figure.recorded]
    for heading, group in groupby(sided, lambda each: each.name.partition(":")[0]):
        yield from (f"### {heading}", "")
        yield from _sides_table(list(group))
    rest = [figure for figure in figures if figure not in sided]
    rows = ((each.name, each.figure, _seconds(each), each.bar_text) for each in rest)
    yield from _table(("what", "measured", "seconds", "bar"), rows)


def _sides_table(ratios: Sequence[Ratio]) -> Iterator[str]:
    """A row a workload and side; what it recorded stands beside what it cost."""
    rows = []
    for ratio in ratios:
        workload, _, side = ratio.name.partition(": ")[2].rpartition(", ")
        refused = ratio.recorded.startswith("refused")
        rows.append(
            (workload, side, ratio.recorded, "" if refused else ratio.figure, "" if refused else _seconds(ratio))
        )
    return _table(("workload", "side", "changes recorded", "/ untracked", "seconds"), rows)


def _seconds(figure: Figure) -> str:
    return f"{figure.seconds:.4f}" if isinstance(figure, Ratio) else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(header)
    yield _row(["---"] * len(header))
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
