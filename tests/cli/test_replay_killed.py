"""`audit replay`, killed at any moment: what is there are whole transactions, and another run goes on after them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.cli.shop import Ran
from tests.db.replayed import empty, record
from tests.db.replayed import run as write

pytestmark = pytest.mark.thorough

KILLS = int(os.environ.get("AUDIT_TEST_KILLS", "2"))
A_ROUND = 15
"""Transactions between two kills, each of which moves 1 from one row to another and adds a row."""

START = "CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER)"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("words", [(), ("--follow",)], ids=["once", "follow"])
def test_nothing_is_lost_or_doubled(run: Callable[..., Ran], kind: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with empty("postgresql", tmp_path / "a") as source, empty(kind, tmp_path / "b") as target:
        write(source, START, "INSERT INTO item VALUES (0, 0), (1, 0)")
        record(source)
        if target.name == "sqlite":
            (tmp_path / "b" / "app.db").touch()
        command = ["-u", _url(source), "replay", "--to", _url(target), "--create-tables"]
        run(*command)
        halves = []

        for number in range(KILLS):
            first = 10 + number * A_ROUND
            _move(source, range(first, first + A_ROUND // 2))
            done = _moved(target)
            process = subprocess.Popen([sys.executable, "-m", "auditcli", *command, *words], stderr=subprocess.DEVNULL)
            _wait_until_moved(target, done)
            _move(source, range(first + A_ROUND // 2, first + A_ROUND))
            time.sleep(random.uniform(0, 0.2))
            process.kill()
            process.wait()
            halves += _halves(target)
        finished = run(*command)
        compared = run("-u", _url(source), "verify", "--against", _url(target))

    assert finished.code in (0, 3), finished.err
    assert (compared.code, "nothing differs" in compared.err) == (0, True), compared.out
    assert halves == []


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _move(engine: Engine, keys: range) -> None:
    for key in keys:
        write(
            engine,
            "UPDATE item SET number = number + 1 WHERE id = 0",
            "UPDATE item SET number = number - 1 WHERE id = 1",
            f"INSERT INTO item VALUES ({key}, 0)",
        )


def _moved(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT number FROM item WHERE id = 0")).scalar_one())


def _wait_until_moved(engine: Engine, done: int) -> None:
    deadline = time.monotonic() + 30
    while _moved(engine) <= done:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _halves(engine: Engine) -> list[tuple[int, ...]]:
    """What the target has of a transaction that is not there whole."""
    query = "SELECT MAX(CASE id WHEN 0 THEN number END), -MIN(CASE id WHEN 1 THEN number END), COUNT(*) - 2 FROM item"
    with engine.connect() as connection:
        found = tuple(int(each) for each in connection.execute(text(query)).one())
    return [] if len(set(found)) == 1 else [found]
