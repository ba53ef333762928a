"""Inserts that change, replace or pass over the rows in their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from auditcli.errors import UnrecordableWrite
from tests.db.recorded import Item, Record, Store

METADATA = MetaData()
USER = Table(
    "user",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("email", Text, unique=True),
    Column("name", Text, server_default="?"),
    Column("visits", Integer, server_default=text("0"), onupdate=text("user.visits + 1")),
)
PET = Table(
    "pet",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("user.id", ondelete="CASCADE")),
)


def _user(key: int, email: str | None, name: str | None = "?", visits: int = 0) -> dict[str, Any]:
    return {"id": key, "email": email, "name": name, "visits": visits}


def _new(image: dict[str, Any]) -> Record:
    return "INSERT", f"user/{image['id']}", None, image


def _changed(before: dict[str, Any], **changes: Any) -> Record:
    return "UPDATE", f"user/{before['id']}", before, {**before, **changes}


ANN, BOB = _user(1, "a", "ann"), _user(2, "b", "bob")


@pytest.fixture
def users(store: Store) -> Store:
    """Ann and Bob, each with a pet."""
    store.create(METADATA)
    store.track(store.engine)
    with store.engine.begin() as connection:
        connection.execute(insert(USER), [ANN, BOB])
        connection.execute(insert(PET), [{"id": 11, "user_id": 1}, {"id": 12, "user_id": 2}])
    store.start_here()
    return store


def _by_email(**options: Any) -> Insert:
    statement = upsert(USER)
    return statement.on_conflict_do_update(
        index_elements=["email"], set_={"name": statement.excluded.name, "visits": USER.c.visits + 1}, **options
    )


def _all_from_excluded(statement: Insert) -> Insert:
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={column.name: column for column in statement.excluded}
    )


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (
            lambda c: c.execute(_by_email(), [{"email": "a", "name": "A"}, {"email": "c", "name": "C"}]),
            [_changed(ANN, name="A", visits=1), _new(_user(3, "c", "C"))],
        ),
        (lambda c: c.execute(_by_email().values(email="a", name="A")), [_changed(ANN, name="A", visits=1)]),
        (lambda c: c.execute(_by_email().values(email="c")), [_new(_user(3, "c"))]),
        (
            lambda c: c.execute(_by_email().values([{"email": "a", "name": "A"}, {"email": "c", "name": "C"}])),
            [_changed(ANN, name="A", visits=1), _new(_user(3, "c", "C"))],
        ),
        (
            lambda c: c.execute(_by_email(where=USER.c.name != "ann").values([ANN | {"id": 5}, {**BOB, "name": "B"}])),
            [_changed(BOB, name="B", visits=1)],
        ),
        (
            lambda c: c.execute(_by_email(), [{"email": "c", "name": "1"}, {"email": "c", "name": "2"}]),
            [_new(_user(3, "c", "2", 1))],
        ),
        (
            lambda c: c.execute(_all_from_excluded(upsert(USER)).values(id=1, email="z", name="Z", visits=5)),
            [_changed(ANN, email="z", name="Z", visits=5)],
        ),
        (
            lambda c: c.execute(_all_from_excluded(upsert(USER)), [{**ANN, "name": "A"}, _user(8, "h", "H")]),
            [_changed(ANN, name="A"), _new(_user(8, "h", "H"))],
        ),
        (
            lambda c: c.execute(
                _by_email().from_select(
                    ["email", "name"], select(USER.c.email, func.upper(USER.c.name)).where(USER.c.id > 0)
                )
            ),
            [_changed(ANN, name="ANN", visits=1), _changed(BOB, name="BOB", visits=1)],
        ),
        (
            lambda c: c.execute(_by_email().values(email="a", name="A").returning(USER.c.id, USER.c.name)).all(),
            [_changed(ANN, name="A", visits=1)],
        ),
        (
            lambda c: c.execute(upsert(USER).on_conflict_do_nothing(), [{**ANN, "name": "A"}, _user(3, "c", "C")]),
            [_new(_user(3, "c", "C"))],
        ),
        (
            lambda c: c.execute(upsert(USER).on_conflict_do_nothing(), [{"email": "a"}, {"email": "c"}]),
            [_new(_user(3, "c"))],
        ),
        (lambda c: c.execute(upsert(USER).on_conflict_do_nothing().values(id=1, email="q")), []),
        (lambda c: c.execute(upsert(USER).on_conflict_do_nothing().values(id=5, email="a")), []),
        (
            lambda c: c.execute(insert(USER).prefix_with("OR IGNORE"), [{"email": "a"}, {"id": 4, "email": "d"}][1:]),
            [_new(_user(4, "d"))],
        ),
        (
            lambda c: c.execute(insert(USER).prefix_with("OR IGNORE").values([{"email": "a"}, {"email": "d"}])),
            [_new(_user(3, "d"))],
        ),
        (
            lambda c: c.execute(insert(USER).prefix_with("OR REPLACE").values(id=1, email="z", name="Z")),
            [_changed(ANN, email="z", name="Z"), ("DELETE", "pet/11", {"id": 11, "user_id": 1}, None)],
        ),
        (
            lambda c: c.execute(insert(USER).prefix_with("OR REPLACE").values(id=7, email="a", name="Z")),
            [
                ("DELETE", "user/1", ANN, None),
                _new(_user(7, "a", "Z")),
                ("DELETE", "pet/11", {"id": 11, "user_id": 1}, None),
            ],
        ),
        (
            lambda c: c.execute(
                insert(USER).prefix_with("OR REPLACE"), [{"id": 1, "email": "b"}, {"id": 4, "email": "d"}]
            ),
            [
                _changed(ANN, email="b", name="?"),
                ("DELETE", "user/2", BOB, None),
                _new(_user(4, "d")),
                ("DELETE", "pet/11", {"id": 11, "user_id": 1}, None),
                ("DELETE", "pet/12", {"id": 12, "user_id": 2}, None),
            ],
        ),
        (
            lambda c: c.execute(insert(USER).prefix_with("OR REPLACE").values(email="a")),
            [
                ("DELETE", "user/1", ANN, None),
                _new(_user(3, "a")),
                ("DELETE", "pet/11", {"id": 11, "user_id": 1}, None),
            ],
        ),
        (lambda c: c.execute(insert(USER).prefix_with("OR REPLACE").values(email=None)), [_new(_user(3, None))]),
        (
            lambda c: c.execute(
                insert(USER).prefix_with("OR REPLACE").from_select(["id", "email"], select(USER.c.id + 1, USER.c.email))
            ),
            None,
        ),
        (
            lambda c: c.execute(update(USER).prefix_with("OR IGNORE").values(email="a")),
            [_changed(ANN, visits=1)],
        ),
    ],
)
def test_upserts_are_recorded(users: Store, write: Callable[[Connection], Any], wanted: list[Record] | None) -> None:
    with users.engine.begin() as connection:
        write(connection)

    if wanted is not None:
        assert users.records() == wanted


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.execute(update(USER).prefix_with("OR REPLACE").where(USER.c.id == 1).values(email="b")),
        lambda c: c.execute(insert(USER).prefix_with("OR FAIL"), [{"email": "x"}, {"email": "a"}]),
        lambda c: c.execute(update(USER).prefix_with("OR ROLLBACK").values(email="b")),
        lambda c: c.execute(insert(USER).prefix_with("OR REPLACE").values(email=func.hex(func.randomblob(1)))),
        lambda c: c.execute(
            upsert(USER).values(id=1, email="x").on_conflict_do_update(index_elements=["id"], set_={"id": 77})
        ),
    ],
    ids=["update or replace", "or fail", "or rollback", "by chance", "changes the key"],
)
def test_upserts_that_can_not_be_foreseen_are_refused(users: Store, write: Callable[[Connection], Any]) -> None:
    with users.engine.begin() as connection, pytest.raises(UnrecordableWrite) as refused:
        write(connection)

    assert refused.value.hint
    assert users.records() == []


@pytest.mark.parametrize(
    "index",
    [
        lambda table: Index("partial", table.c.word, unique=True, sqlite_where=table.c.word != "x"),
        lambda table: Index("expression", func.lower(table.c.word), unique=True),
        lambda table: Index("collated", table.c.word.collate("NOCASE"), unique=True),
    ],
    ids=["partial", "expression", "collation"],
)
def test_an_upsert_past_an_index_that_columns_do_not_describe_is_refused(
    store: Store, index: Callable[[Table], Index]
) -> None:
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("word", Text))
    index(table)
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(id=1, word="a"))
        with pytest.raises(UnrecordableWrite) as refused:
            connection.execute(insert(table).prefix_with("OR REPLACE").values(id=2, word="A"))
        statement = upsert(table).values(id=1, word="b")
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"word": "c"}))

    assert "unique index on an expression or on part of its rows" in str(refused.value)
    assert [record[:2] for record in store.records()] == [("INSERT", "t/1"), ("UPDATE", "t/1")]


@pytest.mark.parametrize("rule", ["REPLACE", "IGNORE", "FAIL", "ABORT"])
@pytest.mark.parametrize("where", ["primary key", "unique"])
def test_a_conflict_rule_of_the_table_itself_is_followed(store: Store, rule: str, where: str) -> None:
    on_key: dict[str, Any] = {"sqlite_on_conflict_primary_key": rule} if where == "primary key" else {}
    table = Table(
        "t",
        MetaData(),
        Column("id", Integer, primary_key=True, **on_key),
        Column("word", Text),
        Column("other", Text, server_default="o"),
        *([UniqueConstraint("word", sqlite_on_conflict=rule)] if where == "unique" else []),
    )
    store.create(table.metadata)
    store.track(store.engine)
    collides = {"id": 1, "word": "b"} if where == "primary key" else {"id": 2, "word": "a"}

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(id=1, word="a", other="first"))
        try:
            connection.execute(insert(table).values(**collides))
        except IntegrityError:
            assert rule in ("FAIL", "ABORT")
        connection.execute(insert(table).values(id=5, word="e"))

    first = {"id": 1, "word": "a", "other": "first"}
    replaced: dict[str, list[Record]] = {
        "primary key": [("UPDATE", "t/1", first, {**collides, "other": "o"})],
        "unique": [("DELETE", "t/1", first, None), ("INSERT", "t/2", None, {**collides, "other": "o"})],
    }
    assert store.records() == [
        ("INSERT", "t/1", None, first),
        *(replaced[where] if rule == "REPLACE" else []),
        ("INSERT", "t/5", None, {"id": 5, "word": "e", "other": "o"}),
    ]


def test_a_replaced_row_without_a_key_is_recorded(store: Store) -> None:
    table = Table("t", MetaData(), Column("word", Text, unique=True), Column("n", Integer))
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table), [{"word": "a", "n": 1}, {"word": "b", "n": 1}])
        connection.execute(insert(table).prefix_with("OR REPLACE").values(word="b", n=2))
        statement = upsert(table).values(word="a", n=3)
        connection.execute(statement.on_conflict_do_update(index_elements=["word"], set_={"n": statement.excluded.n}))

    assert store.records()[2:] == [
        ("DELETE", "t/None", {"word": "b", "n": 1}, None),
        ("INSERT", "t/None", None, {"word": "b", "n": 2}),
        ("UPDATE", "t/None", {"word": "a", "n": 1}, {"word": "a", "n": 3}),
    ]


def test_upserts_of_the_orm_are_recorded(items: Store) -> None:
    items.add_items("a")
    statement = upsert(Item)
    statement = statement.on_conflict_do_update(index_elements=[Item.id], set_={"name": statement.excluded.name})

    with items.factory.begin() as session:
        session.execute(statement, [{"id": 1, "name": "A"}, {"id": 2, "name": "b"}])
        names = session.scalars(statement.returning(Item), [{"id": 2, "name": "B"}, {"id": 3, "name": "c"}]).all()
        assert [one.name for one in names] == ["B", "c"]

    assert [(record[:2], record[3] and record[3]["name"]) for record in items.records()] == [
        (("UPDATE", "item/1"), "A"),
        (("INSERT", "item/2"), "b"),
        (("UPDATE", "item/2"), "B"),
        (("INSERT", "item/3"), "c"),
    ]
