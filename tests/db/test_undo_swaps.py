"""Rows that took each other's keys and unique values go back on each database, though each is in another one's way."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from auditcli.apply import Outcome, apply_plan
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

TABLES = (
    "CREATE TABLE artist (id INT PRIMARY KEY, name VARCHAR(9) NOT NULL UNIQUE, nick VARCHAR(9) UNIQUE)",
    """CREATE TABLE album (id INT PRIMARY KEY, artist_id INT NOT NULL,
    FOREIGN KEY (artist_id) REFERENCES artist (id) ON DELETE CASCADE ON UPDATE CASCADE)""",
    """CREATE TABLE song (id INT PRIMARY KEY, nick VARCHAR(9),
    FOREIGN KEY (nick) REFERENCES artist (nick) ON UPDATE CASCADE)""",
)
STEPS = {
    "two keys": ("id = 9 WHERE id = 1", "id = 1 WHERE id = 2", "id = 2 WHERE id = 9"),
    "three keys": ("id = 9 WHERE id = 1", "id = 1 WHERE id = 2", "id = 2 WHERE id = 3", "id = 3 WHERE id = 9"),
    "two unique values": ("name = '-' WHERE id = 1", "name = 'A' WHERE id = 2", "name = 'B' WHERE id = 1"),
    "two unique values that may be NULL": (
        "nick = NULL WHERE id = 2",
        "nick = 'b' WHERE id = 1",
        "nick = 'a' WHERE id = 2",
    ),
    "three unique values": (
        "name = '-' WHERE id = 1",
        "name = 'A' WHERE id = 3",
        "name = 'C' WHERE id = 2",
        "name = 'B' WHERE id = 1",
    ),
    "keys and unique values": (
        "id = 9, name = '-', nick = '-' WHERE id = 1",
        "id = 1, name = 'A', nick = 'a' WHERE id = 2",
        "id = 2, name = 'B', nick = 'b' WHERE id = 9",
    ),
}


@pytest.fixture
def store(any_engine: Engine) -> Watched:
    """Three artists with what refers to them."""
    store = Watched(any_engine, *TABLES)
    store.write(
        "INSERT INTO artist VALUES (1, 'A', 'a'), (2, 'B', 'b'), (3, 'C', 'c')",
        "INSERT INTO album VALUES (1, 1), (2, 2), (3, 3), (4, 1)",
        "INSERT INTO song VALUES (1, 'a'), (2, 'b'), (3, NULL)",
    )
    return store


def _rows(store: Watched) -> list[list[tuple[object, ...]]]:
    return [store.query(f"SELECT * FROM {table} ORDER BY id") for table in ("artist", "album", "song")]


def _undo(store: Watched, after_id: int) -> Outcome:
    with store.engine.connect() as connection:
        ids = [change.id for change in store.changes() if change.id > after_id]
        plan = plan_undo(connection, log_tables(), ids=ids)
    assert plan.conflicts == ()
    return apply_plan(store.engine, plan)


def test_what_was_swapped_or_went_round_goes_back_and_round_again(store: Watched) -> None:
    for name, steps in STEPS.items():
        before, start = _rows(store), store.changes()[-1].id
        store.write(*(f"UPDATE artist SET {step}" for step in steps))
        swapped, end = _rows(store), store.changes()[-1].id
        assert swapped != before, name

        _undo(store, start)
        assert _rows(store) == before, name
        undone = store.changes()[-1].id

        _undo(store, end)
        assert _rows(store) == swapped, name
        _undo(store, undone)
        assert _rows(store) == before, name
    store.check()
