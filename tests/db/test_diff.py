"""Net changes between two positions: whole tables in SQL, holed selections by folding, both by the same rules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine

import auditcli.diff
from auditcli import codec
from auditcli.changeset import net
from auditcli.diff import NetChange, TableStat, diff, diff_stat
from auditcli.driver import define
from auditcli.log.positions import window
from auditcli.log.reader import ALL, LogReader, Window
from auditcli.log.tables import log_tables
from auditcli.model import EventType, TableName
from auditcli.selection import Alternatives, Selection
from auditcli.shape import ColumnShape, TableShape
from tests.databases import scratch_url
from tests.db.logbook import Logbook
from tests.db.watched import Watched
from tests.own_mariadb import own_mariadb

ITEM = TableName("item")
SHAPE = TableShape(
    ITEM, (ColumnShape("id", "INTEGER"), ColumnShape("name", "TEXT"), ColumnShape("n", "INTEGER")), ("id",)
)
EVERYTHING = Selection()
ALICE = Selection(actors=Alternatives(("alice",)))


@pytest.fixture
def book(engine: Engine) -> Logbook:
    book = Logbook.create(engine)
    book.write_shape(SHAPE)
    return book


@pytest.fixture(params=["gathered", "by the index"])
def every_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run once as for a narrow window and once as for the whole of a large log."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by the index":
            patch.setattr(auditcli.diff, "_NARROW", -1)
        yield


def differing(book: Logbook, selection: Selection = EVERYTHING, part: Window = ALL) -> list[NetChange]:
    with book.reader() as reader:
        return list(diff(reader, selection, part))


def steps(found: list[NetChange]) -> list[tuple[Any, ...]]:
    return [(each.change.event_type.letter, each.change.before, each.change.after) for each in found]


@pytest.mark.usefixtures("every_way")
def test_a_row_shows_its_first_before_and_its_last_after(book: Logbook) -> None:
    book.insert("item", {"id": 1, "n": 1}, actor="alice", reason="new")
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="bob")
    book.update("item", {"id": 1, "n": 2}, {"id": 1, "n": 3}, actor="carol", reason="stock")

    [found] = differing(book)

    assert steps([found]) == [("I", None, {"id": 1, "n": 3})]
    assert (found.first_id, found.last_id, found.count) == (1, 3, 3)
    assert found.actors == ("alice", "bob", "carol")
    assert (found.change.id, found.change.actor, found.change.reason) == (3, "carol", "stock")
    assert found.interrupted == {}


@pytest.mark.usefixtures("every_way")
def test_rows_that_end_as_they_began_do_not_show(book: Logbook) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2})
    book.update("item", {"id": 1, "n": 2}, {"id": 1, "n": 1})
    book.insert("item", {"id": 2, "n": 1})
    book.delete("item", {"id": 2, "n": 1})
    book.delete("item", {"id": 3, "n": 1})
    book.insert("item", {"id": 3, "n": 1})

    assert differing(book) == []


@pytest.mark.usefixtures("every_way")
def test_what_was_removed_and_made_anew_is_an_update(book: Logbook) -> None:
    book.delete("item", {"id": 3, "n": 1})
    book.insert("item", {"id": 3, "n": 7})
    book.record("TRUNCATE", "item", {"id": 4, "n": 1}, None)

    assert steps(differing(book)) == [
        ("U", {"id": 3, "n": 1}, {"id": 3, "n": 7}),
        ("T", {"id": 4, "n": 1}, None),
    ]


@pytest.mark.usefixtures("every_way")
def test_a_row_that_changed_its_key_is_one_row(book: Logbook) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 2, "n": 1})
    book.update("item", {"id": 2, "n": 1}, {"id": 2, "n": 5})
    book.insert("item", {"id": 1, "n": 9})
    book.update("item", {"id": 7, "n": 0}, {"id": 7, "n": 1})

    found = differing(book)

    assert sorted(steps(found), key=str) == [
        ("I", None, {"id": 1, "n": 9}),
        ("U", {"id": 1, "n": 1}, {"id": 2, "n": 5}),
        ("U", {"id": 7, "n": 0}, {"id": 7, "n": 1}),
    ]
    [moved] = [each.change for each in found if each.change.old_row_id]
    assert (moved.row_id, moved.old_row_id) == ("2", "1")


@pytest.mark.usefixtures("every_way")
def test_rows_that_swapped_keys_keep_their_stories_apart(book: Logbook) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 9, "n": 1})
    book.update("item", {"id": 2, "n": 2}, {"id": 1, "n": 2})
    book.update("item", {"id": 9, "n": 1}, {"id": 2, "n": 1})

    assert sorted(steps(differing(book)), key=str) == [
        ("U", {"id": 1, "n": 1}, {"id": 2, "n": 1}),
        ("U", {"id": 2, "n": 2}, {"id": 1, "n": 2}),
    ]


@pytest.mark.usefixtures("every_way")
def test_baseline_rows_are_never_part_of_a_diff(book: Logbook) -> None:
    book.snapshot("item", {"id": 1, "n": 1})
    book.snapshot("item", {"id": 2, "n": 1})
    book.update("item", {"id": 2, "n": 1}, {"id": 2, "n": 2})
    book.snapshot("item", {"id": 2, "n": 2})

    assert steps(differing(book)) == [("U", {"id": 2, "n": 1}, {"id": 2, "n": 2})]


@pytest.mark.usefixtures("every_way")
def test_a_long_value_that_did_not_change_is_read_from_its_own_before(book: Logbook) -> None:
    book.update("item", {"id": 1, "name": "a" * 3000, "n": 1}, {"id": 1, "name": "b" * 3000, "n": 1})
    book.update("item", {"id": 1, "name": "b" * 3000, "n": 1}, {"id": 1, "name": {"$same": True}, "n": 2})

    [found] = differing(book)

    assert found.change.after == {"id": 1, "name": "b" * 3000, "n": 2}
    assert found.columns == ("name", "n")


@pytest.mark.usefixtures("every_way")
def test_rows_without_a_key_are_told_apart_by_their_images(book: Logbook) -> None:
    book.write_shape(TableShape(TableName("note"), (ColumnShape("text", "TEXT"),)))
    book.insert("note", {"text": "a"})
    book.insert("note", {"text": "b"})
    book.update("note", {"text": "a"}, {"text": "c"})
    book.delete("note", {"text": "b"})

    assert steps(differing(book)) == [("I", None, {"text": "c"})]


@pytest.mark.usefixtures("every_way")
def test_the_text_42_and_the_integer_42_are_two_rows(book: Logbook) -> None:
    book.write_shape(TableShape(TableName("loose"), (ColumnShape("id", ""), ColumnShape("n", "")), ("id",)))
    book.insert("loose", {"id": 42, "n": 1})
    book.insert("loose", {"id": "42", "n": 2})
    book.update("loose", {"id": 42, "n": 1}, {"id": 42, "n": 3})

    assert sorted(steps(differing(book)), key=str) == [
        ("I", None, {"id": "42", "n": 2}),
        ("I", None, {"id": 42, "n": 3}),
    ]


@pytest.mark.usefixtures("every_way")
def test_windows_of_a_diff_tile(book: Logbook) -> None:
    for number in range(1, 5):
        book.update("item", {"id": 1, "n": number}, {"id": 1, "n": number + 1})
    with book.reader() as reader:
        first, second = window(reader, None, 2), window(reader, 2)

    assert steps(differing(book, part=first)) == [("U", {"id": 1, "n": 1}, {"id": 1, "n": 3})]
    assert steps(differing(book, part=second)) == [("U", {"id": 1, "n": 3}, {"id": 1, "n": 5})]


@pytest.mark.usefixtures("every_way")
def test_tables_are_chosen_by_the_selection(book: Logbook) -> None:
    order = TableName("order")
    book.insert("item", {"id": 1})
    book.insert("order", {"id": 1})

    assert [each.change.table for each in differing(book)] == [ITEM, order]
    assert [each.change.table for each in differing(book, Selection(tables=Alternatives((order,))))] == [order]
    assert [each.change.table for each in differing(book, Selection(tables=Alternatives((), (order,))))] == [ITEM]


def test_a_selection_with_holes_does_not_show_other_peoples_work(book: Logbook) -> None:
    book.update("item", {"id": 1, "name": "a", "n": 1}, {"id": 1, "name": "a", "n": 2}, actor="alice")
    book.update("item", {"id": 1, "name": "a", "n": 2}, {"id": 1, "name": "bobs", "n": 2}, actor="bob")
    book.update("item", {"id": 1, "name": "bobs", "n": 2}, {"id": 1, "name": "bobs", "n": 3}, actor="alice")

    [found] = differing(book, ALICE)

    assert found.change.event_type is EventType.UPDATE
    assert found.columns == ("n",)
    assert found.change.before is not None
    assert (found.change.before["n"], found.change.after and found.change.after["n"]) == (1, 3)
    assert (found.count, found.actors, found.interrupted) == (2, ("alice",), {})


def test_a_cell_that_others_wrote_in_between_is_named(book: Logbook) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="alice")
    book.update("item", {"id": 1, "n": 2}, {"id": 1, "n": 5}, actor="bob")
    book.update("item", {"id": 1, "n": 5}, {"id": 1, "n": 6}, actor="alice")

    [found] = differing(book, ALICE)

    assert {column: change.actor for column, change in found.interrupted.items()} == {"n": "bob"}


def test_holes_at_the_ends_of_a_run_are_no_holes(book: Logbook) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="bob")
    book.update("item", {"id": 1, "n": 2}, {"id": 1, "n": 3}, actor="alice")
    book.update("item", {"id": 1, "n": 3}, {"id": 1, "n": 4}, actor="bob")

    assert steps(differing(book, ALICE)) == [("U", {"id": 1, "n": 2}, {"id": 1, "n": 3})]


def test_a_row_made_by_one_and_removed_by_another_shows_each_their_part(book: Logbook) -> None:
    book.insert("item", {"id": 1, "n": 1}, actor="alice")
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="bob")
    book.update("item", {"id": 1, "n": 2}, {"id": 1, "n": 2, "name": "x"}, actor="alice")
    book.delete("item", {"id": 1, "n": 2, "name": "x"}, actor="bob")

    [made] = differing(book, ALICE)
    [removed] = differing(book, Selection(actors=Alternatives(("bob",))))

    assert made.change.event_type is EventType.INSERT
    assert (made.change.before, made.change.after) == (None, {"id": 1, "n": 1, "name": "x"})
    assert removed.change.event_type is EventType.DELETE
    assert removed.change.after is None


def test_made_and_removed_by_one_with_others_in_between_is_nothing(book: Logbook) -> None:
    book.insert("item", {"id": 1, "n": 1}, actor="alice")
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="bob")
    book.delete("item", {"id": 1, "n": 2}, actor="alice")

    assert differing(book, ALICE) == []


@pytest.mark.thorough
def test_both_ways_agree_on_a_random_history(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    written = _random_history(book, random.Random(7))

    gathered = differing(book)
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)
    by_index = differing(book)

    assert len(gathered) > 50
    assert _comparable(gathered) == _comparable(by_index)
    assert {(str(each.change.before), str(each.change.after)) for each in gathered} == written


def test_more_rows_than_a_page_are_all_there(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write_many(5_000, rows=1_300)
    narrow = differing(book)
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)
    wide = differing(book)

    assert len(wide) == 1_300
    assert _comparable(narrow) == _comparable(wide)
    assert {each.actors for each in wide} == {("alice", "bob", "carol")}


def test_the_sum_of_a_diff_counts_rows_by_table_and_cells_by_column(book: Logbook) -> None:
    book.insert("item", {"id": 1, "name": "a", "n": 1})
    book.update("item", {"id": 2, "name": "a", "n": 1}, {"id": 2, "name": "b", "n": 2})
    book.update("item", {"id": 3, "name": "a", "n": 1}, {"id": 3, "name": "a", "n": 2})
    book.delete("item", {"id": 4, "name": "a", "n": 1})
    book.record("TRUNCATE", "order", {"id": 1}, None)

    stats = diff_stat(differing(book))

    assert stats == [
        TableStat(ITEM, 1, 2, 1, {"name": 1, "n": 2}),
        TableStat(TableName("order"), 0, 0, 1, {}),
    ]
    assert [stat.rows for stat in stats] == [4, 1]


def test_an_empty_log_differs_in_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Logbook.create(engine)

    assert differing(empty) == []
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)
    assert differing(empty) == []
    assert diff_stat([]) == []


def test_the_fast_way_follows_the_rules_of_net(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.update("item", {"id": 1, "n": 1}, {"id": 1, "n": 2}, actor="alice")
    book.delete("item", {"id": 1, "n": 2}, actor="bob")
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)

    with book.reader() as reader:
        expected = net(reader.changes())
        [found] = diff(reader)

    assert found.change == expected


def test_odd_names_of_actors_are_told_apart(any_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Logbook.create(any_engine)
    book.write_shape(SHAPE)
    stories: list[list[str | None]] = [
        ["a"],
        [None],
        ["a", None, "b"],
        ["\x1e", None],
        ["a\x1fb", "c"],
        ["\x1f", "", "é"],
    ]
    for key, actors in enumerate(stories):
        for n, actor in enumerate(actors):
            with book.transaction(actor=actor):
                book.update("item", {"id": key, "n": n}, {"id": key, "n": n + 1}, row_id=str(key))
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)

    found = differing(book)

    assert [set(each.actors) for each in found] == [set(actors) for actors in stories]


def test_names_that_the_database_cuts_off_are_looked_up(any_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Logbook.create(any_engine)
    book.write_shape(SHAPE)
    for n in range(12):
        with book.transaction(actor=f"actor number {n}"):
            book.update("item", {"id": 1, "n": n}, {"id": 1, "n": n + 1}, row_id="1")
    monkeypatch.setattr(auditcli.diff, "_NARROW", -1)

    for longest in range(150, 180, 3):
        with any_engine.connect() as connection:
            if any_engine.dialect.name in ("mysql", "mariadb"):
                define(connection, f"SET SESSION group_concat_max_len = {longest}")
            (found,) = diff(LogReader(connection, book.tables))
            connection.invalidate()

        assert len(found.actors) == 12


def _comparable(found: list[NetChange]) -> list[str]:
    return sorted(repr((each.change, each.first_id, each.last_id, each.count, each.actors)) for each in found)


def _random_history(book: Logbook, chance: random.Random) -> set[tuple[str, str]]:
    """Write about 600 changes, keys changed and reused among them; returns each row's first and last image."""
    first: dict[int, dict[str, Any] | None] = {}
    live: dict[int, dict[str, Any]] = {}
    for step in range(600):
        key = chance.randrange(80)
        if key not in live:
            live[key] = {"id": key, "n": step}
            first.setdefault(key, None)
            book.insert("item", live[key], actor=chance.choice(["alice", "bob"]))
        elif chance.random() < 0.7:
            before = live[key]
            live[key] = {"id": key, "n": chance.randrange(3)}
            if not codec.same_image(before, live[key]):
                book.update("item", before, live[key], actor=chance.choice(["alice", "bob"]))
        elif chance.random() < 0.5:
            book.delete("item", live.pop(key))
        else:
            new = 1000 + step
            before = live.pop(key)
            live[new] = {**before, "id": new}
            first[new] = first.pop(key)
            book.update("item", before, live[new])
    return {(str(before), str(live.get(key))) for key, before in first.items() if before is not None or key in live}


@pytest.mark.thorough
def test_a_log_without_statistics_is_read_by_its_index(tmp_path: Path) -> None:
    with scratch_url("own mariadb", tmp_path) as url:
        watched = Watched(create_engine(url, poolclass=NullPool), "CREATE TABLE item (id INT PRIMARY KEY, n INT)")
        watched.write("ALTER TABLE changelog STATS_PERSISTENT = 1 STATS_AUTO_RECALC = 0")
        watched.write(f"INSERT INTO item VALUES {', '.join(f'({key}, 1)' for key in range(200))}")
        watched.write("UPDATE item SET n = 2")
        own_mariadb().restart()

        with watched.engine.connect() as connection:
            found = list(diff(LogReader(connection, log_tables())))
            counts = connection.exec_driver_sql("SHOW SESSION STATUS")
            read = sum(int(count) for name, count in counts if name.startswith("Handler_read_"))

    assert len(found) == 200
    assert read < 10_000
