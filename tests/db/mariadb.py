"""A MariaDB database that any client writes, with auditcli's triggers, or its listeners, as the only witnesses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine

from auditcli.dialects import dialect_named
from tests.databases import scratch_url

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


@contextmanager
def scratch_engine() -> Iterator[Engine]:
    """An empty database on MariaDB."""
    with scratch_url("mariadb", Path()) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()
