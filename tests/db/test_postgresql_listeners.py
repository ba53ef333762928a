"""What listeners record of the statements that only PostgreSQL has, and beside other writers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Date,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import NullType

import auditcli
from auditcli.driver import define
from auditcli.errors import CaptureError, UnrecordableWrite
from tests.db.postgres import HOSTILE, WAITING, be_hostile, scratch_engine, settings_of, wait_until
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

METADATA = MetaData()
ITEM = Table(
    "item",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("code", Text),
    Column("kind", Text),
    Column("n", Integer, server_default=text("0")),
    UniqueConstraint("code", name="item_code"),
)
PARTLY = Table(
    "partly",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text),
    Column("n", Integer),
    Index("partly_kind", "kind", unique=True, postgresql_where=text("n > 5")),
)
PLAIN = Table("plain", METADATA, Column("a", Text), Column("n", Integer))
PARTED = Table(
    "parted",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("day", Date),
    postgresql_partition_by="RANGE (id)",
)
LEAVES = (
    "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE high PARTITION OF parted FOR VALUES FROM (100) TO (200)",
)
LOW = Table("low", MetaData(), Column("id", Integer, primary_key=True), Column("day", Date))


class Base(DeclarativeBase):
    """Classes of this file."""

    metadata = METADATA


class Slot(Base):
    """Its key has two columns, of which the database numbers one."""

    __tablename__ = "slot"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    note: Mapped[str | None]


class Shop(Watched):
    """The tables, recorded by listeners alone."""

    def __init__(self, engine: Engine) -> None:
        METADATA.create_all(engine)
        super().__init__(engine, *LEAVES, triggers=None)
        self.factory = sessionmaker(engine)
        auditcli.track(self.factory)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """When the test is over the log must be complete."""
    with scratch_engine() as engine:
        shop = Shop(engine)
        yield shop
        shop.check()


@pytest.fixture
def items(shop: Shop) -> Shop:
    with shop.factory.begin() as session:
        session.execute(
            insert(ITEM),
            [{"id": 1, "code": "a", "kind": "x", "n": 9}, {"id": 2, "code": "b", "kind": None, "n": 1}],
        )
    return shop


def test_the_orm_learns_a_key_of_which_the_database_makes_a_part(shop: Shop) -> None:
    with shop.factory.begin() as session:
        slots = [Slot(place="a"), Slot(place="b")]
        session.add_all(slots)
        session.flush()
        numbers = [slot.number for slot in slots]
        slots[0].note = "seen"

    assert numbers == [1, 2]
    assert shop.events() == [
        ("INSERT", "slot", '[1,"a"]'),
        ("INSERT", "slot", '[2,"b"]'),
        ("UPDATE", "slot", '[1,"a"]'),
    ]


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_a_write_that_finds_its_rows_by_text_with_parameters_is_recorded(items: Shop, verb: str) -> None:
    found = text("code = :wanted AND n > :least")
    statement = update(ITEM).where(found).values(n=0) if verb == "update" else delete(ITEM).where(found)

    with items.factory.begin() as session:
        session.execute(statement, {"wanted": "a", "least": 5})

    assert items.events()[2:] == [(verb.upper(), "item", "1")]


UPSERTS: dict[str, dict[str, Any]] = {
    "columns": {"index_elements": ["code"]},
    "column objects": {"index_elements": [ITEM.c.code]},
    "a constraint by name": {"constraint": "item_code"},
    "the key": {"index_elements": ["id"]},
    "the primary key by name": {"constraint": "item_pkey"},
}


@pytest.mark.parametrize("how", UPSERTS)
def test_an_upsert_is_an_update_where_a_row_was_in_its_way(items: Shop, how: str) -> None:
    rows = [{"id": 1, "code": "a", "kind": "x", "n": 7}, {"id": 5, "code": "e", "kind": "y", "n": 8}]

    with items.factory.begin() as session:
        put = insert(ITEM).values(rows)
        session.execute(put.on_conflict_do_update(**UPSERTS[how], set_={"n": put.excluded.n + 1}))

    assert items.events()[2:] == [("UPDATE", "item", "1"), ("INSERT", "item", "5")]
    assert items.steps()[2][2]["n"] == 8


@pytest.mark.parametrize(
    "how", [{"index_elements": ["id"]}, {"index_elements": ["kind"], "index_where": text("n > 5")}]
)
def test_an_upsert_beside_an_index_on_part_of_the_rows_is_recorded_by_a_plain_key_or_refused(
    shop: Shop, how: dict[str, Any]
) -> None:
    put = insert(PARTLY).values(id=1, kind="x", n=7).on_conflict_do_update(**how, set_={"n": 100})
    by_plain_key = how == {"index_elements": ["id"]}

    with shop.factory.begin() as session, nullcontext() if by_plain_key else pytest.raises(UnrecordableWrite):
        session.execute(put)
        session.execute(put)

    assert [event[0] for event in shop.events()] == (["INSERT", "UPDATE"] if by_plain_key else [])


def test_an_upsert_through_an_index_in_which_nulls_are_alike_is_refused_for_it_hits_rows_that_no_lookup_finds(
    shop: Shop,
) -> None:
    shop.write("ALTER TABLE item ADD UNIQUE NULLS NOT DISTINCT (kind)")
    put = insert(ITEM).values(id=1).on_conflict_do_update(index_elements=["kind"], set_={"n": 100})

    with shop.factory.begin() as session, pytest.raises(UnrecordableWrite, match="unique index on an expression or"):
        session.execute(put)

    assert shop.events() == []


def test_an_upsert_with_a_condition_leaves_rows_alone_that_do_not_meet_it(items: Shop) -> None:
    with items.factory.begin() as session:
        put = insert(ITEM).values([{"id": 1, "n": 70}, {"id": 2, "n": 71}])
        session.execute(
            put.on_conflict_do_update(index_elements=["id"], set_={"n": put.excluded.n}, where=ITEM.c.code == "b")
        )

    assert items.events()[2:] == [("UPDATE", "item", "2")]


def test_an_upsert_that_does_nothing_is_no_change(items: Shop) -> None:
    with items.factory.begin() as session:
        session.execute(insert(ITEM).values([{"id": 1}, {"id": 7}]).on_conflict_do_nothing())
        session.execute(insert(ITEM).values(id=8, code="a").on_conflict_do_nothing(constraint="item_code"))

    assert items.events()[2:] == [("INSERT", "item", "7")]


def test_the_application_gets_what_it_asked_to_have_returned(items: Shop) -> None:
    with items.factory.begin() as session:
        inserted = session.execute(
            insert(ITEM)
            .values([{"id": 11, "code": "r"}, {"id": 12, "code": "s"}])
            .returning(ITEM.c.id, ITEM.c.code, (ITEM.c.n + 1).label("more"))
        ).all()
        put = insert(ITEM).values(id=1, code="zz").on_conflict_do_update(index_elements=["id"], set_={"code": "q"})
        upserted = session.scalars(put.returning(ITEM.c.id, ITEM.c.code)).all()
        changed = session.execute(update(ITEM).where(ITEM.c.id == 2).values(n=50).returning(ITEM.c.id, ITEM.c.n)).all()
        gone = session.scalars(delete(ITEM).where(ITEM.c.id == 2).returning(ITEM.c.code)).all()

    assert [tuple(row) for row in inserted] == [(11, "r", 1), (12, "s", 1)]
    assert upserted == [1]
    assert [tuple(row) for row in changed] == [(2, 50)]
    assert gone == ["b"]
    assert [event[0] for event in items.events()[2:]] == ["INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE"]


def test_two_writers_of_one_row_leave_an_unbroken_chain(items: Shop) -> None:
    started = threading.Barrier(2)

    def count() -> None:
        started.wait()
        for _ in range(25):
            with items.factory.begin() as session:
                session.execute(update(ITEM).where(ITEM.c.id == 1).values(n=ITEM.c.n + 1))

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(count), pool.submit(count)]:
            done.result()

    steps = items.steps()[2:]
    assert [(before["n"], after["n"]) for _, before, after in steps] == [(9 + n, 10 + n) for n in range(50)]


@pytest.mark.parametrize("action", ["update", "nothing"])
def test_an_upsert_that_meets_a_row_inserted_meanwhile_never_passes_it_off_as_its_own(items: Shop, action: str) -> None:
    put = insert(ITEM).values(id=50, kind="late")
    late = (
        put.on_conflict_do_nothing()
        if action == "nothing"
        else put.on_conflict_do_update(index_elements=["id"], set_={"kind": "late"})
    )

    def second() -> None:
        with items.factory.begin() as session:
            session.execute(late)

    with ThreadPoolExecutor() as pool:
        with items.factory.begin() as first:
            first.execute(insert(ITEM).values(id=50, kind="early"))
            waiting = pool.submit(second)
            wait_until(lambda: bool(items.query(WAITING)))
        with nullcontext() if action == "nothing" else pytest.raises(CaptureError, match="had just inserted"):
            waiting.result()
    second()

    found = [(event, after["kind"]) for event, _, after in items.steps()[2:]]
    assert found == [("INSERT", "early"), *([("UPDATE", "late")] if action == "update" else [])]


def test_a_writer_of_a_row_that_another_one_changed_meanwhile_records_what_was_there(items: Shop) -> None:
    with ThreadPoolExecutor() as pool, items.factory.begin() as first:
        first.execute(update(ITEM).where(ITEM.c.id == 1).values(code="first"))

        def second() -> None:
            with items.factory.begin() as session:
                session.execute(update(ITEM).where(ITEM.c.code.in_(["a", "first"])).values(n=100))

        waiting = pool.submit(second)
        first.commit()
        waiting.result()

    assert items.steps()[-1][1]["code"] == "first"


def test_repeatable_read_records_what_it_changes_and_fails_as_it_would_without_us(items: Shop) -> None:
    factory = sessionmaker(items.engine.execution_options(isolation_level="REPEATABLE READ"))
    auditcli.track(factory)

    with factory() as session:
        session.execute(select(ITEM)).all()
        with items.factory.begin() as other:
            other.execute(update(ITEM).where(ITEM.c.id == 1).values(n=10))
        session.execute(update(ITEM).where(ITEM.c.id == 2).values(n=20))
        with pytest.raises(DBAPIError, match="could not serialize"):
            session.execute(update(ITEM).where(ITEM.c.id == 1).values(n=11))
        session.rollback()
        session.execute(update(ITEM).where(ITEM.c.id == 2).values(n=21))
        session.commit()

    assert [
        (row, after["n"]) for (_, _, row), (_, _, after) in zip(items.events()[2:], items.steps()[2:], strict=True)
    ] == [
        ("1", 10),
        ("2", 21),
    ]


def test_rows_of_a_table_without_a_key_are_recorded_and_an_update_that_moves_them_is_refused(shop: Shop) -> None:
    with shop.factory.begin() as session:
        session.execute(insert(PLAIN), [{"a": "x", "n": 1}, {"a": "x", "n": 1}, {"a": "y", "n": 2}])
        session.execute(delete(PLAIN).where(PLAIN.c.a == "y"))
        with pytest.raises(UnrecordableWrite, match="plain has no key"):
            session.execute(update(PLAIN).where(PLAIN.c.a == "x").values(n=PLAIN.c.n + 1))

    assert [event[0] for event in shop.events()] == ["INSERT"] * 3 + ["DELETE"]


def test_a_row_that_moves_to_another_partition_is_recorded_under_the_root(shop: Shop) -> None:
    with shop.factory.begin() as session:
        session.execute(insert(PARTED), [{"id": 1}, {"id": 2}])
        session.execute(update(PARTED).where(PARTED.c.id == 1).values(id=150))
        session.execute(delete(PARTED).where(PARTED.c.id == 2))

    assert [change.old_row_id for change in shop.changes()] == [None, None, "1", None]
    assert {str(change.table) for change in shop.changes()} == {"parted"}


def test_a_write_to_a_partition_is_never_silently_missed(shop: Shop) -> None:
    with shop.factory() as session:
        with pytest.raises(UnrecordableWrite, match="low"):
            session.execute(insert(LOW).values(id=3))
        session.rollback()

    assert shop.query("SELECT * FROM parted") == []


def test_text_that_names_a_tracked_table_is_refused(items: Shop) -> None:
    for statement in (
        "WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone",
        'TRUNCATE public."item"',
        "COPY item FROM STDIN",
        "MERGE INTO item USING plain ON true WHEN MATCHED THEN DELETE",
        "/* x */ UPDATE ONLY item SET n = 1",
    ):
        with items.factory() as session, pytest.raises(UnrecordableWrite):
            session.execute(text(statement))


HIDDEN_WRITES = (
    "SELECT 1; UPDATE item SET n = 1",
    "CREATE TEMP TABLE more (n int); DELETE FROM item",
    "SELECT E'\\''; DELETE FROM item WHERE code <> 'x'",
    "SELECT $$it's$$; DELETE FROM item WHERE code <> 'x'",
    "/* a /* b */ ' */ DELETE FROM item WHERE code <> 'x'",
    "-- it's\rDELETE FROM item WHERE code <> 'x'",
    "SELECT ARRAY[']']; DELETE FROM item WHERE code <> '['",
    'DELETE FROM U&"\\0069tem"',
    "TRUNCATE plain, item",
    "EXPLAIN (ANALYZE) DELETE FROM item",
    "CREATE TABLE gone AS WITH d AS (DELETE FROM item RETURNING *) SELECT * FROM d",
    "PREPARE p AS DELETE FROM item",
    "DO $$ BEGIN EXECUTE 'DELETE FROM item'; END $$",
    "SET standard_conforming_strings = off",
)


def test_plain_sql_that_writes_to_a_partition_is_refused(items: Shop) -> None:
    items.write(
        "CREATE TABLE visit (day DATE PRIMARY KEY) PARTITION BY RANGE (day)",
        "CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    )

    with (
        items.factory.begin() as session,
        pytest.raises(UnrecordableWrite, match="plain SQL that writes to visit_2026"),
    ):
        session.execute(text("INSERT INTO visit_2026 VALUES ('2026-05-05')"))


@pytest.mark.parametrize("sql", HIDDEN_WRITES)
def test_a_write_that_text_hides_is_refused_before_it_runs(items: Shop, sql: str) -> None:
    with items.factory.begin() as session:
        if sql.startswith("SET"):
            define(session.connection(), sql)
            sql = "SELECT '\\''; DELETE FROM item WHERE code <> 'x'"
        with pytest.raises(UnrecordableWrite, match="plain SQL that writes to item"):
            define(session.connection(), sql)

    assert items.query("SELECT count(*) FROM item") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'it''s; DELETE FROM item', '\\', '; DELETE FROM item'",
        "SELECT $a$; DELETE FROM item $$ $a$, E'\\'; DELETE FROM item'",
        "SELECT 1 /* a /* b */ ; DELETE FROM item */ -- ; DELETE FROM item",
        "SELECT delete FROM (SELECT n AS delete FROM item) AS item FOR UPDATE",
        "EXPLAIN DELETE FROM item",
        "DELETE FROM more USING item WHERE more.n = item.n; SELECT count(*) FROM item",
        "CREATE RULE r AS ON INSERT TO more DO (DELETE FROM more; DELETE FROM item)",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM more; DELETE FROM item; END",
    ],
)
def test_text_that_only_speaks_of_a_write_passes(items: Shop, sql: str) -> None:
    with items.factory.begin() as session:
        define(session.connection(), "CREATE TEMP TABLE more (n int)")
        define(session.connection(), sql)

    assert items.events()[2:] == []


MEASURE = """CREATE TABLE measure (id int PRIMARY KEY, f float8, i interval, m timestamptz[], b bytea[], d date[],
  r tstzrange)"""
MEASURED = Table(
    "measure", MetaData(), Column("id", Integer, primary_key=True), *(Column(name, NullType) for name in "fimbdr")
)
MEASURES = {
    "f": "0.1::float8 + 0.2::float8",
    "i": "interval '1 year -1 day +1 hour'",
    "m": "ARRAY[timestamptz '2026-02-03 04:05:06+05:30']",
    "b": "ARRAY[decode('00ff5c27', 'hex')]",
    "d": "ARRAY[date '2026-02-03']",
    "r": "tstzrange('2026-02-03 04:05:06+05:30', NULL)",
}
BE_HOSTILE = "; ".join(f"PERFORM set_config('{name}', '{value}', false)" for name, value in HOSTILE.items())
TURNING = (
    f"CREATE FUNCTION turn() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {BE_HOSTILE}; RETURN 1; END $$",
    "CREATE FUNCTION turned() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM turn(); RETURN NEW; END $$",
)


def _write_measure(session: Session, key: int) -> None:
    values = {name: text(sql.replace(":", "\\:")) for name, sql in MEASURES.items()}
    session.execute(insert(MEASURED).values(id=key, **values))


def _set_config(session: Session) -> None:
    for name, value in HOSTILE.items():
        session.execute(select(func.set_config(name, value, False)))


def _set_in_passing(session: Session) -> None:
    session.execute(update(ITEM).where(ITEM.c.id == 1).values(n=select(func.turn()).scalar_subquery()))


def _roll_settings_back(session: Session) -> None:
    be_hostile(session.connection())
    with session.begin_nested() as savepoint:
        session.execute(text("RESET ALL"))
        _write_measure(session, 2)
        savepoint.rollback()


def _roll_settings_back_in_text(session: Session) -> None:
    be_hostile(session.connection())
    session.execute(text("SAVEPOINT a"))
    session.execute(text("RESET ALL"))
    _write_measure(session, 2)
    session.execute(text("ROLLBACK TO SAVEPOINT a"))


def _set_past_sqlalchemy(session: Session) -> None:
    session.connection().connection.cursor().execute("SELECT turn()")


TURNS: dict[str, Callable[[Session], Any]] = {
    "by a function of the system": _set_config,
    "by a function of a user": lambda session: session.scalar(select(func.turn())),
    "by a function in an update": _set_in_passing,
    "by the driver": _set_past_sqlalchemy,
    "by a savepoint's end": _roll_settings_back,
    "by a savepoint's end in plain text": _roll_settings_back_in_text,
    "in a block": lambda session: session.execute(text("DO $$ BEGIN PERFORM turn(); END $$")),
    "by the table's own trigger": lambda session: session.execute(
        text("CREATE TRIGGER turn BEFORE INSERT ON measure FOR EACH ROW EXECUTE FUNCTION turned()")
    ),
}


@pytest.mark.parametrize("how", TURNS)
def test_values_are_recorded_as_they_are_however_the_sessions_settings_came_to_be_others(items: Shop, how: str) -> None:
    items.write(MEASURE, *TURNING)

    with items.factory.begin() as session:
        _write_measure(session, 1)
        TURNS[how](session)
        _write_measure(session, 3)
        left = settings_of(session.connection())
        session.execute(update(MEASURED).where(MEASURED.c.id == 1).values(id=4))
        assert settings_of(session.connection()) == left

    assert "Asia/Kathmandu" in left
    images = [after for _, _, after in items.steps() if after and "r" in after]
    assert [image["id"] for image in images] == [1, 3, 4]
    assert images[0]["f"] == 0.30000000000000004
    assert [{**image, "id": 1} for image in images] == [images[0]] * 3
