"""Keys of every kind, and keys that change: one record that follows the row."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditcli.errors import UnrecordableWrite
from tests.db.recorded import ITEM, Item, Record, Store, inserted, item


def _table(name: str, *columns: Column[Any], **options: Any) -> Table:
    return Table(name, MetaData(), *columns, Column("word", Text, server_default="w"), **options)


def _one(type_: Any, **options: Any) -> Table:
    return _table("row", Column("key", type_, primary_key=True), **options)


def _two(**options: Any) -> Table:
    return _table("row", Column("left", Integer, primary_key=True), Column("right", Text, primary_key=True), **options)


KEYS: dict[str, tuple[Table, list[dict[str, Any]], str, str, dict[str, Any]]] = {
    "integer": (_one(Integer), [{"key": 1}, {"key": 2}], "1", "7", {"key": 7}),
    "text": (_one(Text), [{"key": "a"}, {"key": "b"}], "a", "z", {"key": "z"}),
    "text without row id": (_one(Text, sqlite_with_rowid=False), [{"key": "a"}, {"key": "b"}], "a", "z", {"key": "z"}),
    "composite": (_two(), [{"left": 1, "right": "a"}, {"left": 1, "right": "b"}], '[1,"a"]', '[1,"z"]', {"right": "z"}),
    "composite without row id": (
        _two(sqlite_with_rowid=False),
        [{"left": 1, "right": "a"}, {"left": 1, "right": "b"}],
        '[1,"a"]',
        '[9,"z"]',
        {"left": 9, "right": "z"},
    ),
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_with_every_kind_of_key_are_recorded(store: Store, kind: str) -> None:
    table, (first, second), row_id, new_row_id, new_key = KEYS[kind]
    store.create(table.metadata)
    store.track(store.engine)
    is_first = [column == first[column.name] for column in table.primary_key.columns]

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(first))
        connection.execute(insert(table), [{**second, "word": "x"}])
        connection.execute(update(table).where(*is_first).values(word="y"))
        connection.execute(update(table).where(*is_first).values({**new_key, "word": "z"}))
        connection.execute(delete(table).where(table.c.word == "z"))

    moved = {**first, **new_key}
    assert [record for record in store.records() if "b" not in record[1] and "/2" not in record[1]] == [
        ("INSERT", f"row/{row_id}", None, {**first, "word": "w"}),
        ("UPDATE", f"row/{row_id}", {**first, "word": "w"}, {**first, "word": "y"}),
        ("UPDATE", f"row/{row_id}→{new_row_id}", {**first, "word": "y"}, {**moved, "word": "z"}),
        ("DELETE", f"row/{new_row_id}", {**moved, "word": "z"}, None),
    ]


def _moved(old: int, new: int, before: dict[str, Any]) -> Record:
    return "UPDATE", f"item/{old}→{new}", before, {**before, "id": new, "revision": before["revision"] + 1}


@pytest.mark.parametrize(("step", "order"), [(100, [1, 2, 3]), (-1, [1, 2, 3])])
def test_all_keys_moved_by_one_statement_are_one_record_a_row(items: Store, step: int, order: list[int]) -> None:
    items.add_items("a", "b", "c")

    with items.factory.begin() as session:
        session.execute(update(Item).values(id=Item.id + step))

    assert items.records() == [_moved(key, key + step, item(key, "abc"[key - 1])) for key in order]


def test_keys_that_take_each_others_places_are_recorded_in_an_order_that_can_be_replayed(store: Store) -> None:
    table = _one(Text)
    store.create(table.metadata)
    store.track(store.engine)
    names = {"d": "e", "c": "d", "b": "c", "a": "b"}

    with store.engine.begin() as connection:
        connection.execute(insert(table), [{"key": key} for key in "abcd"])
        for old, new in names.items():
            connection.execute(update(table).where(table.c.key == old).values(key=new))
        connection.exec_driver_sql("CREATE TABLE turned (old TEXT, new TEXT)")
        connection.execute(delete(table).where(table.c.key == "e"))
        numbers = update(table).values(key=func.char(func.unicode(table.c.key) - 1))
        connection.execute(numbers)

    moves = [row for event_type, row, _, _ in store.records() if event_type == "UPDATE"]
    assert moves == ["row/d→e", "row/c→d", "row/b→c", "row/a→b", "row/b→a", "row/c→b", "row/d→c"]


@pytest.mark.parametrize("how", ["session", "bulk", "core", "executemany", "expression", "key column given by name"])
def test_a_key_changed_in_any_way_is_one_update(items: Store, how: str) -> None:
    items.add_items("a", "b")

    with items.factory.begin() as session:
        if how == "session":
            session.get_one(Item, 1).id = 9
        elif how == "bulk":
            session.query(Item).filter_by(name="a").update({Item.id: 9})
        elif how == "core":
            session.execute(update(ITEM).where(ITEM.c.id == 1).values(id=9))
        elif how == "executemany":
            statement = update(ITEM).where(ITEM.c.id == bindparam("old")).values(id=bindparam("new"))
            session.connection().execute(statement, [{"old": 1, "new": 9}])
        elif how == "expression":
            session.execute(
                update(ITEM).where(ITEM.c.name == "a").values(id=select(func.max(ITEM.c.id) + 7).scalar_subquery())
            )
        else:
            session.connection().execute(update(ITEM).where(ITEM.c.id == 1), {"id": 9})

    assert items.records() == [_moved(1, 9, item(1, "a"))]


def test_a_row_moved_twice_in_one_flush_is_followed(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        session.get_one(Item, 1).id = 5
        session.flush()
        session.get_one(Item, 5).id = 6
        session.add(Item(id=1, name="new"))
        session.flush()

    assert items.records() == [
        _moved(1, 5, item(1, "a")),
        _moved(5, 6, item(5, "a", revision=1)),
        inserted(1, "new"),
    ]


def test_a_new_row_at_the_place_of_a_removed_one_is_no_change_of_key(store: Store) -> None:
    table = _one(Text)
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(key="a"))
        connection.execute(upsert(table).prefix_with("OR REPLACE").values(key="a", word="b"))
        connection.execute(delete(table))
        connection.execute(insert(table).values(key="b"))

    assert [(event_type, row) for event_type, row, _, _ in store.records()] == [
        ("INSERT", "row/a"),
        ("UPDATE", "row/a"),
        ("DELETE", "row/a"),
        ("INSERT", "row/b"),
    ]


class Base(DeclarativeBase):
    """Tables of this file alone."""


keyed_tags = Table(
    "keyed_tag",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)
plain_tags = Table(
    "plain_tag", Base.metadata, Column("post_id", ForeignKey("post.id")), Column("tag_id", ForeignKey("tag.id"))
)


class Tag(Base):
    """The far side of two many-to-many relations."""

    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)


class Post(Base):
    """Tagged through a table with a composite key, and through one without any."""

    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    keyed: Mapped[list[Tag]] = relationship(secondary=keyed_tags)
    plain: Mapped[list[Tag]] = relationship(secondary=plain_tags)


POST, TAG = cast("Table", Post.__table__), cast("Table", Tag.__table__)


@pytest.mark.parametrize("relation", ["keyed", "plain"])
def test_many_to_many_links_are_recorded(store: Store, relation: str) -> None:
    store.create(Base.metadata)
    store.track()
    with store.factory.begin() as session:
        post = Post(id=1)
        session.add_all([Tag(id=key) for key in (1, 2, 3)] + [post])
        getattr(post, relation).extend([session.get_one(Tag, 1), session.get_one(Tag, 2)])
    table = f"{relation}_tag"
    links = [record for record in store.records() if record[1].startswith(table)]
    store.start_here()

    with store.factory.begin() as session:
        post = session.get_one(Post, 1)
        getattr(post, relation).remove(session.get_one(Tag, 2))
        getattr(post, relation).append(session.get_one(Tag, 3))
    with store.factory.begin() as session:
        session.delete(session.get_one(Post, 1))

    def row(tag: int) -> str:
        return f"{table}/[1,{tag}]" if relation == "keyed" else f"{table}/None"

    def link(tag: int) -> dict[str, Any]:
        return {"post_id": 1, "tag_id": tag}

    assert sorted(links, key=str) == [("INSERT", row(tag), None, link(tag)) for tag in (1, 2)]
    changes = [record for record in store.records() if record[1].startswith(table)]
    assert changes[:2] == [("DELETE", row(2), link(2), None), ("INSERT", row(3), None, link(3))]
    assert sorted(changes[2:], key=str) == [("DELETE", row(tag), link(tag), None) for tag in (1, 3)]


def test_equal_rows_without_a_key_are_recorded_one_by_one(store: Store) -> None:
    store.create(Base.metadata)
    store.track(store.engine)
    with store.engine.begin() as connection:
        connection.execute(insert(POST).values(id=1))
        connection.execute(insert(TAG), [{"id": 1}, {"id": 2}])
    store.start_here()

    with store.engine.begin() as connection:
        connection.execute(insert(plain_tags), [{"post_id": 1, "tag_id": 1}] * 2)
        connection.execute(insert(plain_tags).values(post_id=1, tag_id=1))
        connection.execute(update(plain_tags).where(text("rowid = 2")).values(tag_id=2))
        connection.execute(delete(plain_tags).where(plain_tags.c.tag_id == 1))

    equal, other = {"post_id": 1, "tag_id": 1}, {"post_id": 1, "tag_id": 2}
    assert store.records() == [
        *[("INSERT", "plain_tag/None", None, equal)] * 3,
        ("UPDATE", "plain_tag/None", equal, other),
        *[("DELETE", "plain_tag/None", equal, None)] * 2,
    ]


def test_a_long_key_is_looked_up_by_its_beginning(store: Store) -> None:
    table = _one(Text)
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(key="k" * 300))
        connection.execute(update(table).where(table.c.key == "k" * 300).values(key="short"))

    held = "long:" + "k" * 250
    assert store.query("SELECT row_id, old_row_id FROM changelog") == [(held, None), ("short", held)]


@pytest.mark.parametrize("spelling", ["ID", "Id"])
def test_columns_that_a_model_spells_otherwise_are_the_same_columns(store: Store, spelling: str) -> None:
    store.write("CREATE TABLE row (id INTEGER PRIMARY KEY, word TEXT)")
    table = Table("ROW", MetaData(), Column(spelling, Integer, primary_key=True), Column("Word", Text))
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values({spelling: 1, "Word": "a"}))
        connection.execute(insert(table), [{"Word": "b"}])
        connection.execute(update(table).where(table.c[spelling] == 1).values({"Word": "A"}))
        connection.execute(update(table).where(table.c[spelling] == 1).values({spelling: 9}))
        connection.execute(delete(table).where(table.c.Word == "b"))

    assert store.records() == [
        ("INSERT", "row/1", None, {"id": 1, "word": "a"}),
        ("INSERT", "row/2", None, {"id": 2, "word": "b"}),
        ("UPDATE", "row/1", {"id": 1, "word": "a"}, {"id": 1, "word": "A"}),
        ("UPDATE", "row/1→9", {"id": 1, "word": "A"}, {"id": 9, "word": "A"}),
        ("DELETE", "row/2", {"id": 2, "word": "b"}, None),
    ]


def test_a_key_that_the_database_stores_otherwise_is_found(store: Store) -> None:
    store.write("CREATE TABLE row (key TEXT PRIMARY KEY COLLATE NOCASE, word TEXT)")
    table = Table("row", MetaData(), Column("key", Integer, primary_key=True), Column("word", Text))
    texts = Table("row", MetaData(), Column("key", Text, primary_key=True), Column("word", Text))
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(table).values(key=5, word="a"))
        connection.execute(update(table).where(table.c.key == 5).values(key=6))
        connection.execute(insert(texts).values(key="Ab"))
        connection.execute(update(texts).where(texts.c.key == "aB").values(word="x"))

    assert [record[:2] for record in store.records()] == [
        ("INSERT", "row/5"),
        ("UPDATE", "row/5→6"),
        ("INSERT", "row/Ab"),
        ("UPDATE", "row/Ab"),
    ]


def test_a_new_key_that_can_not_be_foreseen_is_refused(store: Store) -> None:
    table = _one(Integer)
    store.create(table.metadata)
    store.track(store.engine)

    with store.engine.connect() as connection:
        connection.execute(insert(table).values(key=1))
        connection.commit()
        with pytest.raises(UnrecordableWrite):
            connection.execute(update(table).prefix_with("OR IGNORE").values(key=2))
        for key in (func.abs(func.random() % 1000) + 2, text("2")):
            with pytest.raises(UnrecordableWrite):
                connection.execute(update(table).values(key=key))
        connection.commit()

    assert [record[:2] for record in store.records()] == [("INSERT", "row/1")]


class Loud(TypeDecorator[str]):
    """Is stored in capitals, and read in small letters."""

    impl = Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.upper(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.lower(column)


class Own(DeclarativeBase):
    pass


class Word(Own):
    __tablename__ = "word"

    key: Mapped[str] = mapped_column(Loud, primary_key=True)
    note: Mapped[str | None]


def test_keys_whose_type_puts_sql_around_them_are_recorded_as_they_are_stored(store: Store) -> None:
    store.create(Own.metadata)
    store.track()
    with store.factory.begin() as session:
        session.add_all([Word(key="a"), Word(key="b")])
        session.execute(insert(Word).values(key="c"))
        keys = session.scalars(insert(Word).values(key="d").returning(Word.key)).all()
    with store.factory.begin() as session:
        session.get_one(Word, "a").note = "A"
        session.execute(update(Word).where(Word.key == "b").values(note="B"))
        session.execute(update(Word).where(Word.key == "c").values(key="e"))
        session.execute(delete(Word).where(Word.key == "d"))

    assert keys == ["d"]
    assert [(event_type, row) for event_type, row, _, _ in store.records()] == [
        *[("INSERT", f"word/{key}") for key in "ABCD"],
        ("UPDATE", "word/A"),
        ("UPDATE", "word/B"),
        ("UPDATE", "word/C→E"),
        ("DELETE", "word/D"),
    ]
