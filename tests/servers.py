"""The PostgreSQL and MariaDB servers that tests may talk to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError


@dataclass(frozen=True)
class Server:
    """Where a server is looked for: at the URL of an environment variable, else at its usual place."""

    name: str
    url_variable: str
    usual_url: str

    @property
    def url(self) -> str:
        return os.environ.get(self.url_variable) or self.usual_url


@dataclass(frozen=True)
class Answer:
    """The version that a server told, or the reason why it told none."""

    version: str | None = None
    problem: str | None = None


POSTGRESQL = Server("PostgreSQL", "AUDIT_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
MARIADB = Server("MariaDB", "AUDIT_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")


@cache
def ask(server: Server) -> Answer:
    """Connect once and ask for the version."""
    try:
        engine = create_engine(server.url, connect_args={"connect_timeout": 3})
    except ImportError as error:
        return Answer(problem=f"no driver: {error}")
    try:
        with engine.connect() as connection:
            return Answer(version=str(connection.exec_driver_sql("SELECT version()").scalar_one()))
    except OperationalError as error:
        return Answer(problem=" ".join(str(error.orig).split()))
    finally:
        engine.dispose()


def required_url(server: Server) -> str:
    """The URL of a server that answers; without one the test is skipped, or fails where servers are required."""
    problem = ask(server).problem
    if problem is None:
        return server.url
    reason = f"no {server.name} ({problem}); ${server.url_variable} says where one is"
    if os.environ.get("AUDIT_REQUIRE_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
