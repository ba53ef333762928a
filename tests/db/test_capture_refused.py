"""What can't be recorded is refused with the way out, or let through with a gap: never missed in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    column,
    create_engine,
    delete,
    event,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.engine import Compiled
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

import auditcli
from auditcli.errors import CaptureError, LogError, UnrecordableWrite, UsageError
from tests.db.recorded import ITEM, Item, Store, inserted, item, updated

PLAIN_WRITES: dict[str, Callable[[Session], Any]] = {
    "text": lambda s: s.execute(text("UPDATE item SET state = 'x'")),
    "text with parameters": lambda s: s.execute(text("DELETE FROM item WHERE id = :id"), {"id": 1}),
    "text executemany": lambda s: s.execute(text("INSERT INTO item (name) VALUES (:n)"), [{"n": "a"}, {"n": "b"}]),
    "text with columns": lambda s: s.execute(text("DELETE FROM item RETURNING id").columns(column("id"))).all(),
    "from_statement": lambda s: s.scalars(select(Item).from_statement(text("DELETE FROM item RETURNING *"))).all(),
    "driver": lambda s: s.connection().exec_driver_sql("REPLACE INTO item (id) VALUES (1)"),
    "driver executemany": lambda s: s.connection().exec_driver_sql("INSERT INTO item (id) VALUES (?)", [(8,), (9,)]),
    "comment first": lambda s: s.execute(text('-- x\n/* y */ ; Insert Or Ignore Into main."item" (id) values (9)')),
    "name as text": lambda s: s.execute(text("DELETE FROM 'item'")),
    "comment with a quote": lambda s: s.execute(text("-- it's\nDELETE FROM [item] WHERE name <> 'x'")),
    "with": lambda s: s.execute(text("WITH x AS (SELECT 1) UPDATE item SET state = 'x' WHERE id IN x")),
    "upsert": lambda s: s.execute(text("INSERT INTO [item] (id) VALUES (1) ON CONFLICT DO UPDATE SET state = 'x'")),
    "cte": lambda s: s.execute(select(insert(ITEM).values(id=9).returning(ITEM.c.id).cte("new"))),
    "cte beside": lambda s: s.execute(update(ITEM).values(state="x").add_cte(delete(ITEM).cte("gone"))),
    "cte in where": lambda s: s.execute(
        delete(ITEM).where(ITEM.c.id.in_(select(insert(ITEM).returning(ITEM.c.id).cte("new"))))
    ),
    "lightweight table": lambda s: s.execute(insert(table("item", column("id"))).values(id=9)),
}
if hasattr(Compiled, "_execute_on_connection"):
    PLAIN_WRITES["compiled"] = lambda s: s.connection().execute(
        insert(ITEM).values(id=9).compile(s.connection().engine)  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("how", PLAIN_WRITES)
def test_plain_sql_that_writes_is_refused(items: Store, how: str) -> None:
    items.add_items("a")

    with items.factory() as session, pytest.raises(UnrecordableWrite) as refused:
        PLAIN_WRITES[how](session)

    assert "item" in refused.value.message
    assert "untracked" in str(refused.value.hint)
    assert items.records() == []


@pytest.mark.parametrize("how", [how for how in PLAIN_WRITES if "cte" not in how])
def test_plain_sql_inside_untracked_leaves_a_gap(items: Store, how: str) -> None:
    items.add_items("a")
    [(last_id,)] = items.query("SELECT max(id) FROM changelog")

    with auditcli.context(actor="alice"), items.factory.begin() as session:
        with pytest.raises(IntegrityError):
            session.execute(insert(Item).values(id=1))
        with auditcli.untracked("repair"):
            PLAIN_WRITES[how](session)
            session.execute(update(Item).values(price=7))
            session.add(Item(id=77))
            session.flush()
        session.add(Item(id=78, name="b"))

    gaps = items.query("SELECT table_name, after_id, until_id, actor, reason FROM changelog_gap")
    assert gaps == [("item", last_id, last_id, "alice", "repair")]
    assert items.records() == [inserted(78, "b")]
    items.start_here()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT replace(name, 'a', 'b'), id AS \"update\" FROM item",
        "SELECT 'DELETE FROM item' -- DELETE FROM item",
        "SELECT '\\', '; DELETE FROM item', 1 AS [; DELETE FROM item]",
        "CREATE TRIGGER t AFTER INSERT ON item BEGIN SELECT 1; DELETE FROM item WHERE id < 0; END",
        "WITH x AS (SELECT id FROM item) SELECT * FROM x",
        "EXPLAIN DELETE FROM item",
        "PRAGMA foreign_keys",
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY)",
        "CREATE INDEX by_name ON item (name)",
        "CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM item WHERE id < 0; END",
        "INSERT INTO unrelated (id) VALUES (1)",
        "SAVEPOINT mine",
    ],
)
def test_plain_sql_that_writes_no_recorded_row_passes(items: Store, sql: str) -> None:
    items.add_items("a")
    items.write("CREATE TEMP TABLE x (id)", "CREATE TABLE unrelated (id)")
    items.left_out = {"unrelated": ()}
    engine = create_engine(items.engine.url)
    auditcli.track(engine, exclude_tables=["unrelated"]) if "unrelated" in sql else auditcli.track(engine)

    if "unrelated" in sql:
        with engine.connect() as connection, pytest.raises(UsageError, match="contradicts the log"):
            connection.exec_driver_sql(sql)
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql(sql)

    engine.dispose()
    assert items.records() == []


def test_temporary_tables_pass(items: Store) -> None:
    scratch = Table("scratch", MetaData(), Column("id", Integer, primary_key=True), prefixes=["TEMPORARY"])

    with items.factory.begin() as session:
        scratch.create(session.connection())
        session.execute(insert(scratch), [{"id": 1}, {"id": 2}])
        session.execute(text("DELETE FROM scratch"))
        session.add(Item(name="a"))

    assert items.records() == [inserted(1, "a")]


def test_a_view_is_refused_or_leaves_a_gap(items: Store) -> None:
    items.write(
        "CREATE VIEW names AS SELECT id, name FROM item",
        "CREATE TRIGGER names_in INSTEAD OF INSERT ON names BEGIN INSERT INTO item (name) VALUES (new.name); END",
    )
    names = Table("names", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))

    with items.factory.begin() as session:
        with pytest.raises(UnrecordableWrite, match="view names"):
            session.execute(insert(names).values(name="a"))
        with auditcli.untracked("through the view"):
            session.execute(insert(names).inline().values(name="a"))

    assert items.query("SELECT table_name, reason FROM changelog_gap") == [("names", "through the view")]
    assert items.records() == []
    items.start_here()


def test_a_gap_tells_of_the_tables_that_a_cascade_reaches_too(store: Store) -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("p", ForeignKey("parent.id", ondelete="CASCADE")),
    )
    Table("other", metadata, Column("id", Integer, primary_key=True), Column("p", ForeignKey("parent.id")))
    store.create(metadata)
    store.track(store.engine)

    with store.engine.begin() as connection, auditcli.untracked("clean-up"):
        connection.execute(delete(parent))
        connection.execute(text("DELETE FROM parent"))

    assert store.query("SELECT table_name FROM changelog_gap") == [("parent",), ("child",)]


def test_a_gap_of_a_rolled_back_savepoint_is_written_again(items: Store) -> None:
    with items.factory.begin() as session, auditcli.untracked("repair"):
        savepoint = session.begin_nested()
        session.execute(text("DELETE FROM item"))
        savepoint.rollback()
        session.execute(text("DELETE FROM item"))

    assert items.query("SELECT count(*) FROM changelog_gap") == [(1,)]


@pytest.mark.parametrize("way", ["engine", "execution options", "session"])
def test_an_autocommit_engine_would_have_kept_changes_whose_records_failed(store: Store, way: str) -> None:
    store.create()
    options = {"isolation_level": "AUTOCOMMIT"}
    engine = create_engine(store.engine.url, **options) if way == "engine" else store.engine
    target = sessionmaker(engine.execution_options(**options)) if way == "session" else engine
    auditcli.track(target, create=True)

    connection = engine.connect().execution_options(**options)
    writer = target() if isinstance(target, sessionmaker) else connection
    with connection, writer, pytest.raises(CaptureError, match="AUTOCOMMIT") as refused:
        writer.execute(insert(ITEM).values(name="a"))

    assert refused.value.hint == "write through a transaction, or install capture triggers"
    assert store.query("SELECT count(*) FROM item") == [(0,)]
    engine.dispose()


def test_a_write_without_a_log_fails(store: Store) -> None:
    store.create()
    auditcli.track(store.factory)

    with pytest.raises(LogError, match="no change log") as refused, store.factory.begin() as session:
        session.add(Item(name="a"))

    assert "audit init" in str(refused.value.hint)
    assert store.query("SELECT count(*) FROM item") == [(0,)]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE changelog",
        "ALTER TABLE changelog RENAME COLUMN actor TO somebody",
        "CREATE TRIGGER broken BEFORE INSERT ON changelog BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
        "CREATE TRIGGER broken BEFORE INSERT ON changelog_transaction BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TRIGGER broken BEFORE INSERT ON changelog BEGIN SELECT RAISE(ROLLBACK, 'all over'); END",
    ],
)
def test_a_record_that_can_not_be_written_fails_the_transaction(items: Store, damage: str) -> None:
    items.add_items("a")
    items.write(damage)

    with items.factory() as session:
        session.add(Item(name="b"))
        with pytest.raises((DBAPIError, LogError)):
            session.commit()

    assert items.query("SELECT name, state FROM item") == [("a", "new")]


def test_a_program_that_ignores_a_failed_record_would_have_committed_an_unlogged_change(items: Store) -> None:
    items.add_items("a")
    items.write("CREATE TRIGGER broken BEFORE INSERT ON changelog BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")

    with items.engine.connect() as connection:
        session = items.factory(bind=connection)
        with pytest.raises(IntegrityError, match="the disk is full"):
            session.execute(update(ITEM).values(state="lost"))
        with pytest.raises(CaptureError) as refused:
            connection.commit()

    assert str(refused.value.hint).startswith("roll it back")
    assert items.query("SELECT name, state FROM item") == [("a", "new")]


def test_a_record_that_could_not_be_written_is_forgiven_with_its_savepoint(items: Store) -> None:
    items.add_items("a")
    items.write(
        "CREATE TRIGGER broken BEFORE INSERT ON changelog WHEN new.after LIKE '%bad%' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )

    with items.factory.begin() as session:
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(ITEM).values(name="bad"))
        session.execute(insert(ITEM).values(name="good"))

    assert items.records() == [inserted(2, "good")]


def test_only_the_chosen_tables_are_recorded(store: Store) -> None:
    metadata = MetaData()
    names = ["orders", "order_lines", "people", "order_cache"]
    tables = [Table(name, metadata, Column("id", Integer, primary_key=True)) for name in names]
    store.create(metadata)
    store.track(store.engine, tables=["order*"], exclude_tables=["*_cache"])
    store.left_out = {"people": (), "order_cache": ()}

    with store.engine.begin() as connection:
        for one in tables:
            connection.execute(insert(one).values(id=1))
        connection.execute(text("DELETE FROM people"))

    assert [record[1] for record in store.records()] == ["orders/1", "order_lines/1"]


def test_excluded_columns_are_never_in_the_log(store: Store) -> None:
    store.create()
    store.left_out = {"item": ("name", "revision")}
    store.track(exclude_columns={"item": ["name", "revision"]})

    with store.factory.begin() as session:
        session.add(Item(id=1, name="secret"))
    with store.factory.begin() as session:
        session.get_one(Item, 1).name = "another secret"
        session.execute(update(Item).values(name="third"))
    with store.factory.begin() as session:
        session.get_one(Item, 1).state = "old"
        session.execute(delete(Item).where(Item.name == "third"))

    new = {"id": 1, "price": 1.5, "state": "new"}
    assert store.records() == [
        ("INSERT", "item/1", None, new),
        ("UPDATE", "item/1", new, {**new, "state": "old"}),
        ("DELETE", "item/1", {**new, "state": "old"}, None),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exclude_columns": {"item": ["id"]}}, "item.id is part of a key"),
        ({"exclude_columns": {"item": ["nmae"]}}, "no column item.nmae"),
        ({"exclude_columns": {"itme": ["name"]}}, "no table 'itme'"),
        ({"bookkeeping": {"item": ["changed_at"]}}, "no column item.changed_at"),
    ],
)
def test_settings_that_make_no_sense_are_refused(store: Store, settings: dict[str, Any], message: str) -> None:
    store.create()
    store.track(**settings)

    with pytest.raises(UsageError, match=message) as refused, store.factory.begin() as session:
        session.add(Item(name="a"))

    assert refused.value.hint
    assert store.query("SELECT count(*) FROM item") == [(0,)]


def test_settings_that_contradict_the_log_are_refused(items: Store) -> None:
    items.add_items("a")
    other = sessionmaker(items.engine)
    auditcli.track(other, exclude_tables=["item"])

    with pytest.raises(UsageError, match="contradicts the log"), other.begin() as session:
        session.add(Item(name="b"))

    assert items.records() == []


def test_what_is_no_session_and_no_engine_can_not_be_tracked() -> None:
    with pytest.raises(UsageError, match="a str can't be tracked") as refused:
        auditcli.track("sqlite://")

    assert refused.value.hint == "give a sessionmaker, a session, its class, or an engine"


def test_a_transaction_that_the_database_rolled_back_by_itself_starts_anew(items: Store) -> None:
    items.write("CREATE TRIGGER t BEFORE INSERT ON item WHEN new.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'x'); END")

    with items.engine.connect() as connection:
        session = items.factory(bind=connection)
        session.execute(insert(ITEM).values(id=1, name="lost"))
        with pytest.raises(IntegrityError):
            session.execute(insert(ITEM).values(id=2, name="bad"))
        session.execute(insert(ITEM).values(id=3, name="kept"))
        session.commit()
        connection.commit()

    assert items.records() == [inserted(3, "kept")]
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_transactions_driven_by_plain_sql_keep_log_and_rows_together(items: Store) -> None:
    with items.engine.connect() as connection:
        session = items.factory(bind=connection)
        session.execute(insert(ITEM).values(id=1, name="kept"))
        connection.exec_driver_sql("SAVEPOINT mine")
        session.execute(insert(ITEM).values(id=2, name="lost"))
        connection.exec_driver_sql("ROLLBACK TO mine")
        session.execute(insert(ITEM).values(id=3, name="kept too"))
        connection.exec_driver_sql("COMMIT")
        session.execute(insert(ITEM).values(id=4, name="lost"))
        connection.exec_driver_sql("ROLLBACK")
        session.execute(insert(ITEM).values(id=5, name="kept as well"))
        session.commit()
        connection.commit()

    assert items.records() == [inserted(1, "kept"), inserted(3, "kept too"), inserted(5, "kept as well")]
    orphans = (
        "SELECT count(*) FROM changelog WHERE transaction_id NOT IN (SELECT transaction_id FROM changelog_transaction)"
    )
    assert items.query(orphans) == [(0,)]


def test_a_table_whose_rows_have_no_address_is_refused(store: Store) -> None:
    odd = Table("odd", MetaData(), Column("rowid", Integer), Column("oid", Integer), Column("_rowid_", Integer))
    odd.create(store.engine)
    store.track(store.engine)

    with store.engine.connect() as connection, pytest.raises(UnrecordableWrite) as refused:
        connection.execute(insert(odd).values(oid=1))

    assert refused.value.message == (
        "odd has no primary key, and its columns take every name of its row id: its rows can't be told apart"
    )
    assert "audit init" in str(refused.value.hint)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_statement_that_another_listener_changes_is_recorded_or_refused(store: Store, is_first: bool) -> None:
    def widen(_connection: Any, statement: Any, multiparams: Any, params: Any, _options: Any) -> Any:
        return (update(ITEM).values(state="all") if statement.is_update else statement), multiparams, params

    store.create()
    if is_first:
        event.listen(store.engine, "before_execute", widen, retval=True)
    store.track(store.engine)
    store.add_items("a", "b")
    if not is_first:
        event.listen(store.engine, "before_execute", widen, retval=True)

    with store.engine.connect() as connection:
        statement = update(ITEM).where(ITEM.c.id == 1).values(state="one")
        if is_first:
            connection.execute(statement)
        else:
            with pytest.raises(CaptureError, match="another listener"):
                connection.execute(statement)
            with pytest.raises(CaptureError):
                connection.commit()
        if is_first:
            connection.commit()

    wanted = [updated(item(1, "a"), state="all"), updated(item(2, "b"), state="all")]
    assert store.records() == (wanted if is_first else [])
