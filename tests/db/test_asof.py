"""The tables as they were at a position, and what can't be known of them, on each database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from auditcli.asof import as_of
from auditcli.baseline import record_baseline
from auditcli.clock import utc_now
from auditcli.driver import dialect_of
from auditcli.errors import NotFound
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.pause import pause, resume
from tests.db.asof import caveats_then, last_id, rows_now, rows_then, table_then
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(20), price INTEGER)"
LOOSE = "CREATE TABLE loose (v INTEGER)"


@pytest.fixture
def shop(any_engine: Engine) -> Watched:
    """Two tables, and rows in them from before the log began."""
    shop = Watched(any_engine, ITEM, LOOSE, "INSERT INTO item VALUES (1, 'a', 1), (2, 'b', 2)")
    shop.write("INSERT INTO item VALUES (3, 'c', 3)", "INSERT INTO loose VALUES (1), (1), (2)")
    return shop


def names(images: list[Any]) -> list[tuple[Any, Any]]:
    return [(image["id"], image["name"]) for image in images]


def test_each_point_between_transactions_has_the_rows_of_then(shop: Watched) -> None:
    copies = {last_id(shop.engine): rows_now(shop.engine)}
    for transaction in (
        ["UPDATE item SET name = 'x'", "UPDATE item SET name = 'y' WHERE id = 1"],
        ["DELETE FROM item WHERE id = 2", "INSERT INTO item VALUES (2, 'again', 0)"],
        ["UPDATE item SET id = 9 WHERE id = 1", "INSERT INTO item VALUES (1, 'other', 0)"],
        ["DELETE FROM loose WHERE v = 1", "INSERT INTO loose VALUES (1)"],
        ["UPDATE loose SET v = 2", "DELETE FROM item"],
    ):
        shop.write(*transaction)
        copies[last_id(shop.engine)] = rows_now(shop.engine)

    assert {boundary: rows_then(shop.engine, boundary) for boundary in copies} == copies


def test_a_transaction_that_had_not_ended_by_then_had_not_happened(shop: Watched) -> None:
    before = rows_now(shop.engine)
    start = last_id(shop.engine)
    shop.write(*(f"UPDATE item SET price = {number}" for number in (10, 20)))
    end = last_id(shop.engine)
    if shop.changes()[-1].transaction_id is None:
        # Here a plain client's records can't be told to be of one transaction.
        return

    assert [rows_then(shop.engine, boundary) for boundary in range(start, end)] == [before] * (end - start)


def test_rows_come_in_the_order_of_their_key_and_those_that_went_after_them(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (0, 'new', 0)")

    assert names(table_then(shop.engine, "item", boundary)) == [(2, "b"), (3, "c"), (1, "a")]


def test_nothing_is_written_and_whoever_reads_keeps_nobody_from_writing(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    written: list[str] = []

    @event.listens_for(shop.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        written.extend([statement] if statement.startswith(("INSERT", "UPDATE", "DELETE", "CREATE")) else ())

    with shop.engine.connect() as connection, as_of(LogReader(connection, log_tables()), boundary) as past:
        shop.write("UPDATE item SET price = 0")
        prices = [image["price"] for image in past.rows(past.tables[0])]

    assert prices == [1, 2, 3]
    assert written == ["UPDATE item SET price = 0"]


def test_a_column_that_came_since_is_left_out(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("UPDATE item SET name = 'x' WHERE id = 1", "ALTER TABLE item ADD COLUMN more INTEGER")
    shop.init()
    shop.write("UPDATE item SET more = 7 WHERE id = 2")

    assert table_then(shop.engine, "item", boundary) == [
        {"id": 1, "name": "a", "price": 1},
        {"id": 2, "name": "b", "price": 2},
        {"id": 3, "name": "c", "price": 3},
    ]
    assert caveats_then(shop.engine, boundary, "item") == [("added", "item", ("more",))]


def test_a_column_that_is_gone_has_the_values_that_the_log_knows(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("UPDATE item SET name = 'x' WHERE id = 1")
    shop.init(triggers=False)
    shop.write("ALTER TABLE item DROP COLUMN price")
    shop.init()

    assert table_then(shop.engine, "item", boundary) == [
        {"id": 1, "name": "a", "price": 1},
        {"id": 2, "name": "b"},
        {"id": 3, "name": "c", "price": 3},
    ]
    assert caveats_then(shop.engine, boundary, "item") == [("lost", "item", ("price",))]


def test_a_renamed_key_still_finds_the_row(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("UPDATE item SET name = 'x' WHERE id = 3")
    shop.write("ALTER TABLE item RENAME COLUMN id TO number")
    shop.init()
    shop.write("UPDATE item SET name = 'y' WHERE number = 3")

    rows = table_then(shop.engine, "item", boundary)

    assert [image["name"] for image in rows] == ["a", "b", "c"]
    assert rows[2]["id"] == 3


def test_a_table_that_is_gone_is_as_the_log_knows_it(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("UPDATE item SET name = 'x' WHERE id = 1", "DELETE FROM loose WHERE v = 2")
    shop.write("DROP TABLE item", "DROP TABLE loose")

    assert sorted(names(table_then(shop.engine, "item", boundary))) == [(1, "a"), (3, "c")]
    assert [image["v"] for image in table_then(shop.engine, "loose", boundary)] == [1, 1, 2]
    assert caveats_then(shop.engine, boundary) == [("dropped", "item", ()), ("dropped", "loose", ())]


def test_of_a_table_that_is_gone_a_baseline_tells_the_rows_that_never_changed(any_engine: Engine) -> None:
    shop = Watched(any_engine, ITEM, LOOSE, "INSERT INTO item VALUES (1, 'a', 1), (2, 'b', 2)")
    shop.write("INSERT INTO loose VALUES (1), (1)")
    record_baseline(any_engine)
    boundary = last_id(any_engine)
    shop.write("UPDATE item SET name = 'x' WHERE id = 1", "DELETE FROM loose WHERE v = 1")
    shop.write("DROP TABLE item", "DROP TABLE loose")

    assert names(table_then(any_engine, "item", boundary)) == [(1, "a"), (2, "b")]
    assert table_then(any_engine, "loose", boundary) == [{"v": 1}, {"v": 1}]


def test_a_table_that_came_since_was_not_there(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    shop.write("UPDATE item SET price = 0", "CREATE TABLE later (id INTEGER PRIMARY KEY)")
    shop.init()
    shop.write("INSERT INTO later VALUES (1)")

    assert "later" not in rows_then(shop.engine, boundary)
    assert caveats_then(shop.engine, boundary, "later") == [("later", "later", ())]
    assert caveats_then(shop.engine, boundary) == []


def test_a_time_before_recording_began_is_told(shop: Watched) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)

    assert caveats_then(shop.engine, 0, "item", moment=long_ago) == [("later", "item", ())]
    assert caveats_then(shop.engine, 0, "item") == []


def test_a_pause_since_then_is_told(shop: Watched) -> None:
    boundary = last_id(shop.engine)
    with shop.engine.connect() as connection:
        pause(connection, log_tables(), dialect_of(connection), ["item"], now=utc_now(), actor=None, reason="load")
    assert caveats_then(shop.engine, boundary) == [("gap", "item", ())]
    with shop.engine.connect() as connection:
        resume(connection, log_tables(), dialect_of(connection), ["item"], now=utc_now())
    shop.write("UPDATE item SET price = 0")

    assert caveats_then(shop.engine, boundary) == [("gap", "item", ())]
    assert caveats_then(shop.engine, last_id(shop.engine)) == []
    assert caveats_then(shop.engine, boundary, moment=utc_now()) == []


def test_masked_and_excluded_columns_are_left_out(any_engine: Engine) -> None:
    shop = Watched(any_engine, ITEM, exclude_columns={"item": ("price",)}, mask_columns={"item": ("name",)})
    shop.write("INSERT INTO item VALUES (1, 'secret', 5), (2, 'other', 6)")
    boundary = last_id(any_engine)
    shop.write("UPDATE item SET name = 'known' WHERE id = 1")

    assert table_then(any_engine, "item", boundary) == [{"id": 1}, {"id": 2}]
    assert caveats_then(any_engine, boundary, "item") == [("hidden", "item", ("name", "price"))]


def test_a_table_that_nobody_records_is_refused_by_name(shop: Watched) -> None:
    with pytest.raises(NotFound, match="nothing is recorded of a table nothing") as refused:
        table_then(shop.engine, "nothing", 0)

    assert refused.value.hint == "recorded tables: item, loose"
