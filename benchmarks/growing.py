"""Growth of capture, of undo, of replay and of reading, each at sizes that are ten times apart.

`python -m benchmarks.growing` measures this alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from auditcli.connect import Database
from benchmarks.biglog import build_big_log
from benchmarks.growth import Growth, climb
from benchmarks.places import fill, places
from benchmarks.replay import replayed
from benchmarks.rounds import process, seconds
from benchmarks.scratch import KINDS, scratch
from benchmarks.shapes import NARROW
from benchmarks.sides import LISTENERS, POSTGRESQL_AUDIT, SIDES, TRIGGERS, UNTRACKED, Side
from benchmarks.sizes import sized
from benchmarks.store import Store
from benchmarks.turns import Order, Runner, running
from benchmarks.undo import bad_update, undone

SIZES = sized((10_000, 100_000, 1_000_000), (100, 1000))
_FLUSHES = sized((1000, 10_000, 100_000), (100, 1000))
_QUADRATIC = sized((500, 1000, 2000), (100, 200))
_QUESTIONS = ("log -n 20", "log event:delete -n 20", "stats", "diff --since 1 -o jsonl", "export -o csv")


def growth_rows(
    _rounds: int, kinds: Sequence[str] = sized(KINDS, KINDS[:1]), sizes: Sequence[int] = SIZES
) -> Iterator[Growth]:
    """Everything, once a size; what would take too long is left out."""
    sides = sized(SIDES, (LISTENERS, TRIGGERS))
    for kind in kinds:
        yield from _capture(kind, sides, sizes)
    for number, kind in enumerate(KINDS):
        if kind in kinds:
            yield from _given(climb(f"{kind}: undo of n updates", sizes, partial(_undo, number)))
            yield from _given(climb(f"replay into {kind}: n changes", sizes, partial(_replay, number)))
    yield from _reading(sizes)


def _capture(kind: str, sides: Sequence[Side], sizes: Sequence[int]) -> Iterator[Growth]:
    for side in sides:
        yield from _climbed(kind, side, f"{kind}: flush of n inserts, {side.name}", _FLUSHES, Order(Store.insert, 0))
        if side in {UNTRACKED, LISTENERS, TRIGGERS, POSTGRESQL_AUDIT}:
            order = Order(Store.update_statement, 0, Store.warm)
            ladder = _QUADRATIC if side is POSTGRESQL_AUDIT else sizes
            yield from _climbed(kind, side, f"{kind}: update() of n rows, warm, {side.name}", ladder, order)


def _climbed(kind: str, side: Side, name: str, sizes: Iterable[int], order: Order) -> Iterator[Growth]:
    """Each size has a database of its own, with as many rows."""
    if kind in side.kinds and not side.missing():
        yield from _given(climb(name, sizes, partial(_turn, kind, side, order)))


def _turn(kind: str, side: Side, order: Order, size: int) -> float | None:
    with scratch(kind) as url, ExitStack() as stack:
        if url is None:
            return None
        runner = stack.enter_context(running(side, NARROW, url, size))
        return None if runner.answer().error else _seconds(runner, order, size)


def _seconds(runner: Runner, order: Order, size: int) -> float | None:
    # Mappers and statements are made once, by a run that is small.
    runner.take(Order(order.run, 10))
    turn = runner.take(Order(order.run, size, order.prepare))
    return None if turn.error else turn.seconds


def _undo(number: int, size: int) -> float | None:
    with _place(number) as database:
        if database is None:
            return None
        fill(database, size)
        transaction = bad_update(database)
        return seconds(lambda: undone(database, transaction))


def _replay(number: int, size: int) -> float | None:
    found = replayed(number, size, 100)
    return None if found is None else found.ours


def _place(number: int) -> AbstractContextManager[Database | None]:
    return places()[number]


def _reading(sizes: Sequence[int]) -> Iterator[Growth]:
    """Whole processes, so that of short ones the most is their start."""
    with TemporaryDirectory() as folder:
        for question in _QUESTIONS[: sized(5, 2)]:
            yield from _given(climb(f"audit {question}, log of n", sizes, partial(_asked, Path(folder), question)))


def _asked(folder: Path, question: str, size: int) -> float:
    database = folder / f"{size}.db"
    if not database.exists():
        build_big_log(URL.create("sqlite", database=str(database)), size)
    return seconds(process("-m", "auditcli", *question.split(), "--url", str(database)))


def _given(growth: Growth | None) -> Iterator[Growth]:
    if growth is not None:
        yield growth


if __name__ == "__main__":
    for growth in growth_rows(1):
        print(growth.row(), flush=True)
