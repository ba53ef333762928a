"""What recording costs once the log is big, against the same with an empty log.

`python -m benchmarks.oldlog [CHANGES]` measures this alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from sqlalchemy import URL, create_engine, text

from benchmarks.biglog import build_big_log
from benchmarks.rounds import HEADER, Ratio, ratio_of
from benchmarks.scratch import KINDS, scratch
from benchmarks.shapes import NARROW, TABLE
from benchmarks.sides import LISTENERS, TRIGGERS, Side
from benchmarks.sizes import sized
from benchmarks.store import Store
from benchmarks.turns import Order, running

CHANGES = sized(10_000_000, 10_000)
_ROWS = 1000
_ORDERS = (
    ("flush of 1,000 updates", Order(Store.update, _ROWS)),
    ("100 transactions of one row", Order(Store.one_row, 100)),
    ("update() of 1,000 rows, warm", Order(Store.update_statement, _ROWS, Store.warm)),
)


def old_log_rows(
    rounds: int, kinds: Sequence[str] = sized(KINDS, KINDS[:1]), changes: int = CHANGES
) -> Iterator[Ratio]:
    """Both of our ways on each kind of database; their logs can be made by the million, which peers' can't."""
    for kind in kinds:
        with scratch(kind) as url:
            if url is not None:
                build_big_log(url, changes)
                for side in (LISTENERS, TRIGGERS):
                    yield from _compared(kind, side, url, changes, rounds)
                    _drop_rows(url)


def _compared(kind: str, side: Side, url: URL, changes: int, rounds: int) -> Iterator[Ratio]:
    with scratch(kind) as empty:
        assert empty is not None
        with running(side, NARROW, url, _ROWS) as big, running(side, NARROW, empty, _ROWS) as small:
            for runner in (big, small):
                if error := runner.answer().error:
                    raise RuntimeError(f"{kind}, {side.name}: {error}")
            for name, order in _ORDERS:
                pairs = [(small.take(order).seconds, big.take(order).seconds) for _ in range(rounds + 1)][1:]
                yield ratio_of(f"{kind}: {name}, {side.name}, log of {changes:,} / empty", pairs)


def _drop_rows(url: URL) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {TABLE}"))
    engine.dispose()


if __name__ == "__main__":
    print(HEADER)
    for ratio in old_log_rows(5, changes=int(sys.argv[1]) if sys.argv[1:] else CHANGES):
        print(ratio.row(), flush=True)
