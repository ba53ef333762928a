"""The explorer on every database: reading, filtering, following while others write, taking back."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

import auditcli
from tests.tui.driver import Ui, explore

pytestmark = pytest.mark.thorough

WRITERS, EACH = 4, 10
UNDO_THIS = 0


class Base(DeclarativeBase):
    """The application's tables."""


class Customer(Base):
    """Somebody who buys."""

    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    city: Mapped[str | None] = mapped_column(String(40))


@pytest.fixture
def sessions(any_engine: Engine):
    """A shop on each database."""
    Base.metadata.create_all(any_engine)
    sessions = sessionmaker(any_engine)
    auditcli.track(sessions, create=True)
    with auditcli.context(actor="alice"), sessions.begin() as session:
        session.add(Customer(id=1, name="Ann", city="Wien"))
    with auditcli.context(actor="bob"), sessions.begin() as session:
        session.get_one(Customer, 1).city = "Graz"
    yield sessions
    auditcli.untrack(sessions)


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@pytest.mark.usefixtures("sessions")
def test_reading_and_filtering(any_engine: Engine) -> None:
    async def story(ui: Ui) -> None:
        assert len(ui.list.ids()) == 2
        assert "[-Wien-]{+Graz+}" in ui.detail.text()
        await ui.filter("actor:alice city:Wien")
        assert ["INSERT customer/1" in ui.detail.text(), len(ui.list.ids())] == [True, 1]
        await ui.press("h", "b", "i", "plus", "minus", "escape", "G", "g")
        assert "Graz" in ui.detail.text()

    explore(url_of(any_engine), story)


def test_following_several_writers_loses_nothing(any_engine: Engine, sessions: sessionmaker[Session]) -> None:
    def write(writer: int) -> None:
        for number in range(EACH):
            with auditcli.context(actor=f"writer-{writer}"), sessions.begin() as session:
                session.add(Customer(id=100 * (writer + 1) + number, name="N", city=None))

    async def story(ui: Ui) -> None:
        await asyncio.gather(*(asyncio.to_thread(write, writer) for writer in range(WRITERS)))
        await ui.until(lambda: len(ui.explorer.changes.window.rows) >= WRITERS * EACH + 2)
        with any_engine.connect() as connection:
            ids = await asyncio.to_thread(lambda: connection.scalars(text("SELECT id FROM changelog")).all())
        rows = [change.id for change in ui.explorer.changes.window.rows]
        assert rows == sorted(ids, reverse=True)
        assert "LIVE" in ui.heading()

    explore(url_of(any_engine), story)


def test_taking_back(any_engine: Engine, sessions: sessionmaker[Session]) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("u")
        await ui.popup.answer(UNDO_THIS)
        await ui.press("y")
        await ui.until(lambda: len(ui.list.ids()) == 3)
        assert "[-Graz-]{+Wien+}" in ui.detail.text()

    explore(url_of(any_engine), story)

    with sessions() as session:
        assert session.get_one(Customer, 1).city == "Wien"
