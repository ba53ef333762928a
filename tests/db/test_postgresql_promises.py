"""What PostgreSQL's capture triggers promise, each named after what went wrong where it was done the obvious way."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, insert, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.types import NullType

import auditcli
from auditcli.apply import apply_plan
from auditcli.dialects.capture import CaptureContext, LogNames
from auditcli.driver import define, run
from auditcli.errors import ConflictError
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import TableName
from auditcli.plan import Plan
from auditcli.undo import plan_undo
from tests.db.postgres import POSTGRESQL, WAITING, scratch_engine, wait_until
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

NAMES = LogNames(log_tables().changelog_name, TableName(log_tables().transaction.name))
ITEM = "CREATE TABLE item (id int PRIMARY KEY, name text)"
ITEM_TABLE = Table("item", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
PARENT = "CREATE TABLE parent (id int PRIMARY KEY)"
CHILD = "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with scratch_engine() as engine:
        yield engine


@pytest.fixture
def items(engine: Engine) -> Iterator[Watched]:
    """One table; when the test is over its log must be complete."""
    db = Watched(engine, ITEM)
    yield db
    db.check()


def _give(connection: Connection, context: CaptureContext) -> None:
    for sent in POSTGRESQL.send_context(NAMES, context):
        run(connection, sent.sql, sent.values)


def test_a_transaction_is_a_uuid_for_a_raw_number_restarts_after_dump_and_restore(items: Watched) -> None:
    items.write("INSERT INTO item VALUES (1)", "SAVEPOINT s", "INSERT INTO item VALUES (2)")
    items.write("INSERT INTO item VALUES (3)")

    first, second, third = (change.transaction_id for change in items.changes())
    assert first == second != third
    assert uuid.UUID(first).version == uuid.UUID(third).version == 4


def test_an_empty_setting_counts_as_absent_for_it_is_what_a_set_local_leaves_behind(items: Watched) -> None:
    with items.engine.connect() as connection:
        with connection.begin():
            _give(connection, CaptureContext(str(uuid.uuid4()), "alice", "why", "{}", "app", "client"))
            define(connection, "INSERT INTO item VALUES (1)")
        with connection.begin():
            define(connection, "INSERT INTO item VALUES (2)")
        with connection.begin():
            define(connection, "INSERT INTO item VALUES (3)")

    hers, *others = items.changes()
    assert hers.actor == "alice"
    assert len({change.transaction_id for change in items.changes()}) == 3
    headers = items.query("SELECT reason, context, db_user FROM changelog_transaction ORDER BY id")
    assert [change.actor for change in others] == [headers[1][2]] * 2
    assert [header[:2] for header in headers] == [("why", "{}"), (None, None), (None, None)]


def test_a_record_has_the_time_of_its_writing_for_that_of_the_transaction_is_its_start(items: Watched) -> None:
    with items.engine.begin() as connection:
        define(connection, "INSERT INTO item VALUES (1)")
        define(connection, "SELECT pg_sleep(0.2)")
        define(connection, "INSERT INTO item VALUES (2)")

    first, second = (change.timestamp for change in items.changes())
    assert second - first >= dt.timedelta(seconds=0.2)


def test_a_no_op_is_told_by_the_stored_bytes_for_json_has_values_alike_that_are_not(engine: Engine) -> None:
    db = Watched(engine, "CREATE TABLE item (id int PRIMARY KEY, f float8, n numeric, j json, c char(3), p point)")
    db.write("""INSERT INTO item VALUES (1, 0, 1.0, '{"a":1}', 'a', '(0,0)')""")

    db.write("UPDATE item SET f = '-0'", "UPDATE item SET n = 1.00", """UPDATE item SET j = '{"a": 1}'""")
    db.write("UPDATE item SET f = f, n = n, j = j, c = 'a', p = p")

    assert len(db.changes()) == 4
    db.check()


def test_a_child_is_numbered_after_the_parent_that_its_foreign_key_waited_for(engine: Engine) -> None:
    """Numbered before the check of its key it would be replayed before the parent that another one wrote meanwhile."""
    db = Watched(
        engine,
        PARENT,
        CHILD,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$",
        'CREATE TRIGGER "Pause" AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION wait()',
    )

    with ThreadPoolExecutor() as pool, engine.connect() as other, other.begin():
        define(other, "SELECT pg_advisory_lock(7)")
        waiting = pool.submit(db.write, "INSERT INTO child VALUES (1, 5)")
        wait_until(lambda: bool(db.query(WAITING)))
        db.write("INSERT INTO parent VALUES (5)")
        define(other, "SELECT pg_advisory_unlock(7)")
        waiting.result()

    assert db.events() == [("INSERT", "parent", "5"), ("INSERT", "child", "1")]
    db.check()


def test_a_truncate_with_an_old_snapshot_is_refused_for_it_would_miss_what_was_committed_since(items: Watched) -> None:
    with items.engine.connect() as old, old.begin():
        define(old, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        define(old, "SELECT 1 FROM item")
        items.write("INSERT INTO item VALUES (1)")
        with pytest.raises(DBAPIError, match="can't be recorded in a REPEATABLE READ transaction") as refused:
            define(old, "TRUNCATE item")

    assert isinstance(refused.value.orig, psycopg.errors.FeatureNotSupported)
    assert "TRUNCATE in a READ COMMITTED transaction, or DELETE the rows" in str(refused.value)


def test_a_truncate_that_waited_for_a_writer_records_the_writers_rows(items: Watched) -> None:
    with ThreadPoolExecutor() as pool, items.engine.connect() as writer:
        with writer.begin():
            define(writer, "INSERT INTO item VALUES (1)")
            waiting = pool.submit(items.write, "TRUNCATE item")
            wait_until(lambda: bool(items.query(WAITING)))
        waiting.result()

    assert [event[0] for event in items.events()] == ["INSERT", "TRUNCATE"]


def test_single_changes_stay_fast_after_a_bulk_statement_warmed_the_plan_up(items: Watched) -> None:
    """Triggers a statement with their rows in tables of their own became quadratic here: a second each, not a while."""
    with items.engine.begin() as connection:
        define(connection, "INSERT INTO item SELECT n, 'x' FROM generate_series(1, 20000) AS n")
        started = time.perf_counter()
        define(
            connection,
            "DO $$ BEGIN FOR n IN 1..2000 LOOP UPDATE item SET name = 'y' WHERE id = n; END LOOP; END $$",
        )
        spent = time.perf_counter() - started

    assert len(items.changes()) == 22_000
    assert spent < 4
    # Nor are there other triggers than those of rows, and of what has none.
    kinds = "SELECT DISTINCT tgtype & 1, tgoldtable, tgnewtable FROM pg_trigger WHERE tgname ~ 'auditcli' ORDER BY 1"
    assert items.query(kinds) == [(0, None, None), (1, None, None)]


def test_triggers_fire_always_and_none_is_left_out_for_a_replica(items: Watched) -> None:
    assert items.query("SELECT DISTINCT tgenabled::text FROM pg_trigger WHERE tgname ~ 'auditcli'") == [("A",)]


def test_log_ids_are_not_kept_in_store_for_a_session_would_number_its_rows_out_of_order(items: Watched) -> None:
    assert items.query("SELECT cache_size FROM pg_sequences WHERE sequencename ~ '^changelog_id'") == [(1,)]


def test_a_context_ends_with_a_savepoint_that_was_rolled_back_and_is_sent_again(items: Watched) -> None:
    factory = sessionmaker(items.engine)
    auditcli.track(factory)

    with auditcli.context(actor="alice"), factory.begin() as session:
        savepoint = session.begin_nested()
        session.execute(text("INSERT INTO item VALUES (1)"))
        savepoint.rollback()
        session.execute(text("INSERT INTO item VALUES (2)"))

    assert [(change.row_id, change.actor) for change in items.changes()] == [("2", "alice")]


# Rows without values, of which IS NULL is true though they are something.


EMPTY_ROW = "ROW(NULL, NULL)::pair"
SPELLED = {"NULL": None, EMPTY_ROW: "(,)"}
PAIR = Table("item", MetaData(), Column("id", Integer, primary_key=True), Column("p", NullType))
BOTH_WAYS = pytest.mark.parametrize(("first", "second"), [("NULL", EMPTY_ROW), (EMPTY_ROW, "NULL")])


@pytest.fixture(params=["triggers", "listeners"])
def pairs(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Watched]:
    """One row with a value of a composite type; when the test is over its log must be complete."""
    definitions = ("CREATE TYPE pair AS (a int, b text)", "CREATE TABLE item (id int PRIMARY KEY, p pair)")
    db = Watched(engine, *definitions, triggers=request.param == "triggers")
    auditcli.track(engine)
    with engine.begin() as connection:
        connection.execute(insert(PAIR).values(id=1, p=text("ROW(1, 'x')")))
    yield db
    db.check()


def _set_pair(db: Watched, value: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(update(PAIR).values(p=text(value.replace(":", "\\:"))))


def _plan_last(db: Watched) -> Plan:
    with db.engine.connect() as connection:
        return plan_undo(connection, log_tables(), transaction=db.changes()[-1].transaction_id)


@BOTH_WAYS
def test_a_row_without_values_is_taken_back_as_what_it_was(pairs: Watched, first: str, second: str) -> None:
    _set_pair(pairs, first)
    _set_pair(pairs, second)

    apply_plan(pairs.engine, _plan_last(pairs))

    assert [after["p"] for _, _, after in pairs.steps()[1:]] == [SPELLED[first], SPELLED[second], SPELLED[first]]
    assert pairs.query("SELECT p::text FROM item") == [(SPELLED[first],)]


@BOTH_WAYS
def test_a_row_without_values_is_in_the_way_of_an_undo_that_expects_none(
    pairs: Watched, first: str, second: str
) -> None:
    _set_pair(pairs, first)
    plan = _plan_last(pairs)
    _set_pair(pairs, second)

    with pytest.raises(ConflictError, match="rows changed after the plan was made"):
        apply_plan(pairs.engine, plan)

    assert pairs.query("SELECT p::text FROM item") == [(SPELLED[second],)]


@BOTH_WAYS
def test_a_guard_of_null_finds_no_row_without_values(pairs: Watched, first: str, second: str) -> None:
    _set_pair(pairs, first)

    with pairs.engine.connect() as connection:
        column = read_shapes(connection, POSTGRESQL).tables[TableName("item")].known_column("p")
        guards = [POSTGRESQL.guard(column, SPELLED[value]) for value in (first, second)]
        found = [run(connection, f"SELECT id FROM item WHERE {guard.sql}", guard.values).all() for guard in guards]

    assert found == [[(1,)], []]


# Security.


HIJACKED = (
    "CREATE SCHEMA evil",
    "CREATE FUNCTION evil.row_to_json(record) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN '1'; END $$",
    "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2000-01-01' $$",
    "CREATE FUNCTION evil.current_setting(text, bool) RETURNS text LANGUAGE sql AS $$ SELECT 'mallory' $$",
    "CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE sql AS $$ SELECT NULL::uuid $$",
    "CREATE FUNCTION evil.never(record, record) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$",
    "CREATE OPERATOR evil.*= (LEFTARG = record, RIGHTARG = record, FUNCTION = evil.never)",
    "CREATE FUNCTION evil.equal(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT true $$",
    "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal)",
    "CREATE FUNCTION evil.joined(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil'::text $$",
    "CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.joined)",
    "CREATE TABLE evil.pg_attribute (attname name, atttypid oid)",
    "CREATE TABLE evil.changelog (id int)",
)
EVIL_PATH = "SET LOCAL search_path = evil, pg_catalog, public"


def test_a_search_path_with_functions_and_operators_of_the_same_names_changes_nothing(engine: Engine) -> None:
    db = Watched(engine, "CREATE TABLE item (id int, name text, doc jsonb, secret text, PRIMARY KEY (id, name))")
    db.init(mask_columns={"item": ("secret",)})
    db.write(*HIJACKED)

    db.write(
        EVIL_PATH,
        "CREATE TEMP TABLE pg_index (indexrelid oid) ON COMMIT DROP",
        "CREATE TEMP TABLE changelog (id int) ON COMMIT DROP",
        "INSERT INTO item VALUES (1, repeat('a', 300), '1', 'x')",
        "UPDATE item SET doc = '2'",
        "ALTER TABLE public.item ADD more int",
        "UPDATE item SET more = 3",
        "TRUNCATE item",
    )

    assert [event[0] for event in db.events()] == ["INSERT", "UPDATE", "UPDATE", "TRUNCATE"]
    assert db.steps()[2][2]["more"] == 3
    assert {change.actor for change in db.changes()} == {"postgres"}
    assert {change.timestamp.year for change in db.changes()} != {2000}


def test_the_functions_run_with_their_owners_rights_and_a_path_of_their_own(items: Watched) -> None:
    found = items.query(
        "SELECT DISTINCT prosecdef, (SELECT max(c) FROM unnest(proconfig) AS c WHERE c ~ 'search_path') "
        "FROM pg_proc WHERE proname ~ '^changelog_capture(_truncate)?$'"
    )

    assert found == [(True, "search_path=pg_catalog, pg_temp")]


HOSTILE_CONTEXTS = [
    'it\'s "quoted"',
    "a */ b -- c",
    "a\0b",
    "$auditcli$;",
    "%s :x {}",
    "x" * 1_000_000,
    "\N{MUSICAL NOTE}",
]


@pytest.mark.parametrize("word", HOSTILE_CONTEXTS, ids=range(len(HOSTILE_CONTEXTS)))
@pytest.mark.parametrize("mode", ["listeners", "triggers"])
def test_a_hostile_context_is_kept_as_it_is(engine: Engine, mode: str, word: str) -> None:
    db = Watched(engine, ITEM, triggers=mode == "triggers")
    factory = sessionmaker(engine)
    auditcli.track(factory)

    with auditcli.context(actor=word, reason=word, request_id=word), factory.begin() as session:
        session.execute(insert(ITEM_TABLE).values(id=1, name="x"))

    [change] = db.changes()
    kept = word.replace("\0", "\N{SYMBOL FOR NULL}")
    assert change.actor == kept[:255]
    assert change.reason == kept
    assert change.source == mode.removesuffix("s")
    db.check()
