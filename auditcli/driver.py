"""Running a dialect's SQL on whatever driver a connection has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult

from auditcli.dialects import MARK, Dialect, dialect_named
from auditcli.shape import TableShape


def dialect_of(connection: Connection) -> Dialect:
    """The facts of the connection's database; raises UsageError for one that is not supported."""
    return dialect_named(connection.dialect.name)


def run(connection: Connection, sql: str, values: Sequence[Any] = ()) -> CursorResult[*tuple[Any, ...]]:
    """Run a statement of a dialect's with the values for its marks."""
    return connection.exec_driver_sql(driver_sql(sql, connection.dialect.paramstyle), tuple(values))


def run_if_there(connection: Connection, sql: str) -> None:
    """Run what tidies up a session; one that was lost has nothing left, and is not to hide how it was lost."""
    if not connection.invalidated:
        run(connection, sql)


def run_many(connection: Connection, sql: str, rows: Sequence[Sequence[Any]]) -> CursorResult[*tuple[Any, ...]]:
    """Run a statement once for each row of values."""
    return connection.exec_driver_sql(driver_sql(sql, connection.dialect.paramstyle), [tuple(row) for row in rows])


def define(connection: Connection, sql: str) -> None:
    """Run a definition as it stands: without values no driver takes a % in a name for a mark."""
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def interrupt(connection: Connection) -> None:
    """End the statement that another thread is running over a connection; where there is none, nothing happens."""
    sql = dialect_of(connection).end_statement(connection.connection.driver_connection)
    if sql is not None:
        with connection.engine.connect() as other:
            define(other, sql)


def begin_snapshot(connection: Connection, dialect: Dialect) -> None:
    """Leave the transaction that is open, and begin one that goes on seeing what is committed now."""
    connection.rollback()
    if dialect.begin_snapshot_sql is not None:
        run(connection, dialect.begin_snapshot_sql)


@lru_cache(maxsize=4096)
def driver_sql(sql: str, paramstyle: str) -> str:
    """A dialect's statement as a driver of this `paramstyle` (PEP 249, or SQLAlchemy's `numeric_dollar`) takes it."""
    if paramstyle in ("format", "pyformat"):
        return sql.replace("%", "%%").replace(MARK, "%s")
    if paramstyle == "qmark":
        return sql.replace(MARK, "?")
    first, *rest = sql.split(MARK)
    sign = "$" if paramstyle == "numeric_dollar" else ":"
    return first + "".join(f"{sign}{number}{part}" for number, part in enumerate(rest, 1))


class ValueReading:
    """Reads values over a connection whose settings are its owner's, who finds them again as they were."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    @contextmanager
    def of(self, shape: TableShape) -> Iterator[None]:
        """Inside this block values of the table have the text that capture writes."""
        wanted = self._dialect.reading_settings(shape)
        # Asked each time: any function, trigger or savepoint may have changed them since.
        found = self._change(wanted)
        # A statement that fails has the transaction, or a part of it, rolled back, and the settings with it.
        yield
        self._change({name: value for name, value in found.items() if value != wanted[name]})

    def _change(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Change settings; returns what they were before."""
        if not settings:
            return {}
        change = self._dialect.change_settings_sql(settings)
        before = run(self._connection, change.sql, change.values).one()
        return dict(zip(settings, before, strict=False))
