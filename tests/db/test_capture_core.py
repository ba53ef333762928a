"""What Core statements write through a tracked engine, and what transactions do around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    case,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError, SAWarning

import auditcli
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from tests.clock import SettableClock
from tests.db.recorded import ITEM, Store, deleted, inserted, item, updated

METADATA = MetaData()
LABEL = Table(
    "label",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("item_name", Text),
    Column("word", Text),
)


@pytest.fixture
def core(store: Store) -> Store:
    """A tracked engine."""
    store.create()
    store.create(METADATA)
    store.track(store.engine)
    return store


def test_core_statements_are_recorded(core: Store) -> None:
    with core.engine.begin() as connection:
        assert connection.execute(insert(ITEM).values(name="a")).inserted_primary_key == (1,)
        assert connection.execute(insert(ITEM), {"id": 7, "name": "b"}).inserted_primary_key == (7,)
        assert connection.execute(update(ITEM).where(ITEM.c.id == 1).values(state="old")).rowcount == 1
        assert connection.execute(delete(ITEM).where(ITEM.c.name == "b")).rowcount == 1

    assert core.records() == [
        inserted(1, "a"),
        inserted(7, "b"),
        updated(item(1, "a"), state="old"),
        deleted(item(7, "b")),
    ]


def test_executemany_is_recorded(core: Store) -> None:
    with core.engine.begin() as connection:
        assert connection.execute(insert(ITEM), [{"name": "a"}, {"name": "b"}]).rowcount == 2
        connection.execute(insert(ITEM), [{"id": 5, "name": "c"}, {"id": 6, "name": "d"}])
        by_key = update(ITEM).where(ITEM.c.id == bindparam("key")).values(state=bindparam("word"))
        changed = connection.execute(
            by_key, [{"key": 1, "word": "x"}, {"key": 5, "word": "y"}, {"key": 99, "word": "z"}]
        )
        by_name = update(ITEM).where(ITEM.c.name == bindparam("old")).values(name=bindparam("new"))
        connection.execute(by_name, [{"old": "b", "new": "B"}, {"old": "B", "new": "BB"}])
        connection.execute(delete(ITEM).where(ITEM.c.id == bindparam("key")), [{"key": 5}, {"key": 6}])
        assert changed.rowcount == 2

    assert core.records() == [
        inserted(1, "a"),
        inserted(2, "b"),
        inserted(5, "c"),
        inserted(6, "d"),
        updated(item(1, "a"), state="x"),
        updated(item(5, "c"), state="y"),
        updated(item(2, "b"), name="BB", revision=2),
        deleted(item(5, "c", state="y", revision=1)),
        deleted(item(6, "d")),
    ]


def test_one_key_twice_in_an_executemany_is_one_change(core: Store) -> None:
    core.add_items("a")
    statement = update(ITEM).where(ITEM.c.id == bindparam("key")).values(name=bindparam("new"))

    with core.engine.begin() as connection:
        connection.execute(statement, [{"key": 1, "new": "b"}, {"key": 1, "new": "c"}])
        connection.execute(delete(ITEM).where(ITEM.c.id == bindparam("key")), [{"key": 1}, {"key": 1}])

    assert core.records() == [
        updated(item(1, "a"), name="c", revision=2),
        deleted(item(1, "c", revision=2)),
    ]


def _inner(column: Any) -> Any:
    return select(func.max(column)).scalar_subquery()


OTHER = ITEM.alias("other")
ROWS = select(ITEM.c.id).where(ITEM.c.name < "c").cte("wanted")
WHERE_CLAUSES: dict[str, Callable[[], Any]] = {
    "subquery": lambda: ITEM.c.id.in_(select(LABEL.c.id).where(LABEL.c.word == "x")),
    "subquery of the table itself": lambda: ITEM.c.id < _inner(OTHER.c.id),
    "correlated": lambda: select(LABEL.c.id).where(LABEL.c.item_name == ITEM.c.name, LABEL.c.word == "x").exists(),
    "cte": lambda: ITEM.c.id.in_(select(ROWS.c.id)),
    "other table": lambda: (ITEM.c.name == LABEL.c.item_name) & (LABEL.c.word == "x"),
    "alias of the table": lambda: (ITEM.c.id == OTHER.c.id - 1) & (OTHER.c.id <= 3) & (OTHER.c.id != 1),
    "alias by key": lambda: (ITEM.c.id < OTHER.c.id) & (OTHER.c.id == 3),
    "current timestamp": lambda: (ITEM.c.id <= 2) & (func.current_timestamp() > "2000"),
    "text": lambda: text("item.id < 3"),
    "text with a parameter": lambda: text("item.id < :most").bindparams(most=3),
    "literal column": lambda: literal_column("id") < 3,
    "function": lambda: func.upper(ITEM.c.name).in_(["A", "B"]),
    "case": lambda: case((ITEM.c.id < 3, 1), else_=0) == 1,
    "like": lambda: ITEM.c.name.like("a%") | ITEM.c.name.like("b%"),
    "in": lambda: ITEM.c.id.in_([1, 2, 99]),
    "tuple": lambda: ITEM.c.id.between(1, 2) & ~(ITEM.c.name.is_(None)),
    "parameter": lambda: ITEM.c.id < bindparam("most", 3),
}


@pytest.mark.parametrize("where", WHERE_CLAUSES)
@pytest.mark.parametrize("verb", ["update", "delete", "update returning"])
def test_rows_found_in_any_way_are_recorded(core: Store, where: str, verb: str) -> None:
    core.add_items("a", "b", "c", "d")
    with core.engine.begin() as connection:
        connection.execute(
            insert(LABEL), [{"id": 1, "item_name": "a", "word": "x"}, {"id": 2, "item_name": "b", "word": "x"}]
        )
    core.start_here()
    condition = WHERE_CLAUSES[where]()
    if verb == "delete" and where in ("other table", "alias of the table", "alias by key"):
        condition = ITEM.c.id.in_(select(ITEM.c.id).where(condition).correlate(None))

    with core.engine.begin() as connection:
        statement: Any = {
            "update": update(ITEM).where(condition).values(state="old"),
            "delete": delete(ITEM).where(condition),
            "update returning": update(ITEM).where(condition).values(state="old").returning(ITEM.c.id),
        }[verb]
        result = connection.execute(statement)
        # The driver counts nothing where a statement begins with WITH.
        assert (verb == "update returning" and result.all()) or result.rowcount in ([-1] if where == "cte" else [2, 3])

    rows = [item(1, "a"), item(2, "b"), item(3, "c")][: 3 if where == "subquery of the table itself" else 2]
    wanted = [deleted(row) if verb == "delete" else updated(row, state="old") for row in rows]
    assert core.records() == wanted


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_rows_chosen_by_chance_are_those_that_are_recorded(core: Store, verb: str) -> None:
    core.add_items(*"abcdefghijklmnopqrst")
    by_chance = func.random() % 2 == 0

    with core.engine.begin() as connection:
        statement: Any = update(ITEM).values(state="old") if verb == "update" else delete(ITEM)
        count = connection.execute(statement.where(by_chance)).rowcount
        picked = select(ITEM.c.id).order_by(func.random()).limit(3)
        more = connection.execute(statement.where(ITEM.c.id.in_(picked))).rowcount

    assert len(core.records()) == count + more
    assert more == 3 or verb == "delete"


def test_values_of_other_rows_and_tables_are_recorded(core: Store) -> None:
    core.add_items("a", "b")
    with core.engine.begin() as connection:
        connection.execute(insert(LABEL).values(id=1, item_name="a", word="x"))
        core_word = select(LABEL.c.word).where(LABEL.c.item_name == ITEM.c.name).scalar_subquery()
        connection.execute(update(ITEM).values(state=core_word))
        connection.execute(update(ITEM).where(ITEM.c.name == LABEL.c.item_name).values(state=LABEL.c.item_name))
        connection.execute(update(ITEM).ordered_values((ITEM.c.price, ITEM.c.price * 2), (ITEM.c.name, "z")))

    assert core.records()[1:] == [
        updated(item(1, "a"), state="x"),
        updated(item(2, "b"), state=None),
        updated(item(1, "a", state="x", revision=1), state="a"),
        updated(item(1, "a", state="a", revision=2), price=3, name="z"),
        updated(item(2, "b", state=None, revision=1), price=3, name="z"),
    ]


def test_a_batch_whose_rows_depend_on_each_other_is_refused(core: Store) -> None:
    core.add_items("a", "b")
    statement = update(ITEM).where(ITEM.c.id == _inner(OTHER.c.id), ITEM.c.name != bindparam("not_this"))

    with core.engine.begin() as connection, pytest.raises(UnrecordableWrite) as refused:
        connection.execute(statement.values(name=bindparam("new")), [{"not_this": "x", "new": "y"}] * 2)

    assert refused.value.hint is not None
    assert "once for each parameter set" in refused.value.hint
    assert core.records() == []


KEYED_BY_DATABASE = Table(
    "token",
    METADATA,
    Column("token", Text, primary_key=True, server_default=text("(lower(hex(randomblob(4))))")),
    Column("name", Text),
)


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.execute(insert(ITEM).values([{"name": "a"}, {"name": "b"}])),
        lambda c: c.execute(insert(ITEM).values([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])),
        lambda c: c.execute(insert(ITEM).from_select(["name"], select(LABEL.c.word).order_by(LABEL.c.id))),
        lambda c: [c.execute(insert(ITEM).inline().values(name=name)) for name in "ab"],
        lambda c: [
            c.execute(insert(ITEM).values(id=bindparam("key"), name=n), {"key": k}) for k, n in ((1, "a"), (2, "b"))
        ],
        lambda c: c.execute(
            insert(ITEM).values(id=bindparam("key")), [{"key": 1, "name": "a"}, {"key": 2, "name": "b"}]
        ),
        lambda c: [c.execute(insert(ITEM).values(id=literal_column("1") + n, name="ab"[n])) for n in (0, 1)],
        lambda c: c.execute(insert(ITEM).values({ITEM.c.name: bindparam("x")}), [{"x": "a"}, {"x": "b"}]),
        lambda c: [c.execute(insert(ITEM).values((None, n, 1.5, "new", 0))) for n in "ab"],
        lambda c: c.execute(insert(ITEM).returning(ITEM.c.id, ITEM.c.name), [{"name": "a"}, {"name": "b"}]).all(),
        lambda c: c.execute(insert(ITEM).return_defaults(), {"name": "a"}) and c.execute(insert(ITEM), {"name": "b"}),
        lambda c: [c.execute(insert(ITEM).prefix_with("OR ABORT"), {"name": n}) for n in "ab"],
        lambda c: [c.execute(insert(ITEM), {"id": None, "name": n}) for n in "ab"],
        lambda c: c.execution_options(insertmanyvalues_page_size=1).execute(insert(ITEM), [{"name": n} for n in "ab"]),
    ],
    ids=[
        "multi-values",
        "multi-values with keys",
        "from a select",
        "inline",
        "key by a named parameter",
        "keys by a named parameter",
        "key by an expression",
        "values by a named parameter",
        "positional values",
        "returning",
        "return_defaults",
        "prefix",
        "no key",
        "in pages",
    ],
)
def test_inserts_of_every_form_are_recorded(core: Store, write: Callable[[Connection], Any]) -> None:
    core.write("INSERT INTO label (word) VALUES ('a'), ('b')")
    core.start_here()

    with core.engine.begin() as connection:
        write(connection)

    assert core.records() == [inserted(1, "a"), inserted(2, "b")]


@pytest.mark.parametrize("implicit_returning", [True, False])
def test_a_key_that_the_database_makes_is_recorded(store: Store, implicit_returning: bool) -> None:
    store.create(METADATA)
    store.track(store.engine)
    table = Table(
        "token",
        MetaData(),
        *[column._copy() for column in KEYED_BY_DATABASE.columns],
        implicit_returning=implicit_returning,
    )

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(name="a"))
        connection.execute(insert(table), [{"name": "b"}, {"name": "c"}])

    assert [(event_type, after and after["name"]) for event_type, _, _, after in store.records()] == [
        ("INSERT", "a"),
        ("INSERT", "b"),
        ("INSERT", "c"),
    ]


@pytest.mark.parametrize("lacking", ["insert_returning", "insert_executemany_returning"])
def test_new_rows_that_can_not_be_returned_are_refused_unless_their_keys_are_given(core: Store, lacking: str) -> None:
    with core.engine.connect():
        setattr(core.engine.dialect, lacking, False)

    with core.engine.begin() as connection:
        with pytest.raises(UnrecordableWrite, match="the keys of new rows of item are not told"):
            connection.execute(insert(ITEM), [{"name": "a"}, {"name": "b"}])
        connection.execute(insert(ITEM), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        connection.execute(insert(ITEM).values(name="c"))

    assert core.records() == [inserted(1, "a"), inserted(2, "b"), inserted(3, "c")]


@pytest.mark.parametrize("implicit_returning", [True, False])
def test_a_row_whose_defaults_are_wanted_tells_its_key(store: Store, implicit_returning: bool) -> None:
    columns = Column("id", Integer, primary_key=True), Column("word", Text, server_default="w")
    table = Table("row", MetaData(), *columns, implicit_returning=implicit_returning)
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        assert connection.execute(insert(table).return_defaults()).inserted_primary_key == (1,)

    assert [row for _, row, _, _ in store.records()] == ["row/1"]


@pytest.mark.parametrize("implicit_returning", [True, False])
def test_a_key_that_sqlalchemy_does_not_ask_for_is_recorded(store: Store, implicit_returning: bool) -> None:
    table = Table(
        "row",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("word", Text),
        implicit_returning=implicit_returning,
    )
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection, pytest.warns(SAWarning, match="autoincrement"):  # noqa: PT031
        connection.execute(insert(table).values(word="a"))
        connection.execute(insert(table).return_defaults(), [{"word": "b"}, {"word": "c"}])
        result = connection.execute(insert(table).returning(table.c.word), {"word": "d"})
        pair = result.splice_horizontally(connection.execute(insert(table).returning(table.c.word), {"word": "e"}))
        assert (list(pair.keys()), pair.all()) == (["word", "word"], [("d", "e")])

    assert [(row, after and after["word"]) for _, row, _, after in store.records()] == [
        (f"row/{key}", word) for key, word in enumerate("abcde", 1)
    ]


def test_a_statement_that_failed_leaves_no_record_and_the_transaction_goes_on(core: Store) -> None:
    core.add_items("a")

    with core.engine.begin() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(insert(ITEM).values(id=1, name="taken"))
        with pytest.raises(IntegrityError):
            connection.execute(insert(ITEM).values([{"id": 5, "name": "lost"}, {"id": 1, "name": "taken"}]))
        connection.execute(insert(ITEM).values(id=2, name="b"))

    assert core.records() == [inserted(2, "b")]


def test_a_batch_that_failed_half_way_would_have_committed_rows_that_no_record_tells_of(core: Store) -> None:
    core.add_items("a")
    batch = [{"id": 2, "name": "b"}, {"id": 1, "name": "taken"}]

    with core.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(insert(ITEM), batch)
        connection.execute(insert(ITEM).values(id=3, name="c"))
        with pytest.raises(CaptureError) as refused:
            connection.commit()
    with core.engine.begin() as connection:
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(insert(ITEM), batch)
        connection.execute(insert(ITEM).values(id=3, name="c"))

    assert "begin_nested" in str(refused.value.hint)
    assert core.records() == [inserted(3, "c")]


def test_a_refused_commit_can_not_be_repeated(core: Store) -> None:
    core.add_items("a")

    with core.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(insert(ITEM), [{"id": 2, "name": "b"}, {"id": 1, "name": "taken"}])
        with pytest.raises(CaptureError):
            connection.commit()
        with pytest.raises(InvalidRequestError):
            connection.commit()
        connection.rollback()
        connection.execute(insert(ITEM).values(id=3, name="c"))
        connection.commit()

    assert core.records() == [inserted(3, "c")]


def test_savepoints_of_a_connection_leave_what_was_kept(core: Store) -> None:
    with core.engine.begin() as connection:
        first = connection.begin_nested()
        connection.execute(insert(ITEM).values(id=1, name="kept"))
        second = connection.begin_nested()
        connection.execute(insert(ITEM).values(id=2, name="lost"))
        second.rollback()
        first.commit()
        connection.execute(insert(ITEM).values(id=2, name="kept too"))

    assert core.records() == [inserted(1, "kept"), inserted(2, "kept too")]
    assert core.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_a_savepoint_that_comes_first_and_is_rolled_back_leaves_nothing(core: Store) -> None:
    with core.engine.begin() as connection:
        savepoint = connection.begin_nested()
        connection.execute(insert(ITEM).values(id=1, name="lost"))
        savepoint.rollback()
        connection.execute(insert(ITEM).values(id=1, name="kept"))

    assert core.records() == [inserted(1, "kept")]
    assert core.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_the_clock_stamps_records_and_transactions(store: Store, clock: SettableClock) -> None:
    store.create()
    store.track(store.engine, clock=clock)

    with store.engine.begin() as connection:
        connection.execute(insert(ITEM).values(name="a"))
        clock.advance(1.5)
        connection.execute(insert(ITEM).values(name="b"))

    stamps = store.query("SELECT timestamp FROM changelog UNION ALL SELECT timestamp FROM changelog_transaction")
    assert [stamp for (stamp,) in stamps] == [
        "2026-03-02 09:30:00.000000",
        "2026-03-02 09:30:01.500000",
        "2026-03-02 09:30:00.000000",
    ]


def test_the_header_has_all_that_the_context_came_to_say(core: Store) -> None:
    with auditcli.context(actor="alice", reason="import", request_id="r1"), core.engine.begin() as connection:
        connection.execute(insert(ITEM).values(name="a"))
        with auditcli.context(actor="bob", step=2):
            connection.execute(insert(ITEM).values(name="b"))
        with auditcli.context(reason="import, second try"):
            connection.execute(insert(ITEM).values(name="c"))

    with core.engine.connect() as connection:
        changes = list(LogReader(connection, log_tables()).changes())
    assert core.query("SELECT actor FROM changelog ORDER BY id") == [("alice",), ("bob",), ("alice",)]
    assert {change.reason for change in changes} == {"import, second try"}
    assert changes[0].context == {"request_id": "r1", "step": 2}


@pytest.mark.parametrize("way", ["engine", "connection", "statement"])
def test_a_translated_schema_is_followed(store: Store, way: str) -> None:
    store.write(f"ATTACH '{store.path}2' AS attached")
    event.listen(store.engine, "connect", lambda driver, _: driver.execute(f"ATTACH '{store.path}2' AS attached"))
    store.create()
    store.track(store.engine)
    table = ITEM.to_metadata(MetaData(), schema="tenant")
    mapped = {"schema_translate_map": {"tenant": "attached"}}
    with store.engine.begin() as connection:
        ITEM.to_metadata(MetaData(), schema="attached").create(connection)
    engine = store.engine.execution_options(**mapped) if way == "engine" else store.engine
    options = mapped if way == "statement" else {}

    with engine.connect() as plain:
        connection = plain.execution_options(**mapped) if way == "connection" else plain
        connection.execute(insert(table).values(name="a"), execution_options=options)
        connection.execute(insert(table), [{"name": "b"}, {"name": "c"}], execution_options=options)
        connection.execute(update(table).where(table.c.name > "a").values(state="old"), execution_options=options)
        connection.execute(update(table).where(table.c.id == 3).values(id=103), execution_options=options)
        connection.execute(delete(table).where(func.lower(table.c.name) == "a"), execution_options=options)
        connection.commit()

    old = item(3, "c", state="old", revision=1)
    assert store.records() == [
        inserted(1, "a"),
        inserted(2, "b"),
        inserted(3, "c"),
        updated(item(2, "b"), state="old"),
        updated(item(3, "c"), state="old"),
        ("UPDATE", "item/3→103", old, {**old, "id": 103, "revision": 2}),
        deleted(item(1, "a")),
    ]
    assert store.query("SELECT DISTINCT table_schema FROM changelog") == [("attached",)]
    store.left_out = {"item": ()}
    store.start_here()


@pytest.mark.parametrize("name", ['we"ird', "50%", "two words", ":x", "größe 🎵", "a'b", "order", "x.y", "[b]"])
def test_odd_names_are_recorded(store: Store, name: str) -> None:
    metadata = MetaData()
    table = Table(name, metadata, Column("id", Integer, primary_key=True), Column(name, Text), Column("n", Integer))
    store.create(metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table), [{"id": 1, name: "a"}, {"id": 2, name: "b"}])
        connection.execute(insert(table).values({table.c[name]: "c"}))
        connection.execute(update(table).where(table.c[name] == "c").values(n=1))
        connection.execute(update(table).where(table.c.id == 3, func.lower(table.c[name]) == "c").values(id=4))
        connection.execute(delete(table).where(table.c.n.is_(None)))
        with pytest.raises(UnrecordableWrite):
            connection.exec_driver_sql(f"DELETE FROM {store.engine.dialect.identifier_preparer.quote_identifier(name)}")

    assert [event_type for event_type, *_ in store.records()] == ["INSERT"] * 3 + ["UPDATE"] * 2 + ["DELETE"] * 2
    assert store.records()[4][2:] == ({"id": 3, name: "c", "n": 1}, {"id": 4, name: "c", "n": 1})


def test_a_table_made_in_the_same_transaction_is_recorded(core: Store) -> None:
    with core.engine.begin() as connection:
        connection.execute(insert(ITEM).values(name="a"))
        connection.exec_driver_sql("/* new */ CREATE TABLE fresh (id INTEGER PRIMARY KEY)")
        fresh = Table("fresh", MetaData(), autoload_with=connection)
        connection.execute(insert(fresh).values(id=1))
        connection.execute(text("ALTER TABLE fresh ADD COLUMN word TEXT DEFAULT 'w'"))
        connection.execute(insert(fresh).values(id=2))

    assert core.records()[1:] == [
        ("INSERT", "fresh/1", None, {"id": 1}),
        ("INSERT", "fresh/2", None, {"id": 2, "word": "w"}),
    ]
    core.start_here()


def test_a_definition_that_is_rolled_back_is_forgotten(core: Store) -> None:
    with core.engine.begin() as connection:
        connection.execute(insert(ITEM).values(name="a"))
        savepoint = connection.begin_nested()
        connection.exec_driver_sql("ALTER TABLE item ADD COLUMN extra TEXT DEFAULT 'x'")
        connection.execute(insert(ITEM).values(name="lost"))
        savepoint.rollback()
        connection.execute(insert(ITEM).values(name="b"))

    assert core.records() == [inserted(1, "a"), inserted(2, "b")]
    remembered = core.query("SELECT shape FROM changelog_schema WHERE table_name = 'item'")
    assert all("extra" not in shape for (shape,) in remembered)


def test_a_column_that_another_program_added_is_in_the_next_record(core: Store) -> None:
    core.add_items("a")
    core.write("ALTER TABLE item ADD COLUMN extra TEXT DEFAULT 'x'")
    core.start_here()

    with core.engine.begin() as connection:
        connection.execute(update(ITEM).values(state="old"))

    assert core.records() == [updated(item(1, "a", extra="x"), state="old")]
    shapes = core.query("SELECT shape FROM changelog_schema WHERE table_name = 'item' ORDER BY id")
    assert ["extra" in shape for (shape,) in shapes] == [False, True]


def test_a_commit_that_the_database_refuses_does_not_lose_the_shapes(store: Store) -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    late = ForeignKey("parent.id", deferrable=True, initially="DEFERRED")
    child = Table("child", metadata, Column("id", Integer, primary_key=True), Column("parent_id", late))
    store.create(metadata)
    store.track(store.engine)

    with store.engine.connect() as connection:
        connection.execute(insert(child).values(id=1, parent_id=1))
        with pytest.raises(IntegrityError):
            connection.commit()
        connection.rollback()
        connection.execute(insert(parent).values(id=1))
        connection.commit()

    # SQLAlchemy does not roll back after a failed commit: the row was still there.
    assert store.records() == [
        ("INSERT", "child/1", None, {"id": 1, "parent_id": 1}),
        ("INSERT", "parent/1", None, {"id": 1}),
    ]
    assert store.query("SELECT table_name FROM changelog_schema ORDER BY table_name") == [("child",), ("parent",)]


def test_declared_types_do_not_change_what_is_recorded(store: Store) -> None:
    engine = create_engine(store.engine.url, connect_args={"detect_types": 3})
    metadata = MetaData()
    store.write("CREATE TABLE event (day DATE PRIMARY KEY, at TIMESTAMP) WITHOUT ROWID")
    table = Table("event", metadata, Column("day", Text, primary_key=True), Column("at", Text))
    store.track(engine)

    with engine.begin() as connection:
        connection.execute(insert(table).values(day="2026-01-01", at="2026-01-01 10:00:00"))
        connection.execute(update(table).values(at="2026-01-02 10:00:00"))
        connection.execute(update(table).where(table.c.day == "2026-01-01").values(day="2026-01-03"))
    engine.dispose()

    images = [
        {"day": day, "at": at}
        for day, at in (
            ("2026-01-01", "2026-01-01 10:00:00"),
            ("2026-01-01", "2026-01-02 10:00:00"),
            ("2026-01-03", "2026-01-02 10:00:00"),
        )
    ]
    assert store.records() == [
        ("INSERT", "event/2026-01-01", None, images[0]),
        ("UPDATE", "event/2026-01-01", images[0], images[1]),
        ("UPDATE", "event/2026-01-01→2026-01-03", images[1], images[2]),
    ]


def test_many_rows_at_once_are_recorded(core: Store) -> None:
    with core.engine.begin() as connection:
        connection.execute(insert(ITEM), [{"name": str(number)} for number in range(25_000)])
        core_count = connection.execute(update(ITEM).where(func.length(ITEM.c.name) > 0).values(state="old")).rowcount
        stamped = update(ITEM).where(func.current_timestamp() > "2000").values(state="older")
        stamped_count = connection.execute(stamped).rowcount
        with pytest.raises(UnrecordableWrite):
            connection.execute(delete(ITEM).where(text("1")))

    assert (core_count, stamped_count) == (25_000, 25_000)
    assert core.query("SELECT event_type, count(*) FROM changelog GROUP BY 1") == [
        ("INSERT", 25_000),
        ("UPDATE", 50_000),
    ]
