"""Whatever statements a client runs on MariaDB, folding what the triggers recorded gives the rows that are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli.driver import define
from auditcli.log.schema import read_shapes
from auditcli.model import TableName
from tests.db.mariadb import MARIADB, scratch_engine
from tests.db.twins import Twins
from tests.db.watched import Watched
from tests.soak import soaking

pytestmark = pytest.mark.thorough

TABLES = (
    "CREATE TABLE a (id INT PRIMARY KEY, u VARCHAR(50) UNIQUE, v TEXT)",
    "CREATE TABLE b (k INT, j VARCHAR(50), v TEXT, PRIMARY KEY (j, k))",
    """CREATE TABLE e (id INT PRIMARY KEY, a_id INT, u VARCHAR(50),
    FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (u) REFERENCES a (u) ON DELETE SET NULL ON UPDATE CASCADE)""",
    """CREATE TABLE f (id INT PRIMARY KEY, up INT, v TEXT,
    FOREIGN KEY (up) REFERENCES f (id) ON DELETE CASCADE)""",
    """CREATE TABLE h (id INT PRIMARY KEY, e_id INT,
    FOREIGN KEY (e_id) REFERENCES e (id) ON DELETE SET NULL ON UPDATE CASCADE)""",
    """CREATE TABLE n (a_id INT PRIMARY KEY, v TEXT,
    FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE)""",
    """CREATE TABLE m (id INT PRIMARY KEY, n_id INT, a_id INT, u VARCHAR(50),
    FOREIGN KEY (n_id) REFERENCES n (a_id) ON DELETE SET NULL ON UPDATE CASCADE,
    FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (u) REFERENCES a (u) ON DELETE SET NULL ON UPDATE SET NULL)""",
    "CREATE TABLE p (id INT PRIMARY KEY, v TEXT, w TEXT AS (UPPER(v)) STORED)",
)
COLUMNS = {
    "a": "id u v",
    "b": "k j v",
    "e": "id a_id u",
    "f": "id up v",
    "h": "id e_id",
    "m": "id n_id a_id u",
    "n": "a_id v",
    "p": "id v",
}
NUMBERS = {"id", "k", "a_id", "up", "e_id", "n_id"}
KINDS = (
    *["insert"] * 4,
    *["update", "update", "updates", "updates"],
    *["delete", "delete", "upsert", "upsert", "ignore", "replace", "move", "joined"],
)
FAMILY = [
    "INSERT INTO a VALUES (1, 'x', ''), (2, 'y', '')",
    "INSERT INTO n VALUES (1, ''), (2, '')",
    "INSERT INTO e VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 1, 'y')",
    "INSERT INTO h VALUES (1, 1), (2, 1), (3, 3)",
    "INSERT INTO m VALUES (1, 1, 1, 'x'), (2, 1, 2, 'x'), (3, 2, 1, 'y')",
    "INSERT INTO f VALUES (1, NULL, ''), (2, 1, ''), (3, 2, '')",
]
"""Rows that refer to each other, to begin with."""
NUMBER = st.sampled_from(["1", "2", "3", "4", "1", "2", "NULL"])
TEXT = st.sampled_from(["'x'", "'X'", "'y'", "''", "NULL", "'x '", "REPEAT('z', 40)"])
SAVE, BACK, RELEASE = "SAVEPOINT", "ROLLBACK TO", "RELEASE SAVEPOINT"


@st.composite
def _statement(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(["a", "a", "a", "n", *sorted(COLUMNS)]))
    columns = COLUMNS[table].split()
    value = {column: draw(NUMBER if column in NUMBERS else TEXT) for column in columns}
    more = {column: draw(NUMBER if column in NUMBERS else TEXT) for column in columns}
    column, other = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
    found = draw(NUMBER if other in NUMBERS else TEXT)
    into = f"INTO {table} ({', '.join(columns)}) VALUES ({', '.join(value.values())}), ({', '.join(more.values())})"
    changed = draw(st.sampled_from([value[column], column]))
    upserted = draw(st.sampled_from([f"VALUES({column})", value[column]]))
    all_changed = (f"{name} = {more[name]}" for name in columns)
    # With any BEFORE trigger an UPDATE of joined tables stores 0 for a NULL that is not allowed, instead of failing.
    joined = f"COALESCE({value[column]}, 1)"
    number = next(name for name in columns if name in NUMBERS)
    statements = {
        "insert": f"INSERT {into}",
        "ignore": f"INSERT IGNORE {into}",
        "replace": f"REPLACE {into}",
        "upsert": f"INSERT {into} ON DUPLICATE KEY UPDATE {column} = {upserted}",
        "update": f"UPDATE {table} SET {column} = {changed} WHERE {other} = {found}",
        "updates": f"UPDATE {table} SET {', '.join(all_changed)} WHERE {other} = {found}",
        "delete": f"DELETE FROM {table} WHERE {other} = {found}",
        "move": f"UPDATE {table} SET {number} = {number} + 1 WHERE {other} = {found} ORDER BY {number} DESC",
        "joined": f"UPDATE {table} AS x, {table} AS y SET x.{column} = {joined} WHERE x.{other} = y.{other}",
    }
    return statements[draw(st.sampled_from(KINDS))]


STATEMENTS = st.lists(st.one_of(*[_statement()] * 6, st.sampled_from([SAVE, BACK, RELEASE])), max_size=16)


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    with scratch_engine() as engine, scratch_engine() as apart:
        Watched(engine, *TABLES)
        with apart.begin() as connection:
            for statement in TABLES:
                define(connection, statement)
        with engine.connect() as recorded, apart.connect() as untouched:
            shapes = read_shapes(recorded, MARIADB).tables
            recorded.rollback()
            yield Twins(recorded, untouched, {name: shapes[TableName(name)] for name in COLUMNS})


def _run(connection: Connection, statements: list[str]) -> list[str]:
    """What came of each statement; one that fails leaves nothing, and the others go on."""
    came: list[str] = []
    depth = 0
    for statement in statements:
        if statement in (SAVE, BACK, RELEASE):
            if statement == SAVE or depth:
                define(connection, f"{statement} s{depth + 1 if statement == SAVE else depth}")
                depth += {SAVE: 1, BACK: 0, RELEASE: -1}[statement]
            continue
        try:
            count = connection.exec_driver_sql(statement).rowcount
            # Where a table has any trigger, MariaDB counts a row that REPLACE found as it wants it.
            came.append("done" if statement.startswith("REPLACE") else str(count))
        except DBAPIError as error:
            came.append(str(cast("pymysql.Error", error.orig).args[0]))
    return came


def _rows(connection: Connection) -> dict[str, list[Any]]:
    return {
        table: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall())) for table in COLUMNS
    }


@settings(max_examples=soaking(100))
@given(STATEMENTS)
def test_any_statements_are_recorded_and_not_disturbed(twins: Twins, statements: list[str]) -> None:
    try:
        statements = FAMILY + statements
        assert _run(twins.recorded, statements) == _run(twins.untouched, statements)
        assert _rows(twins.recorded) == _rows(twins.untouched)
        assert twins.folded() == twins.live()
    finally:
        twins.recorded.rollback()
        twins.untouched.rollback()
