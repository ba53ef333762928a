"""Many writers at once: no error, no lost record, and before-images that were true at the time of the write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

import auditcli
from auditcli import AuditError, ChangeLog

pytestmark = pytest.mark.thorough

THREADS, COMMITS, HOT_ROWS = 12, 60, 4


class Base(DeclarativeBase):
    """The tables of these tests."""


class Counter(Base):
    __tablename__ = "counter"

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(default=0)


def factory_at(path: Path, journal: str) -> sessionmaker[Session]:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _set_journal(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = OFF")

    Base.metadata.create_all(engine)
    return sessionmaker(engine)


def run_in_threads(work: Callable[[int], None], count: int) -> list[Exception]:
    errors: list[Exception] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except (SQLAlchemyError, AuditError) as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_twelve_threads_lose_no_record_and_raise_no_error(tmp_path: Path, journal: str) -> None:
    factory = factory_at(tmp_path / "busy.db", journal)
    auditcli.track(factory, create=True)

    def work(number: int) -> None:
        for _ in range(COMMITS):
            with auditcli.context(actor=f"worker{number}"), factory.begin() as session:
                session.add(Counter(value=number))

    errors = run_in_threads(work, THREADS)

    with factory() as session:
        by_actor = dict(session.execute(select(ChangeLog.actor, func.count()).group_by(ChangeLog.actor)).all())
        rows = session.scalar(select(func.count()).select_from(Counter))
        transactions = session.scalar(select(func.count(ChangeLog.transaction_id.distinct())))
    assert errors == []
    assert by_actor == {f"worker{number}": COMMITS for number in range(THREADS)}
    assert rows == transactions == THREADS * COMMITS


def test_before_images_of_contended_rows_form_an_unbroken_chain(tmp_path: Path) -> None:
    """Read without the lock, a before-image would be stale whenever somebody else commits in between."""
    factory = factory_at(tmp_path / "hot.db", "WAL")
    auditcli.track(factory, create=True)
    with factory.begin() as session:
        session.add_all(Counter(id=number) for number in range(1, HOT_ROWS + 1))

    def work(first: int) -> None:
        for turn in range(20):
            with factory.begin() as session:
                chosen = Counter.id == (first + turn) % HOT_ROWS + 1
                session.execute(update(Counter).where(chosen).values(value=Counter.value + 1))

    errors = run_in_threads(work, 8)

    assert errors == []
    with factory() as session:
        for row in range(1, HOT_ROWS + 1):
            chain = session.scalars(select(ChangeLog).where(ChangeLog.row_id == str(row)).order_by(ChangeLog.id)).all()
            assert all(later.before == earlier.after for earlier, later in pairwise(chain))
            assert session.get_one(Counter, row).value == len(chain) - 1 == 40
