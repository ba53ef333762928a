"""What the ORM writes: flushes, ORM statements, bulk methods, savepoints and transactions."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import (
    Connection,
    ForeignKey,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    deferred,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
    undefer,
)

import auditcli
from tests.db.recorded import ITEM, Base, Item, Store, deleted, inserted, item, updated


def test_a_flush_is_recorded_with_what_the_database_added(items: Store) -> None:
    with items.factory.begin() as session:
        session.add(Item(id=1, name="a"))
        session.add_all([Item(name="b", price=Decimal("2.00")), Item(name="c", state=null())])

    assert items.records() == [inserted(1, "a"), inserted(2, "b", price=2), inserted(3, "c", state=None)]


def test_a_changed_and_a_removed_object_are_recorded(items: Store) -> None:
    items.add_items("a", "b", "c")

    with items.factory.begin() as session:
        session.get_one(Item, 1).name = "A"
        session.delete(session.get_one(Item, 3))

    assert items.records() == [updated(item(1, "a"), name="A"), deleted(item(3, "c"))]


def test_merge_is_recorded(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        session.merge(Item(id=1, name="A"))
        session.merge(Item(id=2, name="b"))

    assert items.records() == [updated(item(1, "a"), name="A"), inserted(2, "b")]


def test_values_assigned_but_not_changed_leave_no_record(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        session.get_one(Item, 1).name = "a"
        session.execute(update(Item).values(name="a", revision=0))

    assert items.records() == []
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_an_sql_expression_assigned_to_an_attribute_is_recorded_by_its_value(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        session.get_one(Item, 1).price = Item.price + 1

    assert items.records() == [updated(item(1, "a"), price=2.5)]


@pytest.mark.parametrize("synchronize", [False, "auto", "evaluate", "fetch"])
@pytest.mark.parametrize("loaded", [False, True])
def test_orm_update_and_delete_are_recorded(items: Store, synchronize: object, loaded: bool) -> None:
    items.add_items("a", "b", "c", "d")
    options = {"synchronize_session": synchronize}

    with items.factory.begin() as session:
        known = list(session.scalars(select(Item))) if loaded else []
        session.execute(update(Item).where(Item.name.in_(["a", "b"])).values(state="old"), execution_options=options)
        session.execute(delete(Item).where(Item.name > "c"), execution_options=options)

    assert items.records() == [
        updated(item(1, "a"), state="old"),
        updated(item(2, "b"), state="old"),
        deleted(item(4, "d")),
    ]
    assert len(known) == (4 if loaded else 0)


def test_orm_update_and_delete_with_returning_give_their_rows(items: Store) -> None:
    items.add_items("a", "b")

    with items.factory.begin() as session:
        changed = session.scalars(update(Item).where(Item.id == 1).values(state="old").returning(Item)).one()
        state = changed.state
        removed = session.scalars(delete(Item).where(Item.name == "b").returning(Item.name)).all()

    assert (state, removed) == ("old", ["b"])
    assert items.records() == [updated(item(1, "a"), state="old"), deleted(item(2, "b"))]


def test_query_update_and_delete_are_recorded(items: Store) -> None:
    items.add_items("a", "b")

    with items.factory.begin() as session:
        assert session.query(Item).filter_by(name="a").update({"state": "old"}) == 1
        assert session.query(Item).filter(Item.id == 2).delete() == 1

    assert items.records() == [updated(item(1, "a"), state="old"), deleted(item(2, "b"))]


def test_orm_inserts_are_recorded(items: Store) -> None:
    with items.factory.begin() as session:
        session.execute(insert(Item).values(name="a"))
        session.execute(insert(Item), [{"name": "b"}, {"name": "c"}])
        session.execute(insert(Item).values([{"name": "d"}, {"name": "e"}]))
        returned = session.scalars(insert(Item).returning(Item), [{"name": "f"}, {"name": "g"}]).all()
        assert [(one.id, one.name, one.state) for one in returned] == [(6, "f", "new"), (7, "g", "new")]

    assert items.records() == [inserted(key, name) for key, name in enumerate("abcdefg", 1)]


def test_orm_inserts_from_a_select_are_recorded(items: Store) -> None:
    items.add_items("a", "b")

    with items.factory.begin() as session:
        copies = select(Item.name + "2", Item.price * 2)
        session.execute(insert(Item).from_select(["name", "price"], copies))
        ids = session.scalars(insert(Item).from_select(["name"], select(Item.name)).returning(Item.id)).all()

    assert ids == [5, 6, 7, 8]
    assert items.records() == [
        inserted(3, "a2", price=3),
        inserted(4, "b2", price=3),
        *[inserted(key, name) for key, name in zip(ids, ["a", "b", "a2", "b2"], strict=True)],
    ]


def test_an_insert_returns_what_was_asked_for_and_nothing_else(items: Store) -> None:
    with items.factory.begin() as session:
        one = session.execute(insert(Item).values(name="a").returning(Item.name, Item.state.label("word")))
        many = session.execute(insert(Item).returning(Item.name), [{"name": "b"}, {"name": "c"}])
        some = session.execute(insert(Item).from_select(["name"], select(Item.name)).returning(Item.name + "!"))
        star = session.execute(insert(Item).values(name="d").returning(text("*")))
        entity = session.execute(insert(Item).values(name="e").returning(Item, Item.price * 2))
        assert (list(one.keys()), one.all()) == (["name", "word"], [("a", "new")])
        assert (list(many.keys()), many.all()) == (["name"], [("b",), ("c",)])
        assert some.all() == [("a!",), ("b!",), ("c!",)]
        assert star.all() == [(7, "d", 1.5, "new", 0)]
        assert [(found.name, double) for found, double in entity] == [("e", 3)]

    assert items.records() == [inserted(key, name) for key, name in enumerate("abcabcde", 1)]


def test_an_insert_tells_as_much_of_itself_as_without_a_listener(items: Store) -> None:
    with items.factory.begin() as session:
        result: Any = session.execute(insert(Item).from_select(["name"], select(literal("a"))))
        counted = result.rowcount
        plain = session.connection().execute(insert(ITEM).values([{"name": "b"}, {"name": "c"}]))

    assert (counted, plain.rowcount, plain.returns_rows) == (1, 2, False)
    assert items.records() == [inserted(key, name) for key, name in enumerate("abc", 1)]


def test_a_key_with_a_null_in_it_is_recorded(store: Store) -> None:
    class Own(DeclarativeBase):
        pass

    class Part(Own):
        __tablename__ = "part"
        kind: Mapped[str] = mapped_column(primary_key=True)
        place: Mapped[str | None] = mapped_column(primary_key=True)

    store.create(Own.metadata)
    store.track()
    with store.factory.begin() as session:
        session.add(Part(kind="a", place=None))

    assert [(event_type, after) for event_type, _, _, after in store.records()] == [
        ("INSERT", {"kind": "a", "place": None})
    ]


def test_a_value_that_differs_each_time_is_asked_for_once(items: Store) -> None:
    items.add_items("a")
    words = iter("xyz")

    with items.factory.begin() as session:
        session.get_one(Item, 1).name = bindparam(key=None, callable_=lambda: next(words))

    assert items.records() == [updated(item(1, "a"), name="x")]


def test_options_for_what_an_update_returns_are_left_to_it(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        wanted = update(Item).where(Item.name == "a").values(state="old").returning(Item).options(undefer(Item.price))
        assert session.scalars(wanted).one().state == "old"

    assert items.records() == [updated(item(1, "a"), state="old")]


def test_a_lost_connection_is_rolled_back_without_another_error(items: Store) -> None:
    with items.factory() as session:
        session.add(Item(name="lost"))
        session.flush()
        session.connection().invalidate()
        session.rollback()
        session.add(Item(name="kept"))
        session.commit()

    assert items.records() == [inserted(1, "kept")]


def test_bulk_methods_are_recorded(items: Store) -> None:
    items.add_items("a", "b")

    with items.factory.begin() as session:
        session.bulk_save_objects([Item(name="c"), Item(name="d")])
        session.bulk_insert_mappings(Item, [{"name": "e"}, {"id": 9, "name": "f"}])
        session.bulk_update_mappings(Item, [{"id": 1, "name": "A"}, {"id": 2, "name": "B"}])
        session.execute(update(Item), [{"id": 3, "name": "C"}, {"id": 4, "state": "old"}])
        old = session.get_one(Item, 9)
        session.expunge(old)
        old.name = "F"
        session.bulk_save_objects([old])

    assert items.records() == [
        inserted(3, "c"),
        inserted(4, "d"),
        inserted(5, "e"),
        inserted(9, "f"),
        updated(item(1, "a"), name="A"),
        updated(item(2, "b"), name="B"),
        updated(item(3, "c"), name="C"),
        updated(item(4, "d"), state="old"),
        updated(item(9, "f"), name="F"),
    ]


def test_several_flushes_share_one_transaction(items: Store) -> None:
    with items.factory.begin() as session:
        session.add(Item(id=1, name="a"))
        session.flush()
        session.get_one(Item, 1).name = "b"
        session.flush()
        session.delete(session.get_one(Item, 1))

    changed = item(1, "b", revision=1)
    assert items.records() == [inserted(1, "a"), updated(item(1, "a"), name="b"), deleted(changed)]
    assert items.query("SELECT count(DISTINCT transaction_id) FROM changelog") == [(1,)]
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_what_rolls_back_leaves_nothing(items: Store) -> None:
    with items.factory() as session:
        session.add(Item(name="a"))
        session.flush()
        session.rollback()
        session.add(Item(name="b"))
        session.commit()

    assert items.records() == [inserted(1, "b")]
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_before_is_what_stood_there_and_not_what_the_session_remembered(items: Store) -> None:
    items.add_items("a")

    with items.factory(expire_on_commit=False) as session:
        stale = session.get_one(Item, 1)
        session.commit()
        items.write("UPDATE item SET name = 'theirs', state = 'theirs' WHERE id = 1")
        items.start_here()
        stale.name = "ours"
        session.commit()

    assert items.records() == [updated(item(1, "theirs", state="theirs"), name="ours")]


def test_a_row_that_a_rolled_back_savepoint_wrote_can_be_written_again(items: Store) -> None:
    items.add_items("a")

    with auditcli.context(reason="again"), items.factory.begin() as session:
        one = session.get_one(Item, 1)
        savepoint = session.begin_nested()
        one.name = "lost"
        session.flush()
        savepoint.rollback()
        one.name = "kept"

    assert items.records() == [updated(item(1, "a"), name="kept")]
    assert items.query("SELECT reason FROM changelog_transaction ORDER BY id DESC LIMIT 1") == [("again",)]


def test_nested_savepoints_leave_what_was_kept(items: Store) -> None:
    with items.factory.begin() as session:
        with session.begin_nested():
            session.add(Item(id=1, name="kept"))
            session.flush()
            inner = session.begin_nested()
            session.add(Item(id=2, name="lost"))
            session.flush()
            with session.begin_nested():
                session.add(Item(id=3, name="lost too"))
            inner.rollback()
        session.add(Item(id=2, name="kept too"))

    assert items.records() == [inserted(1, "kept"), inserted(2, "kept too")]
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_a_released_savepoint_goes_with_the_transaction(items: Store) -> None:
    with items.factory() as session:
        with session.begin_nested():
            session.add(Item(id=1, name="a"))
        session.rollback()
        with session.begin_nested():
            session.add(Item(id=1, name="b"))
        session.commit()

    assert items.records() == [inserted(1, "b")]
    assert items.query("SELECT count(*) FROM changelog_transaction") == [(1,)]


def test_an_error_caught_inside_a_savepoint_leaves_the_rest(items: Store) -> None:
    items.add_items("a")

    with items.factory.begin() as session:
        session.add(Item(id=2, name="b"))
        session.flush()
        lost = [Item(id=3, name="lost"), Item(id=1, name="taken")]
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add_all(lost)
        session.add(Item(id=3, name="c"))

    assert items.records() == [inserted(2, "b"), inserted(3, "c")]


def test_a_failing_flush_leaves_nothing_and_the_session_goes_on(items: Store) -> None:
    items.add_items("a")

    with items.factory() as session:
        session.add_all([Item(id=2, name="b"), Item(id=1, name="taken")])
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        session.add(Item(id=2, name="c"))
        session.commit()

    assert items.records() == [inserted(2, "c")]


def test_a_flush_before_the_commit_is_recorded(items: Store) -> None:
    @event.listens_for(items.factory, "before_commit")
    def _add(session: Session) -> None:
        if not session.scalar(select(Item.id).where(Item.name == "late")):
            session.add(Item(name="late"))

    with items.factory.begin() as session:
        session.add(Item(name="a"))

    assert items.records() == [inserted(1, "a"), inserted(2, "late")]


@contextmanager
def handling(name: str, handler: Callable[[Any, Connection, Item], None]) -> Iterator[None]:
    """Let the application listen to an event of `Item`."""
    event.listen(Item, name, handler)
    try:
        yield
    finally:
        event.remove(Item, name, handler)


@pytest.mark.parametrize("name", ["before_insert", "after_insert"])
def test_statements_of_mapper_events_are_recorded(items: Store, name: str) -> None:
    def write(_mapper: Any, connection: Connection, target: Item) -> None:
        connection.execute(insert(ITEM).values(id=100 + target.id, name="by event"))

    with handling(name, write), items.factory.begin() as session:
        session.add(Item(id=1, name="a"))

    assert sorted(items.records(), key=str) == sorted([inserted(1, "a"), inserted(101, "by event")], key=str)


def test_a_new_row_that_the_same_flush_changes_again_is_an_insert(items: Store) -> None:
    def write(_mapper: Any, connection: Connection, target: Item) -> None:
        change = update(ITEM).where(ITEM.c.id == target.id)
        connection.execute(change.values(state="by event"))

    with handling("after_insert", write), items.factory.begin() as session:
        session.add(Item(id=1, name="a"))

    assert items.records() == [inserted(1, "a", state="by event", revision=1)]


def test_a_new_row_that_the_same_flush_removes_again_leaves_no_record(items: Store) -> None:
    def write(_mapper: Any, connection: Connection, target: Item) -> None:
        connection.execute(delete(ITEM).where(Item.name == target.name))

    with handling("after_insert", write), items.factory.begin() as session:
        session.add(Item(id=1, name="a"))

    assert items.records() == []


def test_a_savepoint_rolled_back_inside_a_flush_leaves_what_the_flush_wrote_before(items: Store) -> None:
    def write(_mapper: Any, connection: Connection, target: Item) -> None:
        savepoint = connection.begin_nested()
        connection.execute(insert(ITEM).values(id=100 + target.id, name="lost"))
        savepoint.rollback()

    with handling("after_insert", write), items.factory.begin() as session:
        session.add(Item(id=1, name="a"))
        session.flush()
        session.add_all([Item(id=2, name="b"), Item(id=3, name="c")])

    assert items.records() == [inserted(1, "a"), inserted(2, "b"), inserted(3, "c")]


def test_a_handler_that_stops_a_flush_leaves_the_session_usable(items: Store) -> None:
    items.add_items("a")

    def refuse(_session: Session, *_: object) -> None:
        raise RuntimeError("not now")

    with items.factory() as session:
        session.add(Item(name="b"))
        event.listen(session, "before_flush", refuse)
        with pytest.raises(RuntimeError):
            session.flush()
        event.remove(session, "before_flush", refuse)
        session.expunge_all()
        session.execute(update(Item).values(state="old"))
        session.commit()

    assert items.records() == [updated(item(1, "a"), state="old")]


class Local(DeclarativeBase):
    """Tables of this file alone."""


class Node(Local):
    """Two rows that point at each other, which takes an UPDATE after the INSERT."""

    __tablename__ = "node"

    id: Mapped[int] = mapped_column(primary_key=True)
    partner_id: Mapped[int | None] = mapped_column(ForeignKey("node.id"))
    partner: Mapped[Node | None] = relationship(remote_side="Node.id", post_update=True)


class Note(Local):
    """A version counter, a deferred column, and an attribute with another name than its column."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body = mapped_column("body_text", Text)
    large: Mapped[str | None] = deferred(mapped_column(Text))
    version: Mapped[int] = mapped_column()
    shouted = column_property(func.upper(body.column))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy's own form


NOTE = cast("Table", Note.__table__)


def _note(key: int, body: str | None, large: str | None, version: int) -> dict[str, object]:
    return {"id": key, "body_text": body, "large": large, "version": version}


def test_rows_that_point_at_each_other_are_two_inserts(store: Store) -> None:
    store.create(Local.metadata)
    store.track()

    with store.factory.begin() as session:
        left, right = Node(id=1), Node(id=2)
        left.partner, right.partner = right, left
        session.add_all([left, right])

    assert store.records() == [
        ("INSERT", "node/1", None, {"id": 1, "partner_id": 2}),
        ("INSERT", "node/2", None, {"id": 2, "partner_id": 1}),
    ]


def test_versions_deferred_columns_and_renamed_attributes_are_recorded_as_columns(store: Store) -> None:
    store.create(Local.metadata)
    store.track()

    with store.factory.begin() as session:
        session.add(Note(id=1, body="a", large="x"))
    with store.factory.begin() as session:
        session.get_one(Note, 1).body = "b"
    with store.factory.begin() as session:
        session.execute(update(Note).values(body="c"))
        session.execute(update(Note).values({Note.body: "d"}))
        session.execute(update(NOTE).values(body_text="e"))
        session.execute(update(Note), [{"id": 1, "body": "f", "version": 2}])
        session.execute(insert(Note).values(id=2, body="g", version=1))
        session.execute(insert(Note), [{"id": 3, "body": "h", "version": 1}])
        session.delete(session.get_one(Note, 3))

    one = [_note(1, body, "x", min(2, place)) for place, body in enumerate("abcdef", 1)]
    one[5]["version"] = store.query("SELECT version FROM note WHERE id = 1")[0][0]
    assert store.records() == [
        ("INSERT", "note/1", None, one[0]),
        *[("UPDATE", "note/1", old, new) for old, new in pairwise(one)],
        ("INSERT", "note/2", None, _note(2, "g", None, 1)),
        ("INSERT", "note/3", None, _note(3, "h", None, 1)),
        ("DELETE", "note/3", _note(3, "h", None, 1), None),
    ]


@pytest.mark.parametrize(
    "target",
    ["factory", "scoped", "session", "class", "engine", "factory and engine", "twice", "two factories"],
)
def test_every_kind_of_target_records_each_change_once(store: Store, target: str) -> None:
    class OwnSession(Session):
        pass

    store.create()
    own = sessionmaker(store.engine, class_=OwnSession)
    scoped = scoped_session(store.factory)
    session = store.factory()
    targets_by_name: dict[str, list[Any]] = {
        "factory": [store.factory],
        "scoped": [scoped],
        "session": [session],
        "class": [OwnSession],
        "engine": [store.engine],
        "factory and engine": [store.factory, store.engine],
        "twice": [store.factory, store.factory],
        "two factories": [store.factory, sessionmaker(store.engine)],
    }
    targets = targets_by_name[target]
    for one in targets:
        store.track(one)
    writer = {"scoped": scoped(), "session": session, "class": own()}.get(target) or store.factory()

    with writer:
        writer.add(Item(name="a"))
        writer.commit()
        writer.execute(update(Item).values(state="old"))
        writer.get_one(Item, 1).name = "b"
        writer.commit()
        auditcli.untrack(targets[0])
        if target == "factory and engine":
            auditcli.untrack(store.engine)
        writer.add(Item(id=9, name="unseen"))
        writer.commit()

    store.write("DELETE FROM item WHERE id = 9")
    old = item(1, "a", state="old", revision=1)
    assert store.records() == [inserted(1, "a"), updated(item(1, "a"), state="old"), updated(old, name="b")]


@pytest.mark.parametrize("mode", ["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"])
def test_a_session_on_an_outer_transaction_is_recorded(store: Store, mode: str) -> None:
    store.create()
    factory = sessionmaker(join_transaction_mode=mode)
    store.track(factory)

    with store.engine.connect() as connection:
        connection.begin()
        for name in ("a", "b"):
            with factory(bind=connection) as session:
                session.add(Item(name=name))
                session.commit()
        if connection.in_transaction():
            connection.commit()

    assert store.records() == [inserted(1, "a"), inserted(2, "b")]


def test_a_session_over_two_databases_records_each_in_its_own_log(store: Store, tmp_path: Path) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    store.create()
    Local.metadata.create_all(other)
    factory = sessionmaker(binds={Base: store.engine, Local: other})
    store.track(factory)
    elsewhere = Store(other, f"{tmp_path}/other.db")

    with factory.begin() as session:
        session.add_all([Item(id=1, name="a"), Node(id=5)])
        session.execute(update(Node).values(id=6))

    assert store.records() == [inserted(1, "a")]
    assert elsewhere.records() == [
        ("INSERT", "node/5", None, {"id": 5, "partner_id": None}),
        ("UPDATE", "node/5→6", {"id": 5, "partner_id": None}, {"id": 6, "partner_id": None}),
    ]
    elsewhere.check()
    other.dispose()


def test_an_abandoned_session_gives_its_connection_back(items: Store) -> None:
    session = items.factory()
    session.add(Item(name="lost"))
    session.flush()
    del session
    gc.collect()

    assert items.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool
    assert items.records() == []
