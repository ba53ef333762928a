"""An empty database of each kind, for one test alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url

from tests.servers import MARIADB, POSTGRESQL, POSTGRESQL_18, Server, required_url

_SERVERS = {"postgresql": POSTGRESQL, "postgresql 18": POSTGRESQL_18, "mariadb": MARIADB}
_ON_POSTGRESQL = ('CREATE DATABASE "{}"', 'DROP DATABASE "{}" WITH (FORCE)')
_ON_MARIADB = ("CREATE DATABASE `{}` CHARACTER SET utf8mb4", "DROP DATABASE `{}`")


@contextmanager
def scratch_url(kind: str, folder: Path) -> Iterator[URL]:
    """Where an empty database is; it is gone with all that is in it when the block ends."""
    if kind == "sqlite":
        yield URL.create("sqlite", database=str(folder / "app.db"))
        return
    server = _SERVERS[kind]
    create, drop = _ON_MARIADB if server is MARIADB else _ON_POSTGRESQL
    name = f"audit_{uuid.uuid4().hex[:16]}"
    _administer(server, create.format(name))
    try:
        yield make_url(required_url(server)).set(database=name)
    finally:
        _administer(server, drop.format(name))


def _administer(server: Server, statement: str) -> None:
    with _administration(server).connect() as connection:
        connection.exec_driver_sql(statement)


@cache
def _administration(server: Server) -> Engine:
    return create_engine(required_url(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)
