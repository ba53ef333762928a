"""Who and why: nested, per task and thread, and never handed to the next user of a pooled connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import QueuePool

import auditcli
from auditcli import ChangeLog
from auditcli.errors import UsageError
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from tests.clock import SettableClock

HEADERS = log_tables().transaction


class Base(DeclarativeBase):
    """The tables of these tests."""


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@pytest.fixture(name="factory")
def _factory(engine: Engine) -> Iterator[sessionmaker[Session]]:
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    auditcli.track(factory, create=True)
    yield factory
    auditcli.untrack(factory)


def actors(factory: sessionmaker[Session]) -> list[str | None]:
    with factory() as session:
        return list(session.scalars(select(ChangeLog.actor).order_by(ChangeLog.id)))


def write(factory: sessionmaker[Session], body: str) -> None:
    with factory.begin() as session:
        session.add(Note(body=body))


def test_the_inner_context_fills_in_what_it_says_and_keeps_the_rest(factory: sessionmaker[Session]) -> None:
    with auditcli.context(actor="alice", reason="ticket 42", request_id="r1"):
        with auditcli.context(reason="ticket 43", step=2):
            write(factory, "inner")
        write(factory, "outer")

    with factory() as session:
        headers = session.execute(select(HEADERS.c.reason, HEADERS.c.context).order_by(HEADERS.c.id)).all()
    assert actors(factory) == ["alice", "alice"]
    assert [tuple(header) for header in headers] == [
        ("ticket 43", {"request_id": "r1", "step": 2}),
        ("ticket 42", {"request_id": "r1"}),
    ]


def test_an_empty_actor_counts_as_absent(factory: sessionmaker[Session]) -> None:
    with auditcli.context(actor="alice"), auditcli.context(actor=""):
        write(factory, "a")
    with auditcli.context(actor=""):
        write(factory, "b")

    assert actors(factory) == ["alice", None]


def test_a_context_never_accuses_the_next_user_of_a_pooled_connection(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("pool") / "pool.db"
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=1, max_overflow=0)
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    auditcli.track(factory, create=True)

    with auditcli.context(actor="alice"):
        write(factory, "hers")
        with factory() as session:
            session.add(Note(body="rolled back"))
            session.flush()
            session.rollback()
    write(factory, "nobody's")

    assert actors(factory) == ["alice", None]
    engine.dispose()


def test_threads_have_contexts_of_their_own(factory: sessionmaker[Session]) -> None:
    inside = threading.Barrier(2)

    def work(name: str) -> None:
        with auditcli.context(actor=name):
            inside.wait()
            write(factory, name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with factory() as session:
        rows = session.scalars(select(ChangeLog)).all()
    assert {(row.actor, row.after and row.after["body"]) for row in rows} == {("alice", "alice"), ("bob", "bob")}


def test_what_the_context_says_later_in_a_transaction_is_added(factory: sessionmaker[Session]) -> None:
    with factory.begin() as session:
        session.add(Note(body="first"))
        session.flush()
        with auditcli.context(actor="alice", reason="found out later", step=2):
            session.add(Note(body="second"))
            session.flush()

    with factory() as session:
        changes = list(LogReader(session.connection(), log_tables()).changes())
    assert {change.reason for change in changes} == {"found out later"}
    assert [change.context for change in changes] == [{"step": 2}, {"step": 2}]
    assert actors(factory) == [None, "alice"]


@pytest.mark.parametrize("hostile", ["'; DROP TABLE note; --", '*/ "', "%s :x {0}", "a\0b", "\x1b[31m", "😀" * 10_000])
def test_hostile_context_is_kept_as_it_is(factory: sessionmaker[Session], hostile: str) -> None:
    with auditcli.context(actor=hostile, reason=hostile, key=hostile):
        write(factory, "a")

    with factory() as session:
        [header] = session.execute(select(HEADERS.c.reason, HEADERS.c.context)).all()
    assert actors(factory) == [hostile]
    assert tuple(header) == (hostile, {"key": hostile})


def test_a_context_value_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="key 'when'"), auditcli.context(when=object()):
        pass


def test_stamped_with_its_transactions_start_a_late_record_would_lie_before_what_others_wrote_meanwhile(
    engine: Engine, clock: SettableClock
) -> None:
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    auditcli.track(factory, create=True, clock=clock)
    began = clock()

    with factory.begin() as session:
        session.add(Note(body="first"))
        session.flush()
        clock.advance(90)
        session.add(Note(body="second"))

    with factory() as session:
        stamps = session.scalars(select(ChangeLog.timestamp).order_by(ChangeLog.id)).all()
    assert [(stamp - began).total_seconds() for stamp in stamps] == [0, 90]
