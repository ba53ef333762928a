"""What applications write to MariaDB through SQLAlchemy's own words for it, recorded by listeners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymysql.constants import CLIENT
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, registry, with_loader_criteria

import auditcli
from auditcli.driver import define
from auditcli.errors import UnrecordableWrite
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

ITEM = "CREATE TABLE item (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(20) UNIQUE, n INT, note TEXT INVISIBLE)"
CHILD = """CREATE TABLE child (id INT PRIMARY KEY, code VARCHAR(20),
  FOREIGN KEY (code) REFERENCES item (code) ON UPDATE CASCADE)"""


@pytest.fixture(params=["listeners", "triggers"])
def items(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Rows with a key and a code, and one that refers to a code."""
    with scratch_engine() as engine:
        watched = Watched(engine, ITEM, CHILD, triggers=request.param == "triggers")
        auditcli.track(engine)
        with engine.begin() as connection:
            connection.execute(
                watched.table("item").insert(), [{"id": 1, "code": "a", "n": 1}, {"id": 2, "code": "b", "n": 2}]
            )
            connection.execute(watched.table("child").insert(), [{"id": 1, "code": "a"}])
        yield watched
        watched.check()


@pytest.mark.parametrize(
    ("values", "updates", "expected"),
    [
        ({"id": 1, "code": "x"}, {"n": 7}, [("UPDATE", "item", "1")]),
        ({"id": 9, "code": "b"}, {"n": 7}, [("UPDATE", "item", "2")]),
        ({"id": 9, "code": "x"}, {"n": 7}, [("INSERT", "item", "9")]),
        ({"id": 1, "code": "x"}, {"code": "z"}, [("UPDATE", "child", "1"), ("UPDATE", "item", "1")]),
        ({"id": 2, "code": "b"}, {"code": "b"}, []),
    ],
    ids=["by the key", "by another key", "new", "with a child", "nothing"],
)
def test_an_upsert_is_recorded_as_what_it_did(
    items: Watched, values: dict[str, Any], updates: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    known = len(items.changes())

    with items.engine.begin() as connection:
        connection.execute(insert(items.table("item")).values(**values).on_duplicate_key_update(**updates))

    assert sorted(items.events()[known:]) == expected


def test_an_upsert_of_many_rows_is_recorded(items: Watched) -> None:
    rows = [{"code": "a", "n": 5}, {"code": "new", "n": 6}, {"code": "b", "n": 7}]
    statement = insert(items.table("item")).values(rows)

    with items.engine.begin() as connection:
        connection.execute(statement.on_duplicate_key_update(n=statement.inserted.n))

    assert sorted(event for event, _, _ in items.events()[3:]) == ["INSERT", "UPDATE", "UPDATE"]


def test_criteria_that_the_orm_adds_are_heeded(items: Watched) -> None:
    class Item:
        pass

    registry().map_imperatively(Item, table := items.table("item"))
    known = len(items.changes())

    with Session(items.engine) as session:
        some = with_loader_criteria(Item, table.c.n > 1)
        found = table.c.id.in_(select(table.c.id).where(table.c.code != "x"))
        session.execute(update(Item).where(found).values(n=9).options(some))
        session.commit()

    assert items.events()[known:] == [("UPDATE", "item", "2")]


def test_an_update_of_two_tables_at_once_is_left_to_triggers(items: Watched) -> None:
    item, child = items.table("item"), items.table("child")
    statement = update(item).where(item.c.code == child.c.code).values({item.c.n: 5, child.c.id: 7})
    known = len(items.changes())
    by_triggers = all(change.source == "trigger" for change in items.changes())

    with items.engine.begin() as connection:
        if by_triggers:
            connection.execute(statement)
        else:
            with pytest.raises(UnrecordableWrite, match="an UPDATE of item and of other tables at once"):
                connection.execute(statement)

    wanted = [("UPDATE", "child", "7"), ("UPDATE", "item", "1")] if by_triggers else []
    assert sorted(items.events()[known:]) == wanted


def test_an_insert_that_passes_over_what_is_there_is_recorded(items: Watched) -> None:
    with items.engine.begin() as connection:
        statement = insert(items.table("item")).prefix_with("IGNORE")
        connection.execute(statement.values([{"id": 1, "code": "q"}, {"id": 9, "code": "q"}]))

    assert items.events()[3:] == [("INSERT", "item", "9")]


def test_a_column_that_a_star_does_not_show_is_recorded(items: Watched) -> None:
    item = items.table("item")

    with items.engine.begin() as connection:
        connection.execute(update(item).where(item.c.id == 1).values(note="seen"))

    assert (items.changes()[-1].after or {})["note"] == "seen"


def test_a_deadlock_is_the_databases_error_and_leaves_nothing_half_recorded(items: Watched) -> None:
    item = items.table("item")
    with items.engine.connect() as one, items.engine.connect() as other:
        one.execute(update(item).where(item.c.id == 1).values(n=10))
        other.execute(update(item).where(item.c.id == 2).values(n=20))
        other.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")

        with pytest.raises(OperationalError, match=r"Lock wait timeout|Deadlock"):
            other.execute(update(item).where(item.c.id == 1).values(n=21))
        other.rollback()
        one.execute(update(item).where(item.c.id == 2).values(n=11))
        one.commit()

    assert [change.row_id for change in items.changes()[3:]] == ["1", "2"]


def test_a_definition_in_a_transaction_commits_what_came_before_with_its_records(items: Watched) -> None:
    item = items.table("item")
    with items.engine.connect() as connection:
        connection.execute(update(item).where(item.c.id == 1).values(n=10))
        connection.exec_driver_sql("CREATE TABLE other (id INT PRIMARY KEY)")
        connection.execute(update(item).where(item.c.id == 2).values(n=20))
        connection.rollback()

    assert [change.row_id for change in items.changes()[3:]] == ["1"]


def test_temporary_tables_are_nobodys_history(items: Watched) -> None:
    with items.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE scratch (id INT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO scratch VALUES (1)")

    assert len(items.changes()) == 3


@pytest.fixture
def talkative() -> Iterator[Engine]:
    """A tracked engine without triggers, whose driver takes many statements in one text."""
    with scratch_engine() as engine:
        Watched(engine, ITEM, CHILD, triggers=False)
        several = create_engine(engine.url, connect_args={"client_flag": CLIENT.MULTI_STATEMENTS})
        auditcli.track(several)
        yield several
        several.dispose()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; UPDATE item SET n = 1",
        "SELECT '\\''; DELETE FROM item WHERE code <> 'x'",
        "# it's\nDELETE FROM item WHERE code <> 'x'",
        "/*!50000 DELETE FROM item */",
        "/*M! DELETE */ FROM item",
        "SELECT \"it's\"; DELETE FROM item WHERE code <> 'x'",
        "EXECUTE IMMEDIATE 'DELETE FROM item'",
        "PREPARE p FROM 'DELETE FROM item'",
        "BEGIN NOT ATOMIC DELETE FROM child; DELETE FROM item; END",
        "LOAD DATA LOCAL INFILE 'x' INTO TABLE item",
        "DELETE i FROM child AS c JOIN item AS i USING (code)",
        "UPDATE (SELECT 1) AS x JOIN item SET item.n = 1",
    ],
)
def test_a_write_that_text_hides_is_refused_before_it_runs(talkative: Engine, sql: str) -> None:
    with talkative.connect() as connection, pytest.raises(UnrecordableWrite, match=r"plain SQL that writes to .*item"):
        define(connection, sql)


def test_a_session_whose_backslashes_mean_nothing_is_read_so(talkative: Engine) -> None:
    with talkative.connect() as connection:
        define(connection, "SELECT '\\'; DELETE FROM item'")
        define(connection, "SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
        define(connection, "SELECT '\\', '; DELETE FROM item'")
        for sql in ("SELECT '\\'; DELETE FROM item WHERE code <> '\\'", 'DELETE FROM "item"'):
            with pytest.raises(UnrecordableWrite, match="item"):
                define(connection, sql)
