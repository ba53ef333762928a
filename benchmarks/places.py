"""The databases that something is measured on: a SQLite file, and an empty database on each server that is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import OperationalError

from auditcli.clock import utc_now
from auditcli.config import Target
from auditcli.connect import Database, open_database
from auditcli.init import Wishes, prepare

_SERVERS = (
    ("AUDIT_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    ("AUDIT_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
)
_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}

CREATE = (
    "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(200), album_id INTEGER, genre_id INTEGER, "
    "composer VARCHAR(220), milliseconds INTEGER, size INTEGER, price INTEGER)"
)
"""A table whose rows have the width of a usual business table's."""


def title(database: Database) -> str:
    """What the database is called in a table of figures."""
    return _TITLES[database.dialect.name]


@contextmanager
def sqlite_place() -> Iterator[Database | None]:
    """A SQLite file that is gone afterwards."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        path.touch()
        database = opened(URL.create("sqlite", database=str(path)))
        try:
            yield database
        finally:
            database.close()


@contextmanager
def server_place(variable: str, usual_url: str, name: str) -> Iterator[Database | None]:
    """A new database on a server, which is dropped afterwards; None where no server answers."""
    url = make_url(os.environ.get(variable, usual_url))
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except OperationalError:
        yield None
        return
    database = opened(url.set(database=name))
    try:
        yield database
    finally:
        database.close()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        admin.dispose()


def places() -> list[AbstractContextManager[Database | None]]:
    """One place on SQLite and one on each server."""
    name = f"audit_bench_{os.getpid()}"
    return [sqlite_place(), *(server_place(variable, usual_url, name) for variable, usual_url in _SERVERS)]


def opened(url: URL) -> Database:
    """A database as the command line opens it."""
    return open_database(Target(url, origin="benchmark"), writing=True)


def fill(database: Database, rows: int, *, triggers: bool = True) -> None:
    """Make the table with so many rows, and have triggers record it, if they are to."""
    values = [
        (number, f"Track {number}", number % 347, number % 25, "Angus Young, Malcolm Young", 200_000, number, 99)
        for number in range(1, rows + 1)
    ]
    marks = ", ".join(["?" if database.dialect.name == "sqlite" else "%s"] * 8)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(CREATE)
        for start in range(0, rows, 10_000):
            connection.exec_driver_sql(f"INSERT INTO item VALUES ({marks})", values[start : start + 10_000])
    if triggers:
        with database.engine.connect() as connection:
            prepare(connection, database.tables, database.dialect, Wishes(triggers=True), now=utc_now())
