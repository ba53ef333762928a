"""On MariaDB a write finds what others committed since the transaction's snapshot; so does what is read before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Executable,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    exists,
    func,
    select,
    text,
    union,
    update,
)
from sqlalchemy.dialects.mysql import insert

import auditcli
from auditcli.errors import CaptureError, UnrecordableWrite
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

TABLES = (
    "CREATE TABLE p (id INT PRIMARY KEY, v INT, code VARCHAR(10) UNIQUE)",
    """CREATE TABLE c (id INT PRIMARY KEY, p INT, code VARCHAR(10),
    FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (code) REFERENCES p (code) ON UPDATE CASCADE)""",
    "CREATE TABLE g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE SET NULL)",
    "CREATE TABLE pick (id INT PRIMARY KEY)",
    "CREATE VIEW picked AS SELECT id FROM pick",
    """CREATE FUNCTION is_picked(wanted INT) RETURNS INT READS SQL DATA
    RETURN (SELECT COUNT(*) FROM pick WHERE id = wanted)""",
)
P = Table("p", MetaData(), Column("id", Integer, primary_key=True), Column("v", Integer), Column("code", String(10)))
C = Table("c", MetaData(), Column("id", Integer, primary_key=True), Column("p", Integer), Column("code", String(10)))
G = Table("g", MetaData(), Column("id", Integer, primary_key=True), Column("c", Integer))
PICK, PICKED = (Table(name, MetaData(), Column("id", Integer)) for name in ("pick", "picked"))
CTE = select(PICK.c.id).cte("found", nesting=True)
FIRST = select(PICK.c.id).where(PICK.c.id == 1).cte("chain", recursive=True, nesting=True)
CHAIN = FIRST.union(select(PICK.c.id).join(FIRST, PICK.c.id == FIRST.c.id + 1))
WAYS: dict[str, Any] = {
    "in": P.c.id.in_(select(PICK.c.id)),
    "exists": exists(select(1).where(PICK.c.id == P.c.id)),
    "scalar": P.c.id <= select(func.max(PICK.c.id)).scalar_subquery(),
    "grouped": P.c.id.in_(select(PICK.c.id).group_by(PICK.c.id).having(func.count() == 1)),
    "union": P.c.id.in_(union(select(PICK.c.id).where(PICK.c.id == 2), select(PICK.c.id).where(PICK.c.id == 1))),
    "derived": P.c.id.in_(select(select(PICK.c.id).subquery().c.id)),
    "common": P.c.id.in_(select(CTE.c.id)),
    "recursive": P.c.id.in_(select(CHAIN.c.id)),
    "joined": P.c.id == PICK.c.id,
}


@pytest.fixture(params=["listeners", "triggers"])
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Three parents, two of which have a child, and the first of which is picked."""
    with scratch_engine() as engine:
        watched = Watched(engine, *TABLES, triggers=request.param == "triggers")
        auditcli.track(engine)
        with engine.begin() as connection:
            connection.execute(P.insert(), [{"id": number, "v": 0, "code": f"c{number}"} for number in (1, 2, 3)])
            connection.execute(C.insert(), [{"id": 10 + number, "p": number} for number in (1, 2)])
            connection.execute(PICK.insert(), [{"id": 1}])
        yield watched
        watched.check()


@contextmanager
def _late(watched: Watched, late: Executable) -> Iterator[Connection]:
    """A transaction that began to read before another one wrote something."""
    with watched.engine.connect() as ours:
        ours.execute(select(P)).all()
        with watched.engine.begin() as other:
            other.execute(late)
        yield ours
        ours.commit()


@pytest.mark.parametrize("way", WAYS)
def test_a_write_finds_its_rows_by_what_others_committed(watched: Watched, way: str) -> None:
    with _late(watched, PICK.insert().values(id=2)) as ours:
        count = ours.execute(update(P).where(WAYS[way]).values(v=7)).rowcount

    assert count == 2
    assert watched.query("SELECT id, v FROM p ORDER BY id") == [(1, 7), (2, 7), (3, 0)]
    assert sorted(watched.events()[-2:]) == [("UPDATE", "p", "1"), ("UPDATE", "p", "2")]


@pytest.mark.parametrize("written", ["deleted", "moved"])
def test_a_child_that_came_since_goes_with_its_parent_and_is_recorded(watched: Watched, written: str) -> None:
    with watched.engine.begin() as other:
        other.execute(G.insert(), {"id": 21, "c": 11})
    change: Any = delete(P) if written == "deleted" else update(P).values(code="new")

    with _late(watched, C.insert().values(id=13, p=1, code="c1")) as ours:
        ours.execute(change.where(P.c.id == 1))

    expected = {
        "deleted": [("DELETE", "c", "11"), ("DELETE", "c", "13"), ("DELETE", "p", "1"), ("UPDATE", "g", "21")],
        "moved": [("UPDATE", "c", "13"), ("UPDATE", "p", "1")],
    }
    assert sorted(watched.events()[-len(expected[written]) :]) == expected[written]


def test_a_key_is_made_from_what_others_committed(watched: Watched) -> None:
    with _late(watched, PICK.insert().values(id=40)) as ours:
        ours.execute(update(P).where(P.c.id == 3).values(id=select(func.max(PICK.c.id)).scalar_subquery()))

    assert watched.query("SELECT id FROM p ORDER BY id") == [(1,), (2,), (40,)]


@pytest.mark.parametrize("watched", ["listeners"], indirect=True)
@pytest.mark.parametrize(
    ("clause", "named"),
    [
        (P.c.id.in_(select(PICKED.c.id)), "picked"),
        (func.is_picked(P.c.id) > 0, "is_picked"),
        (text("`is_picked`(id)"), "is_picked"),
        (text("id IN (SELECT id FROM pick)"), "plain text"),
    ],
    ids=["a view", "a function", "a function in plain text", "plain text"],
)
def test_a_write_that_would_find_more_than_a_look_before_it_is_refused(
    watched: Watched, clause: Any, named: str
) -> None:
    with (
        _late(watched, PICK.insert().values(id=2)) as ours,
        pytest.raises(UnrecordableWrite, match=rf"a write to p that reads other rows by {named}"),
    ):
        ours.execute(update(P).where(clause).values(v=7))

    assert watched.query("SELECT SUM(v) FROM p") == [(0,)]


@pytest.mark.parametrize("clause", [text("id < 3 AND v <> 9"), func.rand() < 2, func.locate("c", P.c.code) > 0])
def test_a_write_that_reads_its_own_rows_alone_is_not_refused(watched: Watched, clause: Any) -> None:
    with watched.engine.begin() as ours:
        assert ours.execute(update(P).where(clause).values(v=7)).rowcount in (2, 3)


MET = pytest.mark.parametrize("met", [{"id": 9, "code": "x"}, {"id": 8, "code": "new"}], ids=["key", "other key"])
"""Two ways in which a new row meets the row 9 of the code `new`."""


@MET
@pytest.mark.parametrize("watched", ["triggers"], indirect=True)
def test_an_upsert_changes_a_row_that_came_since(watched: Watched, met: dict[str, Any]) -> None:
    statement = insert(P).values(**met, v=5)

    with _late(watched, P.insert().values(id=9, v=0, code="new")) as ours:
        count = ours.execute(statement.on_duplicate_key_update(v=statement.inserted.v)).rowcount

    assert count == 2
    assert watched.events()[-2:] == [("INSERT", "p", "9"), ("UPDATE", "p", "9")]


@MET
@pytest.mark.parametrize("value", [5, 0], ids=["changed", "as it was"])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("watched", ["listeners"], indirect=True)
def test_an_upsert_that_meets_a_row_which_came_since_is_told_from_a_new_row(
    watched: Watched, met: dict[str, Any], value: int, many: bool
) -> None:
    rows = [{**met, "v": value}, {"id": 20, "v": 1, "code": "c20"}]
    statement = insert(P)

    with _late(watched, P.insert().values(id=9, v=0, code="new")) as ours:
        with pytest.raises(CaptureError, match="another transaction had just inserted"):
            ours.execute(statement.on_duplicate_key_update(v=statement.inserted.v), rows if many else rows[0])
        ours.rollback()

    assert watched.query("SELECT id, v FROM p WHERE id > 3") == [(9, 0)]


@pytest.mark.parametrize("many", [False, True])
def test_an_upsert_that_meets_the_rows_it_made_itself_is_recorded(watched: Watched, many: bool) -> None:
    rows = [{"id": 20, "v": 1, "code": "a"}, {"id": 20, "v": 2, "code": "b"}, {"id": 1, "v": 3, "code": "a"}]
    statement = insert(P) if many else insert(P).values(rows)

    with watched.engine.begin() as ours:
        ours.execute(statement.on_duplicate_key_update(v=statement.inserted.v), rows if many else None)

    assert watched.query("SELECT id, v FROM p WHERE v > 0 ORDER BY id") == [(1, 3), (20, 2)]


@MET
@pytest.mark.parametrize("many", ["one", "rows", "parameter sets"])
def test_an_insert_passes_over_rows_that_came_since_and_its_own_alone_are_recorded(
    watched: Watched, met: dict[str, Any], many: str
) -> None:
    ignore = P.insert().prefix_with("IGNORE")
    rows = [{**met, "v": 1}, {"id": 20, "v": 1, "code": "c20"}]
    told: dict[str, Any] = {"one": (ignore, rows[0]), "rows": (ignore.values(rows),), "parameter sets": (ignore, rows)}

    with _late(watched, P.insert().values(id=9, v=0, code="new")) as ours:
        ours.execute(*told[many])

    assert watched.events()[7:] == ([] if many == "one" else [("INSERT", "p", "20")])


def test_an_upsert_starts_from_what_others_committed(watched: Watched) -> None:
    statement = insert(P).values(id=1, v=5)

    with _late(watched, update(P).where(P.c.id == 1).values(v=4)) as ours:
        ours.execute(statement.on_duplicate_key_update(v=statement.inserted.v))

    assert [(change.before or {})["v"] for change in watched.changes()[-2:]] == [0, 4]
