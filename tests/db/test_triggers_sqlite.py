"""What SQLite's capture triggers see of other programs' writes, of every kind of table and value."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event

from auditcli import codec
from auditcli.dialects.capture import CaptureTable
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.log.upgrade import init_log
from tests.db.plain import NAMES, SQLITE, Plain
from tests.db.recorded import enforce_foreign_keys
from tests.db.watched import Watched

Database = Callable[..., Plain]

PYTHON = (sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])")
SHELL = (shutil.which("sqlite3") or "sqlite3",)
NO_SHELL = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A database with some tables, whose triggers record what is written."""
    return lambda *tables: Plain(tmp_path / "plain.db", *tables)


@pytest.mark.parametrize("program", [PYTHON, pytest.param(SHELL, marks=NO_SHELL)], ids=["python", "shell"])
def test_a_writer_with_a_plain_shell_is_recorded_and_not_disturbed(
    database: Database, program: tuple[str, ...]
) -> None:
    plain = database("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
    script = "INSERT INTO item VALUES (1, 'a'), (2, 'b'); UPDATE item SET name = 'c' WHERE id = 2; DELETE FROM item;"

    ran = subprocess.run([*program, str(plain.path), script], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert [change.event_type.value for change in plain.changes()] == ["INSERT"] * 2 + ["UPDATE"] + ["DELETE"] * 2
    assert {(change.actor, change.transaction_id) for change in plain.changes()} == {(None, None)}
    assert plain.differences() == []


def test_a_strict_table_is_recorded_by_the_types_that_it_holds(database: Database) -> None:
    plain = database("CREATE TABLE s (id INT PRIMARY KEY, r REAL, t TEXT, b BLOB, a ANY) STRICT")

    plain.write(
        "INSERT INTO s VALUES (1, 2, 3, x'04', '5')", "UPDATE s SET a = 5", "INSERT OR REPLACE INTO s (id) VALUES (1)"
    )

    first = {"id": 1, "r": 2.0, "t": "3", "b": {"$hex": "04"}, "a": "5"}
    emptied = {"id": 1, "r": None, "t": None, "b": None, "a": None}
    assert plain.steps() == [
        ("INSERT", None, first),
        ("UPDATE", first, {**first, "a": 5}),
        ("UPDATE", {**first, "a": 5}, emptied),
    ]


def test_a_table_without_row_ids_is_recorded_by_its_key(database: Database) -> None:
    plain = database("CREATE TABLE w (a INT, b TEXT, u UNIQUE, PRIMARY KEY (a, b)) WITHOUT ROWID")

    plain.write(
        "INSERT INTO w VALUES (1, 'x', 1), (2, 'y', 2)",
        "UPDATE w SET b = 'z' WHERE a = 1",
        "INSERT OR REPLACE INTO w VALUES (3, 'new', 2)",
        "UPDATE OR REPLACE w SET a = 3, b = 'new' WHERE a = 1",
    )

    assert [(change.event_type.value, change.old_row_id, change.row_id) for change in plain.changes()] == [
        ("INSERT", None, '[1,"x"]'),
        ("INSERT", None, '[2,"y"]'),
        ("UPDATE", '[1,"x"]', '[1,"z"]'),
        ("DELETE", None, '[2,"y"]'),
        ("INSERT", None, '[3,"new"]'),
        ("DELETE", None, '[3,"new"]'),
        ("UPDATE", '[1,"z"]', '[3,"new"]'),
    ]
    assert plain.differences() == []


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
def test_generated_columns_are_in_the_images(database: Database, kind: str) -> None:
    plain = database(f"CREATE TABLE g (id INTEGER PRIMARY KEY, v INT, d INT AS (v * 2) {kind})")

    plain.write("INSERT INTO g (v) VALUES (1)", "UPDATE g SET v = 5")

    assert [after for _, _, after in plain.steps()] == [{"id": 1, "v": 1, "d": 2}, {"id": 1, "v": 5, "d": 10}]
    assert plain.differences() == []


@pytest.mark.parametrize(
    "unique",
    [
        "CREATE UNIQUE INDEX u ON p (v) WHERE v IS NOT NULL",
        "CREATE UNIQUE INDEX u ON p (lower(v) DESC)",
        "CREATE UNIQUE INDEX u ON p (g)",
    ],
    ids=["partial", "expression", "generated"],
)
@pytest.mark.parametrize(
    "statement", ["INSERT OR REPLACE INTO p (id, v) VALUES (3, 'x')", "UPDATE OR REPLACE p SET v = 'x' WHERE id = 2"]
)
def test_a_row_replaced_through_any_unique_index_is_recorded_as_gone(
    database: Database, unique: str, statement: str
) -> None:
    plain = database("CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT, g TEXT AS (v || '!'))", unique)
    plain.write("INSERT INTO p (id, v) VALUES (1, 'x'), (2, 'y')")

    plain.write(statement)

    assert [(change.event_type.value, change.row_id) for change in plain.changes()][2] == ("DELETE", "1")
    assert len(plain.changes()) == 4
    assert plain.differences() == []


@pytest.mark.parametrize("recursive_triggers", [0, 1])
@pytest.mark.parametrize("foreign_keys", [0, 1])
def test_replaced_rows_and_cascades_are_recorded_once_whatever_the_connection_has_set(
    database: Database, recursive_triggers: int, foreign_keys: int
) -> None:
    plain = database(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, u UNIQUE)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)",
    )

    plain.write(
        "INSERT INTO parent VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO child VALUES (1, 1), (2, 2), (3, 3)",
        "INSERT INTO parent VALUES (1, 'A')",
        "INSERT OR REPLACE INTO parent VALUES (4, 'b')",
        "UPDATE OR REPLACE parent SET u = 'A' WHERE id = 3",
        "INSERT OR IGNORE INTO parent VALUES (5, 'A')",
        "UPDATE parent SET id = 9 WHERE id = 3",
        settings=[f"PRAGMA recursive_triggers = {recursive_triggers}", f"PRAGMA foreign_keys = {foreign_keys}"],
    )

    assert plain.differences() == []
    of_parents = [each.event_type.value for each in plain.changes() if each.table.name == "parent"]
    replaced_at_its_key = ["DELETE", "INSERT"] if recursive_triggers else ["UPDATE"]
    assert of_parents == ["INSERT"] * 3 + replaced_at_its_key + ["DELETE", "INSERT", "DELETE", "UPDATE", "UPDATE"]
    gone = [each.row_id for each in plain.changes() if each.table.name == "child" and each.after is None]
    assert gone == (["1", "2"] if foreign_keys else [])


@pytest.mark.parametrize("name", ["rowid", "_rowid_", "OID"])
@pytest.mark.parametrize("columns", ["v", "v, k TEXT PRIMARY KEY"], ids=["no key", "text key"])
def test_a_row_that_another_ones_new_row_id_replaced_is_recorded_as_gone(
    database: Database, name: str, columns: str
) -> None:
    plain = database(f"CREATE TABLE loose ({columns})")
    plain.write("INSERT INTO loose (rowid, v) VALUES (1, 'a'), (5, 'b')")

    plain.write(f"UPDATE OR REPLACE loose SET {name} = 5 WHERE v = 'a'")

    [(event, before, after)] = plain.steps()[2:]
    assert (event, before["v"], after) == ("DELETE", "b", None)
    assert plain.differences() == []


def test_an_integer_key_that_is_set_by_its_other_name_is_followed(database: Database) -> None:
    plain = database("CREATE TABLE item (id INTEGER PRIMARY KEY, v)")
    plain.write("INSERT INTO item VALUES (1, 'a'), (5, 'b')")

    plain.write("UPDATE OR REPLACE item SET rowid = 5 WHERE id = 1")

    gone, moved = plain.changes()[2:]
    assert (gone.event_type.value, gone.row_id) == ("DELETE", "5")
    assert (moved.event_type.value, moved.old_row_id, moved.row_id) == ("UPDATE", "1", "5")


def test_an_upsert_is_an_update_and_what_is_ignored_is_nothing(database: Database) -> None:
    plain = database("CREATE TABLE item (id INTEGER PRIMARY KEY, u UNIQUE, n)")
    plain.write("INSERT INTO item VALUES (1, 'a', 1)")

    plain.write(
        "INSERT INTO item VALUES (1, 'a', 1) ON CONFLICT DO UPDATE SET n = n + 1",
        "INSERT INTO item VALUES (1, 'a', 1) ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO item VALUES (2, 'a', 1)",
        "UPDATE item SET n = n",
    )

    assert [(event, after["n"]) for event, _, after in plain.steps()] == [("INSERT", 1), ("UPDATE", 2)]


@pytest.mark.parametrize(
    ("value", "image"),
    [
        ("x'00ff'", {"$hex": "00ff"}),
        ("'a' || char(0) || 'b'", "a\0b"),
        ("json('{\"a\":[1]}')", '{"a":[1]}'),
        ("json_array(1)", "[1]"),
        ("json_quote('q')", '"q"'),
        ("char(128512) || '\"\\%s%d'", '\U0001f600"\\%s%d'),
        ("9223372036854775807", "9223372036854775807"),
    ],
)
def test_a_value_in_a_text_column_is_what_the_database_stored(database: Database, value: str, image: Any) -> None:
    plain = database("CREATE TABLE item (id INTEGER PRIMARY KEY, v TEXT, w)")

    plain.write(
        f"INSERT INTO item (v) VALUES ({value})",
        f"UPDATE item SET w = 1, v = {value}",
        f"REPLACE INTO item VALUES (1, {value}, 2)",
    )

    assert [after["v"] for _, _, after in plain.steps()] == [image] * 3
    assert plain.differences() == []


def test_a_key_with_a_nul_or_a_quote_in_it_is_found_again(database: Database) -> None:
    plain = database("CREATE TABLE item (k TEXT PRIMARY KEY, v)")

    plain.write("INSERT INTO item VALUES ('a' || char(0) || '\"b', 1)", "UPDATE item SET v = 2")

    assert {change.row_id for change in plain.changes()} == {'a\0"b'}


def test_a_key_that_is_a_number_with_a_fraction_is_found_by_what_one_types(database: Database) -> None:
    plain = database("CREATE TABLE r (k REAL PRIMARY KEY)", "CREATE TABLE c (k REAL, n INT, PRIMARY KEY (k, n))")
    keys = [1.5, -0.1, 0.0, 100.0, 0.0001, 123456789.25]

    for key in keys:
        plain.write("INSERT INTO r VALUES (?)", values=[key])
    plain.write("INSERT INTO c VALUES (1.5, 2)", "INSERT INTO r VALUES (0.1 + 0.2)")

    assert [change.row_id for change in plain.changes()][:-1] == [*map(repr, keys), "[1.5,2]"]
    assert plain.differences() == []


def test_a_table_of_more_columns_than_a_function_takes_is_recorded_whole(database: Database) -> None:
    names = [f"c{at} %s" for at in range(250)]
    columns = ", ".join('"' + name + '"' for name in names)
    plain = database(f"CREATE TABLE wide ({columns})")

    plain.write(f"INSERT INTO wide VALUES ({', '.join(map(str, range(250)))})")

    assert plain.steps() == [("INSERT", None, {name: at for at, name in enumerate(names)})]


@cache
def _doubles() -> bytes:
    """A database with a table of doubles and its triggers."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE d (v REAL, w)")
        init_log(connection, log_tables())
        shape = next(shape for name, shape in read_shapes(connection, SQLITE).tables.items() if name.name == "d")
        for each in SQLITE.capture_objects(NAMES, [CaptureTable(shape)]):
            for statement in each.create:
                connection.exec_driver_sql(statement)
        connection.commit()
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw.serialize()


@settings(max_examples=300)
@given(st.lists(st.floats(allow_nan=False).filter(lambda value: value != 0 or str(value) == "0.0"), min_size=1))
def test_a_double_is_recorded_to_its_last_bit(values: list[float]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(_doubles())
        connection.executemany("INSERT INTO d VALUES (?1, ?1)", [(value,) for value in values])
        connection.execute("UPDATE d SET v = -v WHERE v <> 0")

        records = connection.execute("SELECT event_type, after FROM changelog ORDER BY id").fetchall()
        stored = connection.execute("SELECT v, w FROM d").fetchall()

    images = [(event, codec.load_images(None, after)[1] or {}) for event, after in records]
    inserted = [(codec.decode(image["v"]), codec.decode(image["w"])) for event, image in images if event == "INSERT"]
    updated = [codec.decode(image["v"]).hex() for event, image in images if event == "UPDATE"]
    assert [(v.hex(), w.hex()) for v, w in inserted] == [(value.hex(), value.hex()) for value in values]
    assert updated == [v.hex() for v, w in stored if v != 0]
    assert all(json.loads(after) for _, after in records)


def test_a_table_that_comes_again_forgets_which_rows_of_the_former_one_were_replaced(engine: Engine) -> None:
    item = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
    watched = Watched(engine, item)
    watched.write("INSERT INTO item VALUES (1, 'a')", "INSERT OR REPLACE INTO item VALUES (1, 'b')")
    watched.write("DELETE FROM item WHERE id = 2", "DROP TABLE item", item)
    watched.init()

    watched.write("INSERT INTO item VALUES (1, 'c')")

    assert watched.steps()[-1] == ("INSERT", None, {"id": 1, "name": "c"})


@pytest.mark.parametrize("suffix", ["", " WITHOUT ROWID"])
def test_a_row_that_refers_to_itself_is_changed_before_the_cascade_changes_it_again(
    engine: Engine, suffix: str
) -> None:
    event.listen(engine, "connect", enforce_foreign_keys)
    watched = Watched(
        engine, f"CREATE TABLE node (id INT PRIMARY KEY NOT NULL, up INT REFERENCES node ON UPDATE CASCADE){suffix}"
    )
    watched.write("INSERT INTO node VALUES (1, 1)")

    watched.write("UPDATE node SET id = 2")

    assert watched.steps()[1:] == [
        ("UPDATE", {"id": 1, "up": 1}, {"id": 2, "up": 1}),
        ("UPDATE", {"id": 2, "up": 1}, {"id": 2, "up": 2}),
    ]


def test_a_cascade_that_comes_back_round_a_circle_is_recorded_behind_what_it_began_with(engine: Engine) -> None:
    event.listen(engine, "connect", enforce_foreign_keys)
    watched = Watched(
        engine,
        "CREATE TABLE a (id INTEGER PRIMARY KEY, u INT UNIQUE, w INT REFERENCES b (v) ON UPDATE CASCADE)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, v INT UNIQUE REFERENCES a (u) ON UPDATE CASCADE)",
    )
    watched.write("PRAGMA defer_foreign_keys = 1", "INSERT INTO a VALUES (1, 5, 5)", "INSERT INTO b VALUES (1, 5)")

    watched.write("UPDATE a SET u = 9")

    assert [step for step in watched.steps()[2:] if "u" in step[1]] == [
        ("UPDATE", {"id": 1, "u": 5, "w": 5}, {"id": 1, "u": 9, "w": 5}),
        ("UPDATE", {"id": 1, "u": 9, "w": 5}, {"id": 1, "u": 9, "w": 9}),
    ]
    assert watched.differences() == []
