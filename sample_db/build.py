"""Builds the music store in an empty database: `python -m sample_db.build URL`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, Table, create_engine, inspect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from auditcli.dialects import dialect_named
from auditcli.errors import AuditError, CannotConnect, ExitCode, UsageError

from .models import Base

_FOLDER = Path(__file__).parent / "chinook"
_NULL = r"\N"

_Reader: TypeAlias = Callable[[str], Any]
_READERS: dict[type, _Reader] = {int: int, str: str, Decimal: Decimal, datetime: datetime.fromisoformat}


def build(engine: Engine) -> None:
    """Create the tables and load their rows in one transaction; refuses a database that has one of the tables."""
    with engine.begin() as connection:
        _begin(connection)
        _refuse_used(connection)
        for table in Base.metadata.sorted_tables:
            _fill(connection, table)


def _begin(connection: Connection) -> None:
    begin = dialect_named(connection.dialect.name).begin_write_sql
    if begin is not None:
        # Such a driver opens no transaction of its own for CREATE TABLE.
        connection.exec_driver_sql(begin)


def _refuse_used(connection: Connection) -> None:
    used = sorted(Base.metadata.tables.keys() & set(inspect(connection).get_table_names()))
    if used:
        raise UsageError(
            f"{connection.engine.url!r} already has a table {used[0]}", hint="name an empty database for the sample"
        )


def _fill(connection: Connection, table: Table) -> None:
    connection.execute(CreateTable(table))
    connection.execute(table.insert(), list(_rows(table)))
    # Sorted, since a table's indexes are a set: the same file comes out every time.
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        connection.execute(CreateIndex(index))


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    readers = {column.name: _READERS[column.type.python_type] for column in table.columns}
    with (_FOLDER / f"{table.name}.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            yield {name: None if text == _NULL else readers[name](text) for name, text in line.items()}


def main(arguments: list[str]) -> int:
    """Build the sample in the database that the one argument names."""
    if len(arguments) != 1:
        print("usage: python -m sample_db.build URL", file=sys.stderr)
        return ExitCode.USAGE
    try:
        build(_engine(arguments[0]))
    except AuditError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    except OperationalError as error:
        print(f"can't build the sample there: {error.orig}", file=sys.stderr)
        return CannotConnect.exit_code
    return ExitCode.DONE


def _engine(url: str) -> Engine:
    try:
        return create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UsageError(f"{url!r} names no database: {error}", hint="write it like sqlite:///chinook.db") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
