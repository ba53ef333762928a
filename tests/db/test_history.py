"""One row through time: history, blame and its state at a position."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from auditcli.dialects.sqlite import SQLite
from auditcli.errors import NotFound
from auditcli.history import blame, row_at, row_history, row_state
from auditcli.model import RowKey, TableName
from auditcli.shape import ColumnShape, TableShape
from tests.db.logbook import Logbook, ids

ITEM = TableName("item")
SHAPE = TableShape(ITEM, (ColumnShape("id", "INTEGER"), ColumnShape("name", "TEXT")), ("id",))


class Interleaving(SQLite):
    """A database whose transactions can write side by side."""

    log_ids_follow_commits = False


@pytest.fixture
def book(engine: Engine) -> Logbook:
    book = Logbook.create(engine)
    book.write_shape(SHAPE)
    return book


@pytest.fixture
def moved(book: Logbook) -> Logbook:
    """An item made by alice, moved from key 1 to 2 by bob, renamed by carol."""
    book.insert("item", {"id": 1, "name": "a", "n": 1}, actor="alice")
    book.update("item", {"id": 1, "name": "a", "n": 1}, {"id": 2, "name": "a", "n": 1}, actor="bob")
    book.update("item", {"id": 2, "name": "a", "n": 1}, {"id": 2, "name": "b", "n": 1}, actor="carol")
    return book


def blamed(book: Logbook, row_id: str) -> dict[str, tuple[object, str | None]]:
    with book.reader() as reader:
        return {
            line.column: (line.value, line.change.actor if line.change else None)
            for line in blame(reader, RowKey(ITEM, row_id))
        }


def test_history_and_blame_follow_the_row_not_the_key(moved: Logbook) -> None:
    with moved.reader() as reader:
        assert ids(row_history(reader, RowKey(ITEM, "2"))) == [1, 2, 3]
        assert ids(row_history(reader, RowKey(ITEM, "1"))) == [1, 2, 3]

    assert blamed(moved, "2") == {"id": (2, "bob"), "name": ("b", "carol"), "n": (1, "alice")}


def test_a_column_that_nobody_wrote_since_capture_began_has_no_writer(book: Logbook) -> None:
    book.snapshot("item", {"id": 1, "name": "a"})
    book.update("item", {"id": 1, "name": "a"}, {"id": 1, "name": "b"}, actor="bob")

    assert blamed(book, "1") == {"id": (1, None), "name": ("b", "bob")}


def test_blame_of_a_row_that_is_gone_names_who_removed_it(moved: Logbook) -> None:
    moved.delete("item", {"id": 2, "name": "b", "n": 1}, actor="dave")

    assert blamed(moved, "2") == {"id": (2, "dave"), "name": ("b", "dave"), "n": (1, "dave")}


def test_blame_of_a_row_that_came_back_names_who_brought_it_back(book: Logbook) -> None:
    book.insert("item", {"id": 1, "name": "a"}, actor="alice")
    book.delete("item", {"id": 1, "name": "a"}, actor="bob")
    book.insert("item", {"id": 1, "name": "z"}, actor="carol")

    assert blamed(book, "1") == {"id": (1, "carol"), "name": ("z", "carol")}


def test_a_row_at_a_position_is_what_the_last_change_before_it_left(moved: Logbook) -> None:
    moved.delete("item", {"id": 2, "name": "b", "n": 1})
    row = RowKey(ITEM, "2")

    with moved.reader() as reader:
        states = [row_at(reader, row, boundary) for boundary in range(5)]

    assert states == [
        None,
        {"id": 1, "name": "a", "n": 1},
        {"id": 2, "name": "a", "n": 1},
        {"id": 2, "name": "b", "n": 1},
        None,
    ]


def test_a_row_at_a_position_names_the_changes_on_both_sides_of_it(moved: Logbook) -> None:
    with moved.reader() as reader:
        states = [row_state(reader, RowKey(ITEM, "2"), boundary) for boundary in (0, 2, 3)]

    sides = [(state.since and state.since.id, state.until and state.until.id) for state in states]
    assert sides == [(None, 1), (2, 3), (3, None)]


def test_a_row_before_its_first_change_is_what_that_change_found(book: Logbook) -> None:
    book.insert("item", {"id": 9, "name": "other"})
    book.update("item", {"id": 1, "name": "old"}, {"id": 1, "name": "new"})

    with book.reader() as reader:
        assert row_at(reader, RowKey(ITEM, "1"), 1) == {"id": 1, "name": "old"}


def test_a_transaction_that_had_not_ended_had_not_happened(book: Logbook) -> None:
    first = book.begin("alice")
    book.update("item", {"id": 1, "name": "a"}, {"id": 1, "name": "b"})
    book.begin("bob")
    book.insert("item", {"id": 2, "name": "x"})
    book.take_up(first)
    book.insert("item", {"id": 3, "name": "y"})

    with book.reader(dialect=Interleaving()) as reader:
        assert row_at(reader, RowKey(ITEM, "1"), 2) == {"id": 1, "name": "a"}
        assert row_at(reader, RowKey(ITEM, "1"), 3) == {"id": 1, "name": "b"}


def test_an_unknown_row_and_an_unknown_table_are_told_apart(moved: Logbook) -> None:
    with moved.reader() as reader:
        with pytest.raises(NotFound, match="item/77") as no_row:
            row_history(reader, RowKey(ITEM, "77"))
        with pytest.raises(NotFound, match="no table nothing") as no_table:
            row_history(reader, RowKey(TableName("nothing"), "1"))

    assert "table:item" in (no_row.value.hint or "")
    assert no_table.value.hint == "tables in the log: item"
