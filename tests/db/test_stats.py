"""Counts of changes by time, table, actor and kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from auditcli.log.positions import window
from auditcli.model import EventType, TableName
from auditcli.selection import Alternatives, Selection, TextTest
from auditcli.stats import StatBy, count_changes
from tests.db.logbook import Logbook

ITEM, ORDER = TableName("item"), TableName("order")
EVERYTHING = Selection()
NOTHING_OF_Z = Selection(texts=Alternatives((), (TextTest("z"),)))


@pytest.fixture
def book(engine: Engine) -> Logbook:
    """Six changes over two days; the last one has nobody's name."""
    book = Logbook.create(engine)
    midnight = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)
    for number in range(3):
        book.insert("item", {"id": number}, actor="alice", timestamp=midnight + timedelta(minutes=number))
    book.update("item", {"id": 1}, {"id": 1, "n": 1}, actor="bob", timestamp=midnight + timedelta(minutes=20))
    book.delete("item", {"id": 1, "n": 1}, actor="bob", timestamp=midnight + timedelta(hours=2))
    book.insert("order", {"id": 1}, timestamp=midnight + timedelta(hours=2))
    return book


def counted(book: Logbook, by: StatBy, selection: Selection = EVERYTHING, **options: Any) -> dict[Any, int]:
    with book.reader() as reader:
        return {line.key: line.total for line in count_changes(reader, by, selection, **options)}


@pytest.mark.parametrize("selection", [EVERYTHING, NOTHING_OF_Z], ids=["in SQL", "in Python"])
def test_changes_are_counted_by_each_key(book: Logbook, selection: Selection) -> None:
    assert counted(book, StatBy.TABLE, selection) == {ITEM: 5, ORDER: 1}
    assert counted(book, StatBy.ACTOR, selection) == {"alice": 3, "bob": 2, None: 1}
    assert counted(book, StatBy.EVENT, selection) == {EventType.INSERT: 4, EventType.DELETE: 1, EventType.UPDATE: 1}
    assert counted(book, StatBy.DAY, selection) == {
        datetime(2026, 3, 2, tzinfo=UTC): 3,
        datetime(2026, 3, 3, tzinfo=UTC): 3,
    }
    assert counted(book, StatBy.HOUR, selection) == {
        datetime(2026, 3, 2, 23, tzinfo=UTC): 3,
        datetime(2026, 3, 3, 0, tzinfo=UTC): 1,
        datetime(2026, 3, 3, 1, tzinfo=UTC): 2,
    }


def test_each_line_counts_its_events(book: Logbook) -> None:
    with book.reader() as reader:
        [items, orders] = count_changes(reader, StatBy.TABLE, EVERYTHING)

    assert items.counts == {EventType.INSERT: 3, EventType.UPDATE: 1, EventType.DELETE: 1}
    assert orders.counts == {EventType.INSERT: 1}


def test_days_and_hours_are_those_of_the_zone(book: Logbook) -> None:
    vienna = ZoneInfo("Europe/Vienna")
    kathmandu = timezone(timedelta(hours=5, minutes=45))

    assert counted(book, StatBy.DAY, zone=vienna) == {datetime(2026, 3, 3, tzinfo=vienna): 6}
    assert counted(book, StatBy.DAY, zone=None) == {datetime(2026, 3, 3, tzinfo=vienna): 6}
    assert counted(book, StatBy.HOUR, zone=kathmandu) == {
        datetime(2026, 3, 3, 5, tzinfo=kathmandu): 4,
        datetime(2026, 3, 3, 7, tzinfo=kathmandu): 2,
    }


def test_a_selection_and_a_window_are_respected(book: Logbook) -> None:
    with book.reader() as reader:
        after_two = window(reader, 2)

    assert counted(book, StatBy.TABLE, Selection(actors=Alternatives(("alice",)))) == {ITEM: 3}
    assert counted(book, StatBy.ACTOR, window=after_two) == {"alice": 1, "bob": 2, None: 1}


def test_baseline_rows_are_no_changes(book: Logbook) -> None:
    book.snapshot("item", {"id": 5})

    assert counted(book, StatBy.TABLE) == {ITEM: 5, ORDER: 1}


def test_an_empty_log_counts_nothing(engine: Engine) -> None:
    empty = Logbook.create(engine)

    assert [counted(empty, by) for by in StatBy] == [{}] * len(StatBy)
