"""A table changes while it is recorded: old records stay readable, and what no longer fits is said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text

from auditcli.cli.app import main
from auditcli.clock import utc_now
from auditcli.driver import dialect_of
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables

pytestmark = pytest.mark.thorough


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str


@dataclass
class Table:
    """A recorded table that changes its shape: each step is what somebody did to it."""

    engine: Engine
    capsys: pytest.CaptureFixture[str]

    def write(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def change(self, *definitions: str) -> None:
        """Change the table, with triggers out of its way, as SQLite asks for."""
        self._init(triggers=False)
        self.write(*definitions)
        self._init(triggers=True)

    def audit(self, *words: str) -> Ran:
        url = self.engine.url.render_as_string(hide_password=False)
        code = main(["-u", url, *words])
        printed = self.capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    def records(self, *words: str) -> list[dict[str, Any]]:
        ran = self.audit("log", "-o", "jsonl", "-r", *words)
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    def _init(self, *, triggers: bool) -> None:
        with self.engine.connect() as connection:
            prepare(connection, log_tables(), dialect_of(connection), Wishes(triggers=triggers), now=utc_now())


@pytest.fixture
def item(any_engine: Engine, capsys: pytest.CaptureFixture[str]) -> Table:
    """A row that was written and changed once."""
    table = Table(any_engine, capsys)
    table.write("CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(40), price INTEGER)")
    table._init(triggers=True)
    table.write("INSERT INTO item VALUES (1, 'tea', 250)")
    table.write("UPDATE item SET price = 300")
    return table


READING = ("log", "show 2", "diff item/1", "row item/1", "blame item/1", "stats", "export -o jsonl", "doctor", "status")

CHANGES: dict[str, tuple[str, ...]] = {
    "column added": ("ALTER TABLE item ADD COLUMN note VARCHAR(20)",),
    "column dropped": ("ALTER TABLE item DROP COLUMN price",),
    "column renamed": ("ALTER TABLE item RENAME COLUMN price TO cost",),
    "table renamed": ("ALTER TABLE item RENAME TO product",),
    "table dropped": ("DROP TABLE item",),
}


@pytest.mark.parametrize("change", CHANGES)
def test_old_records_stay_readable(item: Table, change: str) -> None:
    item.change(*CHANGES[change])

    for command in READING:
        ran = item.audit(*command.split())
        assert ran.code in (0, 1), (command, ran.err)
        assert "error" not in ran.err, command
    assert item.records("item/1", "event:update")[0]["before"] == {"id": 1, "name": "tea", "price": 250}


def test_records_before_and_after_an_added_column_have_their_own_columns(item: Table) -> None:
    item.change(*CHANGES["column added"])
    item.write("UPDATE item SET note = 'new' WHERE id = 1")

    before, _, after = item.records()
    assert before["after"] == {"id": 1, "name": "tea", "price": 250}
    assert after["after"] == {"id": 1, "name": "tea", "price": 300, "note": "new"}
    assert item.audit("verify").code == 0


def test_an_undo_over_an_added_column_leaves_it_alone(item: Table) -> None:
    item.change(*CHANGES["column added"])
    item.write("UPDATE item SET note = 'new' WHERE id = 1")

    undone = item.audit("undo", "2", "--yes")

    assert undone.code == 0, undone.err
    with item.engine.connect() as connection:
        assert tuple(connection.execute(text("SELECT price, note FROM item")).one()) == (250, "new")


@pytest.mark.parametrize("change", ["column dropped", "column renamed"])
def test_an_undo_of_a_column_that_is_gone_says_so_and_writes_nothing(item: Table, change: str) -> None:
    item.change(*CHANGES[change])

    undone = item.audit("undo", "2", "--yes")

    assert undone.code == 5, undone.err
    assert "the column no longer exists" in undone.out + undone.err
    assert "price" in undone.out + undone.err


@pytest.mark.parametrize("change", ["table dropped", "table renamed"])
def test_an_undo_on_a_table_that_is_gone_says_so(item: Table, change: str) -> None:
    item.change(*CHANGES[change])

    undone = item.audit("undo", "2", "--yes")

    assert undone.code == 5, undone.err
    assert "item" in undone.out + undone.err
    assert "Traceback" not in undone.err


def test_values_of_a_column_that_changed_its_type_are_read_as_they_were(any_engine: Engine, item: Table) -> None:
    if dialect_name(any_engine) == "sqlite":
        # SQLite changes no type; the table is made anew.
        item.change(
            "ALTER TABLE item RENAME TO old",
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(40), price TEXT)",
            "INSERT INTO item SELECT id, name, price || '.50' FROM old",
            "DROP TABLE old",
        )
        later: Any = "300.50"
    else:
        retyped = (
            "ALTER TABLE item ALTER COLUMN price TYPE NUMERIC(10, 2)"
            if dialect_name(any_engine) == "postgresql"
            else "ALTER TABLE item MODIFY price DECIMAL(10, 2)"
        )
        item.change(retyped)
        item.write("UPDATE item SET price = price + 0.5")
        later = {"$decimal": "300.50"}

    prices = [record["after"]["price"] for record in item.records("event:insert,update") if record["after"]]

    assert prices[:2] == [250, 300]
    if len(prices) > 2:
        assert prices[2] == later


def test_a_table_that_comes_again_with_other_columns_goes_on_in_the_same_log(item: Table) -> None:
    item.change("DROP TABLE item", "CREATE TABLE item (id INTEGER PRIMARY KEY, title VARCHAR(20))")
    item.write("INSERT INTO item VALUES (1, 'anew')")

    assert [record["after"] for record in item.records()][-1] == {"id": 1, "title": "anew"}
    assert item.audit("row", "item/1").code == 0


def dialect_name(engine: Engine) -> str:
    """What SQLAlchemy calls the database."""
    return engine.dialect.name


def test_a_key_that_has_another_name_now_is_still_that_rows_key(item: Table) -> None:
    item.change("ALTER TABLE item RENAME COLUMN id TO number")
    item.write("UPDATE item SET price = 400 WHERE number = 1")

    assert item.records()[-1]["row_id"] == "1"
    assert item.audit("verify").code == 0
