"""Whatever history SQLite accepted: replayed into an empty database it gives the same rows, wherever it is killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, event
from sqlalchemy.pool import StaticPool

from auditcli.connect import Database
from tests.db.recorded import enforce_foreign_keys
from tests.db.replayed import Killed, exactly, killed_after, opened, replay
from tests.db.test_undo_property import _database, _history, _run, transactions

pytestmark = pytest.mark.thorough


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(script=transactions)
def test_a_history_comes_to_the_same_rows_in_an_empty_database(script: list[Any]) -> None:
    source, target = _source(script), _empty()

    replay(source, target, create_tables=True)

    assert exactly(target.engine) == exactly(source.engine)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
@example(0)
def test_so_does_one_that_is_killed_at_any_point_and_run_again(seed: int) -> None:
    random = Random(seed)
    source = _source(_history(random, 8, (3, 4, 2)))

    with TemporaryDirectory() as folder:
        target = _in_file(Path(folder) / "target.db")
        kills = _replay_until_done(random, source, target)

        assert exactly(target.engine) == exactly(source.engine), f"after {kills} kills"
        target.close()


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_so_does_one_from_any_place_on_the_rows_as_they_were_there(seed: int) -> None:
    random = Random(seed)
    source, target = _source(_history(random, 8, (3, 4, 2))), _empty()
    replay(source, target, create_tables=True)

    replay(source, target, rebuild=True, since=random.randint(0, 12))

    assert exactly(target.engine) == exactly(source.engine)


def _replay_until_done(random: Random, source: Database, target: Database) -> int:
    kills = 0
    while True:
        try:
            with killed_after(target.engine, random.randint(5, 200)):
                replay(source, target, create_tables=True)
        except Killed:
            kills += 1
        else:
            return kills


def _source(script: Sequence[Any]) -> Database:
    engine = _database()
    _run(engine, script)
    return opened(engine, URL.create("sqlite", database="source.db"))


def _empty() -> Database:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", enforce_foreign_keys)
    return opened(engine, URL.create("sqlite", database="target.db"))


def _in_file(path: Path) -> Database:
    engine = sa.create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", enforce_foreign_keys)
    return opened(engine)
