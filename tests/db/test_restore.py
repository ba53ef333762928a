"""A database as it was, written into a new one of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event

from auditcli.asof import as_of
from auditcli.connect import Database
from auditcli.errors import ConflictError, NotFound
from auditcli.model import TableName
from auditcli.portable import means_same
from auditcli.restore import Restored, check_restore, restore
from tests.databases import scratch_url
from tests.db.asof import last_id, rows_now
from tests.db.recorded import enforce_foreign_keys
from tests.db.replayed import opened, rows_of
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

CUSTOMER = "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(20), boss INTEGER REFERENCES customer (id))"
ORDERS = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, total NUMERIC(8, 2),"
    " FOREIGN KEY (customer_id) REFERENCES customer (id))"
)


@pytest.fixture
def shop(any_engine: Engine) -> Watched:
    """Orders of customers, of whom one has a boss with a higher key."""
    shop = Watched(any_engine, CUSTOMER, ORDERS)
    shop.write("INSERT INTO customer VALUES (2, 'Ann', NULL)", "INSERT INTO customer VALUES (1, 'Bo', 2)")
    shop.write("INSERT INTO orders VALUES (1, 1, 10.50)", "INSERT INTO orders VALUES (2, 2, 7)")
    return shop


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    folder = tmp_path / "target"
    folder.mkdir()
    with scratch_url(request.param, folder) as url:
        engine = create_engine(url)
        if engine.name == "sqlite":
            event.listen(engine, "connect", enforce_foreign_keys)
        yield opened(engine)
        engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    event.listen(engine, "connect", enforce_foreign_keys)
    yield opened(engine)
    engine.dispose()


def restored(shop: Watched, boundary: int, target: Database, *tables: str) -> Restored:
    source, wanted = opened(shop.engine), [TableName(table) for table in tables] or None
    with source.log() as reader, as_of(reader, boundary, wanted=wanted) as past:
        check_restore(past, source, target)
        return restore(past, source, target, actor="alice")


def test_all_rows_of_then_are_there_and_mean_the_same(shop: Watched, target: Database) -> None:
    boundary, then = last_id(shop.engine), rows_of(shop.engine)
    shop.write("DELETE FROM orders", "UPDATE customer SET boss = NULL", "DELETE FROM customer WHERE id = 2")

    done = restored(shop, boundary, target)

    found = rows_of(target.engine)
    assert (done.tables, done.rows) == (2, 4)
    assert sorted(found) == ["customer", "orders"]
    for table, rows in then.items():
        pairs = zip(rows, sorted(found[table], key=lambda image: int(str(image["id"]))), strict=True)
        assert all(means_same(row[column], other[column]) for row, other in pairs for column in row), table


def test_a_target_with_rows_is_refused_and_an_empty_one_is_filled(shop: Watched, file: Database) -> None:
    restored(shop, 0, file)
    assert rows_now(file.engine) == {}

    restored(shop, last_id(shop.engine), file)

    with pytest.raises(ConflictError, match=r"the target has rows in customer, orders: they would be mixed"):
        restored(shop, last_id(shop.engine), file)


def test_what_the_target_cannot_hold_names_the_column_and_leaves_nothing(shop: Watched, file: Database) -> None:
    with file.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'Bo'), boss)"
        )

    with pytest.raises(ConflictError, match=r"no row was written: .*CHECK constraint failed"):
        restored(shop, last_id(shop.engine), file)

    assert rows_now(file.engine) == {}
    assert sorted(rows_of(file.engine)) == ["customer"]


def test_a_reference_to_a_row_that_does_not_come_is_a_conflict(shop: Watched, file: Database) -> None:
    with file.engine.begin() as connection:
        connection.exec_driver_sql(CUSTOMER)
        connection.exec_driver_sql(ORDERS)

    with pytest.raises(ConflictError, match=r"no row was written: .*FOREIGN KEY"):
        restored(shop, last_id(shop.engine), file, "orders")

    assert rows_now(file.engine) == {}


def test_masked_columns_are_not_there(any_engine: Engine, file: Database) -> None:
    shop = Watched(any_engine, "CREATE TABLE item (id INTEGER PRIMARY KEY, card VARCHAR(20) NOT NULL)")
    shop.init(mask_columns={"item": ("card",)})
    shop.write("INSERT INTO item VALUES (1, '4711')")

    restored(shop, last_id(any_engine), file)

    assert rows_of(file.engine) == {"item": [{"id": 1}]}


def test_no_table_at_all_is_told(any_engine: Engine, file: Database) -> None:
    with pytest.raises(NotFound, match="there was no table then"):
        restored(Watched(any_engine), 0, file)
