"""Along the log in stretches: each record once, in order, over gaps of any width, and seen to go on."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, func, select

from auditcli.log import walk
from auditcli.log.query import read_aggregates, read_pages
from auditcli.selection import Alternatives, Selection
from tests.db.logbook import Logbook

ACTORS = Selection(actors=Alternatives(("bob",)))


@pytest.fixture
def book(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Logbook:
    """Forty records with ids far apart, every fourth one bob's, and stretches of three ids."""
    for name in ("_FIRST", "_LONGEST", "_SHORTEST"):
        monkeypatch.setattr(walk, name, 3)
    book = Logbook.create(engine)
    for number in range(40):
        book.insert("item", {"id": number}, actor="bob" if number % 4 == 0 else "alice")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE changelog SET id = id + 9000000000000 WHERE id > 20")
    return book


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [None, 0, 1, 4, 99])
def test_every_selected_record_is_met_once_and_in_order(book: Logbook, newest_first: bool, limit: int | None) -> None:
    with book.reader() as reader:
        found = [each.id for each in reader.changes(ACTORS, newest_first=newest_first, limit=limit)]
        every = [each.id for each in reader.changes(newest_first=newest_first) if each.actor == "bob"]

    assert len(every) == 10
    assert found == every[:limit]


@pytest.mark.parametrize(("after", "until"), [(3, None), (None, 17), (5, 9_000_000_000_030), (17, 17), (99, 999)])
def test_bounds_are_kept(book: Logbook, after: int | None, until: int | None) -> None:
    with book.reader() as reader:
        found = [each.id for each in reader.changes(ACTORS, after_id=after, until_id=until)]
        every = [each.id for each in reader.changes(ACTORS)]

    assert found == [each for each in every if (after or 0) < each <= (until or each)]


def test_a_page_is_given_as_soon_as_it_is_found(book: Logbook) -> None:
    with book.reader() as reader:
        told: list[tuple[int, int]] = []
        reader.watch = lambda done, whole: told.append((done, whole))
        newest = next(reader.changes(ACTORS, newest_first=True))

        assert newest.actor == "bob"
        assert len(told) <= 2
        list(reader.changes(ACTORS, newest_first=True))

    done, whole = zip(*told[-20:], strict=True)
    assert done[-1] == whole[-1]
    assert list(done)[2:] == sorted(done[2:])


def test_what_is_counted_by_stretches_adds_up(book: Logbook) -> None:
    with book.reader() as reader:
        log = reader.tables.changelog.c
        statement = select(log.actor, func.count()).group_by(log.actor)
        rows = list(read_aggregates(reader.connection, reader.tables, statement, reader.criteria(Selection())))

    assert len(rows) > 10
    assert {actor: sum(count for name, count in rows if name == actor) for actor in ("alice", "bob")} == {
        "alice": 30,
        "bob": 10,
    }


def test_pages_of_a_span_without_records_are_none(book: Logbook) -> None:
    with book.reader() as reader:
        criteria = reader.criteria(ACTORS, after_id=1000, until_id=2000)
        pages = list(read_pages(reader.connection, reader.tables, reader.columns, criteria))

    assert pages == []
