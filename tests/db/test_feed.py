"""The feed: every committed transaction once, whole, in commit order, from a place that can be taken up again."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.dialects import Dialect, dialect_named
from auditcli.dialects.sqlite import SQLite
from auditcli.errors import LogError
from auditcli.feed import Committed, Feed, Place, place_after
from auditcli.model import EventType
from auditcli.selection import Alternatives, Selection
from auditcli.watermark import Watermark
from tests.db.logbook import LOG_UUID, START, Logbook, ids, tx

SQLITE = dialect_named("sqlite")
ALICE = Selection(actors=Alternatives(("alice",)))


class Interleaving(SQLite):
    """Transactions that write side by side; the test says itself up to where the log is complete."""


@pytest.fixture
def book(engine: Engine) -> Logbook:
    return Logbook.create(engine)


def feed(book: Logbook, start: int | Place = 0, dialect: Dialect = SQLITE) -> Feed:
    return Feed(book.engine, book.tables, dialect, start)


def grouped(committed: Iterable[Committed]) -> list[list[int]]:
    return [ids(changes) for changes in committed]


def commit(book: Logbook, actor: str, *numbers: int) -> None:
    with book.transaction(actor):
        for number in numbers:
            book.insert("item", {"id": number})


def test_an_empty_log_feeds_nothing_until_something_is_committed(book: Logbook) -> None:
    following = feed(book)

    assert following.poll() == []
    assert following.place == Place(LOG_UUID, 0, None)

    commit(book, "alice", 1)
    assert grouped(following.poll()) == [[1]]
    assert following.poll() == []


def test_transactions_come_whole_and_once(book: Logbook) -> None:
    commit(book, "alice", 1, 2)
    commit(book, "bob", 3)
    following = feed(book)

    first = grouped(following.poll())
    commit(book, "carol", 4, 5)
    second = grouped(following.poll())

    assert (first, second) == ([[1, 2], [3]], [[4, 5]])
    assert following.place == Place(LOG_UUID, 5, tx(3))


def test_a_feed_starts_after_its_boundary_but_never_inside_a_transaction(book: Logbook) -> None:
    commit(book, "alice", 1, 2)
    commit(book, "bob", 3, 4)

    assert grouped(feed(book, 2).poll()) == [[3, 4]]
    assert grouped(feed(book, 3).poll()) == [[3, 4]]
    assert grouped(feed(book, 4).poll()) == []
    assert grouped(feed(book, 99).poll()) == []


def test_a_reader_goes_on_where_another_one_stopped(book: Logbook) -> None:
    commit(book, "alice", 1)
    stopped = feed(book)
    stopped.poll()
    commit(book, "bob", 2)

    assert grouped(feed(book, stopped.place).poll()) == [[2]]


def test_transactions_that_ran_side_by_side_come_in_the_order_of_their_highest_ids(book: Logbook) -> None:
    first, second = book.begin("alice"), book.begin("bob")
    for number, transaction_id in enumerate((first, second, second, first)):
        book.take_up(transaction_id)
        book.insert("item", {"id": number})

    assert grouped(feed(book, dialect=Interleaving()).poll()) == [[2, 3], [1, 4]]
    assert grouped(feed(book, 3, Interleaving()).poll()) == [[1, 4]]


def test_a_selection_thins_transactions_out_and_skips_those_of_which_nothing_is_left(book: Logbook) -> None:
    commit(book, "bob", 1)
    with book.transaction("alice"):
        book.insert("item", {"id": 2})
        book.update("item", {"id": 2}, {"id": 2, "n": 1})
    updates = replace(ALICE, events=Alternatives((EventType.UPDATE,)))
    following = feed(book)

    assert grouped(following.poll(updates)) == [[3]]
    assert following.place.log_id == 3


def test_a_long_log_is_read_to_its_end_in_several_polls(book: Logbook) -> None:
    book.write_many(9_000)
    following = feed(book)

    read: list[list[int]] = []
    while committed := grouped(following.poll()):
        read += committed

    assert read == [list(range(start, start + 10)) for start in range(1, 9_001, 10)]


def test_a_rare_selection_in_a_long_log_is_found_by_one_poll(book: Logbook) -> None:
    book.write_many(9_000)
    commit(book, "dave", 1)
    daves = Selection(actors=Alternatives(("dave",)))

    assert grouped(feed(book).poll(daves)) == [[9_001]]


def test_neighbours_without_a_transaction_come_together_where_they_share_a_time(book: Logbook) -> None:
    book.take_up(None)
    for number, moment in enumerate((START, START, START + timedelta(seconds=1))):
        book.insert("item", {"id": number}, timestamp=moment)
    commit(book, "alice", 4)

    assert grouped(feed(book).poll()) == [[1, 2], [3], [4]]


def test_what_is_not_committed_is_not_fed(book: Logbook, tmp_path: Path) -> None:
    commit(book, "alice", 1)
    following = feed(book)
    following.poll()

    with closing(sqlite3.connect(tmp_path / "app.db")) as writer:
        writer.execute(
            "INSERT INTO changelog (timestamp, table_name, event_type, source) "
            "VALUES ('2026-01-01 00:00:00', 'item', 'INSERT', 'trigger')"
        )
        during = grouped(following.poll())
        writer.rollback()
    after_rollback = grouped(following.poll())
    commit(book, "bob", 2)

    assert (during, after_rollback) == ([], [])
    assert grouped(following.poll()) == [[2]]


def test_a_place_in_another_log_is_refused(book: Logbook) -> None:
    commit(book, "alice", 1)

    with pytest.raises(LogError, match="another log") as failure:
        feed(book, Place("some-other-log", 1, tx(1))).poll()

    assert "--since" in (failure.value.hint or "")


@pytest.mark.parametrize("place", [Place(LOG_UUID, 1, tx(9)), Place(LOG_UUID, 1, None), Place(LOG_UUID, 7, tx(1))])
def test_a_place_that_a_restored_backup_does_not_have_is_refused(book: Logbook, place: Place) -> None:
    commit(book, "alice", 1)

    with pytest.raises(LogError, match=f"record {place.log_id} is not the one"):
        feed(book, place).poll()


def test_the_watermark_is_the_highest_id(book: Logbook) -> None:
    with book.engine.connect() as connection:
        assert Watermark(book.tables, SQLITE).look(connection) == 0
    commit(book, "alice", 1, 2)
    with book.engine.connect() as connection:
        assert Watermark(book.tables, SQLITE).look(connection) == 2
    with book.reader() as reader:
        assert place_after(reader, 1) == Place(LOG_UUID, 1, tx(1))


def test_a_feed_holds_no_lock_between_two_polls(book: Logbook, tmp_path: Path) -> None:
    commit(book, "alice", 1)
    following = feed(book)
    following.poll()

    with closing(sqlite3.connect(tmp_path / "app.db", timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("ROLLBACK")


@pytest.mark.parametrize("seed", range(5))
def test_transactions_come_whole_however_the_log_is_cut_into_pages(
    book: Logbook, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditcli.feed._PAGE", 3)
    monkeypatch.setattr("auditcli.feed._ENOUGH", 4)
    chance = random.Random(seed)
    running = [book.begin("alice") for _ in range(12)]
    owners = [chance.choice([*running[max(0, at // 4 - 2) : at // 4 + 3], running[0], None]) for at in range(40)]
    for at, owner in enumerate(owners):
        book.take_up(owner)
        book.insert("item", {"id": at}, timestamp=START + timedelta(seconds=at))
    following = feed(book, dialect=Interleaving())

    read: list[list[int]] = []
    while committed := grouped(following.poll()):
        read += committed

    whole: dict[object, list[int]] = {}
    for log_id, owner in enumerate(owners, start=1):
        whole.setdefault(owner or log_id, []).append(log_id)
    assert read == sorted(whole.values(), key=max)
