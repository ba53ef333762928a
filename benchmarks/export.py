"""Exports and diffs of a long log against what the database's own client makes of it.

A log of a million changes of 200,000 rows, or a tenth of that where `AUDIT_BENCH_QUICK` is set. SQLite is always there;
PostgreSQL and MariaDB are measured where `AUDIT_TEST_POSTGRESQL_URL` and `AUDIT_TEST_MARIADB_URL` name a database, in
which a log `bench_changelog` is made and dropped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Engine, create_engine, make_url

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.diff import diff
from auditcli.export import Asked, ExportFormat, export_log
from auditcli.log.reader import LogReader
from auditcli.log.schema import remember_shapes
from auditcli.log.tables import LogTables, log_tables
from auditcli.model import TableName
from auditcli.shape import ColumnShape, TableShape
from benchmarks.rounds import Ratio, measure

QUICK = bool(os.environ.get("AUDIT_BENCH_QUICK"))
CHANGES = 100_000 if QUICK else 1_000_000
ROWS = CHANGES // 5
_LOG = "bench_changelog"

_IMAGE = (
    '\'{{"id":\' || {row} || \',"name":"row \' || {row} || \'","status":"pending","city":"Vienna","note":"as it was",'
    '"updated_at":"2026-03-02 08:00:00","n":\' || {n} || \'}}\''
)
_KEY_AND_WORD = (("id", "INTEGER", "integer"), ("name", "TEXT", "text"))
_COLUMNS = "id, transaction_id, timestamp, actor, table_schema, table_name, row_id, old_row_id, event_type, source"
_OBJECT = ", ".join(f"'{name}', {name}" for name in _COLUMNS.split(", "))


@dataclass(frozen=True)
class Side:
    """A database with a long log, and how its own client prints that as CSV and as JSON lines."""

    name: str
    engine: Engine
    tables: LogTables
    csv: Callable[[], object]
    json: Callable[[], object]

    def export(self, format: ExportFormat) -> Callable[[], object]:
        """Our way."""

        def run() -> None:
            with self.engine.connect() as connection, Path(os.devnull).open("w", encoding="utf-8") as out:
                export_log(LogReader(connection, self.tables), Asked(format), out, now=utc_now())

        return run


def export_rows(rounds: int) -> Iterator[Ratio]:
    """CSV and JSON lines against the client's, and a diff against its bare join with its rows read as JSON."""
    for side in _sides():
        with side as log:
            changes = f"{CHANGES:,} changes"
            yield measure(
                f"export: {changes} as CSV / {log.name}", log.export(ExportFormat.CSV), log.csv, rounds=rounds, bar=2.0
            )
            yield measure(
                f"export: {changes} as JSON lines / {log.name}",
                log.export(ExportFormat.JSONL),
                log.json,
                rounds=rounds,
                bar=1.2,
            )
            yield measure(
                f"diff: {changes} / bare join, {log.engine.name}", _diff(log), _join(log), rounds=rounds, bar=2.0
            )


def _diff(log: Side) -> Callable[[], object]:
    def run() -> None:
        with log.engine.connect() as connection:
            assert sum(1 for _ in diff(LogReader(connection, log.tables))) == ROWS

    return run


def _join(log: Side) -> Callable[[], object]:
    quote = dialect_named(log.engine.name).quote
    ends = f"SELECT min(id) AS a, max(id) AS b FROM {_LOG} GROUP BY table_name, row_id"
    sql = (
        f"SELECT f.{quote('before')}, l.{quote('after')} FROM ({ends}) AS r "
        f"JOIN {_LOG} AS f ON f.id = r.a JOIN {_LOG} AS l ON l.id = r.b"
    )

    def run() -> None:
        with log.engine.connect() as connection:
            rows = connection.execution_options(stream_results=True).exec_driver_sql(sql)
            for before, after in rows:
                json.loads(before)
                json.loads(after)

    return run


def _sides() -> Iterator[AbstractContextManager[Side]]:
    yield _sqlite()
    for variable, make in (("AUDIT_TEST_POSTGRESQL_URL", _postgresql), ("AUDIT_TEST_MARIADB_URL", _mariadb)):
        if url := os.environ.get(variable):
            yield make(make_url(url))


@contextmanager
def _sqlite() -> Iterator[Side]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        with _filled(create_engine(URL.create("sqlite", database=str(path)))) as (engine, tables):
            line = f"SELECT json_object({_OBJECT}, 'before', json(before), 'after', json(after)) FROM {_LOG}"
            yield Side(
                "sqlite3 -csv",
                engine,
                tables,
                _client(["sqlite3", "-csv", str(path), f"SELECT * FROM {_LOG}"]),
                _client(["sqlite3", "-list", str(path), line]),
            )


@contextmanager
def _postgresql(url: URL) -> Iterator[Side]:
    words = ["psql", "-X", "-q", url.set(drivername="postgresql").render_as_string(hide_password=False), "-c"]
    pairs = _OBJECT.replace("'timestamp', timestamp", "'timestamp', \"timestamp\"")
    line = f"SELECT json_build_object({pairs}, 'before', before::json, 'after', after::json) FROM {_LOG}"
    with _filled(create_engine(url)) as (engine, tables):
        yield Side(
            "psql \\copy",
            engine,
            tables,
            _client([*words, f"\\copy {_LOG} TO STDOUT CSV"]),
            _client([*words, f"\\copy ({line}) TO STDOUT"]),
        )


@contextmanager
def _mariadb(url: URL) -> Iterator[Side]:
    words = ["mariadb", f"-h{url.host}", f"-P{url.port or 3306}", f"-u{url.username}", "--quick", "--batch", "-N"]
    words += [f"-p{url.password}"] if url.password else []
    line = (
        f"SELECT JSON_OBJECT({_OBJECT}, 'before', JSON_COMPACT(`before`), 'after', JSON_COMPACT(`after`)) FROM {_LOG}"
    )
    with _filled(create_engine(url)) as (engine, tables):
        yield Side(
            "mariadb --batch",
            engine,
            tables,
            _client([*words, str(url.database), "-e", f"SELECT * FROM {_LOG}"]),
            _client([*words, str(url.database), "-e", line]),
        )


def _client(words: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def _filled(engine: Engine) -> Iterator[tuple[Engine, LogTables]]:
    tables = log_tables(_LOG)
    tables.metadata.drop_all(engine)
    tables.metadata.create_all(engine)
    try:
        _fill(engine)
        yield engine, tables
    finally:
        tables.metadata.drop_all(engine)
        engine.dispose()


def _fill(engine: Engine) -> None:
    """Updates of so many rows in turn, ten a transaction, by three actors."""
    quote = dialect_named(engine.dialect.name).quote
    numbers = {
        "sqlite": f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM s WHERE n < {CHANGES}) SELECT n FROM s",
        "postgresql": f"SELECT n FROM generate_series(1, {CHANGES}) AS s(n)",
    }.get(engine.name, f"SELECT seq AS n FROM seq_1_to_{CHANGES}")
    before, after = (_IMAGE.format(row=f"(n % {ROWS})", n=f"((n - 1) / {ROWS} + {more})") for more in (0, 1))
    at = {
        "sqlite": "strftime('%Y-%m-%d %H:%M:%S', 1772438400 + n / 10, 'unixepoch') || '.000000'",
        "postgresql": "timestamp '2026-03-02 08:00' + n * interval '0.1 second'",
    }.get(engine.name, "TIMESTAMP'2026-03-02 08:00:00' + INTERVAL n * 100000 MICROSECOND")
    text = "CHAR" if engine.name in ("mysql", "mariadb") else "text"
    number = (
        f"CAST(1000000000 + n / 10 AS {text})" if engine.name != "mysql" else f"CAST(1000000000 + n DIV 10 AS {text})"
    )
    columns = ", ".join(map(quote, ("transaction_id", "timestamp", "actor", "table_name", "row_id", "event_type")))
    with engine.begin() as connection:
        if engine.name in ("mysql", "mariadb"):
            connection.exec_driver_sql("SET SESSION sql_mode = 'PIPES_AS_CONCAT'")
        connection.exec_driver_sql(
            f"INSERT INTO {_LOG} ({columns}, {quote('before')}, {quote('after')}, source) "
            f"SELECT substr({number}, 3, 8) || '-0000-0000-0000-000000000000', {at}, "
            f"CASE n % 3 WHEN 0 THEN 'alice' WHEN 1 THEN 'bob' ELSE 'carol' END, 'item', "
            f"CAST(n % {ROWS} AS {text}), 'UPDATE', {before}, {after}, 'trigger' FROM ({numbers}) AS numbers".replace(
                "%", "%%" if engine.name != "sqlite" else "%"
            )
        )
        connection.exec_driver_sql(
            f"INSERT INTO {_LOG}_transaction (transaction_id, {quote('timestamp')}, reason, context) "
            f"SELECT transaction_id, min({quote('timestamp')}), 'import', '{{\"request_id\":\"r1\"}}' FROM {_LOG} "
            "GROUP BY transaction_id"
        )
        key, word = (ColumnShape(name, type_, kind=kind) for name, type_, kind in _KEY_AND_WORD)
        shape = TableShape(TableName("item"), (key, word), primary_key=("id",))
        remember_shapes(connection, log_tables(_LOG), [shape], utc_now())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"ANALYZE TABLE {_LOG}" if engine.name in ("mysql", "mariadb") else f"ANALYZE {_LOG}"
        )


if __name__ == "__main__":
    for ratio in export_rows(int(sys.argv[1]) if sys.argv[1:] else 3):
        print(ratio.row(), flush=True)
