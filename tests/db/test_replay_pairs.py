"""The nine pairs: a log of each kind of database, replayed into each kind, gives rows that mean the same."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from auditcli.model import Image
from auditcli.portable import means_same, number_of
from auditcli.replay import Replay, ReplayOptions
from tests.db.replayed import empty, opened, record, replay, rows_of, run
from tests.db.traffic import Traffic
from tests.db.write_paths import Recorded
from tests.sessions import end_other_sessions

pytestmark = pytest.mark.thorough

KINDS = ("sqlite", "postgresql", "mariadb")
A_DAY = 120
"""Transactions; the same ones in every pair."""

SAMPLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sqlite": (
        (
            "id INTEGER PRIMARY KEY, whole BIGINT, exact NUMERIC(20, 4), real DOUBLE, word VARCHAR(20), long TEXT,"
            " bytes BLOB, day DATE, at DATETIME, clock TIME, yes BOOLEAN"
        ),
        (
            (
                "1, 9223372036854775807, 12.5, 0.1, 'caf\u00e9 \U0001f3b5', '', x'00ff', '2026-03-02',"
                " '2026-03-02 08:00:00.123456', '08:00:00.500000', 1"
            ),
            (
                "2, -9223372036854775808, -1, -1.7976931348623157e308, ' a ', '{\"a\": 1}', x'', '0001-01-01',"
                " '1969-12-31 23:59:59.000000', '00:00:00.000000', 0"
            ),
            "3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        ),
    ),
    "postgresql": (
        (
            "id bigint PRIMARY KEY, small smallint, exact numeric(20, 4), real double precision, single real,"
            " word varchar(20), padded char(5), long text, bytes bytea, day date, at timestamp, moment timestamptz,"
            " clock time, yes boolean, who uuid, doc jsonb, list int[], span interval"
        ),
        (
            (
                "1, -32768, 1.1000, 0.1, 0.1, 'caf\u00e9 \U0001f3b5', 'ab', '', '\\x00ff', '2026-03-02',"
                " '2026-03-02 08:00:00.1234', '2026-03-02 08:00:00.123456+02', '08:00:00.5', true,"
                " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"b\": 1, \"a\": [null]}', '{1,2}', '1 day 02:00'"
            ),
            (
                "2, 0, -12345678901.5, 1e300, -1, ' a ', '', '1', '', '0001-01-01', '1999-12-31 23:59:59',"
                " '2000-01-01 00:00+00', '00:00', false, NULL, 'null', '{}', '-1 mon'"
            ),
            "3" + ", NULL" * 17,
        ),
    ),
    "mariadb": (
        (
            "id BIGINT UNSIGNED PRIMARY KEY, small SMALLINT, flag TINYINT(1), exact DECIMAL(20, 4), `real` DOUBLE,"
            " single FLOAT, word VARCHAR(20), padded CHAR(5), `long` LONGTEXT, bytes VARBINARY(10), day DATE,"
            " at DATETIME(6), moment TIMESTAMP(6) NULL, clock TIME(3), mood ENUM('sad', 'glad')"
        ),
        (
            (
                "1, -32768, 1, 1.1000, 0.1, 0.1, 'caf\u00e9 \U0001f3b5', 'ab', '', x'00ff', '2026-03-02',"
                " '2026-03-02 08:00:00.1234', '2026-03-02 08:00:00.5', '08:00:00.5', 'glad'"
            ),
            (
                "2, 0, 0, -12345678901.5, 1e300, -1, ' a ', '', '1', x'', '1000-01-01', '1999-12-31 23:59:59',"
                " '2000-01-01 00:00:00', '00:00:00', 'sad'"
            ),
            "3" + ", NULL" * 14,
        ),
    ),
}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty(request.param, tmp_path / "source") as engine:
        yield engine


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty(request.param, tmp_path / "target") as engine:
        yield engine


def test_a_day_of_traffic_comes_to_the_same_rows(source: Engine, target: Engine) -> None:
    shop = Recorded(source, "triggers")
    Traffic(shop, seed=5).run(A_DAY)

    replay(opened(source), opened(target), create_tables=True)

    _assert_equal(source, target)


def test_a_sample_of_each_type_means_the_same(source: Engine, target: Engine) -> None:
    kind = "mariadb" if source.name == "mysql" else source.name
    columns, rows = SAMPLES[kind]
    run(source, f"CREATE TABLE sample ({columns})")
    record(source)
    run(source, *(f"INSERT INTO sample VALUES ({row})" for row in rows))
    run(source, "DELETE FROM sample WHERE id = 3", f"INSERT INTO sample VALUES ({rows[2]})")
    run(source, "UPDATE sample SET word = 'other', exact = 2.5 WHERE id = 1")

    replay(opened(source), opened(target), create_tables=True)

    _assert_equal(source, target)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_copy_stays_live_while_many_write(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path / "a") as source, empty("sqlite", tmp_path / "b") as to:
        run(source, "CREATE TABLE parent (id INTEGER PRIMARY KEY, number INTEGER)")
        run(
            source,
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER, FOREIGN KEY (parent_id) "
            "REFERENCES parent (id) ON DELETE CASCADE)",
        )
        record(source)
        stop = threading.Event()
        live = Replay(opened(source), opened(to), ReplayOptions(create_tables=True, follow=True), stop=stop)
        threads = [threading.Thread(target=_write, args=(source, seed)) for seed in range(4)]
        following = threading.Thread(target=live.run)
        for thread in (*threads, following):
            thread.start()

        for thread in threads:
            thread.join()
        deadline = time.monotonic() + 20
        while not live.progress.transactions and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        following.join()
        replay(opened(source), opened(to))

        _assert_equal(source, to)
        assert live.progress.transactions > 0


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_live_copy_outlives_connections_that_are_cut(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path / "a") as source, empty(kind, tmp_path / "b") as target:
        run(source, "CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER)", "INSERT INTO item VALUES (0, 0)")
        record(source)
        stop, notes = threading.Event(), list[str]()
        options = ReplayOptions(create_tables=True, follow=True)
        live = Replay(opened(source), opened(target), options, on_note=notes.append, stop=stop)
        following = threading.Thread(target=live.run)
        following.start()
        writer, admin = (create_engine(engine.url, poolclass=NullPool) for engine in (source, target))
        try:
            _wait_for(lambda: live.has_begun)
            for key in range(1, 41):
                run(writer, f"INSERT INTO item VALUES ({key}, 0)", "UPDATE item SET number = number + 1 WHERE id = 0")
                if key % 10 == 0:
                    end_other_sessions(admin if key % 20 else writer)
                    _wait_for(lambda: len(notes) % 2 == 0)
            _wait_for(lambda: live.progress.place_id >= 80)
        finally:
            stop.set()
            following.join()

        for engine in (source, target):
            # Its pool may hold a connection that was cut.
            engine.dispose()
        _assert_equal(source, target)
        assert "was lost, the place is kept" in notes[0]
        assert "connected again, going on after change" in notes[1]


def _wait_for(is_met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _write(engine: Engine, seed: int) -> None:
    """Parents and children that others change and delete at the same time."""
    chance = random.Random(seed)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        key = chance.randrange(20)
        statements = chance.sample(
            [
                f"INSERT INTO parent VALUES ({key}, 0)",
                f"INSERT INTO child VALUES ({chance.randrange(200)}, {key})",
                f"UPDATE parent SET number = number + 1 WHERE id = {key}",
                f"DELETE FROM parent WHERE id = {key}",
            ],
            2,
        )
        try:
            run(engine, *statements)
        except DBAPIError:
            # Refused by a key, or chosen as a deadlock's victim: as applications meet it.
            continue


def _assert_equal(source: Engine, target: Engine) -> None:
    """Row by row, and cell by cell: the keys of both kinds of database have one spelling."""
    wanted, found = rows_of(source), rows_of(target)
    assert wanted.keys() == found.keys()
    for table, images in wanted.items():
        key = [name for name in images[0] if name == "id" or name.endswith("_id")][:2] if images else []
        of = {_word(image, key): image for image in found[table]}
        assert len(of) == len(found[table]) == len(images), table
        for image in images:
            other = of[_word(image, key)]
            differ = {name: (value, other[name]) for name, value in image.items() if not means_same(value, other[name])}
            assert not differ, (table, differ)


def _word(image: Image, key: list[str]) -> str:
    return " ".join(str(number if (number := number_of(image[name])) is not None else image[name]) for name in key)
