"""Every value of every type, replayed into every kind of database, arrives or is a conflict that names its cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.driver import define
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from auditcli.plan import PlanOptions
from auditcli.portable import means_same
from tests.databases import scratch_url
from tests.db import test_mariadb_types, test_postgresql_types
from tests.db.replayed import opened, replay, rows_of

pytestmark = pytest.mark.thorough

KINDS = ("sqlite", "postgresql", "mariadb")
SQLITE_VALUES = (
    *("NULL", "0", "1", "1.0", "-0.0", "0.1 + 0.2", "9223372036854775807", "9e999", "1e300", "'1'", "''", "'abcd'"),
    *("'x' || char(0) || 'y'", "'\U0001f3b5'", "x''", "x'ff'", "CAST(x'c328' AS TEXT)", "'null'", "'{\"a\": 1}'"),
    *("'2026-03-02 08:00:00.123456'", "'2026-03-02'", "'08:00:00'", "'a0eebc999c0b4ef8bb6d6bb9bd380a11'"),
)
SQLITE_TYPES = ("", "INTEGER", "TEXT", "NUMERIC", "REAL", "BLOB", "BOOLEAN", "DATE", "DATETIME", "TIME", "VARCHAR(3)")

TYPES: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "sqlite": [(name, SQLITE_VALUES) for name in SQLITE_TYPES],
    "postgresql": list(test_postgresql_types.TYPES.items()),
    "mariadb": list(test_mariadb_types.TYPES.values()),
}
FIRST: Mapping[str, Sequence[str]] = {
    "sqlite": (),
    "postgresql": ("CREATE TABLE t (id int)", *test_postgresql_types.DEFINITIONS),
    "mariadb": ("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",),
}


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_changed_in_silence(kind: str, other: str, tmp_path: Path) -> None:
    with _empty(kind, tmp_path / "source") as source, _empty(other, tmp_path / "target") as target:
        _write_all(source, kind)

        progress = replay(
            opened(source), opened(target), create_tables=True, conflicts=PlanOptions(skip_conflicts=True)
        )

        refused = {str(conflict.row) for conflict in progress.conflicts}
        assert {conflict.column for conflict in progress.conflicts} <= {"v"}
        assert kind != other or refused == set()
        assert _changed(source, target, refused) == []


def _write_all(engine: Engine, kind: str) -> None:
    """A table for each type, with a row for each of its values in a transaction of its own."""
    with engine.begin() as connection:
        for statement in FIRST[kind]:
            define(connection, statement)
        for number, (type_, _) in enumerate(TYPES[kind]):
            define(connection, f"CREATE TABLE t{number} (id int PRIMARY KEY, v {type_})")
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named(engine.name), Wishes(triggers=True), now=utc_now())
    with engine.connect() as connection:
        if kind == "mariadb":
            define(connection, FIRST[kind][0])
        for number, (_, values) in enumerate(TYPES[kind]):
            for key, value in enumerate(values):
                define(connection, f"INSERT INTO t{number} VALUES ({key}, {value})")
                connection.commit()


def _changed(source: Engine, target: Engine, refused: set[str]) -> list[tuple[str, object, object]]:
    """The rows that neither came over as they are nor are refused."""
    there = {f"{table}/{row['id']}": row["v"] for table, rows in rows_of(target).items() for row in rows}
    return [
        (name, row["v"], there.get(name))
        for table, rows in rows_of(source).items()
        for row in rows
        if (name := f"{table}/{row['id']}") not in refused
        and (name not in there or not means_same(row["v"], there[name]))
    ]


@contextmanager
def _empty(kind: str, folder: Path) -> Iterator[Engine]:
    folder.mkdir()
    with scratch_url(kind, folder) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()
