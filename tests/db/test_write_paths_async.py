"""The write paths over asyncpg, whose statements have marks and types of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

import auditcli
from tests.databases import scratch_url
from tests.db.write_paths import PLAIN_WRITES, WRITES, Recorded, Tag

pytestmark = pytest.mark.thorough


class AsyncRecorded(Recorded):
    """The shop, written over asyncpg; what the log says is read over a driver that isn't asynchronous."""

    def write(self, *ways: str, actor: str | None = None) -> None:
        """Each way in a transaction of its own, on one connection."""
        asyncio.run(self._write(ways, actor))

    async def _write(self, ways: tuple[str, ...], actor: str | None) -> None:
        engine = create_async_engine(self.engine.url.set(drivername="postgresql+asyncpg"), pool_size=1, max_overflow=0)
        factory = async_sessionmaker(engine)
        auditcli.track(factory, create=True)
        try:
            for how in ways:
                with auditcli.context(actor=actor, reason="trial"):
                    async with factory.begin() as session:
                        if how in WRITES:
                            await session.run_sync(WRITES[how])
                        else:
                            await session.execute(text(PLAIN_WRITES[how]))
        finally:
            await engine.dispose()


@pytest.fixture(params=["listeners", "triggers"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AsyncRecorded]:
    """The shop on PostgreSQL; when the test is over its log must be complete."""
    with scratch_url("postgresql", tmp_path) as url:
        engine = create_engine(url)
        recorded = AsyncRecorded(engine, request.param)
        yield recorded
        recorded.check()
        engine.dispose()


@pytest.mark.parametrize("how", WRITES)
def test_a_write_over_asyncpg_is_recorded_with_its_context(shop: AsyncRecorded, how: str) -> None:
    shop.write(how, actor="alice")

    changes = shop.changes()
    assert {change.actor for change in changes} <= {"alice"}
    assert {change.reason for change in changes} <= {"trial"}
    assert len({change.transaction_id for change in changes}) <= 1
    assert bool(changes) is (how != "orm no-op update")


@pytest.mark.parametrize("how", PLAIN_WRITES)
def test_plain_sql_over_asyncpg_needs_triggers(shop: AsyncRecorded, how: str) -> None:
    if shop.mode == "listeners":
        with pytest.raises(auditcli.errors.UnrecordableWrite):
            shop.write(how)
        return

    shop.write(how, actor="alice")

    assert {change.actor for change in shop.changes()} == {"alice"}


def test_the_next_transaction_on_a_connection_has_its_own_context(shop: AsyncRecorded) -> None:
    shop.write("orm insert", "core delete", "core update", actor="alice")

    assert len({change.transaction_id for change in shop.changes()}) == 3


def test_a_failed_statement_over_asyncpg_leaves_nothing(shop: AsyncRecorded) -> None:
    with pytest.raises(DBAPIError):
        shop.write("core executemany", "core executemany")

    assert [change.row_id for change in shop.changes()] == ["a", "b"]
    assert {change.table.name for change in shop.changes()} == {Tag.__tablename__}
