"""Every type of MariaDB comes back exactly, in both ways of capture, whatever the writer's session has set."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, text
from sqlalchemy import insert as core_insert
from sqlalchemy.types import NullType

import auditcli
from auditcli.driver import define, run
from auditcli.log.schema import read_shapes
from auditcli.model import TableName
from auditcli.rows import RowReader
from auditcli.shape import TableShape
from tests.db.mariadb import HOSTILE, MARIADB, scratch_engine
from tests.db.watched import Watched

TYPES: dict[str, tuple[str, list[str]]] = {
    "tinyint": ("TINYINT", ["-128", "127", "0"]),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "unsigned": ("BIGINT UNSIGNED", ["18446744073709551615", "9007199254740993"]),
    "zerofill": ("INT(8) ZEROFILL", ["42", "0"]),
    "decimal": (
        "DECIMAL(65,30)",
        ["12345678901234567890123456789012345.123456789012345678901234567890", "-0.1", "1.10"],
    ),
    "float": ("FLOAT", ["0.1", "-0e0", "1e-45", "3.4028234e38", "16777217"]),
    "double": (
        "DOUBLE",
        ["0.1", "0.1e0 + 0.2e0", "-0e0", "0e0", "5e-324", "1.7976931348623157e308", "5", "1e20", "-1e-7"],
    ),
    "double with digits": ("DOUBLE(10,2)", ["1.1", "-3"]),
    "bit": ("BIT(64)", ["0xFFFFFFFFFFFFFFFF", "0", "5"]),
    "boolean": ("BOOLEAN", ["TRUE", "FALSE"]),
    "binary": ("BINARY(4)", ["x'61'", "x'00ff00ff'"]),
    "varbinary": ("VARBINARY(20)", ["x''", "x'00ff'", "x'225c27'"]),
    "blob": ("LONGBLOB", ["x'00'", "REPEAT(x'ff', 5000)"]),
    "char": ("CHAR(5)", ["'a'", "'a  '", "' a'", "''"]),
    "varchar": ("VARCHAR(20)", ["'a'", "'A'", "'a '", "'null'", "''", '\'{"$hex": "00"}\'']),
    "latin1": ("VARCHAR(20) CHARACTER SET latin1", ["CONVERT(x'e9' USING latin1)"]),
    "text": ("TEXT", ["CONVERT(x'610062' USING utf8mb4)", "CONVERT(x'f09f8eb5225c2f0a01' USING utf8mb4)"]),
    "long text": ("LONGTEXT", ["REPEAT('é', 5000)"]),
    "json": ("JSON", ['\'{"a": 1,  "a": 2}\'', "'null'", "'[1.0, 1.00]'"]),
    "enum": ("ENUM('a','b','')", ["'a'", "'b'", "''"]),
    "set": ("SET('x','y')", ["'x,y'", "''", "'y'"]),
    "date": ("DATE", ["'2024-02-29'", "'0000-00-00'", "'2024-00-00'", "'9999-12-31'"]),
    "time": ("TIME(6)", ["'-838:59:59.999999'", "'00:00:00'", "'12:34:56.000001'"]),
    "datetime": ("DATETIME(6)", ["'1000-01-01 00:00:00'", "'2024-01-02 03:04:05.678901'", "'0000-00-00 00:00:00'"]),
    "datetime of seconds": ("DATETIME", ["'2024-01-02 03:04:05'"]),
    "timestamp": (
        "TIMESTAMP(6) NULL",
        ["'2024-06-01 12:00:00.5'", "'1970-01-02 00:00:00'", "FROM_UNIXTIME(1729990800.25)"],
    ),
    "zero timestamp": ("TIMESTAMP NULL", ["'0000-00-00 00:00:00'", "'2038-01-18 00:00:00'"]),
    "year": ("YEAR", ["2024", "1901"]),
    "point": ("POINT", ["ST_GeomFromText('POINT(1.5 -2)', 4326)", "ST_GeomFromText('POINT(0 0)')"]),
    "inet6": ("INET6", ["'::1'", "'2001:db8::ff00:42:8329'"]),
    "uuid": ("UUID", ["'123e4567-e89b-12d3-a456-426614174000'"]),
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


def _live(engine: Engine) -> dict[int, Any]:
    with engine.connect() as connection:
        reader = RowReader(connection, MARIADB)
        return {int(str(row.image["id"])): row.image["v"] for row in reader.page(_shape(connection), None, 1000)}


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
@pytest.mark.parametrize("name", TYPES)
def test_a_value_is_recorded_exactly_under_hostile_settings(engine: Engine, name: str, mode: str) -> None:
    kind, values = TYPES[name]
    watched = Watched(engine, f"CREATE TABLE item (id INT PRIMARY KEY, v {kind})", triggers=mode == "triggers")
    table = Table("item", MetaData(), Column("id", Integer, primary_key=True), Column("v", NullType()))
    auditcli.track(engine)

    with engine.begin() as connection:
        _be_hostile(connection)
        # Some of the values are not strictly valid, as old tables have them.
        define(connection, "SET SESSION sql_mode = REPLACE(@@sql_mode, 'STRICT_ALL_TABLES', 'ALLOW_INVALID_DATES')")
        for key, value in enumerate([*values, "NULL"]):
            connection.execute(core_insert(table).values(id=key, v=text(value.replace(":", r"\:"))))
        connection.execute(table.update().values(id=table.c.id + 100))
        connection.execute(table.delete().where(table.c.id == 100))

    watched.check()
    live = _live(engine)
    recorded = {change.after["id"]: change.after["v"] for change in watched.changes() if change.after is not None}
    assert {key: value for key, value in recorded.items() if key in live} == live
    assert recorded[100 + len(values)] is None
    assert {change.source.value for change in watched.changes()} == {mode.removesuffix("s")}


@pytest.mark.parametrize("name", TYPES)
def test_a_value_goes_back_as_it_was_and_its_guard_knows_it_from_all_others(engine: Engine, name: str) -> None:
    kind, values = TYPES[name]
    watched = Watched(engine, f"CREATE TABLE item (id INT PRIMARY KEY, v {kind}, n INT)")
    with engine.begin() as connection:
        define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        for key, value in enumerate([*values, "NULL"]):
            define(connection, f"INSERT INTO item VALUES ({key}, {value}, 0)")
    live = _live(engine)

    with engine.begin() as connection:
        define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        column = _shape(connection).known_column("v")
        for key, value in live.items():
            bound = MARIADB.bind(value, column)
            run(connection, f"INSERT INTO item VALUES ({key + 100}, {bound.sql}, 1)", bound.values)
            guard = MARIADB.guard(column, value)
            found = run(connection, f"SELECT id FROM item WHERE n = 0 AND {guard.sql}", guard.values).scalars().all()
            assert set(found) == {other for other, held in live.items() if held == value and same_sign(held, value)}

    copied = _live(engine)
    assert {key: copied[key + 100] for key in live} == live
    stored = watched.query("SELECT COUNT(*) FROM item a JOIN item b ON b.id = a.id + 100 AND HEX(a.v) <=> HEX(b.v)")
    assert stored == [(len(live),)]


def same_sign(left: Any, right: Any) -> bool:
    """Whether two values are not the two zeros."""
    if not (isinstance(left, float) and isinstance(right, float)):
        return True
    return math.copysign(1, left) == math.copysign(1, right)


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
