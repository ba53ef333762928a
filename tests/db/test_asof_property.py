"""Whatever history SQLite accepted: at each point of its log the tables are as a copy that was taken then."""

from __future__ import annotations

import sqlite3
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlalchemy.pool import StaticPool

from tests.db.asof import Rows, last_id, rows_now, rows_then
from tests.db.test_triggers_property import _schema, _statement, _try
from tests.db.test_undo_property import PARENT, _database, _history, _run
from tests.soak import soaking

pytestmark = pytest.mark.thorough


@settings(max_examples=soaking(20), suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_each_point_of_a_history_has_the_rows_of_the_last_transaction_that_had_ended(seed: int) -> None:
    random = Random(seed)
    engine = _database()
    copies = {0: rows_now(engine)}

    for transaction in _history(random, 8, (3, 4, 2)):
        if random.random() < 0.2:
            _run_in_vain(engine)
        _run(engine, [transaction])
        copies[last_id(engine)] = rows_now(engine)

    for boundary in range(last_id(engine) + 1):
        ended = max(each for each in copies if each <= boundary)
        assert rows_then(engine, boundary) == copies[ended], f"at {boundary}"


@settings(max_examples=soaking(60), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_statement(), min_size=1, max_size=12), st.booleans())
def test_so_it_is_for_any_statements_of_a_plain_client_and_tables_without_a_key(
    statements: list[str], foreign_keys: bool
) -> None:
    engine = _plain_database(foreign_keys=foreign_keys)
    with engine.connect() as connection:
        client: Any = connection.connection.driver_connection
    copies: dict[int, Rows] = {0: {}}

    for statement in statements:
        _try(client, statement)
        client.commit()
        copies[last_id(engine)] = rows_now(engine)

    for boundary, copy in copies.items():
        assert rows_then(engine, boundary) == copy, f"at {boundary}"


def _run_in_vain(engine: Engine) -> None:
    """A transaction that is rolled back."""
    with engine.connect() as connection, connection.begin() as rolled_back:
        connection.execute(sa.update(PARENT).values(name="nobody"))
        rolled_back.rollback()


def _plain_database(*, foreign_keys: bool) -> Engine:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def prepare(driver_connection: sqlite3.Connection, _record: object) -> None:
        driver_connection.deserialize(_schema())
        driver_connection.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")

    return engine
