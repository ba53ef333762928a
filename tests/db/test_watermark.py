"""How far the log of a server can be read: up to what may still be committed, and no further."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.dialects.postgresql import PostgreSQL
from auditcli.errors import LogError
from auditcli.feed import Feed
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.watermark import Watermark
from tests.databases import scratch_url

pytestmark = pytest.mark.thorough

TABLES = log_tables()


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of rows that many write at once."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url, pool_size=20)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER)"))
            for key in range(8):
                connection.execute(text(f"INSERT INTO item VALUES ({key}, 0)"))
        with engine.connect() as connection:
            prepare(connection, TABLES, dialect_named(engine.name), Wishes(triggers=True), now=utc_now())
        yield engine
        engine.dispose()


def test_what_is_committed_after_an_open_transaction_waits_for_it(server: Engine) -> None:
    feed = _feed(server)
    with server.connect() as slow, server.connect() as quick:
        slow.execute(text("UPDATE item SET number = 1 WHERE id = 1"))
        quick.execute(text("UPDATE item SET number = 1 WHERE id = 2"))
        quick.commit()
        time.sleep(0.6)
        before, is_complete = feed.poll(), feed.is_complete
        slow.commit()

    assert (before, is_complete) == ([], False)
    assert [changes[0].row_id for changes in _poll_until(feed, 2)] == ["1", "2"]


def test_an_id_that_was_rolled_back_holds_nothing_up(server: Engine) -> None:
    feed = _feed(server)
    with server.connect() as connection:
        connection.execute(text("UPDATE item SET number = 1 WHERE id = 1"))
        connection.rollback()
        connection.execute(text("UPDATE item SET number = 1 WHERE id = 2"))
        connection.commit()

    assert [changes[0].row_id for changes in _poll_until(feed, 1)] == ["2"]
    assert feed.poll() == []
    assert feed.is_complete


def test_nothing_is_lost_doubled_or_out_of_order_under_writers_that_never_pause(server: Engine) -> None:
    feed = _feed(server)
    stop = threading.Event()
    writers = [threading.Thread(target=_write, args=(server, seed, stop)) for seed in range(6)]
    for writer in writers:
        writer.start()

    delivered = []
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        delivered += feed.poll()
    stop.set()
    for writer in writers:
        writer.join()
    delivered += _drain(feed)

    ids = Counter(change.id for changes in delivered for change in changes)
    with server.connect() as connection:
        assert ids == Counter(change.id for change in LogReader(connection, TABLES).changes())
    last: dict[str | None, object] = {}
    for change in (change for changes in delivered for change in changes):
        assert change.before is not None
        assert last.get(change.row_id, 0) == change.before["number"]
        last[change.row_id] = (change.after or {})["number"]


def test_a_standby_is_refused_since_it_does_not_tell_who_writes(tmp_path: Path) -> None:
    class Standby(PostgreSQL):
        hides_writers_sql = "SELECT true"

    with scratch_url("postgresql", tmp_path) as url:
        engine = create_engine(url)
        with engine.connect() as connection, pytest.raises(LogError, match="standby") as failure:
            Watermark(TABLES, Standby()).look(connection)
        engine.dispose()

    assert failure.value.hint == "connect to the primary server"


def _feed(engine: Engine) -> Feed:
    with engine.connect() as connection:
        last = LogReader(connection, TABLES).last_id()
    return Feed(engine, TABLES, dialect_named(engine.name), last)


def _poll_until(feed: Feed, transactions: int) -> list[tuple]:
    found: list[tuple] = []
    deadline = time.monotonic() + 5
    while len(found) < transactions and time.monotonic() < deadline:
        found += feed.poll()
        time.sleep(0.02)
    return found


def _drain(feed: Feed) -> list[tuple]:
    """What is left when nobody writes any more."""
    found = feed.poll()
    while not feed.is_complete:
        time.sleep(0.02)
        found += feed.poll()
    return found + feed.poll()


def _write(engine: Engine, seed: int, stop: threading.Event) -> None:
    chance = random.Random(seed)
    with engine.connect() as connection:
        while not stop.is_set():
            for key in sorted(chance.sample(range(8), chance.randint(1, 3))):
                connection.execute(text(f"UPDATE item SET number = number + 1 WHERE id = {key}"))
            if chance.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()
