"""What recording changes costs: ours in its two ways and each comparable library, against the same writes untracked.

`python -m benchmarks.capture [ROUNDS] [DATABASE …]` measures this alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.rounds import HEADER, Ratio, ratio_of
from benchmarks.scratch import KINDS, scratch
from benchmarks.shapes import NARROW, WIDE, Shape
from benchmarks.sides import CONTINUUM, LISTENERS, OURS, SIDES, TRIGGERS, UNTRACKED, Side
from benchmarks.sizes import sized
from benchmarks.store import Store
from benchmarks.turns import Order, Runner, Turn, Work, running

_SLOW = 5.0
"""Seconds after which one run of a side has to do."""


@dataclass(frozen=True)
class Workload:
    """What is run with how many changes, and the bars of our two ways; `prepare` comes before it and is not timed."""

    name: str
    run: Work
    changes: int
    prepare: Work | None = None
    bars: Mapping[str, float] | None = None
    against_continuum: float | None = None

    def order(self) -> Order:
        """What a side is told."""
        return Order(self.run, self.changes, self.prepare)

    def bar(self, side: Side) -> float | None:
        """The highest ratio that one of our ways may have."""
        return (self.bars or {}).get(side.name)


def _flushes(number: int, bars: Mapping[str, float] | None, against_continuum: float | None) -> Iterator[Workload]:
    for name, run, prepare in (
        ("inserts", Store.insert, None),
        ("updates", Store.update, None),
        ("deletes", Store.delete, Store.insert),
    ):
        yield Workload(f"flush of {number:,} {name}", run, number, prepare, bars, against_continuum)


def _narrow(kind: str) -> list[Workload]:
    flush, transactions, rows, warm = sized((1000, 100, 20_000, 2000), (100, 16, 1000, 200))
    # The bar of triggers is one of PostgreSQL and SQLite.
    flush_bars = {LISTENERS.name: 2.0} | ({} if kind == "MariaDB" else {TRIGGERS.name: 1.5})
    bulk_bars = {TRIGGERS.name: 7.0}
    return [
        *_flushes(flush, flush_bars, 0.1),
        Workload(f"{transactions} transactions of one row", Store.one_row, transactions),
        Workload(f"{transactions} transactions by 8 writers", Store.writers, transactions),
        Workload(f"update() of {rows:,} rows", Store.update_statement, rows, Store.connect_anew, bulk_bars),
        Workload(f"UPDATE as text of {rows:,} rows", Store.update_text, rows, Store.connect_anew, bulk_bars),
        Workload(f"update() of {warm:,} rows, warm", Store.update_statement, warm, Store.warm, bulk_bars),
    ]


def _wide(_kind: str) -> list[Workload]:
    flush, rows = sized((50, 100), (5, 10))
    return [
        *_flushes(flush, None, None),
        Workload(f"update() of {rows} rows", Store.update_statement, rows, Store.connect_anew, {TRIGGERS.name: 15.0}),
    ]


def capture_rows(
    rounds: int, kinds: Sequence[str] = KINDS, sides: Sequence[Side] = SIDES, rows: int = sized(20_000, 1000)
) -> Iterator[Ratio]:
    """Each workload on each kind of database, by narrow and by wide rows."""
    for kind in kinds:
        yield from _table(kind, NARROW, _wanted(sides, kind), rows, _narrow(kind), rounds)
    for kind in sized(kinds, kinds[:1]):
        yield from _table(kind, WIDE, sized(sides, OURS), max(1, rows // 200), _wide(kind), rounds)


def _wanted(sides: Sequence[Side], kind: str) -> list[Side]:
    """A quick run has each peer only once."""
    return [side for side in sides if side in OURS or kind == sized(kind, side.kinds[0])]


def _table(
    kind: str, shape: Shape, sides: Sequence[Side], rows: int, workloads: Iterable[Workload], rounds: int
) -> Iterator[Ratio]:
    with ExitStack() as stack:
        runners = _started(stack, kind, shape, sides, rows)
        for workload in workloads if UNTRACKED in runners else ():
            yield from _compared(f"{kind}, {shape.name}: {workload.name}", workload, runners, rounds)


def _started(stack: ExitStack, kind: str, shape: Shape, sides: Sequence[Side], rows: int) -> dict[Side, Runner]:
    """The sides that can be used on this kind of database; set up at the same time, to save some."""
    runners = {}
    for side in sides:
        usable = kind in side.kinds and not side.missing()
        url = stack.enter_context(scratch(kind)) if usable else None
        if url is not None:
            runners[side] = stack.enter_context(running(side, shape, url, rows))
    failed = {side: turn.error for side, runner in runners.items() if (turn := runner.answer()).error}
    for side, error in failed.items():
        print(f"{kind}: {side.name} can't be used: {error}", file=sys.stderr)
    return {side: runner for side, runner in runners.items() if side not in failed}


def _compared(name: str, workload: Workload, runners: Mapping[Side, Runner], rounds: int) -> Iterator[Ratio]:
    order = workload.order()
    first = {side: runner.take(replace(order, count=True)) for side, runner in runners.items()}
    able = [side for side in runners if first[side].error is None]
    again = [side for side in able if first[side].seconds < _SLOW]
    turns = [{side: runners[side].take(order).seconds for side in again} for _ in range(rounds)]
    for side in runners:
        if side is UNTRACKED:
            continue
        pairs = [(turn[UNTRACKED], turn.get(side, first[side].seconds)) for turn in turns]
        yield _ratio(f"{name}, {side.name}", first[side], pairs, workload, side)
    if workload.against_continuum and {CONTINUUM, LISTENERS} <= set(again):
        overheads = [(turn[CONTINUUM] - turn[UNTRACKED], turn[LISTENERS] - turn[UNTRACKED]) for turn in turns]
        bar = workload.against_continuum
        yield ratio_of(f"{name}, overhead of listeners / of Continuum", overheads, bar=bar)


def _ratio(name: str, first: Turn, pairs: list[tuple[float, float]], workload: Workload, side: Side) -> Ratio:
    if first.error is not None:
        nothing = float("nan")
        return Ratio(name, nothing, nothing, nothing, nothing, recorded=f"refused: {first.error}")
    recorded = f"{first.recorded} of {workload.changes}"
    return ratio_of(name, pairs, bar=workload.bar(side), recorded=recorded)


if __name__ == "__main__":
    print(HEADER)
    for ratio in capture_rows(int((sys.argv[1:] or ["5"])[0]), sys.argv[2:] or KINDS):
        print(ratio.row(), flush=True)
