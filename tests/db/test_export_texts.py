"""What is written of records without reading them is, byte for byte, what is written of changes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from auditcli import codec, imagetext
from auditcli.clock import utc_now
from auditcli.driver import define, dialect_of
from auditcli.export import Asked, ExportFormat, export_changes, export_log
from auditcli.log.reader import LogReader
from auditcli.model import Image, JsonValue
from tests.databases import scratch_url
from tests.db import test_mariadb_types, test_postgresql_types
from tests.db.logbook import Logbook
from tests.db.test_scripts import LOG, watch, write

pytestmark = pytest.mark.thorough

FORMATS = [ExportFormat.CSV, ExportFormat.TSV, ExportFormat.JSON, ExportFormat.JSONL]

ODD = [
    *("'x' || char(0, 13, 10, 9, 127, 8, 31, 9216) || 'é🎵'", "'it''s \\ \"odd\"'", "x'00ff27'", "x''", "''", "'foo,'"),
    *("CAST(x'c328' AS TEXT)", "-9223372036854775807 - 1", "9223372036854775807", "1", "1.0", "'1'", "0.1", "-0.0"),
    *("9e999", "-9e999", "1e300", "5e-324", "123456789.125", '\'{"$hex":"00"}\'', "'\":1.5,'", "',\"x\":2'"),
    *("'{'", "'$'", "printf('%.3000c', 'y')", "NULL"),
]


def assert_same(reader: LogReader) -> None:
    for format in FORMATS:
        fast, slow = io.StringIO(newline=""), io.StringIO(newline="")
        tally = export_log(reader, Asked(format), fast, now=utc_now())
        count = export_changes(reader.changes(), format, slow)
        ours, theirs = (stream.getvalue().splitlines(keepends=True) for stream in (fast, slow))
        assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == []
        assert tally.count == count > 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_of_every_type(kind: str, tmp_path: Path) -> None:
    columns_of: Mapping[str, list[tuple[str, str, Sequence[str]]]] = {
        "sqlite": [("t0", "", ODD), ("t1", "TEXT COLLATE NOCASE", ODD), ("t2", "REAL", ODD)],
        "postgresql": [(f"t{at}", *each) for at, each in enumerate(test_postgresql_types.TYPES.items())],
        "mariadb": [(f"t{at}", *each) for at, each in enumerate(test_mariadb_types.TYPES.values())],
    }
    definitions = (*(test_postgresql_types.DEFINITIONS if kind == "postgresql" else ()), "CREATE TABLE t (id INTEGER)")
    with scratch_url(kind, tmp_path) as url:
        engine = create_engine(url)
        made = [f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v {type_})" for table, type_, _ in columns_of[kind]]
        watch(engine, [*definitions, *made])
        with engine.begin() as connection:
            if dialect_of(connection).name == "mysql":
                define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
            for table, _, values in columns_of[kind]:
                for key, value in enumerate([*values, "NULL"]):
                    define(connection, f"INSERT INTO {table} VALUES ({key}, {value})")
        moved = (f"UPDATE {table} SET id = -id - 1 WHERE id % 2 = 0" for table, _, _ in columns_of[kind])
        write(engine, *moved, *(f"DELETE FROM {table} WHERE id < 3" for table, _, _ in columns_of[kind]))

        with engine.connect() as connection:
            assert_same(LogReader(connection, LOG))
        engine.dispose()


def test_of_rows_that_change_in_many_ways(any_engine: Engine) -> None:
    watch(
        any_engine, ["CREATE TABLE r (id INTEGER PRIMARY KEY, name VARCHAR(99), n NUMERIC(9, 2), d DOUBLE PRECISION)"]
    )
    random = Random(3)
    words = ["a", "foo,", "", '":1', "é", 'x,"y', "{", "'", "\\\\", "e-4"]
    for key in range(40):
        name = random.choice(words).replace("'", "''")
        write(any_engine, f"INSERT INTO r VALUES ({key}, '{name}', {key}.5, {random.random()})")
        write(any_engine, f"UPDATE r SET n = n + 1, name = {random.choice(['name', 'NULL'])} WHERE id = {key}")
    write(any_engine, "UPDATE r SET d = d * 1e9 WHERE id < 20")
    with any_engine.begin() as connection:
        define(connection, "ALTER TABLE r ADD COLUMN more VARCHAR(9)")
    write(any_engine, "UPDATE r SET id = id + 100, d = NULL WHERE id > 30", "UPDATE r SET more = 'x'")
    write(any_engine, "DELETE FROM r WHERE id % 3 = 0")

    with any_engine.connect() as connection:
        assert_same(LogReader(connection, LOG))


def test_of_images_that_others_wrote(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'log.db'}")
    book = Logbook.create(engine)
    images: list[dict[str, Any]] = [
        {"a": 1, "b": "x"},
        {"b": "x", "a": 1},
        {"a": 1.0},
        {"a": "foo,", 'b"': ","},
        {"$a": "{", "b": {"$hex": "00"}},
    ]
    images += [{"a": ["x", "y,"]}, {}, {"a\n,": '",', ",": ","}, {"long": "z" * 5000}, {"a": {"$float": "NaN"}}]
    with book.transaction(actor='a,"b"\n\0', reason='r,"', context={"k": [1.50, None]}):
        for before in images:
            for after in images:
                book.update("item", before, after, row_id="é,", old_row_id=None)
            book.insert("item", before, row_id=None)
            book.delete("item", before, row_id="long:" + "k" * 250)
            book.snapshot("item", before)

    with book.reader() as reader:
        assert_same(reader)
    engine.dispose()


@pytest.mark.parametrize("longest", [None, 4, 100, 1009])
def test_of_texts_that_the_database_joins(longest: int | None, tmp_path: Path) -> None:
    with scratch_url("mariadb", tmp_path) as url:
        engine = create_engine(url)
        book = Logbook.create(engine)
        for key, odd in enumerate(["a", "\x1e", "b\x1fc", "", "d\n", 'e"', "f"]):
            for actor in (None, odd) if longest is None else (None, "a"):
                with book.transaction(actor=actor, reason=odd, context={"k": odd}):
                    book.update("item", {"id": key, "v": odd}, {"id": key, "v": None}, row_id=odd)
                    book.insert("item", {"id": key, "v": odd}, row_id=None)

        with engine.connect() as connection:
            if longest is not None:
                define(connection, f"SET SESSION group_concat_max_len = {longest}")
            assert_same(LogReader(connection, LOG))
        engine.dispose()


def test_many_images_differ_as_single_ones_do() -> None:
    random = Random(5)
    values: list[JsonValue] = ["a", "foo,", "", "{", "},", "$", "x:", "é", 1, -1.5, None, True, {"$hex": "00"}]
    odd: list[JsonValue] = ['":', "\\", [1]]
    told = 0
    for _ in range(3000):
        names = random.sample(["a", "$b", "c,", "d:", "{e", "f"], random.randint(1, 4))
        few = random.sample(values + odd, 3)
        pairs: list[list[Image]] = [[{name: random.choice(few) for name in names} for _ in "12"] for _ in "123"]
        before, after = ([codec.dump(pair[at]) for pair in pairs] for at in (0, 1))
        if None in imagetext.all_spelled([*before, *after]):
            continue
        found, columns = imagetext.all_differing(before, after), imagetext.all_columns_of(before)
        told += found is not None
        assert found in (None, [codec.differing_columns(*pair) for pair in pairs])
        assert columns in (None, [tuple(names)] * 3)
    assert told > 300


def test_a_plain_record_takes_no_reading() -> None:
    before, after = '{"id":1,"name":"foo,","price":{"$decimal":"1.10"},"n":1}', '{"id":1,"name":"","price":null,"n":1}'

    assert imagetext.spelled(before) == before
    assert imagetext.differing(before.replace("foo,", "foo"), after) == ("name", "price")
    assert imagetext.differing(before, after) is None
    assert imagetext.columns_of(after) == ("id", "name", "price", "n")


def test_doubles_are_spelled_as_python_does() -> None:
    assert imagetext.spelled('{"a":1.5000000000000000e+00,"b":1e20,"c":0.00001,"d":7,"e":"1.50"}') == (
        '{"a":1.5,"b":1e+20,"c":1e-05,"d":7,"e":"1.50"}'
    )
