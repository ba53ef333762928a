"""Sides that take turns, each in a process of its own: what a library hooks into everything slows down only itself."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from sqlalchemy import URL, create_engine, text

from benchmarks.shapes import NARROW, WIDE, Shape
from benchmarks.sides import SIDES, Side
from benchmarks.store import Store

Work = Callable[[Store, int], None]


@dataclass(frozen=True)
class Turn:
    """What came of one run: the seconds, how many changes were recorded where they were counted, or what went wrong."""

    seconds: float = 0.0
    recorded: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Order:
    """What to run, with how many changes; `prepare` comes before it and is not timed."""

    run: Work
    changes: int
    prepare: Work | None = None
    count: bool = False


class Runner:
    """One side at work."""

    def __init__(self, end: Connection) -> None:
        self._end = end

    def take(self, order: Order) -> Turn:
        """Run it now."""
        self._end.send(order)
        return self.answer()

    def answer(self) -> Turn:
        """What its process says next."""
        turn = self._end.recv()
        assert isinstance(turn, Turn)
        return turn


@contextmanager
def running(side: Side, shape: Shape, url: URL, rows: int) -> Iterator[Runner]:
    """A side with a table of so many rows in an empty database; its first answer says how its setting up went."""
    spawning = get_context("spawn")
    ours, theirs = spawning.Pipe()
    where = url.render_as_string(hide_password=False)
    process = spawning.Process(target=_serve, args=(theirs, side.name, shape.name, where, rows), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Runner(ours)
    finally:
        ours.close()
        process.join()


def _serve(end: Connection, name: str, shape_name: str, url: str, rows: int) -> None:
    # One of the libraries tells of every statement that it misses.
    logging.disable()
    [side] = [side for side in SIDES if side.name == name]
    [shape] = [shape for shape in (NARROW, WIDE) if shape.name == shape_name]
    engine = create_engine(url)
    try:
        store = side.build(engine, shape, rows)
    except Exception as error:  # noqa: BLE001 - that a library can't be used is a result as well
        end.send(Turn(error=_described(error)))
        return
    end.send(Turn())
    while True:
        try:
            order = end.recv()
        except EOFError:
            break
        end.send(_taken(store, side.log, order))
    engine.dispose()


def _taken(store: Store, log: str | None, order: Order) -> Turn:
    try:
        if order.prepare is not None:
            order.prepare(store, order.changes)
        before = _records(store, log) if order.count else 0
        gc.collect()
        started = time.perf_counter()
        order.run(store, order.changes)
        took = time.perf_counter() - started
        return Turn(took, _records(store, log) - before if order.count else None)
    except Exception as error:  # noqa: BLE001 - a library that refuses is told from one that is slow
        return Turn(error=_described(error))


def _records(store: Store, log: str | None) -> int:
    if log is None:
        return 0
    with store.engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {log}")) or 0)


def _described(error: Exception) -> str:
    message = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {message}"
