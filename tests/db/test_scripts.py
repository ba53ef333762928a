"""A plan as a script: run by the database's own client it does what `apply` does, exactly, or nothing at all."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine, create_engine

from auditcli.apply import apply_plan
from auditcli.applying.refusal import PlanConflict
from auditcli.applying.script import plan_script
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.driver import define, dialect_of
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image, TableName
from auditcli.plan import Plan
from auditcli.rows import RowReader
from auditcli.undo import plan_undo
from auditcli.verify import Verification
from tests.clients import run_script
from tests.databases import scratch_url
from tests.db import test_mariadb_types, test_postgresql_types

pytestmark = pytest.mark.thorough

LOG = log_tables()

SHOP = (
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(40), updated_at TIMESTAMP NULL)",
    """CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, total NUMERIC(10, 2), status VARCHAR(20),
      FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE)""",
    "INSERT INTO customer (id, name) VALUES (1, 'Ann'), (2, 'Bob')",
    "INSERT INTO orders VALUES (1, 1, 5, 'pending'), (2, 1, 7.25, 'shipped'), (3, 2, 1, 'pending')",
)


def test_a_script_does_what_apply_does(any_engine: Engine) -> None:
    start = watch(any_engine, SHOP)
    write(
        any_engine,
        "UPDATE orders SET total = total * 100, status = 'it''s \\ odd'",
        "DELETE FROM customer WHERE id = 2",
    )
    write(any_engine, "INSERT INTO customer (id, name) VALUES (9, 'Zoe')", "UPDATE customer SET id = 7 WHERE id = 9")

    ran = run_script(any_engine.url, script(any_engine, plan(any_engine)))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert contents(any_engine) == start
    assert verified(any_engine)


def test_a_script_is_recorded_as_anybodys_change_and_can_be_taken_back(any_engine: Engine) -> None:
    watch(any_engine, SHOP)
    write(any_engine, "UPDATE orders SET total = 0 WHERE id = 1")
    wrong = contents(any_engine)
    last = last_id(any_engine)
    run_script(any_engine.url, script(any_engine, plan(any_engine)))

    with any_engine.connect() as connection:
        taken_back = plan_undo(connection, LOG, ids=range(last + 1, last_id(any_engine) + 1))
    apply_plan(any_engine, taken_back)

    assert contents(any_engine) == wrong


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE orders SET total = 6 WHERE id = 2",
        "DELETE FROM orders WHERE id = 2",
        "INSERT INTO customer (id, name) VALUES (2, 'Eve')",
        "INSERT INTO orders VALUES (4, 5, 0, 'new')",
    ],
)
def test_a_script_does_nothing_where_a_row_is_no_longer_as_planned(any_engine: Engine, meanwhile: str) -> None:
    watch(any_engine, SHOP)
    write(any_engine, "UPDATE orders SET total = total * 100", "DELETE FROM customer WHERE id = 2")
    write(any_engine, "INSERT INTO customer (id, name) VALUES (5, 'Eli')")
    printed = script(any_engine, plan(any_engine))
    write(any_engine, meanwhile)
    before = contents(any_engine)

    ran = run_script(any_engine.url, printed)

    assert ran.returncode != 0
    assert ran.stderr != ""
    assert contents(any_engine) == before


def test_a_script_names_the_row_that_stopped_it(any_engine: Engine) -> None:
    watch(any_engine, SHOP)
    write(any_engine, "UPDATE orders SET total = 0 WHERE id = 2")
    printed = script(any_engine, plan(any_engine))
    write(any_engine, "UPDATE orders SET total = 6 WHERE id = 2")

    ran = run_script(any_engine.url, printed)

    line = next(number for number, text in enumerate(printed.splitlines(), 1) if "UPDATE orders/2" in text)
    assert "UPDATE orders/2" in ran.stderr or f"line {line + 2}" in ran.stderr
    assert "not as planned" in ran.stderr


def test_a_script_that_goes_on_after_an_error_still_writes_nothing_on_sqlite(tmp_path: Path) -> None:
    with scratch_url("sqlite", tmp_path) as url:
        engine = create_engine(url)
        watch(engine, SHOP)
        write(engine, "UPDATE orders SET total = total * 100")
        printed = script(engine, plan(engine))
        write(engine, "UPDATE orders SET total = 6 WHERE id = 2")
        before = contents(engine)

        ran = run_script(url, printed.replace(".bail on", ".bail off"))

        assert "no transaction is active" in ran.stderr
        assert contents(engine) == before
        engine.dispose()


TREE = (
    "CREATE TABLE node (id INTEGER PRIMARY KEY, up INTEGER, FOREIGN KEY (up) REFERENCES node (id) ON DELETE CASCADE)",
    "INSERT INTO node VALUES (1, NULL)",
)


def test_a_tree_goes_leaf_by_leaf(any_engine: Engine) -> None:
    start = watch(any_engine, TREE)
    write(
        any_engine, "INSERT INTO node VALUES (2, 1)", "INSERT INTO node VALUES (3, 2)", "INSERT INTO node VALUES (4, 4)"
    )

    ran = run_script(any_engine.url, script(any_engine, plan(any_engine)))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert contents(any_engine) == start


def test_a_leaf_that_came_since_keeps_its_tree(any_engine: Engine) -> None:
    watch(any_engine, TREE)
    write(any_engine, "INSERT INTO node VALUES (2, 1)", "INSERT INTO node VALUES (3, 2)")
    printed = script(any_engine, plan(any_engine))
    write(any_engine, "INSERT INTO node VALUES (5, 3)")
    before = contents(any_engine)

    ran = run_script(any_engine.url, printed)

    assert ran.returncode != 0
    assert contents(any_engine) == before


@pytest.mark.parametrize("any_engine", ["sqlite", "postgresql"], indirect=True)
def test_one_of_equal_rows_without_a_key_goes_and_one_comes(any_engine: Engine) -> None:
    start = watch(
        any_engine, ["CREATE TABLE pair (a INTEGER, b VARCHAR(9))", "INSERT INTO pair VALUES (1, 'x'), (2, 'y')"]
    )
    write(any_engine, "INSERT INTO pair VALUES (1, 'x')", "DELETE FROM pair WHERE a = 2")

    ran = run_script(any_engine.url, script(any_engine, plan(any_engine)))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert contents(any_engine) == start


def test_a_plan_with_conflicts_is_no_script(any_engine: Engine) -> None:
    watch(any_engine, SHOP)
    write(any_engine, "UPDATE orders SET total = 0 WHERE id = 2")
    first = last_id(any_engine)
    write(any_engine, "UPDATE orders SET total = 6 WHERE id = 2")
    with any_engine.connect() as connection:
        conflicting = plan_undo(connection, LOG, ids=[first])

    with pytest.raises(PlanConflict):
        script(any_engine, conflicting)


def test_every_type_of_postgresql_comes_back_by_a_script(tmp_path: Path) -> None:
    columns = [(f"t{at}", kind, values) for at, (kind, values) in enumerate(test_postgresql_types.TYPES.items())]

    with scratch_url("postgresql", tmp_path) as url:
        engine = create_engine(url)
        comes_back(engine, [*test_postgresql_types.DEFINITIONS, "CREATE TABLE t (id int)"], columns)
        engine.dispose()


def test_every_type_of_mariadb_comes_back_by_a_script(tmp_path: Path) -> None:
    columns = [(f"t{at}", *each) for at, each in enumerate(test_mariadb_types.TYPES.values())]

    with scratch_url("mariadb", tmp_path) as url:
        engine = create_engine(url)
        comes_back(engine, ["CREATE TABLE t (id int)"], columns)
        engine.dispose()


def test_every_value_of_sqlite_comes_back_by_a_script(tmp_path: Path) -> None:
    values = ["'x' || char(0, 13, 10, 9, 127, 9216, 57344) || 'é🎵'", "'it''s \\ \"odd\"'", "x'00ff27'", "x''", "''"]
    values += ["CAST(x'c328' AS TEXT)", "-9223372036854775807 - 1", "9223372036854775807", "1", "1.0", "'1'", "0.1"]
    values += ["9e999", "-9e999", "'a' || char(13, 10) || '.quit' || char(10) || ';' || char(10)"]
    columns = [("t1", "", values), ("t2", "NUMERIC", values), ("t3", "TEXT COLLATE NOCASE", values)]

    with scratch_url("sqlite", tmp_path) as url:
        engine = create_engine(url)
        comes_back(engine, [], columns)
        engine.dispose()


def test_every_double_comes_back_by_a_script_to_the_last_bit(tmp_path: Path) -> None:
    random = Random(7)
    doubles = [struct.unpack("d", random.randbytes(8))[0] for _ in range(300)] + [
        5e-324,
        2.0**-1022,
        1e-310,
        1e308,
        0.3,
    ]
    finite = [value for value in doubles if math.isfinite(value)]
    literal = dialect_named("sqlite").literal

    with scratch_url("sqlite", tmp_path) as url:
        engine = create_engine(url)
        inserts = "".join(f"INSERT INTO d VALUES ({literal(value)});\n" for value in finite)

        ran = run_script(url, f"CREATE TABLE d (v);\nBEGIN;\n{inserts}COMMIT;")
        with engine.connect() as connection:
            stored = [row[0] for row in connection.exec_driver_sql("SELECT v FROM d ORDER BY rowid")]
        engine.dispose()

    assert ran.stderr == ""
    assert stored == finite


def comes_back(engine: Engine, definitions: Sequence[str], columns: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Delete all values of all types, run the undo of that as a script, and compare."""
    tables = []
    rows = []
    for table, kind, values in columns:
        tables.append(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v {kind})")
        rows += [f"INSERT INTO {table} VALUES ({key}, {value})" for key, value in enumerate([*values, "NULL"])]
    with engine.begin() as connection:
        if dialect_of(connection).name == "mysql":
            define(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
        for statement in (*definitions, *tables, *rows):
            define(connection, statement)
    start = watch(engine, ())
    write(engine, *(f"DELETE FROM {table.split()[2]} WHERE id < 1000" for table in tables))

    ran = run_script(engine.url, script(engine, plan(engine)))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert contents(engine) == start
    ran = run_script(engine.url, script(engine, plan(engine, since=len(rows))))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not any(contents(engine).values())


def watch(engine: Engine, statements: Sequence[str]) -> dict[TableName, list[Image]]:
    """Make tables, with triggers on them; returns what is in them."""
    write(engine, *statements)
    with engine.connect() as connection:
        prepare(connection, LOG, dialect_of(connection), Wishes(triggers=True), now=utc_now())
    return contents(engine)


def write(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            define(connection, statement)


def plan(engine: Engine, since: int = 0) -> Plan:
    """Take back all that was recorded after a place."""
    with engine.connect() as connection:
        return plan_undo(connection, LOG, ids=range(since + 1, last_id(engine) + 1))


def script(engine: Engine, plan: Plan) -> str:
    with engine.connect() as connection:
        return "".join(f"{line}\n" for line in plan_script(connection, plan, now=utc_now()))


def last_id(engine: Engine) -> int:
    with engine.connect() as connection:
        return LogReader(connection, LOG).last_id()


def contents(engine: Engine) -> dict[TableName, list[Image]]:
    """All rows of all tables but the log's, as images."""
    with engine.connect() as connection:
        dialect = dialect_of(connection)
        reader = RowReader(connection, dialect)
        return {
            table: sorted((row.image for row in reader.page(shape, None, 10_000)), key=repr)
            for table, shape in read_shapes(connection, dialect).tables.items()
            if not table.name.startswith(LOG.name)
        }


def verified(engine: Engine) -> bool:
    """Whether the log is what is there."""
    with engine.connect() as connection:
        return not list(Verification(LogReader(connection, LOG)).differences())
