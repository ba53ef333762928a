"""PostgreSQL: transactions side by side, and a statement that moves rows to keys at which others still stand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.db.asof import last_id, rows_now, rows_then, table_then
from tests.db.postgres import scratch_engine
from tests.db.watched import Watched

ITEM = "CREATE TABLE item (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text)"
ONLY_KEY = "CREATE TABLE bare (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"


@pytest.fixture
def shop() -> Iterator[Watched]:
    with scratch_engine() as engine:
        shop = Watched(engine, ITEM, ONLY_KEY)
        shop.write("INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'c')", "INSERT INTO bare VALUES (1), (2)")
        yield shop


def test_rows_that_all_move_on_by_one_are_back_at_their_keys(shop: Watched) -> None:
    copies = {last_id(shop.engine): rows_now(shop.engine)}
    for statement in (
        "UPDATE item SET id = id + 1",
        "UPDATE bare SET id = id + 1",
        "UPDATE item SET id = 5 - id",
        "DELETE FROM item WHERE id = 2",
        "UPDATE item SET id = id - 1",
    ):
        shop.write(statement)
        copies[last_id(shop.engine)] = rows_now(shop.engine)

    assert {boundary: rows_then(shop.engine, boundary) for boundary in copies} == copies


def test_a_transaction_that_began_before_and_ended_after_had_not_happened(shop: Watched) -> None:
    with shop.engine.connect() as long, long.begin():
        long.exec_driver_sql("UPDATE item SET name = 'long' WHERE id = 1")
        shop.write("UPDATE item SET name = 'short' WHERE id = 2")
        boundary = last_id(shop.engine)
        before = table_then(shop.engine, "item", boundary)
        long.exec_driver_sql("UPDATE item SET name = 'end' WHERE id = 3")

    rows = table_then(shop.engine, "item", boundary)

    assert [image["name"] for image in rows] == ["a", "short", "c"]
    assert rows == before
    assert [image["name"] for image in table_then(shop.engine, "item", last_id(shop.engine))] == [
        "long",
        "short",
        "end",
    ]
