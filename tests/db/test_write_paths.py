"""Whatever way an application writes, on every database and by either way of capture: one record a change."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

import auditcli
from auditcli.errors import UnrecordableWrite
from tests.db.write_paths import PLAIN_WRITES, WRITES, Article, Recorded, Review, Tag

pytestmark = pytest.mark.thorough


@pytest.fixture(params=["listeners", "triggers"])
def shop(any_engine: Engine, request: pytest.FixtureRequest) -> Iterator[Recorded]:
    """The shop on one of the databases; when the test is over its log must be complete."""
    recorded = Recorded(any_engine, request.param)
    yield recorded
    recorded.check()


@pytest.mark.parametrize("how", WRITES)
def test_a_write_is_recorded_with_its_context(shop: Recorded, how: str) -> None:
    with auditcli.context(actor="alice", reason="trial"), shop.factory.begin() as session:
        WRITES[how](session)

    changes = shop.changes()
    assert {change.actor for change in changes} <= {"alice"}
    assert {change.reason for change in changes} <= {"trial"}
    assert len({change.transaction_id for change in changes}) <= 1
    assert None not in {change.transaction_id for change in changes}
    assert bool(changes) is (how != "orm no-op update")


def test_one_record_a_change_in_one_transaction_after_another(shop: Recorded) -> None:
    for how in ("orm insert", "core update", "core delete with set null", "orm many to many", "core executemany"):
        with auditcli.context(actor=how), shop.factory.begin() as session:
            WRITES[how](session)

    by_transaction = {change.transaction_id: change.actor for change in shop.changes()}
    assert len(by_transaction) == 5


def test_a_rolled_back_transaction_leaves_nothing(shop: Recorded) -> None:
    with shop.factory() as session:
        session.add(Tag(id="never"))
        session.flush()
        session.rollback()
        session.add(Tag(id="kept"))
        session.commit()

    assert [change.row_id for change in shop.changes()] == ["kept"]


def test_a_rolled_back_savepoint_leaves_nothing_and_the_context_stays(shop: Recorded) -> None:
    with auditcli.context(actor="alice"), shop.factory.begin() as session:
        session.add(Tag(id="before"))
        session.flush()
        savepoint = session.begin_nested()
        session.add(Tag(id="inside"))
        session.flush()
        savepoint.rollback()
        session.add(Tag(id="after"))

    changes = shop.changes()
    assert [change.row_id for change in changes] == ["before", "after"]
    assert {change.actor for change in changes} == {"alice"}
    assert len({change.transaction_id for change in changes}) == 1


def test_a_context_never_accuses_the_next_user_of_a_pooled_connection(shop: Recorded) -> None:
    with auditcli.context(actor="alice"), shop.factory.begin() as session:
        session.add(Tag(id="hers"))
    with shop.factory.begin() as session:
        session.add(Tag(id="nobodys"))

    hers, nobodys = shop.changes()
    assert hers.actor == "alice"
    assert nobodys.actor != "alice"
    assert hers.transaction_id != nobodys.transaction_id


@pytest.mark.parametrize("how", PLAIN_WRITES)
def test_plain_sql_is_recorded_by_triggers_with_the_context(any_engine: Engine, how: str) -> None:
    shop = Recorded(any_engine, "triggers")

    with auditcli.context(actor="alice"), shop.factory.begin() as session:
        session.execute(text(PLAIN_WRITES[how]))

    shop.check()
    changes = shop.changes()
    assert {change.actor for change in changes} == {"alice"}
    assert len({change.transaction_id for change in changes}) == 1


@pytest.mark.parametrize("name", ["opinion", "Opinion"])
def test_plain_sql_that_writes_through_a_view_is_refused_by_listeners(any_engine: Engine, name: str) -> None:
    shop = Recorded(any_engine, "listeners")
    quoted = any_engine.dialect.identifier_preparer.quote(name)
    with any_engine.begin() as connection:
        connection.execute(text(f"CREATE VIEW {quoted} AS SELECT id, body FROM review"))

    with shop.factory.begin() as session:
        with pytest.raises(UnrecordableWrite, match="plain SQL that writes to opinion"):
            session.execute(text(f"DELETE FROM {quoted}"))
        session.execute(text(f"SELECT count(*) FROM {quoted}"))

    assert shop.changes() == []


def test_another_program_is_recorded_by_triggers_and_nobody_is_accused(any_engine: Engine) -> None:
    shop = Recorded(any_engine, "triggers")

    with auditcli.context(actor="alice"), any_engine.begin() as connection:
        connection.execute(text("UPDATE article SET title = 'raw' WHERE id = 1"))

    shop.check()
    [change] = shop.changes()
    assert change.actor != "alice"


def test_values_that_undo_needs_come_back(shop: Recorded) -> None:
    with shop.factory.begin() as session:
        session.get_one(Article, 1).photo = b"\x00\x01"

    [change] = shop.changes()
    assert change.after is not None
    assert change.after["photo"] == {"$hex": "0001"}


def test_a_table_that_lost_its_triggers_in_a_swap_is_recorded_by_the_listener(any_engine: Engine) -> None:
    shop = Recorded(any_engine, "triggers")
    with shop.factory.begin() as session:
        session.add(Review(id=50, body="before"))

    Review.metadata.drop_all(any_engine, [Review.metadata.tables["review"]])
    Review.metadata.create_all(any_engine)
    time.sleep(shop.dialect.triggered_age)
    with auditcli.context(actor="alice"), shop.factory.begin() as session:
        session.add_all([Review(id=51, body="after"), Tag(id="new")])

    recorded = {(change.row_id, change.source.value) for change in shop.changes()}
    assert recorded == {("50", "trigger"), ("51", "listener"), ("new", "trigger")}
    last = [change for change in shop.changes() if change.row_id in ("51", "new")]
    assert {change.actor for change in last} == {"alice"}
    assert len({change.transaction_id for change in last}) == 1


def test_a_query_that_calls_functions_writes_nothing_where_nothing_may_be_written(any_engine: Engine) -> None:
    shop = Recorded(any_engine, "triggers")
    auditcli.track(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY)"))

    with any_engine.connect() as connection:
        if shop.dialect.begin_snapshot_sql is not None:
            connection.exec_driver_sql(shop.dialect.begin_snapshot_sql)
        found = connection.execute(
            text("SELECT hex(id) FROM later" if any_engine.name != "postgresql" else "SELECT md5(id::text) FROM later")
        ).all()

    assert found == []
