"""Two-phase transactions: what they change is in the log as soon as it is committed, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

import auditcli
from auditcli.errors import LogError
from tests.databases import scratch_url
from tests.db.write_paths import WRITES, Recorded, Tag

pytestmark = pytest.mark.thorough

WAYS = ("orm insert", "core update", "orm delete with cascade in the database", "orm many to many", "key change")


@pytest.fixture(params=["postgresql 18", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database that knows two-phase transactions; many a server has them turned off, that of the tests has not."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(params=["listeners", "triggers"])
def shop(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Recorded]:
    """The shop; when the test is over its log must be complete."""
    recorded = Recorded(engine, request.param)
    yield recorded
    recorded.check()


@pytest.fixture
def factory(shop: Recorded) -> sessionmaker[Session]:
    """Sessions whose commits have two phases; no log can be created in one on MariaDB."""
    with shop.factory() as session:
        session.connection()
    factory = sessionmaker(shop.engine, twophase=True)
    auditcli.track(factory)
    return factory


@pytest.mark.parametrize("how", WAYS)
def test_a_write_with_two_phases_is_recorded(shop: Recorded, factory: sessionmaker[Session], how: str) -> None:
    with auditcli.context(actor="alice"), factory() as session:
        WRITES[how](session)
        session.commit()

    changes = shop.changes()
    assert {change.actor for change in changes} == {"alice"}
    assert len({change.transaction_id for change in changes}) == 1


def test_what_was_prepared_is_in_the_log_only_after_the_second_phase(
    shop: Recorded, factory: sessionmaker[Session]
) -> None:
    with auditcli.context(actor="alice"), factory() as session:
        session.add(Tag(id="new"))
        session.prepare()
        assert shop.changes() == []
        session.commit()

    assert [change.row_id for change in shop.changes()] == ["new"]


def test_what_was_prepared_and_rolled_back_leaves_nothing(shop: Recorded, factory: sessionmaker[Session]) -> None:
    with factory() as session:
        session.add(Tag(id="never"))
        session.prepare()
        session.rollback()
    with factory() as session:
        session.add(Tag(id="kept"))
        session.commit()

    assert [change.row_id for change in shop.changes()] == ["kept"]


def test_a_log_that_cannot_be_created_in_a_two_phase_transaction_is_asked_for(tmp_path: Path) -> None:
    with scratch_url("mariadb", tmp_path) as url:
        engine = create_engine(url)
        Tag.metadata.create_all(engine)
        factory = sessionmaker(engine, twophase=True)
        auditcli.track(factory, create=True)

        with factory() as session:
            session.add(Tag(id="new"))
            with pytest.raises(LogError, match="the log changelog can't be created here") as refused:
                session.commit()

        engine.dispose()
    assert refused.value.hint == "run `audit init`"
