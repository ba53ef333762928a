"""Every type of MariaDB comes back exactly, in both ways of capture, whatever the writer's session has set."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, text, update
from sqlalchemy import insert as core_insert

import auditcli
from auditcli.apply import apply_plan
from auditcli.driver import define, run
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image, TableName
from auditcli.plan import ConflictKind
from auditcli.rows import RowReader
from auditcli.shape import TableShape
from auditcli.undo import plan_undo
from tests.db.mariadb import HOSTILE, MARIADB, scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

MEMBERS = ", ".join(f"'m{place}'" for place in range(64))

TYPES: dict[str, tuple[str, list[str]]] = {
    "tinyint": ("TINYINT", ["-128", "127", "0"]),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "unsigned": ("BIGINT UNSIGNED", ["18446744073709551615", "9007199254740993"]),
    "zerofill": ("INT(8) ZEROFILL", ["42", "0"]),
    "decimal": (
        "DECIMAL(65,30)",
        [
            "12345678901234567890123456789012345.123456789012345678901234567890",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "-0.1",
            "1.10",
        ],
    ),
    "float": ("FLOAT", ["0.1", "-0e0", "1e-45", "3.4028234e38", "16777217"]),
    "double": (
        "DOUBLE",
        ["0.1", "0.1e0 + 0.2e0", "-0e0", "0e0", "5e-324", "1.7976931348623157e308", "5", "1e20", "-1e-7"],
    ),
    "double with digits": ("DOUBLE(10,2)", ["1.1", "-3"]),
    "bit": ("BIT(64)", ["0xFFFFFFFFFFFFFFFF", "0", "5", "0x8000000000000000"]),
    "one bit": ("BIT(1)", ["b'0'", "b'1'"]),
    "boolean": ("BOOLEAN", ["TRUE", "FALSE"]),
    "binary": ("BINARY(4)", ["x'61'", "x'00ff00ff'"]),
    "varbinary": ("VARBINARY(20)", ["x''", "x'00ff'", "x'225c27'"]),
    "blob": ("LONGBLOB", ["x'00'", "REPEAT(x'ff', 5000)"]),
    "char": ("CHAR(5)", ["'a'", "'a  '", "' a'", "''"]),
    "varchar": ("VARCHAR(20)", ["'a'", "'A'", "'a '", "'null'", "''", '\'{"$hex": "00"}\'']),
    "latin1": (
        "VARCHAR(20) CHARACTER SET latin1",
        ["_latin1 x'e9'", "_latin1 x'808d9fff'", "_latin1 x'81'", "_latin1 x'00ff'"],
    ),
    "ucs2": ("VARCHAR(20) CHARACTER SET ucs2", ["_ucs2 x'0061ffff'", "_ucs2 x'0000'", "_ucs2 x'00e90020'"]),
    "utf16": ("VARCHAR(20) CHARACTER SET utf16", ["_utf16 x'0061d83cdfb5'", "_utf16 x'ffff0000'"]),
    "utf32": ("CHAR(20) CHARACTER SET utf32", ["_utf32 x'000000610001f3b5'", "_utf32 x'0010ffff'"]),
    "text": ("TEXT", ["CONVERT(x'610062' USING utf8mb4)", "CONVERT(x'f09f8eb5225c2f0a01' USING utf8mb4)"]),
    "long text": ("LONGTEXT", ["REPEAT('é', 5000)"]),
    "json": ("JSON", ['\'{"a": 1,  "a": 2}\'', "'null'", "'[1.0, 1.00]'"]),
    "enum": ("ENUM('a','b','')", ["'a'", "'b'", "''", "'what'"]),
    "enum of numbers": ("ENUM('1','0')", ["'1'", "'0'", "'what'"]),
    "set": ("SET('x','y')", ["'x,y'", "''", "'y'"]),
    "set with an empty member": (
        f"SET({MEMBERS.replace('m63', '')})",
        ["0", "1", "9223372036854775808", "9223372036854775809", "18446744073709551615"],
    ),
    "set of many": (f"SET({MEMBERS})", ["'m0'", "'m63'", "''", "18446744073709551615", "9223372036854775809"]),
    "date": ("DATE", ["'2024-02-29'", "'0000-00-00'", "'2024-00-00'", "'9999-12-31'", "'2024-02-31'", "'0000-01-01'"]),
    "time": (
        "TIME(6)",
        ["'-838:59:59.999999'", "'838:59:59.999999'", "'00:00:00'", "'12:34:56.000001'", "'-00:00:01'"],
    ),
    "datetime": (
        "DATETIME(6)",
        [
            "'1000-01-01 00:00:00'",
            "'2024-01-02 03:04:05.678901'",
            "'0000-00-00 00:00:00'",
            "'2024-00-00 01:02:03'",
            "'2024-04-31 00:00:00'",
        ],
    ),
    "datetime of seconds": ("DATETIME", ["'2024-01-02 03:04:05'"]),
    "timestamp": (
        "TIMESTAMP(6) NULL",
        ["'2024-06-01 12:00:00.5'", "'1970-01-02 00:00:00'", "FROM_UNIXTIME(1729990800.25)"],
    ),
    "zero timestamp": ("TIMESTAMP NULL", ["'0000-00-00 00:00:00'", "'2038-01-18 00:00:00'"]),
    "year": ("YEAR", ["2024", "1901", "0", "2155"]),
    "point": ("POINT", ["ST_GeomFromText('POINT(1.5 -2)', 4326)", "ST_GeomFromText('POINT(0 0)')"]),
    "geometries": (
        "GEOMETRYCOLLECTION",
        [
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1.5 1))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')",
        ],
    ),
    "inet4": ("INET4", ["'0.0.0.0'", "'255.255.255.255'"]),
    "inet6": ("INET6", ["'::1'", "'2001:db8::ff00:42:8329'", "'::'", "'::ffff:1.2.3.4'"]),
    "uuid": ("UUID", ["'123e4567-e89b-12d3-a456-426614174000'", "'00000000-0000-0000-0000-000000000000'"]),
}
"""By name: a column's type, and values as SQL."""

ITEM = TableName("item")


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


def _be_hostile(connection: Connection) -> None:
    for name, value in HOSTILE.items():
        define(connection, f"SET SESSION {name} = {value}")


def _shape(connection: Connection) -> TableShape:
    return read_shapes(connection, MARIADB).tables[ITEM]


def _live(engine: Engine) -> dict[int, Image]:
    with engine.connect() as connection:
        reader = RowReader(connection, MARIADB)
        return {int(str(row.image["id"])): row.image for row in reader.page(_shape(connection), None, 1000)}


def _rows() -> Iterator[dict[str, str]]:
    """Each type's values, one after another, as columns of rows; where it has no more, NULL."""
    return (
        {name: values[place] if values[place:] else "NULL" for name, (_, values) in TYPES.items()}
        for place in range(1 + max(len(values) for _, values in TYPES.values()))
    )


def _table(engine: Engine, mode: str) -> tuple[Watched, Table]:
    """A table with a column of each type, captured in one way."""
    kinds = ", ".join(f"`{name}` {kind}" for name, (kind, _) in TYPES.items())
    watched = Watched(engine, f"CREATE TABLE item (id INT PRIMARY KEY, {kinds})", triggers=mode == "triggers")
    auditcli.track(engine)
    return watched, Table("item", MetaData(), Column("id", Integer, primary_key=True), *map(Column, TYPES))


def _insert(connection: Connection, item: Table, key: int, row: Mapping[str, str]) -> None:
    values = {name: text(value.replace(":", r"\:")) for name, value in row.items()}
    connection.execute(core_insert(item).values(id=key, **values))


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_a_value_is_recorded_exactly_under_hostile_settings(engine: Engine, mode: str) -> None:
    watched, item = _table(engine, mode)

    with engine.begin() as connection:
        _be_hostile(connection)
        # Some of the values are not strictly valid, as old tables have them.
        define(connection, "SET SESSION sql_mode = REPLACE(@@sql_mode, 'STRICT_ALL_TABLES', 'ALLOW_INVALID_DATES')")
        for key, row in enumerate(_rows()):
            _insert(connection, item, key, row)
        connection.execute(item.update().values(id=item.c.id + 100))
        connection.execute(item.delete().where(item.c.id == 100))

    watched.check()
    live = _live(engine)
    recorded = {change.after["id"]: change.after for change in watched.changes() if change.after is not None}
    assert {key: image for key, image in recorded.items() if key in live} == live
    assert set(recorded[max(live)].values()) == {max(live), None}
    assert {change.source.value for change in watched.changes()} == {mode.removesuffix("s")}


def test_a_value_goes_back_as_it_was_and_its_guard_knows_it_from_all_others(engine: Engine) -> None:
    watched, item = _table(engine, "triggers")
    with engine.begin() as connection:
        define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        for key, row in enumerate(_rows()):
            _insert(connection, item, key, row)
    live = _live(engine)

    with engine.begin() as connection:
        define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        shape = _shape(connection)
        for key, image in live.items():
            bound = [MARIADB.bind(image[name], shape.known_column(name)) for name in TYPES]
            values = [value for fragment in bound for value in fragment.values]
            run(connection, f"INSERT INTO item VALUES ({key + 100}, {', '.join(each.sql for each in bound)})", values)
        for name in TYPES:
            for image in live.values():
                guard = MARIADB.guard(shape.known_column(name), image[name])
                found = run(connection, f"SELECT id FROM item WHERE id < 100 AND {guard.sql}", guard.values).scalars()
                alike = {key for key, other in live.items() if _are_alike(other[name], image[name])}
                assert set(found) == alike, (name, image[name])

    copied = _live(engine)
    assert {key: {**copied[key + 100], "id": key} for key in live} == live
    for name in TYPES:
        same = f"a.id = b.id - 100 AND HEX(a.`{name}`) <=> HEX(b.`{name}`)"
        assert watched.query(f"SELECT COUNT(*) FROM item a JOIN item b ON {same}") == [(len(live),)], name


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_an_undo_puts_values_of_every_type_back_as_they_were(engine: Engine, mode: str) -> None:
    watched, item = _table(engine, mode)
    with engine.begin() as connection:
        define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        for key, row in enumerate(_rows()):
            _insert(connection, item, key, row)
            _insert(connection, item, key + 100, row)
        define(connection, "SET SESSION sql_mode = DEFAULT")
    stored = _stored(watched)
    with engine.begin() as connection:
        connection.execute(item.update().where(item.c.id < 100).values(dict.fromkeys(TYPES)))
        connection.execute(item.delete().where(item.c.id >= 100))

    first, last = dict.fromkeys(str(change.transaction_id) for change in watched.changes())
    _undo(engine, last)
    assert _stored(watched) == stored
    watched.check()

    _undo(engine, first)
    assert _stored(watched) == []
    watched.check()


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
@pytest.mark.parametrize(
    ("kind", "numbers", "images"),
    [("ENUM('a','')", [1, 2, 0], ["a", "", 0]), ("SET('a','')", [1, 2, 0], [1, 2, 0])],
    ids=["the error value of an ENUM", "the empty member of a SET"],
)
def test_values_that_are_shown_alike_are_told_apart(
    engine: Engine, kind: str, numbers: list[int], images: list[Any], mode: str
) -> None:
    watched = Watched(engine, f"CREATE TABLE item (id INT PRIMARY KEY, v {kind})", triggers=mode == "triggers")
    item = watched.table("item")
    auditcli.track(engine)
    for number in numbers:
        with engine.begin() as connection:
            define(connection, "SET SESSION sql_mode = ''")
            statement = update(item) if watched.changes() else core_insert(item).values(id=1)
            connection.execute(statement.values(v=text(str(number))))
            define(connection, "SET SESSION sql_mode = DEFAULT")

    first, second, third = watched.changes()
    with engine.connect() as connection:
        [conflict] = plan_undo(connection, log_tables(), ids=[second.id]).conflicts
    _undo(engine, str(third.transaction_id))

    assert [(change.after or {})["v"] for change in (first, second, third)] == images
    assert conflict.kind is ConflictKind.CHANGED
    assert watched.query("SELECT v + 0 FROM item") == [(2,)]
    watched.check()


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_an_undo_finds_rows_whose_key_is_zero_and_dates_that_are_none(engine: Engine, mode: str) -> None:
    watched = Watched(
        engine, "CREATE TABLE item (id INT PRIMARY KEY AUTO_INCREMENT, d DATE)", triggers=mode == "triggers"
    )
    item = watched.table("item")
    auditcli.track(engine)
    with engine.begin() as connection:
        connection.execute(core_insert(item).values(id=7, d=text("'0000-00-00'")))
        connection.execute(update(item).values(id=0))
    with engine.begin() as connection:
        connection.execute(item.delete())

    strict = create_engine(engine.url, connect_args={"sql_mode": "TRADITIONAL"})
    _undo(strict, str(watched.changes()[-1].transaction_id))
    with strict.connect() as connection:
        mode_after = connection.exec_driver_sql("SELECT @@sql_mode").scalar_one()
    strict.dispose()

    assert watched.query("SELECT id, CONCAT(d) FROM item") == [(0, "0000-00-00")]
    assert "TRADITIONAL" in mode_after
    watched.check()


def _undo(engine: Engine, transaction: str) -> None:
    with engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), transaction=transaction)
    assert plan.conflicts == ()
    apply_plan(engine, plan)


def _stored(watched: Watched) -> list[tuple[Any, ...]]:
    """What the table holds, in the database's own words; where words are not enough, as numbers."""
    as_number = {"ENUM": "+ 0", "SET": "+ 0", "FLOAT": "* 1e0", "DOUBLE": "* 1e0"}
    values = [
        f"`{name}` {as_number[word]}" if (word := kind.partition("(")[0]) in as_number else f"HEX(CONCAT(`{name}`))"
        for name, (kind, _) in TYPES.items()
    ]
    return watched.query(f"SELECT id, {', '.join(values)} FROM item ORDER BY id")


def _are_alike(left: Any, right: Any) -> bool:
    """Whether two values are one to a guard, which tells the two zeros apart."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@pytest.mark.parametrize(("kind", "code"), [("DOUBLE", "<d"), ("FLOAT", "<f")])
def test_random_numbers_are_recorded_to_the_last_bit(engine: Engine, kind: str, code: str) -> None:
    chance = random.Random(5)
    size = struct.calcsize(code)
    numbers = [
        number
        for number in (struct.unpack(code, chance.randbytes(size))[0] for _ in range(2000))
        if math.isfinite(number)
    ]
    watched = Watched(engine, f"CREATE TABLE item (id INT PRIMARY KEY, v {kind})")

    with engine.begin() as connection:
        for key, number in enumerate(numbers):
            connection.exec_driver_sql("INSERT INTO item VALUES (%s, CAST(%s AS DOUBLE))", (key, repr(number)))

    recorded = [change.after["v"] for change in watched.changes() if change.after is not None]
    assert len(recorded) == len(numbers)
    wrong = [(a, b) for a, b in zip(numbers, recorded, strict=True) if struct.pack("<d", a) != struct.pack("<d", b)]
    assert wrong == []
