"""Trigger capture against the same writes without triggers, on SQLite files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine

import auditcli
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from benchmarks.capture import FLUSH, Store, new_model
from benchmarks.rounds import Ratio, measure

_ROWS = 20_000
_LONG = 100_000


def trigger_rows(rounds: int) -> Iterator[Ratio]:
    """Flushes of the ORM, a bulk UPDATE in SQL, and a narrow change beside a long text."""
    with TemporaryDirectory() as folder:
        plain, captured = (Path(folder) / f"{name}.db" for name in ("plain", "captured"))
        stores = [Store(path, new_model()) for path in (plain, captured)]
        for store, path in zip(stores, (plain, captured), strict=True):
            store.insert()
            _run(path, "CREATE TABLE bulk (id INTEGER PRIMARY KEY, a INT, b TEXT, c TEXT, d REAL)", _FILL)
            _run(path, "CREATE TABLE wide (id INTEGER PRIMARY KEY, n INT, body TEXT)", _FILL_WIDE)
        _init(captured)
        auditcli.track(stores[1].sessions)
        for name, kind, bar in (
            (f"triggers: flush of {FLUSH} inserts / untracked", Store.insert, 1.5),
            (f"triggers: flush of {FLUSH} updates / untracked", Store.update, 1.5),
            (f"triggers: flushes of {FLUSH} inserts and deletes / untracked", Store.delete, 1.5),
        ):
            yield measure(name, _call(kind, stores[1]), _call(kind, stores[0]), rounds=rounds, bar=bar)
        for name, sql, bar in (
            (f"triggers: UPDATE of {_ROWS} rows in SQL / untracked", "UPDATE bulk SET a = a + 1", 7.0),
            ("triggers: narrow UPDATE beside 100 KB / untracked", "UPDATE wide SET n = n + 1", 15.0),
        ):
            yield measure(name, _sql(captured, sql), _sql(plain, sql), rounds=rounds, bar=bar)


_FILL = (
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_ROWS}) "
    "INSERT INTO bulk SELECT i, i, 'name ' || i, 'lorem ipsum dolor sit amet', i / 7.0 FROM n"
)
_FILL_WIDE = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
    f"INSERT INTO wide SELECT i, i, printf('%.{_LONG}c', 'x') FROM n"
)


def _init(path: Path) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named("sqlite"), Wishes(triggers=True), now=utc_now())
    engine.dispose()


def _call(kind: Callable[[Store], None], store: Store) -> Callable[[], None]:
    return lambda: kind(store)


def _sql(path: Path, statement: str) -> Callable[[], None]:
    return lambda: _run(path, statement)


def _run(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
