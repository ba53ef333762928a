"""Positions, marks and windows: every boundary is a log id, and no transaction is cut in two by it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from auditcli.dialects.sqlite import SQLite
from auditcli.errors import NotFound, UsageError
from auditcli.log.marks import Mark, delete_mark, list_marks, mark_position, set_mark
from auditcli.log.positions import latest, resolve, window, within
from auditcli.log.reader import ALL
from auditcli.model import EventType
from auditcli.position import AtChange, AtLatest, AtMark, AtTime, AtTransaction, Position
from auditcli.selection import Alternatives, Selection
from tests.db.logbook import START, Logbook, ids, tx

SECOND = timedelta(seconds=1)


class Interleaving(SQLite):
    """A database whose transactions can write side by side."""

    log_ids_follow_commits = False


@pytest.fixture
def book(engine: Engine) -> Logbook:
    return Logbook.create(engine)


@pytest.fixture
def three(book: Logbook) -> Logbook:
    """Three transactions of two records each: ids 1-2, 3-4 and 5-6, a second apart."""
    for actor in ("alice", "bob", "carol"):
        with book.transaction(actor):
            book.insert("item", {"id": book.transactions, "n": 1})
            book.insert("item", {"id": book.transactions, "n": 2})
    return book


@pytest.fixture
def side_by_side(book: Logbook) -> Logbook:
    """Transaction 1 writes ids 1 and 4, transaction 2 ids 2 and 3, transaction 3 ids 5 and 7, transaction 4 id 6."""
    first, second = book.begin("alice"), book.begin("bob")
    for number, transaction_id in enumerate((first, second, second, first)):
        book.take_up(transaction_id)
        book.insert("item", {"id": number})
    third, fourth = book.begin("carol"), book.begin("dave")
    for number, transaction_id in enumerate((third, fourth, third)):
        book.take_up(transaction_id)
        book.insert("item", {"id": 10 + number})
    return book


def resolved(book: Logbook, position: Position, **options: int) -> int:
    with book.reader() as reader:
        return resolve(position, reader, **options)


def test_positions_resolve_to_the_log_id_that_they_stand_after(three: Logbook) -> None:
    assert resolved(three, AtChange(4)) == 4
    assert resolved(three, AtChange(0)) == 0
    assert resolved(three, AtTransaction(tx(2))) == 4
    assert resolved(three, AtTransaction(tx(2)[:8])) == 4
    assert resolved(three, AtLatest()) == 6


def test_a_time_is_the_highest_id_stamped_before_it(three: Logbook) -> None:
    stamped_at_four = START + 4 * SECOND

    assert resolved(three, AtTime(stamped_at_four)) == 3
    assert resolved(three, AtTime(stamped_at_four + timedelta(microseconds=1))) == 4
    assert resolved(three, AtTime(START)) == 0
    assert resolved(three, AtTime(START + 10 * SECOND)) == 6


def test_a_position_that_is_not_there_says_what_is(three: Logbook) -> None:
    with three.reader() as reader:
        with pytest.raises(NotFound, match="no change 99") as beyond:
            resolve(AtChange(99), reader)
        with pytest.raises(NotFound, match="abcdef"):
            resolve(AtTransaction("abcdef"), reader)
        with pytest.raises(NotFound, match="@nowhere"):
            resolve(AtMark("nowhere"), reader)

    assert beyond.value.hint == "the log holds 1 to 6"


def test_an_empty_log_has_no_latest_transaction_but_every_time(book: Logbook) -> None:
    assert resolved(book, AtTime(START)) == 0
    with book.reader() as reader:
        with pytest.raises(NotFound, match="empty"):
            latest(reader)
        assert window(reader) == ALL
        assert list(reader.changes(window=within(reader))) == []


def test_the_latest_transaction_looks_no_further_than_the_watermark(side_by_side: Logbook) -> None:
    with side_by_side.reader(dialect=Interleaving()) as reader:
        assert latest(reader).transaction_id == tx(3)
        assert latest(reader, watermark=6).transaction_id == tx(4)
        assert latest(reader, watermark=5).transaction_id == tx(1)


def test_windows_tile_from_boundary_to_boundary(three: Logbook) -> None:
    with three.reader() as reader:
        parts = [window(reader, None, 2), window(reader, 2, 4), window(reader, 4)]

        assert [ids(reader.changes(window=part)) for part in parts] == [[1, 2], [3, 4], [5, 6]]
        assert ids(reader.changes(window=window(reader, 4, 4))) == []


@pytest.mark.parametrize("boundary", range(8))
def test_a_transaction_is_never_half_inside_a_window(three: Logbook, boundary: int) -> None:
    with three.reader() as reader:
        before = ids(reader.changes(window=window(reader, None, boundary)))
        after = ids(reader.changes(window=window(reader, boundary)))

    assert before == [log_id for log_id in range(1, 7) if log_id <= boundary // 2 * 2]
    assert sorted(before + after) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("newest_first", [False, True])
def test_transactions_that_ran_side_by_side_belong_to_the_window_of_their_highest_id(
    side_by_side: Logbook, newest_first: bool
) -> None:
    transactions = [(1, 4), (2, 3), (5, 7), (6,)]
    boundaries = [(since, until) for until in range(8) for since in range(until + 1)]
    expected, found = {}, {}

    with side_by_side.reader(dialect=Interleaving()) as reader:
        for since, until in boundaries:
            inside = sorted(log_id for own in transactions if since < max(own) <= until for log_id in own)
            expected[since, until] = inside[::-1] if newest_first else inside
            found[since, until] = ids(reader.changes(window=window(reader, since, until), newest_first=newest_first))

    assert found == expected


def test_timestamps_are_never_compared_row_by_row(book: Logbook) -> None:
    """The clock stepped back inside a transaction: by its records' own times it would be cut in two."""
    with book.transaction("alice"):
        book.insert("item", {"id": 1}, timestamp=START + 5 * SECOND)
        book.insert("item", {"id": 2}, timestamp=START + 2 * SECOND)
    with book.transaction("bob"):
        book.insert("item", {"id": 3}, timestamp=START + 3 * SECOND)

    with book.reader() as reader:
        boundary = resolve(AtTime(START + 4 * SECOND), reader)
        before = ids(reader.changes(window=window(reader, None, boundary)))
        after = ids(reader.changes(window=window(reader, boundary)))

    assert (boundary, before, after) == (3, [1, 2, 3], [])


def test_a_long_transaction_belongs_where_it_ended_though_a_time_falls_into_it(three: Logbook) -> None:
    with three.reader() as reader:
        cut = within(reader, AtTime(START + 4 * SECOND), None)

        assert ids(reader.changes(window=cut)) == [3, 4, 5, 6]
        assert [each.id for each in reader.transactions(window=cut)] == [tx(3), tx(2)]


def test_records_without_a_transaction_stand_at_their_own_id(book: Logbook) -> None:
    book.take_up(None)
    for number in range(4):
        book.insert("item", {"id": number})

    with book.reader() as reader:
        assert ids(reader.changes(window=window(reader, 1, 3))) == [2, 3]


def test_a_window_and_a_selection_hold_together(three: Logbook) -> None:
    bobs = Selection(actors=Alternatives(("bob",)))

    with three.reader() as reader:
        assert ids(reader.changes(bobs, window(reader, 3))) == [3, 4]
        assert ids(reader.changes(bobs, window(reader, 4))) == []
        assert ids(reader.changes(bobs, window(reader, 3), after_id=3)) == [4]


def test_a_window_ends_at_the_watermark_where_nothing_else_is_said(three: Logbook) -> None:
    with three.reader() as reader:
        assert within(reader, AtChange(2), watermark=6) == window(reader, 2, 6)
        assert within(reader, None, AtChange(4), watermark=6) == window(reader, None, 4)


def test_since_after_until_is_refused_by_name(three: Logbook) -> None:
    with three.reader() as reader:
        with pytest.raises(UsageError, match="after until"):
            window(reader, 5, 2)
        with pytest.raises(UsageError, match="transaction tx:"):
            within(reader, AtTransaction(tx(3)), AtChange(2))


def test_a_mark_keeps_its_place_and_who_set_it_and_why(three: Logbook) -> None:
    with three.engine.begin() as connection:
        set_mark(connection, three.tables, "before-import", 4, now=START, actor="alice", reason="nightly")

    with three.engine.connect() as connection:
        assert list_marks(connection, three.tables) == [Mark("before-import", 4, START, "alice", "nightly")]
        assert mark_position(connection, three.tables, "before-import") == 4
    assert resolved(three, AtMark("before-import")) == 4


def test_a_mark_is_never_moved_by_setting_it_again(three: Logbook) -> None:
    with three.engine.begin() as connection:
        set_mark(connection, three.tables, "here", 2, now=START)
        with pytest.raises(UsageError, match="@here already") as failure:
            set_mark(connection, three.tables, "here", 4, now=START)

    assert "audit mark --delete here" in (failure.value.hint or "")
    assert resolved(three, AtMark("here")) == 2


def test_a_deleted_mark_is_gone_and_an_unknown_one_names_those_that_are_left(three: Logbook) -> None:
    with three.engine.begin() as connection:
        set_mark(connection, three.tables, "one", 2, now=START)
        set_mark(connection, three.tables, "two", 4, now=START)

        assert delete_mark(connection, three.tables, "one").change_id == 2
        with pytest.raises(NotFound, match="@one") as failure:
            delete_mark(connection, three.tables, "one")

    assert failure.value.hint == "marks: @two"


@pytest.mark.parametrize("name", ["", "@x", "latest", "two words", "a\nb", "\x1b[31m", "x" * 300, "'; DROP TABLE item"])
def test_a_name_that_no_mark_can_have_is_refused(three: Logbook, name: str) -> None:
    with three.engine.begin() as connection, pytest.raises(UsageError):
        set_mark(connection, three.tables, name, 2, now=START)

    with three.engine.connect() as connection:
        assert connection.scalars(select(three.tables.mark.c.name)).all() == []


def test_a_snapshot_transaction_can_be_the_latest(book: Logbook) -> None:
    book.snapshot("item", {"id": 1})

    with book.reader() as reader:
        assert latest(reader).event_type is EventType.SNAPSHOT
