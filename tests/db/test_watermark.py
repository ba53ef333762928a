"""How far the log of a server can be read: up to what may still be committed, and no further."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
from auditcli.model import TableName
from auditcli.watermark import Watermark
from tests.databases import scratch_url

pytestmark = pytest.mark.thorough

TABLES = log_tables()


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with _server(request.param, tmp_path) as engine:
        yield engine


@contextmanager
def _server(kind: str, folder: Path) -> Iterator[Engine]:
    """A database of rows that many write at once."""
    with scratch_url(kind, folder) as url:
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


@pytest.mark.parametrize("may_ask", [True, False], ids=["asking who writes", "waiting"])
def test_an_id_that_nobody_sees_waits_for_whoever_may_own_it(tmp_path: Path, may_ask: bool) -> None:
    with _mariadb(tmp_path) as engine, _reader(engine, may_ask=may_ask) as reader:
        feed = _feed(reader)
        with engine.connect() as slow, engine.connect() as quick:
            # An id that is given out and not to be seen, as it is for a moment between the two.
            slow.execute(text("SELECT number FROM item WHERE id = 3 FOR UPDATE"))
            slow.execute(text("SAVEPOINT before_it"))
            slow.execute(text("UPDATE item SET number = 1 WHERE id = 1"))
            slow.execute(text("ROLLBACK TO SAVEPOINT before_it"))
            quick.execute(text("UPDATE item SET number = 1 WHERE id = 2"))
            quick.commit()
            seen = _poll_for(feed, 1.5)
            slow.commit()
            later = _poll_until(feed, 1)

    # Who may not ask takes it for rolled back after a while.
    assert [changes[0].row_id for changes in seen] == ([] if may_ask else ["2"])
    assert [changes[0].row_id for changes in (*seen, *later)] == ["2"]


def test_several_readers_that_ask_who_writes_all_get_on(tmp_path: Path) -> None:
    with _mariadb(tmp_path) as engine:
        feeds = [_feed(engine) for _ in range(3)]
        with engine.connect() as connection:
            connection.execute(text("UPDATE item SET number = 1 WHERE id = 1"))
            connection.rollback()
            connection.execute(text("UPDATE item SET number = 1 WHERE id = 2"))
            connection.commit()
        found: list[list[tuple]] = [[] for _ in feeds]
        threads = [
            threading.Thread(target=lambda feed=feed, into=into: into.extend(_poll_until(feed, 1)))
            for feed, into in zip(feeds, found, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [[changes[0].row_id for changes in each] for each in found] == [["2"]] * 3


def test_ids_in_steps_and_engines_without_transactions_are_refused_by_name(tmp_path: Path) -> None:
    with _mariadb(tmp_path) as engine:
        in_steps = create_engine(engine.url, connect_args={"init_command": "SET auto_increment_increment = 2"})
        with pytest.raises(LogError, match="auto_increment_increment is 2"):
            _feed(in_steps).poll()
        in_steps.dispose()
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE changelog ENGINE = Aria"))

        with pytest.raises(LogError, match="the engine of changelog is Aria") as failure:
            _feed(engine).poll()

    assert failure.value.hint == "ALTER TABLE `changelog` ENGINE = InnoDB"


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


def _mariadb(folder: Path) -> AbstractContextManager[Engine]:
    return _server("mariadb", folder)


@contextmanager
def _reader(engine: Engine, *, may_ask: bool) -> Iterator[Engine]:
    """A user who may read the log, and may or may not see what others do."""
    name = f"reader{(engine.url.database or '')[-10:]}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE USER {name}@'127.0.0.1'"))
        connection.execute(text(f"GRANT SELECT ON `{engine.url.database}`.* TO {name}@'127.0.0.1'"))
        if may_ask:
            connection.execute(text(f"GRANT PROCESS ON *.* TO {name}@'127.0.0.1'"))
    other = create_engine(engine.url.set(username=name))
    yield other
    other.dispose()
    with engine.begin() as connection:
        connection.execute(text(f"DROP USER {name}@'127.0.0.1'"))


def _poll_for(feed: Feed, seconds: float) -> list[tuple]:
    found: list[tuple] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found += feed.poll()
        time.sleep(0.02)
    return found


def test_a_standby_is_refused_since_it_does_not_tell_who_writes(tmp_path: Path) -> None:
    class Standby(PostgreSQL):
        def order_obstacles_sql(self, log_table: TableName) -> str | None:
            asked = super().order_obstacles_sql(log_table)
            return asked and asked.replace("pg_is_in_recovery()", "true")

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
