"""An undo that is killed at any moment has happened whole or not at all, on three databases."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from time import monotonic, sleep

import pytest
from sqlalchemy import Engine

from tests.db.watched import Watched

ROWS = 400
KILLS = int(os.environ.get("AUDIT_TEST_KILLS", "3"))
pytestmark = pytest.mark.thorough


def _started(store: Watched, first_id: int) -> subprocess.Popen[str]:
    url = store.engine.url.render_as_string(hide_password=False)
    words = [sys.executable, "-m", "tests.db.undo_once", url, str(first_id)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _seconds_of_one(store: Watched) -> float:
    """How long an undo takes here and now, that nobody kills."""
    last_id = store.changes()[-1].id
    store.write("UPDATE item SET price = 2")
    process, began = _started(store, last_id + 1), monotonic()
    process.communicate("go\n", timeout=60)
    assert process.returncode == 0
    return monotonic() - began


def _kill(process: subprocess.Popen[str], after: float) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    sleep(after)
    process.kill()
    process.communicate()


def test_an_undo_that_is_killed_is_whole_or_nothing(
    any_engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    store = Watched(any_engine, "CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER)")
    store.write(f"INSERT INTO item VALUES {', '.join(f'({key}, 1)' for key in range(ROWS))}")
    longest = _seconds_of_one(store)
    found = []

    for _ in range(KILLS):
        last_id = store.changes()[-1].id
        store.write("UPDATE item SET price = 2")
        _kill(_started(store, last_id + 1), random.uniform(0, longest))
        # Waits for what the server may still be doing for the dead.
        store.write("UPDATE item SET price = price WHERE id = 0")
        state = store.query("SELECT price, COUNT(*) FROM item GROUP BY price")
        [(linked,)] = store.query(f"SELECT COUNT(*) FROM changelog_undo WHERE first_id > {last_id}")
        records = sum(change.id > last_id for change in store.changes())
        found.append((state, linked, records))
        store.write("UPDATE item SET price = 1 WHERE price = 2")

    undone, not_undone = ([(1, ROWS)], 1, 2 * ROWS), ([(2, ROWS)], 0, ROWS)
    record_property("undone", found.count(undone))
    assert [each for each in found if each not in (undone, not_undone)] == []
