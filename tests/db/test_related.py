"""A row with those that refer to it, at any time or at one, on each database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from auditcli.baseline import record_baseline
from auditcli.errors import NotFound
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.model import RowKey, TableName
from auditcli.related import Family, related
from tests.db.asof import last_id
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

CUSTOMER = "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(20))"
ORDERS = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER,"
    " FOREIGN KEY (customer_id) REFERENCES customer (id))"
)
LINE = (
    "CREATE TABLE line (order_id INTEGER, number INTEGER, PRIMARY KEY (order_id, number),"
    " FOREIGN KEY (order_id) REFERENCES orders (id))"
)
STAFF = "CREATE TABLE staff (id INTEGER PRIMARY KEY, boss INTEGER, FOREIGN KEY (boss) REFERENCES staff (id))"


@pytest.fixture
def shop(any_engine: Engine) -> Watched:
    """Two customers; order 10 of the first goes to the second one, order 11 is deleted with its line."""
    shop = Watched(any_engine, CUSTOMER, ORDERS, LINE)
    shop.write("INSERT INTO customer VALUES (1, 'Ann'), (2, 'Bo')")
    shop.write("INSERT INTO orders VALUES (10, 1), (11, 1), (12, 2)")
    shop.write("INSERT INTO line VALUES (10, 1), (11, 1), (12, 1)")
    shop.write("UPDATE orders SET customer_id = 2 WHERE id = 10")
    shop.write("DELETE FROM line WHERE order_id = 11", "DELETE FROM orders WHERE id = 11")
    return shop


def family(engine: Engine, word: str, depth: int = 1) -> Family:
    table, _, row_id = word.partition("/")
    with engine.connect() as connection:
        return related(LogReader(connection, log_tables()), RowKey(TableName(table), row_id), depth)


def members(engine: Engine, word: str, depth: int = 1) -> list[str]:
    return [str(member.row or member.table) for member in family(engine, word, depth).members]


def at(engine: Engine, word: str, boundary: int, depth: int = 1) -> list[str]:
    found = family(engine, word, depth).at(boundary, frozenset())
    return [str(member.row or member.table) for member, _ in found]


def test_rows_that_ever_referred_to_it_come_with_it_deleted_ones_too(shop: Watched) -> None:
    assert members(shop.engine, "customer/1") == ["customer/1", "orders/10", "orders/11"]
    assert members(shop.engine, "customer/2") == ["customer/2", "orders/10", "orders/12"]


def test_a_depth_of_two_brings_those_that_refer_to_them(shop: Watched) -> None:
    found = members(shop.engine, "customer/1", 2)

    assert found == ["customer/1", "orders/10", "orders/11", "line/10,1", "line/11,1"]


def test_its_changes_are_those_of_all_its_rows_in_order(shop: Watched) -> None:
    found = [(change.event_type.letter, str(change.row)) for change in family(shop.engine, "customer/1", 2).changes]

    assert found == [
        *(("I", row) for row in ("customer/1", "orders/10", "orders/11", "line/10,1", "line/11,1")),
        *(("U", "orders/10"), ("D", "line/11,1"), ("D", "orders/11")),
    ]


def test_at_a_position_only_those_that_referred_to_it_then_are_there(shop: Watched) -> None:
    ordered = next(change.id for change in shop.changes() if change.row_id == "12")
    lined = ordered + 3

    assert at(shop.engine, "customer/1", ordered - 3, 2) == ["customer/1"]
    assert at(shop.engine, "customer/1", ordered) == ["customer/1", "orders/10", "orders/11"]
    assert at(shop.engine, "customer/1", lined, 2)[3:] == ["line/10,1", "line/11,1"]
    assert at(shop.engine, "customer/1", last_id(shop.engine), 2) == ["customer/1"]
    assert at(shop.engine, "customer/2", last_id(shop.engine), 2)[3:] == ["line/10,1", "line/12,1"]
    assert at(shop.engine, "customer/1", 0) == []


def test_circles_and_rows_that_refer_to_themselves_end(any_engine: Engine) -> None:
    shop = Watched(any_engine, STAFF)
    shop.write(
        "INSERT INTO staff VALUES (1, NULL)", "INSERT INTO staff VALUES (2, 1)", "INSERT INTO staff VALUES (3, 2)"
    )
    shop.write("UPDATE staff SET boss = 3 WHERE id = 1", "INSERT INTO staff VALUES (4, 4)")

    assert members(any_engine, "staff/1", 9) == ["staff/1", "staff/2", "staff/3"]
    assert members(any_engine, "staff/4", 9) == ["staff/4"]
    assert at(any_engine, "staff/1", last_id(any_engine), 9) == ["staff/1", "staff/2", "staff/3"]


def test_rows_that_moved_to_other_keys_are_followed(shop: Watched) -> None:
    shop.write("INSERT INTO customer VALUES (3, 'Cy')", "INSERT INTO orders VALUES (20, 3)")
    shop.write("UPDATE orders SET id = 21 WHERE id = 20")
    shop.write("INSERT INTO orders VALUES (20, 2)", "INSERT INTO line VALUES (21, 5)")

    assert members(shop.engine, "customer/3", 2) == ["customer/3", "orders/21", "line/21,5"]


def test_rows_from_before_the_log_began_are_found_where_they_are(any_engine: Engine) -> None:
    shop = Watched(
        any_engine,
        CUSTOMER,
        ORDERS,
        LINE,
        "INSERT INTO customer VALUES (1, 'Ann')",
        "INSERT INTO orders VALUES (10, 1)",
    )
    assert members(any_engine, "customer/1") == ["customer/1", "orders/10"]
    shop.write("UPDATE customer SET name = 'Anna'", "INSERT INTO line VALUES (10, 1)")

    assert members(any_engine, "orders/10") == ["orders/10", "line/10,1"]
    assert members(any_engine, "customer/1", 2) == ["customer/1", "orders/10", "line/10,1"]
    assert at(any_engine, "customer/1", last_id(any_engine), 2) == ["customer/1", "orders/10", "line/10,1"]


def test_rows_that_only_a_baseline_tells_of_are_found(any_engine: Engine) -> None:
    shop = Watched(
        any_engine, CUSTOMER, ORDERS, "INSERT INTO customer VALUES (1, 'Ann')", "INSERT INTO orders VALUES (10, 1)"
    )
    record_baseline(any_engine)
    assert members(any_engine, "customer/1") == ["customer/1", "orders/10"]
    shop.write("DROP TABLE orders")

    assert members(any_engine, "customer/1") == ["customer/1", "orders/10"]


def test_a_table_without_a_key_and_a_table_that_is_gone_refer_too(any_engine: Engine) -> None:
    loose = ORDERS.replace("orders (id INTEGER PRIMARY KEY,", "loose (word VARCHAR(9),")
    shop = Watched(any_engine, CUSTOMER, loose, ORDERS)
    shop.write("INSERT INTO customer VALUES (1, 'Ann'), (2, 'Bo')")
    shop.write(
        "INSERT INTO loose VALUES ('a', 1)", "INSERT INTO loose VALUES ('b', 2)", "INSERT INTO orders VALUES (5, 1)"
    )
    shop.write("DROP TABLE orders")

    assert members(any_engine, "customer/1") == ["customer/1", "loose", "orders/5"]


def test_records_without_the_value_are_left_to_the_database(shop: Watched) -> None:
    shop.write(*(f"INSERT INTO orders VALUES ({number}, 2)" for number in range(3000, 3040)))
    read: list[int] = []
    original = LogReader.changes_of

    def counted(self: LogReader, rows: Any) -> Any:
        read.append(len(rows))
        return original(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogReader, "changes_of", counted)
        family(shop.engine, "customer/1")

    assert sum(read) < 30


def test_nothing_is_written(shop: Watched) -> None:
    written: list[str] = []

    @event.listens_for(shop.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        written.extend([statement] if statement.startswith(("INSERT", "UPDATE", "DELETE", "CREATE")) else ())

    family(shop.engine, "customer/1", 3)

    assert written == []


def test_an_unknown_row_is_told(shop: Watched) -> None:
    with pytest.raises(NotFound, match="customer/77 is not there, and no change of it is recorded"):
        family(shop.engine, "customer/77")
