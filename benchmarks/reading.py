"""How long each question to a log of ten million changes takes, as whole processes; a quick run asks a smaller log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine, text

from benchmarks.biglog import RARE_ACTOR, build_big_log
from benchmarks.rounds import Ratio, measure, process
from benchmarks.sizes import sized

_BAR = 1.0
"""Seconds that an answer may take where an index serves it; what has to look at every record has no bar."""

_INDEXED = (
    "log -n 20",
    "log table:orders -n 20",
    "log table:rare",
    "log orders/54",
    "log actor:bob -n 20",
    "log event:delete -n 20",
    "log --since 1h",
    "log --since 180d -n 20",
    "log tx:TX",
    "log --transactions -n 20",
    "log --transactions --sort rows --since 1d -n 20",
    "show ID",
    "show tx:TX",
    "stats --by hour --since 1d",
    "row orders/54",
    "blame orders/54",
)
_SCANNING = (
    f"log actor:{RARE_ACTOR} -n 20",
    "log event:truncate -n 20",
    "stats",
    "stats --by hour",
    "stats --by actor",
    "stats --by event",
    "status",
)


def reading_rows(rounds: int) -> Iterator[Ratio]:
    """Every question against the interpreter that does nothing; those that scan are asked once."""
    changes = sized(10_000_000, 100_000)
    with TemporaryDirectory() as folder:
        url = URL.create("sqlite", database=str(Path(folder) / "big.db"))
        build_big_log(url, changes)
        for question in _INDEXED[:: sized(1, 4)]:
            yield _row(question, url, changes, rounds=min(rounds, 5), bar=_BAR)
        for question in _SCANNING[:: sized(1, 4)]:
            yield _row(question, url, changes, rounds=1, bar=None)


def _row(question: str, url: URL, changes: int, *, rounds: int, bar: float | None) -> Ratio:
    words = question.replace("TX", _transaction_of(url, changes // 2)).replace("ID", str(changes // 2)).split()
    name = f"{changes // 1000:,}k changes: {question}"
    ours = process("-m", "auditcli", *words, "--url", str(url.database))
    return measure(name, ours, process("-c", "pass"), rounds=rounds, seconds_bar=bar)


def _transaction_of(url: URL, change_id: int) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT transaction_id FROM changelog WHERE id = :id"), {"id": change_id})
    engine.dispose()
    return str(found)
