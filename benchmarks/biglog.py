"""A change log of millions, made by the database itself: a few tables, many actors, a year of short transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import URL, Column, Connection, Integer, MetaData, String, Table, create_engine

from auditcli.clock import utc_now
from auditcli.dialects import Dialect
from auditcli.driver import define, dialect_of
from auditcli.init import Wishes, prepare
from auditcli.log.tables import LogTables, log_tables

TABLES = ("orders", "item", "customer", "rare")
RARE_ACTOR = "mallory"
"""Wrote one transaction, when the log was young."""

_CHUNK = 1_000_000
_A_ROW = 50
"""How many changes there are for one row."""

_A_TRANSACTION = 5
_YEAR = 365 * 86_400_000


@dataclass(frozen=True)
class _Words:
    """How one database writes what the others write otherwise; `at` is the moment so many milliseconds ago."""

    numbers: str
    div: str
    hexadecimal: str
    at: str
    afterwards: tuple[str, ...] = ()


_WORDS: Mapping[str, _Words] = {
    "sqlite": _Words(
        "WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s",
        "/",
        "printf('%08x', {})",
        "strftime('%Y-%m-%d %H:%M:%f', (julianday('now') - 2440587.5) * 86400 - ({}) / 1000.0, 'unixepoch') || '000'",
    ),
    "postgresql": _Words(
        "SELECT n FROM generate_series({first}::bigint, {last}) AS s(n)",
        "/",
        "lpad(to_hex({}), 8, '0')",
        "now() AT TIME ZONE 'UTC' - ({}) * interval '1 millisecond'",
        (
            # The records came with their numbers: the next one is past them.
            "SELECT setval(pg_get_serial_sequence('changelog', 'id'), (SELECT max(id) FROM changelog))",
            # What the server would do by itself in a minute.
            "ANALYZE changelog",
        ),
    ),
    "mysql": _Words(
        "SELECT seq AS n FROM seq_{first}_to_{last}",
        "DIV",
        "lower(lpad(hex({}), 8, '0'))",
        "utc_timestamp(6) - INTERVAL ({}) * 1000 MICROSECOND",
    ),
}


def build_big_log(url: URL, changes: int) -> None:
    """Fill an empty database with tables that have no rows, and a log of so many changes of them."""
    engine = create_engine(url)
    tables = log_tables()
    with engine.connect() as connection:
        for name in TABLES:
            columns = (Column("id", Integer, primary_key=True), Column("status", String(20)), Column("total", Integer))
            Table(name, MetaData(), *columns).create(connection)
        connection.commit()
        prepare(connection, tables, dialect_of(connection), Wishes(triggers=True), now=utc_now())
        connection.commit()
        _fill(connection, tables, changes)
    engine.dispose()


def _fill(connection: Connection, tables: LogTables, changes: int) -> None:
    """The records first and their indexes afterwards, which takes a third of the time."""
    dialect = dialect_of(connection)
    words = _WORDS[dialect.name]
    # What a text is joined by elsewhere is a disjunction in one of them.
    if dialect.name == "mysql":
        define(connection, "SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')")
    indexes = [*tables.changelog.indexes, *tables.transaction.indexes]
    for index in indexes:
        index.drop(connection)
    for first in range(1, changes + 1, _CHUNK):
        last = min(first + _CHUNK - 1, changes)
        define(connection, _records_sql(words, dialect, changes, words.numbers.format(first=first, last=last)))
        connection.commit()
    transactions = words.numbers.format(first=0, last=(changes - 1) // _A_TRANSACTION)
    define(connection, _headers_sql(words, dialect, changes, transactions))
    for index in indexes:
        index.create(connection)
    connection.commit()
    for statement in words.afterwards:
        define(connection, statement)
    connection.commit()


def _records_sql(words: _Words, dialect: Dialect, changes: int, numbers: str) -> str:
    transaction = f"((n - 1) {words.div} {_A_TRANSACTION})"
    row = f"(n * 7919 % {max(1, changes // _A_ROW)})"
    # A transaction has one actor, a row one table; of ten tables' worth of rows orders have half.
    actor = (
        f"CASE WHEN {transaction} = 1000 THEN '{RARE_ACTOR}' WHEN {transaction} % 100 = 0 THEN 'bob' "
        f"WHEN {transaction} % 10 = 1 THEN NULL ELSE 'svc-' || ({transaction} % 17) END"
    )
    table = (
        "CASE WHEN n <= 500 THEN 'rare' "
        f"WHEN {row} % 10 < 5 THEN 'orders' WHEN {row} % 10 < 8 THEN 'item' ELSE 'customer' END"
    )
    event = "CASE WHEN n % 20 = 0 THEN 'DELETE' WHEN n % 7 = 0 THEN 'INSERT' ELSE 'UPDATE' END"
    before, after = (_image_sql(row, status, total) for status, total in (("pending", "n % 999"), ("shipped", "n")))
    values = {
        "id": "n",
        "transaction_id": _uuid_sql(words, transaction),
        "timestamp": _time_sql(words, changes, "n"),
        "actor": actor,
        "table_name": table,
        "row_id": f"'' || {row}",
        "event_type": event,
        "before": f"CASE WHEN n % 7 = 0 AND n % 20 <> 0 THEN NULL ELSE {before} END",
        "after": f"CASE WHEN n % 20 = 0 THEN NULL ELSE {after} END",
        "source": "'trigger'",
    }
    return _insert_sql(dialect, "changelog", values, numbers)


def _headers_sql(words: _Words, dialect: Dialect, changes: int, numbers: str) -> str:
    values = {
        "transaction_id": _uuid_sql(words, "n"),
        "timestamp": _time_sql(words, changes, f"(n * {_A_TRANSACTION})"),
        "reason": "CASE WHEN n % 3 = 0 THEN 'ticket ' || n ELSE NULL END",
        "db_user": "'app'",
    }
    return _insert_sql(dialect, "changelog_transaction", values, numbers)


def _insert_sql(dialect: Dialect, table: str, values: Mapping[str, str], numbers: str) -> str:
    names = ", ".join(map(dialect.quote, values))
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(values.values())} FROM ({numbers}) AS numbers"


def _image_sql(row: str, status: str, total: str) -> str:
    return f"""'{{"id":' || {row} || ',"status":"{status}","total":' || ({total}) || '}}'"""


def _uuid_sql(words: _Words, number: str) -> str:
    """A transaction's id: in no order, as real ones are."""
    scattered = words.hexadecimal.format(f"({number} * 2654435761 % 4294967296)")
    return f"{scattered} || '-0000-4000-8000-0000' || {words.hexadecimal.format(number)}"


def _time_sql(words: _Words, changes: int, number: str) -> str:
    return words.at.format(f"({changes} - {number}) * {_YEAR // changes}")
