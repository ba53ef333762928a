"""Whatever statements a client runs, folding what the triggers recorded gives the rows that are there."""

from __future__ import annotations

import sqlite3
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from auditcli import codec
from auditcli.dialects import dialect_named
from auditcli.dialects.capture import CaptureContext, CaptureTable
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.log.upgrade import init_log
from tests.db.plain import NAMES, give_context
from tests.soak import soaking

pytestmark = pytest.mark.thorough

TABLES = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY, u TEXT UNIQUE, w TEXT COLLATE NOCASE, v)",
    "CREATE UNIQUE INDEX a_w ON a (w) WHERE w IS NOT NULL",
    "CREATE TABLE b (k INT, j TEXT, v UNIQUE, PRIMARY KEY (k, j)) WITHOUT ROWID",
    "CREATE TABLE c (v, u UNIQUE)",
    "CREATE TABLE d (id TEXT PRIMARY KEY, v TEXT)",
    "CREATE UNIQUE INDEX d_v ON d (lower(v) DESC)",
    """CREATE TABLE e (id INTEGER PRIMARY KEY, a_id INT REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE,
    u TEXT REFERENCES a (u) ON DELETE SET NULL ON UPDATE CASCADE)""",
    "CREATE TABLE f (id INT, n ANY, PRIMARY KEY (id DESC)) STRICT",
    "CREATE TABLE g (id TEXT PRIMARY KEY, v, w AS (lower(v)) STORED UNIQUE, x AS (v || '!'))",
)
COLUMNS = {"a": "id u w v", "b": "k j v", "c": "v u", "d": "id v", "e": "id a_id u", "f": "id n", "g": "id v"}
IMAGES = {**COLUMNS, "g": "id v w x"}
ROW_IDS = dict.fromkeys("acdefg", "rowid")
CONFLICTS = st.sampled_from(["", "", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL "])
VALUES = st.sampled_from(
    ["1", "2", "3", "NULL", "'1'", "'x'", "'X'", "'y'", "1.0", "0.1", "x'31'", "json('[1]')", "'a' || char(0) || 'b'"]
)
CONTEXT = CaptureContext("0f3a9c52-0000-4000-8000-000000000001", "alice", "why")


@st.composite
def _statement(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(sorted(COLUMNS)))
    columns = COLUMNS[table].split()
    kind = draw(st.sampled_from(["insert", "insert", "upsert", "nothing", "update", "update", "delete", "select"]))
    row = f"({', '.join(draw(VALUES) for _ in columns)})"
    places = [*columns, *ROW_IDS.get(table, "").split()]
    column, other = draw(st.sampled_from(places)), draw(st.sampled_from(places))
    where = f"{other} = {draw(VALUES)}"
    if kind == "insert":
        more = f", ({', '.join(draw(VALUES) for _ in columns)})"
        return f"INSERT {draw(CONFLICTS)}INTO {table} ({', '.join(columns)}) VALUES {row}{more}"
    if kind in ("upsert", "nothing"):
        action = "NOTHING" if kind == "nothing" else f"UPDATE SET {column} = {draw(VALUES)}"
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {row} ON CONFLICT DO {action}"
    if kind == "select":
        names = ", ".join(columns)
        return f"INSERT {draw(CONFLICTS)}INTO {table} ({names}) SELECT {names} FROM {table} WHERE {where}"
    if kind == "delete":
        return f"DELETE FROM {table} WHERE {where}"
    return f"UPDATE {draw(CONFLICTS)}{table} SET {column} = {draw(VALUES)} WHERE {where}"


@cache
def _schema() -> bytes:
    """A database with the tables, a log and its triggers."""
    engine = create_engine("sqlite://")
    dialect, tables = dialect_named("sqlite"), log_tables()
    with engine.connect() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
        init_log(connection, tables)
        shapes = read_shapes(connection, dialect).tables
        captured = [CaptureTable(shape) for name, shape in shapes.items() if name.name in COLUMNS]
        for each in dialect.capture_objects(NAMES, captured):
            for statement in each.create:
                connection.exec_driver_sql(statement)
        connection.commit()
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw.serialize()


def _live(connection: sqlite3.Connection) -> Counter[str]:
    found: Counter[str] = Counter()
    for table, columns in IMAGES.items():
        for row in connection.execute(f"SELECT * FROM {table}"):
            image = {name: codec.encode(value) for name, value in zip(columns.split(), row, strict=True)}
            found[f"{table} {codec.dump(image)}"] += 1
    return found


def _fold(connection: sqlite3.Connection, rows: Counter[str], after_id: int) -> int:
    records = connection.execute(
        "SELECT id, table_name, before, after FROM changelog WHERE id > ? ORDER BY id", (after_id,)
    )
    for log_id, table, before, after in records:
        old, new = codec.load_images(before, after)
        if old is not None:
            word = f"{table} {codec.dump(old)}"
            assert rows[word] > 0, f"#{log_id} starts from {word}, which is not there"
            rows[word] -= 1
        if new is not None:
            rows[f"{table} {codec.dump(new)}"] += 1
        after_id = log_id
    return after_id


def _check_context(connection: sqlite3.Connection, *, has_context: bool) -> None:
    known = connection.execute("SELECT DISTINCT transaction_id, actor FROM changelog").fetchall()
    headers = connection.execute("SELECT transaction_id, reason FROM changelog_transaction").fetchall()
    assert known in ([], [(CONTEXT.transaction_id, CONTEXT.actor) if has_context else (None, None)])
    assert headers == ([(CONTEXT.transaction_id, CONTEXT.reason)] if known and has_context else [])


def _try(connection: sqlite3.Connection, statement: str) -> str:
    try:
        connection.execute(statement)
    except sqlite3.Error as error:
        return str(error)
    return "done"


@settings(max_examples=soaking(400))
@given(st.lists(_statement(), max_size=14), st.booleans(), st.booleans(), st.booleans())
def test_any_statements_are_recorded_and_not_disturbed(
    statements: list[str], recursive_triggers: bool, foreign_keys: bool, has_context: bool
) -> None:
    connection, untouched = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    connection.deserialize(_schema())
    for statement in TABLES:
        untouched.execute(statement)
    for each in (connection, untouched):
        each.execute(f"PRAGMA recursive_triggers = {recursive_triggers:d}")
        each.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
    if has_context:
        give_context(connection, CONTEXT)
    rows: Counter[str] = Counter()
    after_id = 0
    for statement in statements:
        assert _try(connection, statement) == _try(untouched, statement)
        after_id = _fold(connection, rows, after_id)
        assert +rows == _live(connection) == _live(untouched), statement
    _check_context(connection, has_context=has_context)
    connection.close()
    untouched.close()
