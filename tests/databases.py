"""An empty database of each kind, for one test alone."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url

from auditcli.driver import define
from tests.servers import MARIADB, OWN_MARIADB, POSTGRESQL, POSTGRESQL_18, Server, required_url

_SERVERS = {
    "postgresql": POSTGRESQL,
    "postgresql 18": POSTGRESQL_18,
    "mariadb": MARIADB,
    "own mariadb": OWN_MARIADB,
}
_MARIADBS = (MARIADB, OWN_MARIADB)
_ON_POSTGRESQL = ('CREATE DATABASE "{}"', 'DROP DATABASE "{}" WITH (FORCE)')
_ON_MARIADB = ("CREATE DATABASE `{}` CHARACTER SET utf8mb4", "DROP DATABASE `{}`")

_emptied: dict[Server, list[str]] = defaultdict(list)
"""Databases that were used and have nothing in them any more."""


@contextmanager
def scratch_url(kind: str, folder: Path) -> Iterator[URL]:
    """Where an empty database is; all that is in it is gone when the block ends."""
    if kind == "sqlite":
        yield URL.create("sqlite", database=str(folder / "app.db"))
        return
    server = _SERVERS[kind]
    create, drop = _ON_MARIADB if server in _MARIADBS else _ON_POSTGRESQL
    if not _emptied[server]:
        name = f"audit_{uuid.uuid4().hex[:16]}"
        _administer(server, create.format(name))
    else:
        name = _emptied[server].pop()
    try:
        yield make_url(required_url(server)).set(database=name)
    finally:
        if server not in _MARIADBS and _is_emptied(server, name):
            _emptied[server].append(name)
        else:
            _administer(server, drop.format(name))


def drop_emptied() -> None:
    """Remove the databases that were kept for further tests."""
    for server, names in _emptied.items():
        while names:
            _administer(server, _ON_POSTGRESQL[1].format(names.pop()))


def _administer(server: Server, statement: str) -> None:
    with _administration(server).connect() as connection:
        connection.exec_driver_sql(statement)


@cache
def _administration(server: Server) -> Engine:
    return create_engine(required_url(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)


# PostgreSQL writes some three hundred files for a new database, and removes as many with it: emptying one is quicker.


def _is_emptied(server: Server, name: str) -> bool:
    """Empty a database of PostgreSQL; False where it has got something that may stay in it."""
    engine = create_engine(make_url(required_url(server)).set(database=name), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(_END_OTHERS)
            if connection.exec_driver_sql(_HAS_MORE_THAN_SCHEMAS).scalar_one():
                return False
            for schema in connection.exec_driver_sql(_SCHEMAS).scalars().all():
                # Its name may have a % in it.
                define(connection, f"DROP SCHEMA {schema} CASCADE")
            connection.exec_driver_sql(_public_schema(connection))
            return True
    finally:
        engine.dispose()


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_HAS_MORE_THAN_SCHEMAS = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql')
    OR EXISTS (SELECT FROM pg_event_trigger)
    OR EXISTS (SELECT FROM pg_publication)
    OR EXISTS (SELECT FROM pg_default_acl)
    OR EXISTS (SELECT FROM pg_foreign_data_wrapper)
    OR EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
    OR EXISTS (SELECT FROM pg_cast WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_language WHERE oid >= 16384)
    OR EXISTS (
      SELECT FROM pg_database AS d LEFT JOIN pg_db_role_setting AS s ON s.setdatabase = d.oid
      WHERE d.datname = current_database() AND (s.setdatabase IS NOT NULL OR d.datacl IS NOT NULL))
"""
_SCHEMAS = """
SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""


def _public_schema(connection: Connection) -> str:
    """The statements that make the schema which each new database has."""
    if (connection.dialect.server_version_info or ()) < (15,):
        return "CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC"
    return "CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC"
