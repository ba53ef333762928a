"""Changes as plain statements: run by the database's own client they do what was done again, or take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from auditcli.clock import utc_now
from auditcli.diff import diff
from auditcli.driver import define, dialect_of
from auditcli.log.positions import window
from auditcli.log.reader import LogReader
from auditcli.patch import Patch
from tests.clients import run_script
from tests.databases import scratch_url
from tests.db import test_mariadb_types, test_postgresql_types
from tests.db.test_scripts import LOG, SHOP, TREE, contents, last_id, verified, watch, write

pytestmark = pytest.mark.thorough

MOVING = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(20))",
    """CREATE TABLE child (id INTEGER PRIMARY KEY, up INTEGER, label VARCHAR(20),
      FOREIGN KEY (up) REFERENCES parent (id) ON UPDATE CASCADE ON DELETE CASCADE)""",
    "INSERT INTO parent VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO child VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z')",
)

STORY = (
    ["UPDATE orders SET total = total * 100, status = 'it''s \\ odd'", "DELETE FROM customer WHERE id = 2"],
    ["INSERT INTO customer (id, name) VALUES (9, 'Zoe')", "INSERT INTO orders VALUES (9, 9, NULL, 'new')"],
    ["UPDATE customer SET name = NULL WHERE id = 1", "DELETE FROM orders WHERE id = 1"],
    ["UPDATE parent SET id = 10 WHERE id = 1"],
    ["INSERT INTO parent VALUES (3, 'c')", "UPDATE child SET up = 3 WHERE id = 1"],
    ["DELETE FROM parent WHERE id = 10"],
    ["UPDATE child SET label = 'odd'"],
    ["INSERT INTO node VALUES (2, 1)", "INSERT INTO node VALUES (3, 2)", "INSERT INTO node VALUES (4, 4)"],
    ["DELETE FROM node WHERE id = 2"],
)


def changes_script(engine: Engine, since: int, until: int, *, inverted: bool) -> str:
    with engine.connect() as connection:
        reader = LogReader(connection, LOG)
        changes = reader.changes(window=window(reader, since, until), newest_first=inverted)
        return "".join(f"{line}\n" for line in Patch(reader).of_changes(changes, inverted=inverted, now=utc_now()))


def diff_script(engine: Engine, since: int, until: int, *, inverted: bool) -> str:
    with engine.connect() as connection:
        reader = LogReader(connection, LOG)
        changes = (each.change for each in diff(reader, window=window(reader, since, until)))
        return "".join(f"{line}\n" for line in Patch(reader).of_net_changes(changes, inverted=inverted, now=utc_now()))


def ran_well(engine: Engine, script: str) -> None:
    ran = run_script(engine.url, script)
    assert (ran.returncode, ran.stderr) == (0, ""), script


@pytest.mark.parametrize("make", [changes_script, diff_script])
def test_what_was_done_is_taken_back_and_done_again(any_engine: Engine, make) -> None:
    start = watch(any_engine, [*SHOP, *MOVING, *TREE])
    since = last_id(any_engine)
    for statements in STORY:
        write(any_engine, *statements)
    end, until = contents(any_engine), last_id(any_engine)
    assert end != start

    ran_well(any_engine, make(any_engine, since, until, inverted=True))
    taken_back = contents(any_engine)
    ran_well(any_engine, make(any_engine, since, until, inverted=False))

    assert taken_back == start
    assert contents(any_engine) == end
    assert verified(any_engine)


def test_one_of_equal_rows_without_a_key_goes_and_comes(any_engine: Engine) -> None:
    start = watch(
        any_engine,
        ["CREATE TABLE pair (a INTEGER, b VARCHAR(9))", "INSERT INTO pair VALUES (1, 'x'), (2, 'y'), (2, 'y')"],
    )
    since = last_id(any_engine)
    write(any_engine, "INSERT INTO pair VALUES (1, 'x')")
    write(any_engine, "UPDATE pair SET b = 'z' WHERE a = 2")
    end, until = contents(any_engine), last_id(any_engine)

    ran_well(any_engine, changes_script(any_engine, since, until, inverted=True))
    taken_back = contents(any_engine)
    ran_well(any_engine, changes_script(any_engine, since, until, inverted=False))

    assert taken_back == start
    assert contents(any_engine) == end


def test_a_script_that_fails_leaves_all_as_it_was(any_engine: Engine) -> None:
    watch(any_engine, SHOP)
    since = last_id(any_engine)
    write(any_engine, "UPDATE orders SET total = 0", "INSERT INTO customer (id, name) VALUES (9, 'Zoe')")
    until = last_id(any_engine)
    before = contents(any_engine)

    ran = run_script(any_engine.url, changes_script(any_engine, since, until, inverted=False))

    assert ran.returncode != 0
    assert contents(any_engine) == before


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_every_value_goes_and_comes_back(kind: str, tmp_path: Path) -> None:
    odd = ["'x' || char(0, 13, 10, 9, 127, 9216) || 'é🎵'", "x'00ff27'", "CAST(x'c328' AS TEXT)", "1.0", "0.1", "9e999"]
    columns_of: Mapping[str, list[tuple[str, str, Sequence[str]]]] = {
        "sqlite": [("t0", "", odd), ("t1", "TEXT COLLATE NOCASE", odd)],
        "postgresql": [(f"t{at}", *each) for at, each in enumerate(test_postgresql_types.TYPES.items())],
        "mariadb": [(f"t{at}", *each) for at, each in enumerate(test_mariadb_types.TYPES.values())],
    }
    columns = columns_of[kind]
    definitions = (*(test_postgresql_types.DEFINITIONS if kind == "postgresql" else ()), "CREATE TABLE t (id INTEGER)")
    with scratch_url(kind, tmp_path) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            if dialect_of(connection).name == "mysql":
                define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
            for statement in definitions:
                define(connection, statement)
            for table, type_, values in columns:
                define(connection, f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v {type_})")
                for key, value in enumerate([*values, "NULL"]):
                    define(connection, f"INSERT INTO {table} VALUES ({key}, {value})")
        start = watch(engine, ())
        since = last_id(engine)
        write(engine, *(f"DELETE FROM {table} WHERE id < 1000" for table, _, _ in columns))
        until = last_id(engine)

        ran_well(engine, changes_script(engine, since, until, inverted=True))
        taken_back = contents(engine)
        ran_well(engine, changes_script(engine, since, until, inverted=False))

        assert taken_back == start
        assert not any(contents(engine).values())
        engine.dispose()
