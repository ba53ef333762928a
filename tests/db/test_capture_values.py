"""Values of every type: an image holds what the database stores, bit for bit."""

from __future__ import annotations

import enum
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Engine,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    create_engine,
    delete,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import StaticPool

import auditcli
from auditcli import codec
from auditcli.codec import BrokenText
from auditcli.dialects import MARK, dialect_named
from auditcli.driver import driver_sql
from auditcli.model import JsonValue
from auditcli.shape import ColumnShape
from tests.db.recorded import Item, Store

SQLITE = dialect_named("sqlite")


class Colour(enum.Enum):
    """Stored by name."""

    RED = "r"
    GREEN = "g"


class Reversed(TypeDecorator[str]):
    """Text that stands backwards in the database."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value[::-1]


class Base(DeclarativeBase):
    """Tables of this file alone."""


class Everything(Base):
    """A column of each type that applications use."""

    __tablename__ = "everything"

    id: Mapped[str] = mapped_column(Reversed, primary_key=True)
    amount: Mapped[Decimal | None] = mapped_column(Numeric(20, 4))
    exact: Mapped[str | None] = mapped_column(String(40))
    ratio: Mapped[float | None] = mapped_column(Float)
    big: Mapped[int | None] = mapped_column(BigInteger)
    flag: Mapped[bool | None] = mapped_column(Boolean)
    day: Mapped[date | None] = mapped_column(Date)
    clock: Mapped[time | None] = mapped_column(Time)
    naive: Mapped[datetime | None] = mapped_column(DateTime)
    aware: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    span: Mapped[timedelta | None] = mapped_column(Interval)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    token: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour))
    document: Mapped[Any] = mapped_column(JSON, nullable=True)
    pickled: Mapped[Any] = mapped_column(PickleType, nullable=True)
    mirrored: Mapped[str | None] = mapped_column(Reversed)
    words: Mapped[str | None] = mapped_column(Text)


FULL: dict[str, Any] = {
    "amount": Decimal("12345.6789"),
    "exact": "1.10",
    "ratio": 0.1 + 0.2,
    "big": 2**63 - 1,
    "flag": True,
    "day": date(2026, 2, 28),
    "clock": time(23, 59, 59, 999_999),
    "naive": datetime(2026, 3, 29, 2, 30),
    "aware": datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    "span": timedelta(days=-3, microseconds=1),
    "raw": b"\x00\xff",
    "token": uuid.UUID(int=7),
    "colour": Colour.GREEN,
    "document": {"a": [1, None, "ü"]},
    "pickled": {"set": {1, 2}},
    "mirrored": "abc",
    "words": "NUL \0, emoji 🎵, quote ' and \" and \\ and \u2028",
}
EMPTY = dict.fromkeys(FULL)
LIMITS: dict[str, Any] = {
    "amount": Decimal("0.0001"),
    "ratio": float("-inf"),
    "big": -(2**63),
    "flag": False,
    "naive": datetime.min,
    "aware": datetime.max.replace(tzinfo=UTC),
    "span": timedelta(0),
    "raw": b"",
    "document": JSON.NULL,
    "words": "",
    "mirrored": "",
}


@pytest.fixture
def everything(store: Store) -> Store:
    """The table, tracked."""
    store.create(Base.metadata)
    store.track()
    return store


@pytest.mark.parametrize("values", [FULL, EMPTY, LIMITS], ids=["full", "empty", "limits"])
def test_models_of_every_type_are_recorded_as_they_are_stored(everything: Store, values: dict[str, Any]) -> None:
    with everything.factory.begin() as session:
        session.add(Everything(id="ab", **values))
    with everything.factory.begin() as session:
        session.execute(update(Everything).where(Everything.id == "ab").values(exact="changed"))
        [one] = session.scalars(select(Everything))
        one.id = "xy"
        session.flush()
        session.delete(one)

    events = [record[:2] for record in everything.records()]
    assert events == [
        ("INSERT", "everything/ba"),
        ("UPDATE", "everything/ba"),
        ("UPDATE", "everything/ba→yx"),
        ("DELETE", "everything/yx"),
    ]


def test_images_hold_stored_values_and_not_python_objects(everything: Store) -> None:
    with everything.factory.begin() as session:
        session.add(Everything(id="ab", **FULL))

    [(_, _, _, image)] = everything.records()
    assert image is not None
    assert {name: image[name] for name in ("amount", "flag", "day", "aware", "raw", "token", "colour", "mirrored")} == {
        "amount": 12345.6789,
        "flag": 1,
        "day": "2026-02-28",
        "aware": "2026-03-29 02:30:00.000000",
        "raw": {"$hex": "00ff"},
        "token": uuid.UUID(int=7).hex,
        "colour": "GREEN",
        "mirrored": "cba",
    }


def test_json_null_and_no_value_are_two_things(everything: Store) -> None:
    with everything.factory.begin() as session:
        session.add_all([Everything(id="1", document=JSON.NULL), Everything(id="2", document=null())])

    assert [after and after["document"] for _, _, _, after in everything.records()] == ["null", None]


def test_a_rounded_value_is_recorded_as_the_database_rounded_it(everything: Store) -> None:
    with everything.factory.begin() as session:
        session.add(Everything(id="a", amount=Decimal("1.00"), ratio=3, exact=5))

    [(_, _, _, image)] = everything.records()
    assert image is not None
    assert [(type(image[name]), image[name]) for name in ("amount", "ratio", "exact")] == [
        (int, 1),
        (float, 3.0),
        (str, "5"),
    ]


LOOSE = Table("loose", MetaData(), Column("id", Integer, primary_key=True), Column("v", Text), Column("n", Integer))

ODD_VALUES = [
    "x'00ff'",
    "''",
    "x''",
    "CAST(x'ff' AS TEXT)",
    "CAST(x'61ff00' AS TEXT)",
    "'a' || char(0) || 'b'",
    "'🎵'",
    "9223372036854775807",
    "1e999",
    "-1e999",
    "NULL",
    '\'{"$hex": "00"}\'',
]


@pytest.mark.parametrize("value", ODD_VALUES)
def test_values_that_do_not_fit_their_column_are_recorded(store: Store, value: str) -> None:
    store.create(LOOSE.metadata)
    store.track(store.engine)
    stored: Any = text(value)

    with store.engine.begin() as connection:
        connection.execute(insert(LOOSE).values(id=1, v=stored, n=stored))
        connection.execute(update(LOOSE).where(LOOSE.c.id == 1).values(n=7))
        connection.execute(update(LOOSE).where(LOOSE.c.n > 6).values(id=2))
        connection.execute(update(LOOSE).where(text("n > 6")).values(n=stored))
        connection.execute(delete(LOOSE))

    assert [record[:2] for record in store.records()] == [
        ("INSERT", "loose/1"),
        ("UPDATE", "loose/1"),
        ("UPDATE", "loose/1→2"),
        ("UPDATE", "loose/2"),
        ("DELETE", "loose/2"),
    ]


@pytest.mark.parametrize("value", ["x'ff'", "1.5", "'a' || char(0)"])
def test_odd_values_can_be_keys(store: Store, value: str) -> None:
    store.write("CREATE TABLE odd (k BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID")
    table = Table("odd", MetaData(), Column("k", Text, primary_key=True), Column("n", Integer))
    store.track(store.engine)
    key: Any = text(value)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(k=key, n=1))
        connection.execute(update(table).values(n=2))
        connection.execute(delete(table))

    assert [record[0] for record in store.records()] == ["INSERT", "UPDATE", "DELETE"]


def test_a_long_value_that_stayed_is_written_once(store: Store) -> None:
    store.create(LOOSE.metadata)
    store.track(store.engine)
    long = "ä" * 5000

    with store.engine.begin() as connection:
        connection.execute(insert(LOOSE).values(id=1, v=long))
        connection.execute(update(LOOSE).values(n=1))

    assert store.query("SELECT after FROM changelog ORDER BY id")[1] == ('{"id":1,"v":{"$same":true},"n":1}',)
    assert store.records()[1][3] == {"id": 1, "v": long, "n": 1}


def _is_broken(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


STORED_VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.binary(),
    st.binary(min_size=1).filter(_is_broken).map(BrokenText),
)
"""What SQLite can hold; it stores no NaN."""


@contextmanager
def _typeless() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.text_factory = lambda data: BrokenText(data) if _is_broken(data) else data.decode()
    try:
        connection.execute("CREATE TABLE t (v, k TEXT COLLATE NOCASE, n NUMERIC)")
        yield connection
    finally:
        connection.close()


def _stored(connection: sqlite3.Connection, column: str, value: JsonValue) -> JsonValue:
    """Put a value into a column and return what then stands there."""
    bound = SQLITE.bind(value, ColumnShape(column, ""))
    connection.execute("DELETE FROM t")
    connection.execute(f"INSERT INTO t ({column}) VALUES ({driver_sql(bound.sql, 'qmark')})", bound.values)
    [(stored,)] = connection.execute(f"SELECT {column} FROM t").fetchall()
    return codec.encode(stored)


@given(STORED_VALUES)
def test_a_stored_value_survives_image_text_and_the_way_back(value: object) -> None:
    image = {"v": codec.encode(value)}
    _, loaded = codec.load_images(None, codec.image_writer(("v",))((value,)))

    assert loaded is not None
    with _typeless() as connection:
        assert codec.same(_stored(connection, "v", loaded["v"]), image["v"])
    assert codec.same_image(loaded, image)


@given(STORED_VALUES, STORED_VALUES, st.sampled_from(["v", "k", "n"]))
def test_the_guard_of_a_value_matches_it_and_nothing_else(left: object, right: object, column: str) -> None:
    with _typeless() as connection:
        wanted = _stored(connection, column, codec.encode(left))
        stored = _stored(connection, column, codec.encode(right))
        guard = SQLITE.guard(ColumnShape(column, ""), wanted)
        own = SQLITE.guard(ColumnShape(column, ""), stored)

        assert _matches(connection, guard) == codec.same(_unsigned(wanted), _unsigned(stored))
        assert _matches(connection, own)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, "1"),
        ("a", b"a"),
        ("a", "A"),
        ("a", "a "),
        ("a", "a\0"),
        (0, 0.0),
        (None, ""),
        (None, 0),
        ("", b""),
        (2**53, 2**53 + 1),
        (float("inf"), 2**63 - 1),
        ("é", "e\u0301"),
        (BrokenText(b"\xff"), b"\xff"),
        (BrokenText(b"\xff"), "\ufffd"),
        (True, 1),
    ],
)
@pytest.mark.parametrize("column", ["v", "k", "n"])
def test_values_that_sqlite_calls_equal_are_told_apart(left: object, right: object, column: str) -> None:
    with _typeless() as connection:
        wanted = _stored(connection, column, codec.encode(left))
        stored = _stored(connection, column, codec.encode(right))

        assert _matches(connection, SQLITE.guard(ColumnShape(column, ""), wanted)) == codec.same(wanted, stored)


def _unsigned(value: JsonValue) -> JsonValue:
    """No SQL tells SQLite's zeros apart, and most columns store only one of them."""
    return 0.0 if value == 0 and isinstance(value, float) else value


def _matches(connection: sqlite3.Connection, guard: Any) -> bool:
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM t WHERE {driver_sql(guard.sql, 'qmark')}", guard.values
    ).fetchall()
    return bool(count)


@given(st.lists(st.tuples(STORED_VALUES, STORED_VALUES), min_size=1, max_size=4))
def test_records_of_any_values_hold_what_stands_in_the_table(rows: list[tuple[object, object]]) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    table = Table("loose", MetaData(), Column("id", Integer, primary_key=True), Column("v"), Column("n"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE loose (id INTEGER PRIMARY KEY, v, n NUMERIC)")
    auditcli.track(engine, create=True)

    with engine.begin() as connection:
        for key, (value, _) in enumerate(rows):
            connection.execute(insert(table).values(id=key, v=_expression(value)))
        for key, (_, value) in enumerate(rows):
            connection.execute(update(table).where(table.c.id == key).values(n=_expression(value)))

    raw = engine.raw_connection()
    raw.driver_connection.text_factory = lambda data: BrokenText(data) if _is_broken(data) else data.decode()  # type: ignore[union-attr]
    cursor = raw.cursor()
    cursor.execute("SELECT id, v, n FROM loose ORDER BY id")
    live = [dict(zip(("id", "v", "n"), map(codec.encode, row), strict=True)) for row in cursor.fetchall()]
    cursor.execute("SELECT row_id, before, after FROM changelog ORDER BY id")
    last = {row_id: codec.load_images(before, after)[1] for row_id, before, after in cursor.fetchall()}
    raw.close()
    engine.dispose()
    assert all(codec.same_image(last[str(image["id"])], image) for image in live)


def _expression(value: object) -> Any:
    """An expression that stores exactly this value, whatever the column's type would make of it."""
    bound = SQLITE.bind(codec.encode(value), ColumnShape("v", ""))
    statement = text(bound.sql.replace(MARK, ":value"))
    return statement.bindparams(value=bound.values[0]) if bound.values else statement


def test_a_masked_column_never_reaches_the_log_though_its_changes_do(engine: Engine) -> None:
    store = Store(engine, str(engine.url.database))
    store.create()
    store.track(mask_columns={"item": ("state",)})

    with store.factory.begin() as session:
        session.add(Item(id=1, name="a", state="secret"))
    with store.factory.begin() as session:
        session.get_one(Item, 1).state = "better"

    kept = store.query("SELECT event_type, before, after FROM changelog ORDER BY id")
    assert [event for event, _, _ in kept] == ["INSERT", "UPDATE"]
    assert "secret" not in str(kept)
    assert "better" not in str(kept)
