"""Asynchronous sessions and engines record as synchronous ones do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from textwrap import dedent
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session

import auditcli
from auditcli.errors import CaptureError, UnrecordableWrite
from tests.db.recorded import ITEM, Item, Store, deleted, inserted, item, updated


@asynccontextmanager
async def _opened(store: Store, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{store.path}", **options)
    try:
        yield engine
    finally:
        await engine.dispose()


class OwnSession(AsyncSession):
    """A session class of the application's own."""

    class sync_session_class(Session):  # noqa: N801  # SQLAlchemy's name for it
        """The synchronous session inside."""


@pytest.mark.parametrize("target", ["factory", "engine", "session", "class", "scoped", "factory and engine"])
def test_asynchronous_writes_are_recorded(store: Store, target: str) -> None:
    store.create()

    async def write() -> None:
        async with _opened(store) as engine:
            factory = async_sessionmaker(engine, class_=OwnSession if target == "class" else AsyncSession)
            scoped = async_scoped_session(factory, asyncio.current_task)
            session = factory()
            targets: dict[str, list[Any]] = {
                "factory": [factory],
                "engine": [engine],
                "session": [session],
                "class": [OwnSession],
                "scoped": [scoped],
                "factory and engine": [factory, engine],
            }
            for one in targets[target]:
                auditcli.track(one, create=True)
            writers: dict[str, Any] = {"session": lambda: session, "scoped": scoped}
            async with writers.get(target, factory)() as writer:
                writer.add_all([Item(name="a"), Item(name="b")])
                await writer.commit()
                (await writer.get_one(Item, 1)).name = "A"
                await writer.execute(update(Item).where(Item.id == 2).values(state="old"))
                await writer.execute(insert(Item), [{"name": "c"}, {"name": "d"}])
                await writer.execute(delete(Item).where(Item.name == "d"))
                with pytest.raises(UnrecordableWrite):
                    await writer.execute(text("DELETE FROM item"))
                with pytest.raises(IntegrityError):
                    async with writer.begin_nested():
                        await writer.execute(insert(ITEM).values(id=1))
                await writer.commit()
                writer.add(Item(name="lost"))
                await writer.flush()
                await writer.rollback()

    asyncio.run(write())

    assert store.records() == [
        inserted(1, "a"),
        inserted(2, "b"),
        updated(item(1, "a"), name="A"),
        updated(item(2, "b"), state="old"),
        inserted(3, "c"),
        inserted(4, "d"),
        deleted(item(4, "d")),
    ]


def test_untracking_stops_an_asynchronous_factory(store: Store) -> None:
    store.create()

    async def write() -> None:
        async with _opened(store) as engine:
            factory, other = async_sessionmaker(engine), async_sessionmaker(engine)
            auditcli.track(factory, create=True)
            for make, name in ((factory, "a"), (other, "unseen")):
                async with make.begin() as session:
                    session.add(Item(name=name))
            auditcli.untrack(factory)
            async with factory.begin() as session:
                session.add(Item(name="unseen too"))

    asyncio.run(write())

    assert store.records() == [inserted(1, "a")]
    store.write("DELETE FROM item WHERE id > 1")


def test_the_context_of_each_task_is_its_own(store: Store) -> None:
    store.create()

    async def write(engine: AsyncEngine, name: str) -> None:
        with auditcli.context(actor=name):
            for number in range(5):
                async with AsyncSession(engine) as session:
                    session.add(Item(name=name))
                    await session.flush()
                    await asyncio.sleep(0.001 * number)
                    await session.commit()

    async def write_all() -> None:
        async with _opened(store, connect_args={"timeout": 60}) as engine:
            auditcli.track(engine, create=True)
            await asyncio.gather(*(write(engine, name) for name in ("alice", "bob", "carol")))

    asyncio.run(write_all())

    seen = store.query("SELECT actor, after ->> 'name', count(*) FROM changelog GROUP BY 1, 2 ORDER BY 1")
    assert seen == [(name, name, 5) for name in ("alice", "bob", "carol")]


def test_an_asynchronous_autocommit_engine_is_refused(store: Store) -> None:
    store.create()

    async def write() -> None:
        async with _opened(store, isolation_level="AUTOCOMMIT") as engine:
            auditcli.track(engine, create=True)
            async with engine.connect() as connection:
                await connection.execute(insert(ITEM).values(name="a"))

    with pytest.raises(CaptureError, match="AUTOCOMMIT"):
        asyncio.run(write())

    assert store.query("SELECT count(*) FROM item") == [(0,)]


def test_a_program_without_greenlet_can_be_tracked(store: Store) -> None:
    store.create()
    program = f"""
        import sys

        class NoGreenlet:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "greenlet":
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, NoGreenlet())
        import auditcli
        from sqlalchemy import create_engine, insert
        from sqlalchemy.orm import sessionmaker
        from tests.db.recorded import ITEM, Item

        engine = create_engine("sqlite:///{store.path}")
        factory = sessionmaker(engine)
        auditcli.track(factory, create=True)
        with factory.begin() as session:
            session.add(Item(name="a"))
        auditcli.track(engine)
        with engine.begin() as connection:
            connection.execute(insert(ITEM).values(name="b"))
        assert "greenlet" not in sys.modules
    """

    subprocess.run([sys.executable, "-c", dedent(program)], check=True, cwd=_root(), timeout=60)

    assert store.records() == [inserted(1, "a"), inserted(2, "b")]


def _root() -> str:
    return str(
        next(path for path in __import__("pathlib").Path(__file__).parents if (path / "pyproject.toml").exists())
    )
