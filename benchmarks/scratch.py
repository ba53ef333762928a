"""An empty database of each kind that is there, for one measurement alone."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import OperationalError

KINDS = ("SQLite", "PostgreSQL", "MariaDB")

_USUAL = {
    "PostgreSQL": ("AUDIT_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "MariaDB": ("AUDIT_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


@contextmanager
def scratch(kind: str) -> Iterator[URL | None]:
    """Where an empty database is; None where no server of the kind answers."""
    if kind not in _USUAL:
        with TemporaryDirectory() as folder:
            yield URL.create("sqlite", database=str(Path(folder) / "scratch.db"))
        return
    variable, usual = _USUAL[kind]
    server = make_url(os.environ.get(variable, usual))
    name = f"audit_bench_{uuid.uuid4().hex[:12]}"
    try:
        _administer(server, f"CREATE DATABASE {name}")
    except OperationalError:
        yield None
        return
    try:
        yield server.set(database=name)
    finally:
        _administer(server, f"DROP DATABASE {name}")


def _administer(server: URL, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
