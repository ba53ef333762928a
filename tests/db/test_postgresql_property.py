"""Whatever statements a client runs on PostgreSQL, folding what the triggers recorded gives the rows that are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError

from auditcli.driver import define
from auditcli.log.schema import read_shapes
from auditcli.model import TableName
from tests.db.postgres import POSTGRESQL, scratch_engine
from tests.db.twins import Twins
from tests.db.watched import Watched
from tests.soak import soaking

pytestmark = pytest.mark.thorough

TABLES = (
    "CREATE TABLE a (id int PRIMARY KEY, u text UNIQUE, v text)",
    "CREATE TABLE b (k int, j text, v text, PRIMARY KEY (j, k))",
    "CREATE TABLE c (k int, v text)",
    """CREATE TABLE e (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE,
    u text DEFAULT 'x' REFERENCES a (u) ON DELETE SET NULL ON UPDATE CASCADE)""",
    "CREATE TABLE f (id int PRIMARY KEY, up int REFERENCES f ON DELETE CASCADE ON UPDATE CASCADE, v text)",
    "CREATE TABLE h (id int PRIMARY KEY, e_id int DEFAULT 1 REFERENCES e ON DELETE SET DEFAULT ON UPDATE CASCADE)",
    "CREATE TABLE p (id int PRIMARY KEY, v text, w text GENERATED ALWAYS AS (upper(v)) STORED) PARTITION BY RANGE (id)",
    "CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (MINVALUE) TO (3)",
    "CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (3) TO (MAXVALUE)",
)
COLUMNS = {"a": "id u v", "b": "k j v", "c": "k v", "e": "id a_id u", "f": "id up v", "h": "id e_id", "p": "id v"}
KEYS = {"a": "id", "b": "j, k", "e": "id", "f": "id", "h": "id", "p": "id"}
NUMBERS = {"id", "k", "a_id", "up", "e_id"}
KINDS = ["insert"] * 4 + ["update"] * 3 + ["delete", "upsert", "upsert", "nothing", "merge", "cte", "truncate", "move"]
NUMBER = st.sampled_from(["1", "2", "3", "4", "1", "2", "NULL"])
TEXT = st.sampled_from(["'x'", "'X'", "'y'", "''", "NULL", "repeat('z', 2100)"])
SAVE, BACK, RELEASE = "SAVEPOINT", "ROLLBACK TO", "RELEASE"


@st.composite
def _statement(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(sorted(COLUMNS)))
    columns = COLUMNS[table].split()
    value = {column: draw(NUMBER if column in NUMBERS else TEXT) for column in columns}
    column, other = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
    found = draw(NUMBER if other in NUMBERS else TEXT)
    more = {column: draw(NUMBER if column in NUMBERS else TEXT) for column in columns}
    rows = f"({', '.join(value.values())}), ({', '.join(more.values())})"
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {rows}"
    key = f"({KEYS[table]}) DO UPDATE SET {column} =" if table in KEYS else "DO NOTHING --"
    changed = draw(st.sampled_from([value[column], column]))
    upserted = draw(st.sampled_from([f"excluded.{column}", value[column]]))
    number = next(name for name in columns if name in NUMBERS)
    emptied = draw(st.sampled_from([table, "p_low", "a CASCADE", "f, c"]))
    statements = {
        "insert": insert,
        "nothing": f"{insert} ON CONFLICT DO NOTHING",
        "upsert": f"{insert} ON CONFLICT {key} {upserted}",
        "update": f"UPDATE {table} SET {column} = {changed} WHERE {other} = {found}",
        "delete": f"DELETE FROM {table} WHERE {other} = {found}",
        "move": f"UPDATE {table} SET {number} = {number} + 1 WHERE {other} = {found}",
        "truncate": f"TRUNCATE {emptied}",
        "cte": f"WITH gone AS (DELETE FROM {table} WHERE {other} = {found} RETURNING *) "
        f"UPDATE {table} SET {column} = {value[column]} WHERE {other} = {more[other]}",
        "merge": f"MERGE INTO {table} AS t USING (VALUES {rows}) AS s ({', '.join(columns)}) ON s.{other} = t.{other} "
        f"WHEN MATCHED AND s.{column} IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET {column} = s.{column} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(f's.{name}' for name in columns)})",
    }
    return statements[draw(st.sampled_from(KINDS))]


STATEMENTS = st.lists(st.one_of(*[_statement()] * 6, st.sampled_from([SAVE, BACK, RELEASE])), max_size=16)


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    with scratch_engine() as engine:
        Watched(engine, *TABLES)
        apart = create_engine(engine.url, connect_args={"options": "-csearch_path=twin"})
        with apart.begin() as connection:
            for statement in ("CREATE SCHEMA twin", *TABLES):
                define(connection, statement)
        with engine.connect() as recorded, apart.connect() as untouched:
            shapes = read_shapes(recorded, POSTGRESQL).tables
            recorded.rollback()
            yield Twins(recorded, untouched, {name: shapes[TableName(name)] for name in COLUMNS})
        apart.dispose()


def _run(connection: Connection, statements: list[str]) -> list[str]:
    """What came of each statement; one that fails is undone, and the others go on."""
    came: list[str] = []
    depth = 0
    for statement in statements:
        if statement in (SAVE, BACK, RELEASE):
            if statement == SAVE or depth:
                define(connection, f"{statement} s{depth + 1 if statement == SAVE else depth}")
                depth += {SAVE: 1, BACK: 0, RELEASE: -1}[statement]
            continue
        define(connection, "SAVEPOINT one")
        try:
            came.append(str(connection.exec_driver_sql(statement).rowcount))
            define(connection, "RELEASE one")
        except DBAPIError as error:
            cause = cast("psycopg.Error", error.orig)
            came.append(f"{cause.sqlstate} {cause.diag.message_primary}")
            define(connection, "ROLLBACK TO one")
    return came


def _rows(connection: Connection) -> dict[str, list[str]]:
    return {
        table: sorted(row[0] for row in connection.exec_driver_sql(f"SELECT t::text FROM {table} AS t"))
        for table in COLUMNS
    }


@settings(max_examples=soaking(150))
@given(STATEMENTS)
def test_any_statements_are_recorded_and_not_disturbed(twins: Twins, statements: list[str]) -> None:
    try:
        assert _run(twins.recorded, statements) == _run(twins.untouched, statements)
        assert _rows(twins.recorded) == _rows(twins.untouched)
        assert twins.folded() == twins.live()
    finally:
        twins.recorded.rollback()
        twins.untouched.rollback()
