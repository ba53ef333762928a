"""Mapped classes that inherit, and criteria that the ORM adds by itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ForeignKey, delete, event, func, insert, select, update
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, with_loader_criteria

from tests.db.recorded import Item, Store, item, updated


class Base(DeclarativeBase):
    """Tables of this file alone."""


class Animal(Base):
    """Single-table inheritance."""

    __tablename__ = "animal"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    lives: Mapped[int | None] = mapped_column(server_default="1", onupdate=2)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  # SQLAlchemy's form


class Cat(Animal):
    """In the same table."""

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Person(Base):
    """Joined inheritance."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Clerk(Person):
    """A second table, whose key is the first one's."""

    __tablename__ = "clerk"

    clerk_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), primary_key=True)
    desk: Mapped[str | None] = mapped_column(server_default="none", onupdate="moved")
    __mapper_args__ = {"polymorphic_identity": "clerk"}  # noqa: RUF012


class Boss(Clerk):
    """A third table."""

    __tablename__ = "boss"

    boss_id: Mapped[int] = mapped_column(ForeignKey("clerk.clerk_id", ondelete="CASCADE"), primary_key=True)
    car: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "boss"}  # noqa: RUF012


class Shape(Base):
    """Concrete inheritance."""

    __tablename__ = "shape"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Circle(Shape):
    """A table of its own."""

    __tablename__ = "circle"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    radius: Mapped[int]
    __mapper_args__ = {"concrete": True}  # noqa: RUF012


@pytest.fixture
def zoo(store: Store) -> Store:
    """Tracked tables of each kind of inheritance."""
    store.create(Base.metadata)
    store.track()
    return store


def _animal(key: int, kind: str, name: str, lives: int = 1) -> dict[str, Any]:
    return {"id": key, "kind": kind, "name": name, "lives": lives}


def test_single_table_inheritance_is_recorded(zoo: Store) -> None:
    with zoo.factory.begin() as session:
        session.add_all([Animal(id=1, name="rex"), Cat(id=2, name="tom")])
        session.execute(insert(Cat).values(id=3, name="kit", kind="cat"))
    with zoo.factory.begin() as session:
        session.get_one(Cat, 2).name = "TOM"
        session.execute(update(Cat).values(name="any"))
        session.execute(update(Cat).where(Animal.name.like("a%"), Cat.id == 1).values(name="no"))
        session.execute(delete(Cat))

    assert sorted(zoo.records()[:3], key=str) == [
        ("INSERT", "animal/1", None, _animal(1, "animal", "rex")),
        ("INSERT", "animal/2", None, _animal(2, "cat", "tom")),
        ("INSERT", "animal/3", None, _animal(3, "cat", "kit")),
    ]
    assert zoo.records()[3:] == [
        ("UPDATE", "animal/2", _animal(2, "cat", "tom"), _animal(2, "cat", "TOM", 2)),
        ("UPDATE", "animal/2", _animal(2, "cat", "TOM", 2), _animal(2, "cat", "any", 2)),
        ("UPDATE", "animal/3", _animal(3, "cat", "kit"), _animal(3, "cat", "any", 2)),
        ("DELETE", "animal/2", _animal(2, "cat", "any", 2), None),
        ("DELETE", "animal/3", _animal(3, "cat", "any", 2), None),
    ]


def test_joined_inheritance_is_recorded_table_by_table(zoo: Store) -> None:
    with zoo.factory.begin() as session:
        session.add_all([Person(id=1, name="p"), Clerk(id=2, name="c", desk="x"), Boss(id=3, name="b", car="red")])
    zoo.start_here()
    with zoo.factory.begin() as session:
        boss = session.get_one(Boss, 3)
        boss.name, boss.car = "B", "blue"
        session.get_one(Clerk, 2).desk = "y"
        session.flush()
        session.execute(update(Clerk).where(Clerk.clerk_id == 2).values(desk="z"))
        session.execute(update(Clerk).where(Clerk.clerk_id == Person.id, Person.name == "c").values(desk="zz"))
        session.execute(update(Person).where(Person.kind == "boss").values(name="BB"))
        session.expire_all()
        session.delete(session.get_one(Boss, 3))
        session.flush()
        session.execute(delete(Person).where(Person.id == 2))

    def person(key: int, kind: str, name: str) -> dict[str, Any]:
        return {"id": key, "kind": kind, "name": name}

    def clerk(key: int, desk: str) -> dict[str, Any]:
        return {"clerk_id": key, "desk": desk}

    flushed, rest = zoo.records()[:3], zoo.records()[3:]
    assert sorted(flushed, key=str) == [
        ("UPDATE", "boss/3", {"boss_id": 3, "car": "red"}, {"boss_id": 3, "car": "blue"}),
        ("UPDATE", "clerk/2", clerk(2, "x"), clerk(2, "y")),
        ("UPDATE", "person/3", person(3, "boss", "b"), person(3, "boss", "B")),
    ]
    assert rest[:3] == [
        ("UPDATE", "clerk/2", clerk(2, "y"), clerk(2, "z")),
        ("UPDATE", "clerk/2", clerk(2, "z"), clerk(2, "zz")),
        ("UPDATE", "person/3", person(3, "boss", "B"), person(3, "boss", "BB")),
    ]
    assert sorted(rest[3:], key=str) == [
        ("DELETE", "boss/3", {"boss_id": 3, "car": "blue"}, None),
        ("DELETE", "clerk/2", clerk(2, "zz"), None),
        ("DELETE", "clerk/3", clerk(3, "none"), None),
        ("DELETE", "person/2", person(2, "clerk", "c"), None),
        ("DELETE", "person/3", person(3, "boss", "BB"), None),
    ]


def test_bulk_statements_are_recorded_in_each_table_of_a_class(zoo: Store) -> None:
    with zoo.factory.begin() as session:
        session.execute(insert(Boss), [{"name": "a", "desk": "x", "car": "red"}, {"name": "b", "desk": "y"}])
        cars = session.execute(
            insert(Boss).returning(Boss.name, Boss.desk, Boss.car), [{"name": "c", "desk": "z", "car": "old"}]
        ).all()
        session.execute(update(Boss), [{"id": 1, "clerk_id": 1, "boss_id": 1, "name": "A", "desk": "X"}])
        session.execute(update(Clerk).values(name=func.upper("all")), [{"id": 2, "clerk_id": 2, "desk": "Y"}])

    assert cars == [("c", "z", "old")]
    assert sorted((event_type, row, after) for event_type, row, _, after in zoo.records()) == [
        ("INSERT", "boss/1", {"boss_id": 1, "car": "red"}),
        ("INSERT", "boss/2", {"boss_id": 2, "car": None}),
        ("INSERT", "boss/3", {"boss_id": 3, "car": "old"}),
        ("INSERT", "clerk/1", {"clerk_id": 1, "desk": "x"}),
        ("INSERT", "clerk/2", {"clerk_id": 2, "desk": "y"}),
        ("INSERT", "clerk/3", {"clerk_id": 3, "desk": "z"}),
        ("INSERT", "person/1", {"id": 1, "kind": "boss", "name": "a"}),
        ("INSERT", "person/2", {"id": 2, "kind": "boss", "name": "b"}),
        ("INSERT", "person/3", {"id": 3, "kind": "boss", "name": "c"}),
        ("UPDATE", "clerk/1", {"clerk_id": 1, "desk": "X"}),
        ("UPDATE", "clerk/2", {"clerk_id": 2, "desk": "Y"}),
        ("UPDATE", "person/1", {"id": 1, "kind": "boss", "name": "A"}),
        ("UPDATE", "person/2", {"id": 2, "kind": "boss", "name": "ALL"}),
    ]


def test_an_update_that_forgets_to_join_the_tables_is_recorded_as_what_it_does(zoo: Store) -> None:
    with zoo.factory.begin() as session:
        session.add_all([Clerk(id=1, name="a"), Clerk(id=2, name="b")])
    zoo.start_here()

    with zoo.factory.begin() as session, pytest.warns(SAWarning, match="cartesian"):
        session.connection().execute(update(Clerk).where(Person.__table__.c.name == "a").values(desk="all"))

    rows = [{"clerk_id": key, "desk": "none"} for key in (1, 2)]
    assert zoo.records() == [("UPDATE", f"clerk/{row['clerk_id']}", row, {**row, "desk": "all"}) for row in rows]


def test_concrete_inheritance_is_recorded(zoo: Store) -> None:
    with zoo.factory.begin() as session:
        session.add_all([Shape(id=1, name="s"), Circle(id=1, name="c", radius=2)])
    with zoo.factory.begin() as session:
        session.get_one(Circle, 1).radius = 3
        session.execute(update(Circle).where(Circle.radius == 3).values(radius=4))
        session.execute(delete(Shape))

    def circle(radius: int) -> dict[str, Any]:
        return {"id": 1, "name": "c", "radius": radius}

    assert sorted(zoo.records()[:2], key=str) == [
        ("INSERT", "circle/1", None, circle(2)),
        ("INSERT", "shape/1", None, {"id": 1, "name": "s"}),
    ]
    assert zoo.records()[2:] == [
        ("UPDATE", "circle/1", circle(2), circle(3)),
        ("UPDATE", "circle/1", circle(3), circle(4)),
        ("DELETE", "shape/1", {"id": 1, "name": "s"}, None),
    ]


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_criteria_that_the_orm_adds_are_heeded(items: Store, verb: str) -> None:
    items.add_items("a", "b", "c")
    only_b = with_loader_criteria(Item, Item.name == "b")

    @event.listens_for(items.factory, "do_orm_execute")
    def _restrict(state: Any) -> None:
        state.statement = state.statement.options(only_b)

    with items.factory.begin() as opened:
        session: Any = opened
        statement: Any = update(Item).values(state="old") if verb == "update" else delete(Item)
        assert session.execute(statement.where(Item.id > 0)).rowcount == 1
        assert session.execute(statement.where(Item.id.in_(select(Item.id)))).rowcount in (0, 1)

    wanted = item(2, "b")
    if verb == "update":
        old = item(2, "b", state="old", revision=1)
        assert items.records() == [updated(wanted, state="old"), updated(old)]
    else:
        assert items.records() == [("DELETE", "item/2", wanted, None)]
