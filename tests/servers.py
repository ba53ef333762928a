"""The PostgreSQL and MariaDB servers that tests may talk to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.embedded import Embedded, embedded
from tests.own_mariadb import own_mariadb


@dataclass(frozen=True)
class Server:
    """Where a server is looked for: at the URL of an environment variable, else at its usual place, else `embedded`."""

    name: str
    url_variable: str | None = None
    usual_url: str | None = None
    embedded: Callable[[], Embedded] | None = None


@dataclass(frozen=True)
class Answer:
    """Where a server answers and the version that it told, or the reason why there is none."""

    url: str | None = None
    version: str | None = None
    problem: str | None = None


POSTGRESQL = Server(
    "PostgreSQL", "AUDIT_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test", embedded
)
POSTGRESQL_18 = Server("PostgreSQL 18", embedded=embedded)
# PyMySQL loads all certificates of the machine at each connection that might be encrypted.
MARIADB = Server("MariaDB", "AUDIT_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test?ssl_disabled=true")


OWN_MARIADB = Server("MariaDB of the tests' own", embedded=own_mariadb)


@cache
def ask(server: Server) -> Answer:
    """Connect once and ask for the version."""
    given = os.environ.get(server.url_variable) if server.url_variable else None
    url = given or server.usual_url
    answer = _ask(url) if url else Answer(problem="none is looked for")
    if answer.problem is None or given or server.embedded is None:
        return answer
    own = server.embedded()
    return _ask(own.url) if own.url else Answer(problem=f"{answer.problem}; {own.problem}")


def _ask(url: str) -> Answer:
    try:
        engine = create_engine(url, connect_args={"connect_timeout": 3})
    except ImportError as error:
        return Answer(problem=f"no driver: {error}")
    try:
        with engine.connect() as connection:
            return Answer(url, str(connection.exec_driver_sql("SELECT version()").scalar_one()))
    except OperationalError as error:
        return Answer(problem=" ".join(str(error.orig).split()))
    finally:
        engine.dispose()


def required_url(server: Server) -> str:
    """The URL of a server that answers; without one the test is skipped, or fails where servers are required."""
    answer = ask(server)
    if answer.url is not None:
        return answer.url
    way_out = f"; ${server.url_variable} says where one is" if server.url_variable else ""
    reason = f"no {server.name} ({answer.problem}){way_out}"
    if os.environ.get("AUDIT_REQUIRE_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
