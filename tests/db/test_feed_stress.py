"""The feed under writers that never let go of each other: nothing lost, doubled, out of order or split.

A naive reader reads the same log at the same time, and is seen to lose changes where writers run side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from auditcli.dialects import dialect_named
from auditcli.feed import Committed, Feed
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.model import Change
from tests.db.hot import hot_database, writing

pytestmark = pytest.mark.thorough

TABLES = log_tables()


@dataclass
class Run:
    """What readers saw of one run, and what the log holds in the end."""

    fed: list[Committed] = field(default_factory=list)
    naive: list[int] = field(default_factory=list)
    committed: list[Change] = field(default_factory=list)


def read_along(engine: Engine, *, seconds: float, processes: int, writers: int, pace: float) -> Run:
    """Both readers beside the writers; when those have ended, what is left."""
    run = Run()
    feed = Feed(engine, TABLES, dialect_named(engine.name))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as naive:
        with writing(engine, processes=processes, writers=writers, pace=pace, seconds=seconds) as is_going_on:
            while is_going_on():
                read_naively(naive, run.naive)
                run.fed += feed.poll()
                if run.fed and len(run.fed) % 7 == 0:
                    # Another reader goes on from there.
                    feed = Feed(engine, TABLES, dialect_named(engine.name), feed.place)
        while (more := feed.poll()) or not feed.is_complete:
            run.fed += more
        read_naively(naive, run.naive)
    with engine.connect() as connection:
        run.committed = list(LogReader(connection, TABLES).changes())
    return run


def read_naively(connection: Connection, seen: list[int]) -> None:
    last = seen[-1] if seen else 0
    seen += connection.execute(text("SELECT id FROM changelog WHERE id > :last ORDER BY id"), {"last": last}).scalars()


def out_of_order(changes: Sequence[Change]) -> list[Change]:
    """The changes that don't go on where the one before them left the row."""
    numbers: dict[str | None, object] = {}
    found = []
    for change in changes:
        if (change.before or {})["number"] != numbers.get(change.row_id, 0):
            found.append(change)
        numbers[change.row_id] = (change.after or {})["number"]
    return found


def check_fed(run: Run) -> None:
    fed = [change for changes in run.fed for change in changes]
    assert Counter(change.id for change in fed) == Counter(change.id for change in run.committed)
    assert out_of_order(fed) == []


def check_whole(run: Run) -> None:
    owners = [{change.transaction_id for change in changes} for changes in run.fed]
    assert {len(transaction_ids) for transaction_ids in owners} == {1}
    assert max(Counter(map(frozenset, owners)).values()) == 1


@pytest.mark.parametrize(("processes", "writers", "pace"), [(2, 5, 0.004), (2, 12, 0)], ids=["paced", "unpaced"])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_nothing_is_lost_doubled_out_of_order_or_split(
    kind: str, processes: int, writers: int, pace: float, tmp_path: Path
) -> None:
    with hot_database(kind, tmp_path) as engine:
        run = read_along(engine, seconds=10, processes=processes, writers=writers, pace=pace)

    check_fed(run)
    check_whole(run)
    assert len(run.fed) > 100
    assert set(run.naive) < {change.id for change in run.committed}


def test_nothing_is_lost_where_many_processes_write_one_file(tmp_path: Path) -> None:
    with hot_database("sqlite", tmp_path) as engine:
        run = read_along(engine, seconds=5, processes=3, writers=1, pace=0.002)

    check_fed(run)
    assert len(run.fed) > 100
    assert run.naive == [change.id for change in run.committed]
