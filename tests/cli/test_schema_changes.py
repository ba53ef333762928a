"""A schema that changes while it is recorded: old records stay readable, and what no longer fits is said."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert, update

import auditcli
from tests.cli.shop import Ran

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

CHANGES = {
    "added": ["ALTER TABLE item ADD COLUMN fresh TEXT"],
    "dropped": ["ALTER TABLE item DROP COLUMN price"],
    "renamed": ["ALTER TABLE item RENAME COLUMN price TO cost"],
    "retyped": [
        "CREATE TABLE made (id INTEGER PRIMARY KEY, name TEXT, price TEXT)",
        "INSERT INTO made SELECT * FROM item",
        "DROP TABLE item",
        "ALTER TABLE made RENAME TO item",
    ],
    "table renamed": ["ALTER TABLE item RENAME TO article"],
    "table dropped": ["DROP TABLE item"],
}
WAYS = ("listeners", "triggers")


class Store:
    """A recorded table with a history: row 1 at prices 1 and 2, row 2 deleted again."""

    def __init__(self, path: Path, run: Audit, way: str) -> None:
        self.path = path
        self.way = way
        self.audit: Audit = lambda *words: run("-u", str(path), *words)
        self.write("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)")
        self.init()
        self.record()

    def init(self) -> None:
        words = ["--listeners"] if self.way == "listeners" else []
        assert self.audit("init", *words).code == 0

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def value(self, sql: str) -> object:
        with closing(sqlite3.connect(self.path)) as connection:
            row = connection.execute(sql).fetchone()
            return None if row is None else row[0]

    def record(self) -> None:
        engine = create_engine(f"sqlite:///{self.path}")
        if self.way == "listeners":
            auditcli.track(engine)
        _history(engine)
        engine.dispose()

    def change_schema(self, change: str) -> None:
        """As the README says: without triggers while the schema changes."""
        if self.way == "triggers":
            assert self.audit("init", "--remove").code == 0
        self.write(*CHANGES[change])
        self.init()


def _history(engine: Engine) -> None:
    item = Table(
        "item", MetaData(), Column("id", Integer, primary_key=True), Column("name", String), Column("price", Integer)
    )
    with engine.begin() as connection:
        connection.execute(
            insert(item).values([{"id": 1, "name": "one", "price": 1}, {"id": 2, "name": "b", "price": 5}])
        )
    with engine.begin() as connection:
        connection.execute(update(item).where(item.c.id == 1).values(price=2))
    with engine.begin() as connection:
        connection.execute(item.delete().where(item.c.id == 2))


@pytest.fixture(params=WAYS)
def store(request: pytest.FixtureRequest, run: Audit, tmp_path: Path) -> Store:
    """The history, recorded in one of the ways."""
    return Store(tmp_path / "app.db", run, request.param)


@pytest.mark.parametrize("change", CHANGES)
def test_old_records_stay_readable(store: Store, change: str) -> None:
    before = [store.audit(*words).out for words in (["log", "-o", "json"], ["show", "3", "-o", "json"])]
    store.change_schema(change)

    after = [store.audit(*words) for words in (["log", "-o", "json"], ["show", "3", "-o", "json"])]
    others = [
        store.audit(*words)
        for words in (["diff", "table:item"], ["row", "item/1"], ["blame", "item/1"], ["status"], ["stats"])
    ]

    assert [ran.out for ran in after] == before
    assert [ran.code for ran in (*after, *others)] == [0] * 7, [ran.err for ran in others]
    assert json.loads(after[0].out)


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("added", 0, ""),
        ("retyped", 5, "2 is '2' now"),
        ("dropped", 5, "price"),
        ("renamed", 5, "price"),
        ("table renamed", 5, "item"),
        ("table dropped", 5, "item"),
    ],
)
def test_undoing_an_update_works_or_names_what_no_longer_fits(store: Store, change: str, code: int, told: str) -> None:
    store.change_schema(change)

    ran = store.audit("undo", "3", "--yes", "-m", "test", "--as", "eve")

    assert ran.code == code, ran.out + ran.err
    assert told in ran.out + ran.err
    if code == 0:
        assert store.value("SELECT price FROM item WHERE id = 1") == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [("added", 0), ("retyped", 5), ("dropped", 5), ("renamed", 5), ("table renamed", 5), ("table dropped", 5)],
)
def test_undoing_a_delete_works_or_names_what_no_longer_fits(store: Store, change: str, code: int) -> None:
    store.change_schema(change)

    ran = store.audit("undo", "4", "--yes", "-m", "test", "--as", "eve")

    assert ran.code == code, ran.out + ran.err
    if code == 0:
        assert store.value("SELECT name FROM item WHERE id = 2") == "b"
    else:
        assert "item" in ran.out + ran.err


@pytest.mark.parametrize("change", ["added", "dropped", "renamed", "retyped"])
def test_the_next_change_is_recorded_with_the_columns_that_there_are(store: Store, change: str) -> None:
    store.change_schema(change)
    engine = create_engine(f"sqlite:///{store.path}")
    if store.way == "listeners":
        auditcli.track(engine)

    item = Table("item", MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(update(item).where(item.c.id == 1).values(name="new"))
    engine.dispose()

    [record] = json.loads(store.audit("log", "-n", "1", "-o", "json").out)
    assert set(record["after"]) == set(item.c.keys())
    assert store.audit("diff", "table:item").code == 0
    # Another type made other values of what there was: those can't be judged.
    assert store.audit("verify").code == 0
