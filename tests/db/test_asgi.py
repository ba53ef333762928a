"""The middleware fills in actor and request id, whatever kind of dependency or endpoint writes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

import auditcli
from auditcli import ChangeLog
from auditcli.asgi import AuditMiddleware
from auditcli.log.tables import log_tables


class Base(DeclarativeBase):
    """The tables of these tests."""


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "web.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


def application(path: Path) -> FastAPI:
    """An application with every kind of endpoint and dependency; a user is named by a header."""
    asynchronous = async_sessionmaker(create_async_engine(f"sqlite+aiosqlite:///{path}"))
    synchronous = sessionmaker(create_engine(f"sqlite:///{path}"))
    auditcli.track(asynchronous, create=True)
    auditcli.track(synchronous, create=True)
    app = FastAPI()

    async def session() -> AsyncIterator[AsyncSession]:
        async with asynchronous.begin() as opened:
            yield opened

    def sync_user(x_user: Annotated[str, Header()]) -> Iterator[str]:
        with auditcli.context(actor=x_user, kind="sync"):
            yield x_user

    async def async_user(x_user: Annotated[str, Header()]) -> AsyncIterator[str]:
        with auditcli.context(actor=x_user, kind="async"):
            yield x_user

    @app.post("/sync-dependency")
    async def with_sync(user: Annotated[str, Depends(sync_user)], db: Annotated[AsyncSession, Depends(session)]) -> str:
        await asyncio.sleep(0.01)
        db.add(Note(body=user))
        await db.flush()
        return user

    @app.post("/async-dependency")
    async def with_async(
        user: Annotated[str, Depends(async_user)], db: Annotated[AsyncSession, Depends(session)]
    ) -> str:
        await asyncio.sleep(0.01)
        db.add(Note(body=user))
        await db.flush()
        return user

    @app.post("/sync-endpoint")
    def sync_endpoint(user: Annotated[str, Depends(sync_user)]) -> str:
        with synchronous.begin() as db:
            db.add(Note(body=user))
        return user

    @app.post("/plain")
    async def plain(db: Annotated[AsyncSession, Depends(session)]) -> str:
        db.add(Note(body="plain"))
        await db.flush()
        return "plain"

    return app


def post(app: Any, *requests: tuple[str, dict[str, str]]) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return list(await asyncio.gather(*(client.post(url, headers=headers) for url, headers in requests)))

    return asyncio.run(send())


def recorded(path: Path) -> list[tuple[str | None, Any, Any]]:
    """Actor, body and the context's keys of each record."""
    headers = log_tables().transaction
    engine: Engine = create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        query = select(ChangeLog.actor, ChangeLog.after, headers.c.context)
        rows = session.execute(
            query.join(headers, headers.c.transaction_id == ChangeLog.transaction_id).order_by(ChangeLog.id)
        ).all()
    engine.dispose()
    return [(actor, after["body"], context) for actor, after, context in rows]


@pytest.mark.parametrize("url", ["/sync-dependency", "/async-dependency", "/sync-endpoint"])
def test_a_dependency_names_the_actor_of_its_own_request_only(path: Path, url: str) -> None:
    app = AuditMiddleware(application(path))

    users = [f"user{number}" for number in range(8)]
    responses = post(app, *((url, {"x-user": user, "x-request-id": f"r-{user}"}) for user in users))

    assert [response.status_code for response in responses] == [200] * 8
    rows = recorded(path)
    assert sorted((actor, body) for actor, body, _ in rows) == [(user, user) for user in users]
    assert all(context["request_id"] == f"r-{body}" for _, body, context in rows)


def test_the_actor_of_one_request_is_not_left_to_the_next(path: Path) -> None:
    app = AuditMiddleware(application(path))

    post(app, ("/sync-dependency", {"x-user": "alice"}))
    post(app, ("/plain", {}))

    assert [(actor, body) for actor, body, _ in recorded(path)] == [("alice", "alice"), (None, "plain")]


def test_the_actor_may_be_told_by_the_scope_at_the_time_of_the_write(path: Path) -> None:
    app = AuditMiddleware(application(path), actor=lambda scope: dict(scope["headers"])[b"x-who"].decode())

    post(app, ("/plain", {"x-who": "carol"}))

    [(actor, _, context)] = recorded(path)
    assert actor == "carol"
    assert len(context["request_id"]) == 36


def test_other_kinds_of_connections_pass_through() -> None:
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(AuditMiddleware(inner)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]  # nothing is sent

    assert seen == ["lifespan"]
