"""What `audit doctor` asks PostgreSQL and MariaDB: each answer is provoked, and nothing else is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from auditcli.clock import utc_now
from auditcli.doctor import Finding, Level, examine
from auditcli.driver import dialect_of
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from tests.databases import scratch_url

pytestmark = pytest.mark.thorough

SERVERS = ("postgresql", "postgresql 18", "mariadb")


@pytest.fixture(params=SERVERS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database on a server with a recorded table."""
    yield from _prepared(request.param, tmp_path)


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Engine]:
    """The same on PostgreSQL, where anything may be created."""
    yield from _prepared("postgresql 18", tmp_path)


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[Engine]:
    """The same on MariaDB."""
    yield from _prepared("mariadb", tmp_path)


def _prepared(kind: str, folder: Path) -> Iterator[Engine]:
    with scratch_url(kind, folder) as url:
        engine = create_engine(url)
        _run(engine, "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(40), photo TEXT)")
        _init(engine)
        yield engine
        engine.dispose()


def _run(engine: Engine, *statements: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))


def _init(engine: Engine) -> None:
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_of(connection), Wishes(triggers=True), now=utc_now())


def _findings(engine: Engine) -> list[Finding]:
    with engine.connect() as connection:
        return examine(LogReader(connection, log_tables()), now=utc_now())


def _told(engine: Engine) -> set[tuple[str, str | None]]:
    """Codes and tables of what is neither general nor usual."""
    usual = ("database", "growth", "tracked")
    return {
        (each.code, None if each.table is None else str(each.table))
        for each in _findings(engine)
        if each.code not in usual
    }


def test_a_healthy_log_on_a_server_needs_nothing(engine: Engine) -> None:
    assert _told(engine) == set()


def test_a_trigger_that_is_gone_is_found(engine: Engine) -> None:
    with engine.connect() as connection:
        installed = connection.exec_driver_sql(
            "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'Ra%%capture'"
            if engine.name == "postgresql"
            else "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() LIMIT 1"
        ).scalar_one()
    _run(engine, f'DROP TRIGGER "{installed}" ON item' if engine.name == "postgresql" else f"DROP TRIGGER {installed}")

    assert _told(engine) == {("stale-triggers", "item")}
    _init(engine)
    assert _told(engine) == set()


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["ALTER TABLE item DISABLE TRIGGER USER"], {("stale-triggers", "item")}),
        (
            ["ALTER SEQUENCE changelog_id_seq CACHE 20"],
            {("sequence-cache", None)},
        ),
        (["CREATE PUBLICATION everything FOR ALL TABLES"], {("published", None)}),
        (
            ["CREATE UNLOGGED TABLE cache (id INTEGER PRIMARY KEY)"],
            {("stale-triggers", "cache"), ("unlogged", "cache")},
        ),
        (
            [
                """CREATE OR REPLACE FUNCTION changelog_row_id(image json, keys text[], kinds text[]) RETURNS text
                LANGUAGE sql AS 'SELECT NULL::text'"""
            ],
            {("stale-triggers", None)},
        ),
    ],
    ids=["disabled", "sequence", "publication", "unlogged", "function"],
)
def test_what_postgresql_is_asked_is_found(
    postgresql: Engine, statements: list[str], told: set[tuple[str, str | None]]
) -> None:
    _run(postgresql, *statements)

    assert _told(postgresql) == told


def test_a_partition_without_its_truncate_trigger_is_found_and_mended_by_init(postgresql: Engine) -> None:
    _run(
        postgresql,
        "CREATE TABLE part (id INTEGER PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10)",
    )
    _init(postgresql)
    assert _told(postgresql) == set()

    _run(postgresql, "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20)")

    assert _told(postgresql) == {("stale-triggers", "part"), ("partition", "part")}
    _init(postgresql)
    assert _told(postgresql) == set()


def test_a_user_who_does_not_own_a_table_is_told_whose_rights_it_takes(postgresql: Engine) -> None:
    _run(postgresql, "DROP ROLE IF EXISTS audit_reader", "CREATE ROLE audit_reader LOGIN")
    _run(postgresql, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO audit_reader")
    reader = create_engine(postgresql.url.set(username="audit_reader"))

    found = [each for each in _findings(reader) if each.code == "no-right"]

    reader.dispose()
    _run(postgresql, "DROP OWNED BY audit_reader", "DROP ROLE audit_reader")
    assert {str(each.table) for each in found} == {"item"}
    assert found[0].fix == "run audit init as postgres, or GRANT postgres TO audit_reader"


def test_an_engine_without_transactions_is_found(mariadb: Engine) -> None:
    _run(mariadb, "CREATE TABLE old (id INTEGER PRIMARY KEY) ENGINE = MyISAM")
    _init(mariadb)

    assert _told(mariadb) == {("no-transactions", "old")}
    assert {each.level for each in _findings(mariadb) if each.code == "no-transactions"} == {Level.PROBLEM}


def test_a_row_that_is_too_long_for_its_image_is_found(mariadb: Engine) -> None:
    _run(mariadb, "CREATE TABLE big (id INTEGER PRIMARY KEY, photo LONGBLOB)")
    _run(mariadb, "INSERT INTO big VALUES (1, REPEAT('x', @@max_allowed_packet DIV 2 + 1))")
    _init(mariadb)

    assert _told(mariadb) == {("long-row", "big")}
