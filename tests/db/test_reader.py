"""The reader of the log: which changes it gives, in which order, and what it knows of transactions, rows and undos."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from auditcli.dialects.sqlite import SQLite
from auditcli.errors import LogError, NotFound, UsageError
from auditcli.filters.rowword import RowWord
from auditcli.log.reader import LogReader, UndoEntry
from auditcli.log.tables import LogTables
from auditcli.model import EventType, RowKey, TableName
from auditcli.position import AtTime
from auditcli.selection import Alternatives, Selection, TextTest, matches
from auditcli.shape import ColumnShape, TableShape
from tests.db.logbook import LOG_UUID, START, Logbook, ids, tx

ITEM = TableName("item")
HOSTILE = 'it\'s; "x" % :y -- */ \x00 \x1b[31m \U0001f3b5'
ITEM_SHAPE = TableShape(ITEM, (ColumnShape("id", "INTEGER"), ColumnShape("name", "TEXT")), ("id",))


@pytest.fixture
def book(engine: Engine) -> Logbook:
    return Logbook.create(engine)


@pytest.fixture
def story(book: Logbook) -> Logbook:
    """Ids 1 to 6: alice makes two items, bob renames one, alice deletes it; a baseline row and an order."""
    with book.transaction("alice", "stock", context={"request_id": "r1"}, db_user="app", client="10.0.0.1"):
        book.insert("item", {"id": 1, "name": "a"})
        book.insert("item", {"id": 2, "name": "b"})
    with book.transaction("bob"):
        book.update("item", {"id": 1, "name": "a"}, {"id": 1, "name": "c"})
    with book.transaction("alice"):
        book.delete("item", {"id": 1, "name": "c"})
        book.snapshot("item", {"id": 9, "name": "old"})
        book.insert("order", {"id": 1, "total": 5})
    return book


def words(any_of: tuple = (), none_of: tuple = ()) -> Alternatives:
    return Alternatives(any_of, none_of)


def selected(book: Logbook, selection: Selection) -> list[int]:
    with book.reader() as reader:
        return ids(reader.changes(selection))


def test_an_empty_log_answers_everything_with_nothing(book: Logbook) -> None:
    with book.reader() as reader:
        assert list(reader.changes()) == []
        assert list(reader.transactions()) == []
        assert (reader.first_id(), reader.last_id()) == (0, 0)
        assert reader.tracked_tables() == []
        assert reader.tables_and_keys() == {}
        assert reader.row_thread(RowKey(ITEM, "1")) == []
        assert reader.table_shape(ITEM) is None
        assert reader.undo_runs([]) == {}
        assert list(reader.standing_undos("alice")) == []
        assert reader.gaps() == []
        assert reader.log_uuid() == LOG_UUID


def test_changes_come_in_id_order_with_images_reason_and_context(story: Logbook) -> None:
    with story.reader() as reader:
        changes = list(reader.changes())

    assert ids(changes) == [1, 2, 3, 4, 6]
    assert changes[0].after == {"id": 1, "name": "a"}
    assert changes[0].before is None
    assert (changes[0].reason, changes[0].context) == ("stock", {"request_id": "r1"})
    assert changes[0].timestamp == START + timedelta(seconds=1)
    assert changes[2].event_type is EventType.UPDATE
    assert (changes[2].transaction_id, changes[2].reason, changes[2].context) == (tx(2), None, {})


def test_newest_first_limits_and_bounds_work_together(story: Logbook) -> None:
    with story.reader() as reader:
        assert ids(reader.changes(newest_first=True, limit=2)) == [6, 4]
        assert ids(reader.changes(after_id=1, until_id=4)) == [2, 3, 4]
        assert ids(reader.changes(after_id=1, until_id=4, newest_first=True, limit=1)) == [4]
        assert ids(reader.changes(limit=0)) == []
        assert ids(reader.changes(Selection(texts=words((TextTest("c"),))), limit=1)) == [3]
        assert ids(reader.changes(Selection(texts=words((TextTest("c"),))), limit=0)) == []


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(ids=words((3, 1, 99))), [1, 3]),
        (Selection(ids=words((), (1, 6))), [2, 3, 4]),
        (Selection(transactions=words((tx(2),))), [3]),
        (Selection(transactions=words((tx(2), tx(3)[:8]))), [3, 4, 6]),
        (Selection(transactions=words((), (tx(1)[:8],))), [3, 4, 6]),
        (Selection(ids=words((1, 3)), transactions=words((tx(2),))), [3]),
        (Selection(tables=words((ITEM,))), [1, 2, 3, 4]),
        (Selection(tables=words((), (ITEM,))), [6]),
        (Selection(tables=words((TableName("item", "elsewhere"),))), []),
        (Selection(rows=words((RowWord(ITEM, "1", ("1",)),))), [1, 3, 4]),
        (Selection(rows=words((RowWord(ITEM, "1", ("1",)), RowWord(TableName("order"), "1", ("1",))))), [1, 3, 4, 6]),
        (Selection(rows=words((), (RowWord(ITEM, "1", ("1",)),))), [2, 6]),
        (Selection(rows=words((RowWord(ITEM, "1", ("1",)),)), ids=words((1, 2))), [1]),
        (Selection(events=words((EventType.DELETE, EventType.UPDATE))), [3, 4]),
        (Selection(events=words((EventType.SNAPSHOT,))), [5]),
        (Selection(events=words((), (EventType.INSERT,))), [3, 4]),
        (Selection(actors=words(("bob",))), [3]),
        (Selection(actors=words(("a*",))), [1, 2, 4, 6]),
        (Selection(actors=words(("*l*e",))), [1, 2, 4, 6]),
        (Selection(actors=words(("*",), ("b*",))), [1, 2, 4, 6]),
        (Selection(actors=words((), ("a*b*",))), [1, 2, 3, 4, 6]),
        (Selection(actors=words(("",))), []),
        (Selection(texts=words((TextTest("C"),))), [3, 4]),
    ],
)
def test_a_selection_gives_its_changes_and_no_others(story: Logbook, selection: Selection, expected: list[int]) -> None:
    assert selected(story, selection) == expected


def test_a_pattern_of_an_actor_does_not_find_records_without_one(book: Logbook) -> None:
    book.insert("item", {"id": 1}, actor=None)
    book.insert("item", {"id": 2}, actor="")
    book.insert("item", {"id": 3}, actor="bob")

    assert selected(book, Selection(actors=words(("",)))) == [1, 2]
    assert selected(book, Selection(actors=words(("*",)))) == [3]
    assert selected(book, Selection(actors=words((), ("bob",)))) == [1, 2]


def test_the_database_and_python_agree_on_every_selection_of_a_large_log(book: Logbook) -> None:
    book.write_many(6000, rows=50)
    book.insert("rare", {"id": 1}, actor="dave")
    selections = [
        Selection(tables=words((ITEM,)), actors=words(("alice", "c*"))),
        Selection(tables=words((TableName("rare"),))),
        Selection(tables=words((), (TableName("rare"),)), ids=words((), (7, 8))),
        Selection(rows=words(tuple(RowWord(ITEM, str(row), (str(row),)) for row in range(45)))),
        Selection(rows=words((RowWord(ITEM, "7", ("7",)),)), actors=words(("bob",))),
        Selection(transactions=words(("000000",))),
    ]
    with book.reader() as reader:
        everything = list(reader.changes())
        for selection in selections:
            expected = [change.id for change in everything if matches(selection, change)]

            assert ids(reader.changes(selection)) == expected
            assert ids(reader.changes(selection, newest_first=True)) == expected[::-1]


def test_a_large_log_answers_its_newest_changes_without_reading_the_rest(book: Logbook) -> None:
    book.write_many(20_000)
    steps = 0

    with book.reader() as reader:
        driver = reader.connection.connection.driver_connection
        assert driver is not None

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        driver.set_progress_handler(count, 100)
        newest = ids(reader.changes(Selection(tables=words((ITEM,))), limit=20, newest_first=True))
        driver.set_progress_handler(None, 0)

    assert newest == list(range(20_000, 19_980, -1))
    # 100 instructions a step; a sort of all records would take several hundred thousand.
    assert steps < 1_000


def test_pages_follow_each_other_by_id_even_while_the_log_grows(book: Logbook) -> None:
    book.write_many(1200)

    with book.reader() as reader:
        changes = reader.changes(newest_first=True)
        read = [next(changes).id for _ in range(600)]
        reader.connection.rollback()
        book.insert("item", {"id": 1})
        read += ids(changes)

    assert read == list(range(1200, 0, -1))


def test_hostile_names_and_values_come_back_as_they_were(book: Logbook) -> None:
    with book.transaction(HOSTILE, HOSTILE, context={"note": HOSTILE}):
        book.insert(HOSTILE, {"id": HOSTILE, 'col"umn': HOSTILE})
    table = TableName(HOSTILE)

    [change] = _changes(book, Selection(tables=words((table,)), actors=words((HOSTILE,))))

    assert change.row == RowKey(table, HOSTILE)
    assert change.after == {"id": HOSTILE, 'col"umn': HOSTILE}
    assert (change.actor, change.reason, change.context) == (HOSTILE, HOSTILE, {"note": HOSTILE})
    with book.reader() as reader:
        assert reader.tracked_tables() == [table]
        assert ids(reader.row_records(table, [HOSTILE])) == [1]
        assert ids(reader.row_thread(RowKey(table, HOSTILE))) == [1]


def test_a_value_that_an_update_left_alone_is_read_from_its_own_before(book: Logbook) -> None:
    long = "x" * 3000
    book.update("item", {"id": 1, "text": long, "n": 1}, {"id": 1, "text": {"$same": True}, "n": 2})

    [change] = _changes(book)

    assert change.after == {"id": 1, "text": long, "n": 2}


def test_what_a_transaction_said_later_is_put_together_with_its_header(book: Logbook) -> None:
    with book.transaction("alice", "first", client="host", application="shop") as transaction_id:
        book.insert("item", {"id": 1})
    later = {"transaction_id": transaction_id, "timestamp": book.now, "context": {"step": 2}}
    book._insert(book.tables.transaction, later)

    [change] = _changes(book)
    with book.reader() as reader:
        header = reader.headers([transaction_id])[transaction_id]

    assert (change.reason, change.context) == ("first", {"step": 2})
    assert (header.client, header.application) == ("host", "shop")


def test_a_change_is_found_by_its_id_or_the_error_says_what_the_log_holds(story: Logbook) -> None:
    with story.reader() as reader:
        assert reader.change(5).event_type is EventType.SNAPSHOT
        with pytest.raises(NotFound, match="no change 77") as failure:
            reader.change(77)

    assert failure.value.hint == "the log holds 1 to 6"


def test_a_transaction_is_found_by_six_characters(story: Logbook) -> None:
    with story.reader() as reader:
        assert reader.find_transaction(tx(2)[:8]) == tx(2)
        assert reader.find_transaction(tx(2)) == tx(2)
        assert reader.find_transaction(tx(2).replace("-", "").upper()) == tx(2)
        assert ids(reader.transaction_changes(tx(3))) == [4, 5, 6]
        assert reader.transaction_span(tx(3)) == (4, 6)
        with pytest.raises(UsageError):
            reader.find_transaction("00000")
        with pytest.raises(UsageError):
            reader.find_transaction("%' OR 1")
        with pytest.raises(NotFound, match="abcdef"):
            reader.find_transaction("abcdef")
        with pytest.raises(NotFound):
            reader.transaction_span(tx(99))


def test_an_ambiguous_transaction_lists_the_candidates(story: Logbook) -> None:
    with story.reader() as reader, pytest.raises(UsageError, match="more than one") as failure:
        reader.find_transaction("000000")

    assert failure.value.hint is not None
    assert all(tx(number) in failure.value.hint for number in (1, 2, 3))


def test_transactions_are_summed_up_newest_first(story: Logbook) -> None:
    with story.reader() as reader:
        newest, middle, oldest = reader.transactions()

    assert (newest.id, newest.first_id, newest.last_id) == (tx(3), 4, 6)
    assert (newest.inserts, newest.updates, newest.deletes) == (1, 0, 1)
    assert newest.tables == (ITEM, TableName("order"))
    assert newest.timestamp == START + timedelta(seconds=6)
    assert (middle.actor, middle.updates, middle.rows) == ("bob", 1, 1)
    assert (oldest.reason, oldest.context) == ("stock", {"request_id": "r1"})
    assert (oldest.db_user, oldest.client, oldest.application) == ("app", "10.0.0.1", None)


def test_transactions_are_sorted_by_rows_to_find_the_bad_one(story: Logbook) -> None:
    with story.transaction("mallory"):
        for number in range(3):
            story.update("item", {"id": number}, {"id": number, "name": "x"})

    with story.reader() as reader:
        largest = [(each.actor, each.rows) for each in reader.transactions(sort="rows", limit=2)]
        by_text = [each.actor for each in reader.transactions(Selection(texts=words((TextTest("x"),))), sort="rows")]
        with pytest.raises(UsageError, match="'size'"):
            reader.transactions(sort="size")

    assert largest == [("mallory", 3), ("alice", 2)]
    assert by_text == ["mallory"]


@pytest.mark.parametrize("texts", [words(), words((), (TextTest("zz"),))], ids=["in SQL", "in Python"])
def test_a_transaction_counts_only_what_is_selected(story: Logbook, texts: Alternatives) -> None:
    selection = Selection(tables=words((ITEM,)), texts=texts)

    with story.reader() as reader:
        summed_up = [(each.id, each.rows, each.tables, each.last_id) for each in reader.transactions(selection)]

    assert summed_up == [(tx(3), 1, (ITEM,), 6), (tx(2), 1, (ITEM,), 3), (tx(1), 2, (ITEM,), 2)]


def test_records_without_a_transaction_are_grouped_by_their_time(book: Logbook) -> None:
    book.take_up(None, "script")
    book.insert("item", {"id": 1}, timestamp=START)
    book.insert("item", {"id": 2}, timestamp=START)
    book.insert("item", {"id": 3}, timestamp=START + timedelta(seconds=1))

    with book.reader() as reader:
        by_time = [(each.id, each.first_id, each.last_id, each.rows) for each in reader.transactions()]
        by_rows = [(each.id, each.rows) for each in reader.transactions(sort="rows")]

    assert by_time == [(None, 3, 3, 1), (None, 1, 2, 2)]
    assert by_rows == [(None, 2), (None, 1)]


def test_transactions_that_ran_side_by_side_appear_once_each(book: Logbook) -> None:
    first = book.begin("alice")
    book.insert("item", {"id": 1})
    second = book.begin("bob")
    book.insert("item", {"id": 2})
    book.take_up(first, "alice")
    book.insert("item", {"id": 3})

    with book.reader(dialect=Interleaving()) as reader:
        found = [(each.id, each.first_id, each.last_id, each.rows) for each in reader.transactions()]

    assert found == [(first, 1, 3, 2), (second, 2, 2, 1)]


def test_more_transactions_than_a_batch_are_all_summed_up(book: Logbook) -> None:
    book.write_many(2500)

    with book.reader() as reader:
        found = list(reader.transactions())

    assert [each.last_id for each in found] == list(range(2500, 0, -10))
    assert {each.rows for each in found} == {10}


def test_records_of_rows_are_found_at_the_old_and_at_the_new_key(book: Logbook) -> None:
    book.insert("item", {"id": 1})
    book.update("item", {"id": 1}, {"id": 5})
    book.update("item", {"id": 5}, {"id": 5, "n": 1})
    book.insert("item", {"id": 2})
    book.insert("order", {"id": 1})

    with book.reader() as reader:
        assert ids(reader.row_records(ITEM, ["1"])) == [1, 2]
        assert ids(reader.row_records(ITEM, ["1", "5"])) == [1, 2, 3]
        assert ids(reader.row_records(ITEM, ["1", "5"], after_id=1)) == [2, 3]
        assert ids(reader.row_records(ITEM, [])) == []


@pytest.mark.parametrize("rows", [150, 900, 12_000])
def test_records_of_many_rows_come_once_and_in_id_order(book: Logbook, rows: int) -> None:
    book.write_many(13_000, rows=13_000)
    book.update("item", {"id": 3}, {"id": 800})

    with book.reader() as reader:
        found = ids(reader.row_records(ITEM, map(str, range(rows))))

    assert found == [*range(1, rows), *([13_000] if rows else []), 13_001]


def test_a_row_is_followed_through_changes_of_its_key_both_ways(book: Logbook) -> None:
    book.write_shape(ITEM_SHAPE)
    book.insert("item", {"id": 1, "name": "a"})
    book.update("item", {"id": 1, "name": "a"}, {"id": 2, "name": "a"})
    book.update("item", {"id": 2, "name": "a"}, {"id": 2, "name": "b"})
    book.update("item", {"id": 2, "name": "b"}, {"id": 3, "name": "b"})
    book.insert("item", {"id": 2, "name": "another"})
    book.update("item", {"id": 3, "name": "b"}, {"id": 1, "name": "b"})

    with book.reader() as reader:
        assert ids(reader.row_thread(RowKey(ITEM, "1"))) == [1, 2, 3, 4, 6]
        assert ids(reader.row_thread(RowKey(ITEM, "3"))) == [1, 2, 3, 4, 6]
        assert ids(reader.row_thread(RowKey(ITEM, "2"))) == [5]


def test_the_log_knows_tables_by_their_shapes_and_by_their_records(story: Logbook) -> None:
    story.write_shape(TableShape(TableName("empty", "other"), (ColumnShape("a", "TEXT"),), ("a",)))
    story.write_shape(ITEM_SHAPE)

    with story.reader() as reader:
        assert reader.tracked_tables() == [ITEM, TableName("order"), TableName("empty", "other")]
        assert reader.tables_and_keys()[ITEM] == ("id",)
        assert reader.tables_and_keys()[TableName("order")] == ()


def test_a_table_has_the_shape_that_it_had_then(book: Logbook) -> None:
    renamed = TableShape(ITEM, (ColumnShape("id", "INTEGER"), ColumnShape("title", "TEXT")), ("id",))
    book.write_shape(ITEM_SHAPE, after_id=10)
    book.write_shape(renamed, after_id=20)

    with book.reader() as reader:
        assert reader.table_shape(ITEM) == renamed
        assert reader.table_shape(ITEM, 20) == renamed
        assert reader.table_shape(ITEM, 19) == ITEM_SHAPE
        assert reader.table_shape(ITEM, 9) is None
        assert reader.table_shape(TableName("item", "other")) is None


def test_undo_entries_hold_all_runs_of_their_transaction(book: Logbook) -> None:
    book.write_undo(tx(8), "undo", (5, 6), (1, 2))
    book.write_undo(tx(9), "redo", (7, 9))

    with book.reader() as reader:
        entries = reader.undo_runs([tx(8), tx(9), tx(1)])

    assert entries == {
        tx(8): UndoEntry(tx(8), "undo", ((1, 2), (5, 6))),
        tx(9): UndoEntry(tx(9), "redo", ((7, 9),)),
    }


def test_the_last_undo_is_the_actors_own_newest_that_was_not_redone(book: Logbook) -> None:
    book.insert("item", {"id": 1})
    first = _undo(book, "alice", (1, 1))
    second = _undo(book, "alice", (1, 1))
    _undo(book, "bob", (1, 1))
    with book.reader() as reader:
        assert _id(reader, "alice") == second
        assert _id(reader, "carol") is None

    _undo(book, "alice", (3, 3), kind="redo")
    with book.reader() as reader:
        assert _id(reader, "alice") == first

    _undo(book, "alice", (2, 2), kind="redo")
    with book.reader() as reader:
        assert _id(reader, "alice") is None

    again = _undo(book, "alice", (1, 1))
    with book.reader() as reader:
        assert _id(reader, "alice") == again


def test_an_undo_that_was_redone_only_in_part_is_still_the_last_one(book: Logbook) -> None:
    undo = _undo(book, "alice", (1, 9), rows=3)
    _undo(book, "alice", (1, 1), (3, 3), kind="redo")

    with book.reader() as reader:
        assert _id(reader, "alice") == undo

    _undo(book, "alice", (2, 2), kind="redo")
    with book.reader() as reader:
        assert _id(reader, "alice") is None


def test_gaps_are_those_that_reach_into_the_stretch(book: Logbook) -> None:
    order = TableName("order")
    book.write_gap(ITEM, 5, 8, "bulk load")
    book.write_gap(order, 20, None)

    with book.reader() as reader:
        assert [gap.table for gap in reader.gaps()] == [ITEM, order]
        assert [gap.table for gap in reader.gaps(after_id=9)] == [order]
        assert [gap.table for gap in reader.gaps(until_id=10)] == [ITEM]
        assert [gap.reason for gap in reader.gaps(tables=[ITEM])] == ["bulk load"]


def test_a_log_without_an_identity_is_refused(engine: Engine) -> None:
    tables = LogTables("nameless")
    tables.metadata.create_all(engine)

    with engine.connect() as connection, pytest.raises(LogError, match="nameless"):
        LogReader(connection, tables).log_uuid()


def test_a_log_under_another_name_is_read_like_any_other(engine: Engine) -> None:
    book = Logbook.create(engine, LogTables('odd "name"'))
    book.insert("item", {"id": 1}, actor="alice")

    assert selected(book, Selection(actors=words(("alice",)))) == [1]


def test_boundaries_of_a_selection_are_not_the_readers_to_resolve(story: Logbook) -> None:
    assert selected(story, Selection(since=AtTime(START + timedelta(days=1)))) == [1, 2, 3, 4, 6]


class Interleaving(SQLite):
    """A database whose transactions can write side by side."""

    log_ids_follow_commits = False


def _changes(book: Logbook, selection: Selection | None = None) -> list:
    with book.reader() as reader:
        return list(reader.changes(selection or Selection()))


def _undo(book: Logbook, actor: str, *runs: tuple[int, int], kind: str = "undo", rows: int = 1) -> str:
    with book.transaction(actor) as transaction_id:
        for row in range(rows):
            book.update("item", {"id": row}, {"id": row, "n": 1})
    book.write_undo(transaction_id, kind, *runs)
    return transaction_id


def _id(reader: LogReader, actor: str) -> str | None:
    return next((entry.transaction_id for entry, _ in reader.standing_undos(actor)), None)
