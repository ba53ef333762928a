"""A MariaDB database that any client writes, with auditcli's triggers, or its listeners, as the only witnesses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, Table, create_engine

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Preparation, Wishes, prepare
from auditcli.log.tables import log_tables
from tests.databases import scratch_url
from tests.db import postgres

MARIADB = dialect_named("mariadb")

HOSTILE: Mapping[str, str] = {
    "sql_mode": "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,STRICT_ALL_TABLES'",
    "time_zone": "'-03:30'",
    "div_precision_increment": "0",
    "collation_connection": "utf8mb4_general_ci",
    "group_concat_max_len": "4",
    "lc_time_names": "'de_DE'",
}
"""Settings of a session that change how values are written, read or compared."""


class Watched(postgres.Watched):
    """A database with some tables and a log that triggers write."""

    def init(self, **wishes: Any) -> Preparation:
        with self.engine.connect() as connection:
            wanted = Wishes(**{"triggers": True, **wishes})
            return prepare(connection, log_tables(), MARIADB, wanted, now=utc_now())

    def table(self, name: str) -> Table:
        """A table as SQLAlchemy finds it."""
        return Table(name, MetaData(), autoload_with=self.engine)


@contextmanager
def scratch_engine() -> Iterator[Engine]:
    """An empty database on MariaDB."""
    with scratch_url("mariadb", Path()) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()
