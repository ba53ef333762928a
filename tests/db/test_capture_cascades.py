"""Rows that the database itself changes or removes along with others."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditcli.errors import UnrecordableWrite
from tests.db.recorded import Record, Store


class Base(DeclarativeBase):
    """A family of three generations, with each kind of reference."""


class Parent(Base):
    """Its children go, forget it or turn to another one when it is deleted."""

    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(unique=True)
    gone: Mapped[list[Gone]] = relationship(passive_deletes=True, cascade="all, delete-orphan", back_populates="parent")
    orphans: Mapped[list[Orphan]] = relationship(passive_deletes="all")
    adopted: Mapped[list[Adopted]] = relationship(passive_deletes="all")


class Gone(Base):
    """Deleted with its parent."""

    __tablename__ = "gone"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id", ondelete="CASCADE", onupdate="CASCADE"))
    word: Mapped[str | None] = mapped_column(Text, server_default="w")
    parent: Mapped[Parent] = relationship(back_populates="gone")
    leaves: Mapped[list[Leaf]] = relationship(passive_deletes=True, cascade="all, delete-orphan")


class Leaf(Base):
    """Deleted with the one that is deleted with its parent."""

    __tablename__ = "leaf"

    id: Mapped[int] = mapped_column(primary_key=True)
    gone_id: Mapped[int] = mapped_column(ForeignKey("gone.id", ondelete="CASCADE"))


class Orphan(Base):
    """Forgets its parent."""

    __tablename__ = "orphan"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id", ondelete="SET NULL", onupdate="SET NULL"))


class Adopted(Base):
    """Turns to the parent with the id 9."""

    __tablename__ = "adopted"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(
        ForeignKey("parent.id", ondelete="SET DEFAULT", onupdate="CASCADE"), server_default=text("9")
    )


PARENT, GONE = cast("Table", Parent.__table__), cast("Table", Gone.__table__)


@pytest.fixture
def family(store: Store) -> Store:
    """Parent 1 with two children that have a leaf each, an orphan and one to be adopted; parents 2 and 9 without."""
    store.create(Base.metadata)
    store.track()
    with store.factory.begin() as session:
        session.add_all([Parent(id=1, code="one"), Parent(id=2), Parent(id=9)])
        session.flush()
        session.add_all([Gone(id=11, parent_id=1), Gone(id=12, parent_id=1), Gone(id=13, parent_id=2)])
        session.add_all([Orphan(id=31, parent_id=1), Adopted(id=41, parent_id=1)])
        session.flush()
        session.add_all([Leaf(id=21, gone_id=11), Leaf(id=22, gone_id=12), Leaf(id=23, gone_id=13)])
    store.start_here()
    return store


def _gone(key: int, parent: int = 1, word: str = "w") -> dict[str, Any]:
    return {"id": key, "parent_id": parent, "word": word}


def _child(key: int, parent: int | None) -> dict[str, Any]:
    return {"id": key, "parent_id": parent}


PARENT_GONE: Record = ("DELETE", "parent/1", {"id": 1, "code": "one"}, None)
CHILDREN_GONE: list[Record] = [
    ("DELETE", "gone/11", _gone(11), None),
    ("DELETE", "gone/12", _gone(12), None),
    ("DELETE", "leaf/21", {"id": 21, "gone_id": 11}, None),
    ("DELETE", "leaf/22", {"id": 22, "gone_id": 12}, None),
]
OTHERS_CHANGED: list[Record] = [
    ("UPDATE", "orphan/31", _child(31, 1), _child(31, None)),
    ("UPDATE", "adopted/41", _child(41, 1), _child(41, 9)),
]


def _sorted(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record[1])


@pytest.mark.parametrize(
    "how", ["session", "session, loaded", "orm delete", "core delete", "delete by code", "executemany"]
)
def test_children_that_vanish_with_their_parent_are_recorded(family: Store, how: str) -> None:
    with family.factory.begin() as session:
        if how.startswith("session"):
            parent = session.get_one(Parent, 1)
            assert how == "session" or [leaf for child in parent.gone for leaf in child.leaves]
            session.delete(parent)
        elif how == "orm delete":
            session.execute(delete(Parent).where(Parent.id == 1))
        elif how == "core delete":
            session.execute(delete(PARENT).where(PARENT.c.id == 1))
        elif how == "delete by code":
            session.execute(delete(PARENT).where(PARENT.c.code.like("o%")))
        else:
            session.connection().execute(
                delete(PARENT).where(PARENT.c.id == bindparam("key")), [{"key": 1}, {"key": 77}]
            )

    assert _sorted(family.records()) == _sorted([PARENT_GONE, *CHILDREN_GONE, *OTHERS_CHANGED])


def test_a_child_that_the_same_flush_changed_is_recorded_as_it_stood_before(family: Store) -> None:
    with family.factory.begin() as session, session.no_autoflush:
        session.get_one(Gone, 11).word = "changed"
        session.get_one(Gone, 13).parent_id = 1
        session.add(Gone(id=14, parent_id=1, word="new"))
        session.delete(session.get_one(Parent, 1))

    removed = [("DELETE", "gone/13", _gone(13, 2), None), ("DELETE", "leaf/23", {"id": 23, "gone_id": 13}, None)]
    assert _sorted(family.records()) == _sorted([PARENT_GONE, *CHILDREN_GONE, *OTHERS_CHANGED, *removed])


def test_a_child_changed_in_an_earlier_flush_has_a_record_of_each(family: Store) -> None:
    with family.factory.begin() as session:
        session.get_one(Gone, 11).word = "changed"
        session.flush()
        session.delete(session.get_one(Parent, 1))

    changed = [
        ("UPDATE", "gone/11", _gone(11), _gone(11, word="changed")),
        ("DELETE", "gone/11", _gone(11, word="changed"), None),
    ]
    assert _sorted(family.records()) == _sorted([PARENT_GONE, *CHILDREN_GONE[1:], *OTHERS_CHANGED, *changed])


def test_an_orm_cascade_is_recorded(family: Store) -> None:
    with family.factory.begin() as session:
        parent = session.get_one(Parent, 1)
        parent.gone.remove(session.get_one(Gone, 11))

    assert family.records() == [CHILDREN_GONE[0], CHILDREN_GONE[2]]


def test_a_cascade_without_foreign_keys_enforced_changes_no_child(family: Store) -> None:
    with family.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.commit()
        with family.factory(bind=connection) as session:
            session.execute(delete(Parent).where(Parent.id == 1))
            session.commit()

    assert family.records() == [PARENT_GONE]


def test_a_cascade_inside_a_savepoint_that_is_rolled_back_leaves_nothing(family: Store) -> None:
    with family.factory.begin() as session:
        savepoint = session.begin_nested()
        session.execute(delete(Parent).where(Parent.id == 1))
        savepoint.rollback()
        session.execute(delete(Leaf).where(Leaf.id == 21))

    assert family.records() == [CHILDREN_GONE[2]]


@pytest.mark.parametrize("how", ["session", "core", "all keys"])
def test_children_whose_reference_follows_a_changed_key_are_recorded(family: Store, how: str) -> None:
    with family.factory.begin() as session:
        if how == "session":
            session.get_one(Parent, 1).id = 5
        elif how == "core":
            session.execute(update(PARENT).where(PARENT.c.code == "one").values(id=5))
        else:
            session.execute(update(PARENT).where(PARENT.c.id < 2).values(id=PARENT.c.id + 4))

    assert _sorted(family.records()) == _sorted(
        [
            ("UPDATE", "parent/1→5", {"id": 1, "code": "one"}, {"id": 5, "code": "one"}),
            ("UPDATE", "gone/11", _gone(11), _gone(11, 5)),
            ("UPDATE", "gone/12", _gone(12), _gone(12, 5)),
            ("UPDATE", "orphan/31", _child(31, 1), _child(31, None)),
            ("UPDATE", "adopted/41", _child(41, 1), _child(41, 5)),
        ]
    )


def test_a_write_to_an_untracked_table_records_the_tracked_children(store: Store) -> None:
    store.create(Base.metadata)
    store.track(tables=["gone", "leaf"])
    with store.factory.begin() as session:
        session.execute(insert(Parent), [{"id": 1}, {"id": 9}])
        session.execute(insert(Gone), [{"id": 11, "parent_id": 1}])
    store.left_out = dict.fromkeys(("parent", "orphan", "adopted"), ())
    store.start_here()

    with store.factory.begin() as session:
        session.execute(delete(Parent).where(Parent.id == 1))

    assert store.records() == [("DELETE", "gone/11", _gone(11), None)]


def test_rows_of_one_table_that_go_together_are_recorded(store: Store) -> None:
    metadata = MetaData()
    node = Table(
        "node",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent_id", ForeignKey("node.id", ondelete="CASCADE")),
        Column("friend_id", ForeignKey("node.id", ondelete="SET NULL")),
    )
    store.create(metadata)
    store.track(store.engine)
    rows = [(1, None, None), (2, 1, None), (3, 2, 1), (4, 3, 2), (5, None, 4), (6, None, 5), (7, 7, None)]
    images = {row[0]: dict(zip(("id", "parent_id", "friend_id"), row, strict=True)) for row in rows}
    with store.engine.begin() as connection:
        connection.execute(insert(node), list(images.values()))
    store.start_here()

    with store.engine.begin() as connection:
        connection.execute(delete(node).where(node.c.id == 1))
        connection.execute(delete(node).where(node.c.id == 7))

    assert _sorted(store.records()) == [
        *[("DELETE", f"node/{key}", images[key], None) for key in (1, 2, 3, 4)],
        ("UPDATE", "node/5", images[5], {**images[5], "friend_id": None}),
        ("DELETE", "node/7", images[7], None),
    ]


def test_a_composite_reference_and_one_to_a_unique_column_are_followed(store: Store) -> None:
    metadata = MetaData()
    place = Table(
        "place",
        metadata,
        Column("country", Text, primary_key=True),
        Column("town", Text, primary_key=True),
        Column("zip", Text, unique=True),
    )
    visit = Table(
        "visit",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("country", Text),
        Column("town", Text),
        Column("zip", Text, ForeignKey("place.zip", onupdate="CASCADE", ondelete="SET NULL")),
        ForeignKeyConstraint(
            ["country", "town"], ["place.country", "place.town"], onupdate="CASCADE", ondelete="CASCADE"
        ),
    )
    stay = Table(
        "stay",
        metadata,
        Column("town", Text, primary_key=True),
        Column("night", Integer, primary_key=True),
        Column("country", Text),
        ForeignKeyConstraint(["country", "town"], ["place.country", "place.town"], onupdate="CASCADE"),
    )
    store.create(metadata)
    store.track(store.engine)
    with store.engine.begin() as connection:
        connection.execute(insert(place).values(country="at", town="wien", zip="1010"))
        connection.execute(insert(visit).values(id=1, country="at", town="wien"))
        connection.execute(insert(visit).values(id=2, zip="1010"))
        connection.execute(insert(stay).values(town="wien", night=1, country="at"))
    store.start_here()

    with store.engine.begin() as connection:
        connection.execute(update(place).values(town="vienna"))
        connection.execute(update(place).values(zip="1020"))
        connection.execute(delete(stay))
        connection.execute(delete(place))

    assert sorted(record[:2] for record in store.records()) == [
        ("DELETE", 'place/["at","vienna"]'),
        ("DELETE", 'stay/["vienna",1]'),
        ("DELETE", "visit/1"),
        ("UPDATE", 'place/["at","vienna"]'),
        ("UPDATE", 'place/["at","wien"]→["at","vienna"]'),
        ("UPDATE", 'stay/["wien",1]→["vienna",1]'),
        ("UPDATE", "visit/1"),
        ("UPDATE", "visit/2"),
        ("UPDATE", "visit/2"),
    ]


def test_a_cascade_that_would_move_the_childs_own_row_is_refused(store: Store) -> None:
    metadata = MetaData()
    base = Table("base", metadata, Column("id", Integer, primary_key=True))
    part = Table("part", metadata, Column("id", ForeignKey("base.id", onupdate="CASCADE"), primary_key=True))
    store.create(metadata)
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(base), [{"id": 1}, {"id": 2}])
        connection.execute(insert(part), [{"id": 1}])
        connection.execute(update(base).where(base.c.id == 2).values(id=3))
        with pytest.raises(UnrecordableWrite) as refused:
            connection.execute(update(base).where(base.c.id == 1).values(id=4))

    assert "change or remove the rows of part first" in str(refused.value.hint)
    assert [record[:2] for record in store.records()] == [
        ("INSERT", "base/1"),
        ("INSERT", "base/2"),
        ("INSERT", "part/1"),
        ("UPDATE", "base/2→3"),
    ]


def test_texts_that_a_reference_calls_equal_are_followed(store: Store) -> None:
    store.write(
        "CREATE TABLE country (code TEXT COLLATE NOCASE PRIMARY KEY)",
        "CREATE TABLE town (id INTEGER PRIMARY KEY, country TEXT REFERENCES country ON DELETE CASCADE)",
    )
    country = Table("country", MetaData(), Column("code", Text, primary_key=True))
    town = Table("town", MetaData(), Column("id", Integer, primary_key=True), Column("country", Text))
    store.track(store.engine)

    with store.engine.begin() as connection:
        connection.execute(insert(country).values(code="AT"))
        connection.execute(insert(town).values(id=1, country="at"))
        connection.execute(delete(country).where(country.c.code == "aT"))

    assert [record[:2] for record in store.records()] == [
        ("INSERT", "country/AT"),
        ("INSERT", "town/1"),
        ("DELETE", "country/AT"),
        ("DELETE", "town/1"),
    ]
