"""The log is created, upgraded in place without losing a record, and never taken for what it isn't."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import auditcli
from auditcli import ChangeLog
from auditcli.errors import LogError
from auditcli.log.tables import LOG_VERSION, LogTables, log_tables
from auditcli.log.upgrade import InitOutcome, check_log, init_log


class Base(DeclarativeBase):
    """The tables of these tests."""


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


def init(engine: Engine, tables: LogTables | None = None) -> InitOutcome:
    with engine.begin() as connection:
        return init_log(connection, tables or log_tables())


def make_older(engine: Engine) -> None:
    """A log as an earlier version left it: without some columns, tables and indexes, but with a record."""
    init(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO changelog (timestamp, table_name, row_id, event_type, after, source) "
            "VALUES ('2026-01-02 03:04:05.000006', 'note', '1', 'INSERT', '{\"id\":1}', 'listener')"
        )
        for statement in (
            "DROP INDEX changelog_moved",
            "ALTER TABLE changelog DROP COLUMN old_row_id",
            "ALTER TABLE changelog_transaction DROP COLUMN application",
            "DROP TABLE changelog_gap",
            "UPDATE changelog_meta SET value = '0' WHERE name = 'version'",
        ):
            connection.execute(text(statement))


def schema_of(engine: Engine) -> dict[str, tuple[list[str], list[str]]]:
    inspector = inspect(engine)
    return {
        name: (
            sorted(column["name"] for column in inspector.get_columns(name)),
            sorted(str(index["name"]) for index in inspector.get_indexes(name)),
        )
        for name in inspector.get_table_names()
    }


def test_a_new_log_has_an_identity_of_its_own(engine: Engine) -> None:
    outcome = init(engine)

    with engine.connect() as connection:
        info = check_log(connection, log_tables())
    assert outcome.from_version is None
    assert (info.uuid, info.version) == (outcome.info.uuid, LOG_VERSION)


def test_creating_it_again_changes_nothing(engine: Engine) -> None:
    first = init(engine)

    second = init(engine)

    assert second.info == first.info
    assert second.added == ()


def test_an_older_log_is_upgraded_without_losing_a_record(engine: Engine, tmp_path: Path) -> None:
    make_older(engine)
    fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    init(fresh)

    outcome = init(engine)

    assert outcome.from_version == 0
    assert "changelog.old_row_id" in outcome.added
    assert schema_of(engine) == schema_of(fresh)
    with engine.connect() as connection:
        [record] = connection.execute(select(log_tables().changelog)).mappings().all()
    assert (record["row_id"], record["after"], record["old_row_id"]) == ("1", {"id": 1}, None)
    fresh.dispose()


def test_tracking_upgrades_an_older_log_only_when_asked_to(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    make_older(engine)
    careful, eager = sessionmaker(engine), sessionmaker(engine)
    auditcli.track(careful)
    auditcli.track(eager, create=True)

    with pytest.raises(LogError, match="older version 0") as refused, careful.begin() as session:
        session.add(Note(body="a"))
    with eager.begin() as session:
        session.add(Note(body="b"))

    assert "audit init" in str(refused.value.hint)
    with eager() as session:
        assert [record.row_id for record in session.scalars(select(ChangeLog))] == ["1", "1"]


def test_a_newer_log_is_refused_and_left_alone(engine: Engine) -> None:
    init(engine)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE changelog_meta SET value = '{LOG_VERSION + 1}' WHERE name = 'version'"))

    with pytest.raises(LogError, match=f"version {LOG_VERSION + 1}") as refused:
        init(engine)

    assert "upgrade auditcli" in str(refused.value.hint)


@pytest.mark.parametrize(
    "ddl",
    ["CREATE TABLE changelog (id INTEGER, message TEXT)", "CREATE TABLE changelog_meta (name TEXT, value TEXT)"],
)
def test_another_programs_table_is_not_taken_for_the_log(engine: Engine, ddl: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(ddl))
    before = schema_of(engine)

    with pytest.raises(LogError, match="another program") as refused:
        init(engine)

    assert "another name" in str(refused.value.hint)
    assert schema_of(engine) == before


def test_a_log_whose_records_are_gone_is_not_quietly_begun_anew(engine: Engine) -> None:
    init(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE changelog"))

    with pytest.raises(LogError, match="is gone"):
        init(engine)


def test_no_table_that_a_trigger_writes_has_a_unique_key_by_which_or_replace_would_delete_records(
    engine: Engine,
) -> None:
    init(engine)

    inspector = inspect(engine)
    for name in ("changelog", "changelog_transaction", "changelog_schema", "changelog_gap", "changelog_undo"):
        assert inspector.get_unique_constraints(name) == []
        assert not any(index["unique"] for index in inspector.get_indexes(name))


def test_the_log_may_have_another_name(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    auditcli.track(factory, create=True, log_table="history of %s")

    with factory.begin() as session:
        session.add(Note(body="a"))

    with engine.connect() as connection:
        records = connection.execute(select(log_tables("history of %s").changelog.c.table_name)).scalars().all()
    assert records == ["note"]


def created_by_session(path: Path) -> None:
    factory = sessionmaker(create_engine(f"sqlite:///{path}"))
    auditcli.track(factory, create=True)
    with factory() as session:
        session.scalars(select(Note)).all()


def created_by_engine(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    auditcli.track(engine, create=True)
    with engine.connect():
        pass


def created_by_async_session(path: Path) -> None:
    async def connect() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        factory = async_sessionmaker(engine)
        auditcli.track(factory, create=True)
        async with factory() as session:
            (await session.scalars(select(Note))).all()
        await engine.dispose()

    asyncio.run(connect())


def created_by_async_engine(path: Path) -> None:
    async def connect() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        auditcli.track(engine, create=True)
        async with engine.connect():
            pass
        await engine.dispose()

    asyncio.run(connect())


@pytest.mark.parametrize(
    "connect", [created_by_session, created_by_engine, created_by_async_session, created_by_async_engine]
)
def test_track_creates_the_log_at_the_first_connection(tmp_path: Path, connect: Callable[[Path], None]) -> None:
    path = tmp_path / "app.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)

    connect(path)

    with engine.connect() as connection:
        assert check_log(connection, log_tables()).version == LOG_VERSION
    engine.dispose()


def test_without_a_log_a_write_fails_instead_of_going_unrecorded(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    auditcli.track(factory)

    with pytest.raises(LogError, match="no change log") as refused, factory.begin() as session:
        session.add(Note(body="a"))

    assert "audit init" in str(refused.value.hint)
    with engine.connect() as connection:
        assert connection.scalars(select(Note.id)).all() == []


def test_two_programs_may_create_the_log_at_once(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    factories = [sessionmaker(create_engine(f"sqlite:///{path}")) for _ in range(3)]
    for factory in factories:
        auditcli.track(factory, create=True)

    for factory in factories:
        with factory.begin() as session:
            session.execute(insert(Note).values(body="x"))

    with engine.connect() as connection:
        assert len(connection.execute(select(log_tables().changelog.c.id)).all()) == 3
    engine.dispose()
