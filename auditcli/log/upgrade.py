"""Creating the log and bringing an older one up to date, in place and without touching a record."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect, select, text
from sqlalchemy.schema import CreateColumn

from auditcli.dialects import Dialect
from auditcli.driver import define, dialect_of, run, run_if_there
from auditcli.errors import LogError
from auditcli.log.meta import write_meta
from auditcli.log.tables import LOG_VERSION, LogTables

_PROGRAM = "auditcli"
_NEEDED_COLUMNS = frozenset({"id", "timestamp", "table_name", "row_id", "event_type", "before", "after"})


@dataclass(frozen=True)
class LogInfo:
    """What a log says of itself."""

    uuid: str
    version: int

    @property
    def is_older(self) -> bool:
        """Whether `init_log` would upgrade it."""
        return self.version < LOG_VERSION


@dataclass(frozen=True)
class InitOutcome:
    """What `init_log` did; `from_version` is None for a new log."""

    info: LogInfo
    from_version: int | None
    added: tuple[str, ...]


def find_log(connection: Connection, tables: LogTables) -> LogInfo | None:
    """The log of this name, if there is one; raises LogError for another program's table and for a newer log."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names(schema=tables.schema))
    if tables.meta.name in present:
        info = _info(connection, tables)
        if info is not None and info.version > LOG_VERSION:
            raise LogError(
                f"the log {tables.changelog_name} has version {info.version}, this program knows up to {LOG_VERSION}",
                hint="upgrade auditcli; nothing was read or written",
            )
        return info
    if tables.name in present:
        raise _foreign(tables)
    return None


def check_log(connection: Connection, tables: LogTables) -> LogInfo:
    """The log's own word; raises LogError where there is none."""
    info = find_log(connection, tables)
    if info is None:
        raise LogError(
            f"there is no change log {tables.changelog_name} in this database",
            hint="`audit init` creates it, or `auditcli.track(…, create=True)` in the application",
        )
    return info


def init_log(connection: Connection, tables: LogTables) -> InitOutcome:
    """Create what is missing of the log: tables, columns and indexes. The caller holds the write lock and commits."""
    found = find_log(connection, tables)
    added = _add_missing(connection, tables)
    if found is None:
        found_version = None
        info = LogInfo(str(uuid.uuid4()), LOG_VERSION)
        write_meta(connection, tables, {"program": _PROGRAM, "uuid": info.uuid})
    else:
        found_version = found.version
        info = LogInfo(found.uuid, LOG_VERSION)
    if found_version != LOG_VERSION:
        write_meta(connection, tables, {"version": str(LOG_VERSION)})
    return InitOutcome(info, found_version, added)


@contextmanager
def creation_lock(connection: Connection, dialect: Dialect) -> Iterator[None]:
    """Inside this block no other program creates or upgrades a log in this database."""
    if dialect.creation_lock_sql is not None:
        run(connection, dialect.creation_lock_sql)
    try:
        yield
    finally:
        if dialect.creation_unlock_sql is not None:
            run_if_there(connection, dialect.creation_unlock_sql)


def log_ddl(connection: Connection, tables: LogTables) -> list[str]:
    """The statements that would create the log, for a dry run."""
    statements: list[str] = []
    engine_dialect = connection.dialect
    from sqlalchemy.schema import CreateIndex, CreateTable

    for table in tables.metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=engine_dialect)).strip())
        statements += [str(CreateIndex(index).compile(dialect=engine_dialect)).strip() for index in table.indexes]
    return statements


def _add_missing(connection: Connection, tables: LogTables) -> tuple[str, ...]:
    inspector = inspect(connection)
    present = set(inspector.get_table_names(schema=tables.schema))
    added: list[str] = []
    for table in tables.metadata.sorted_tables:
        if table.name not in present:
            table.create(connection)
            added.append(table.name)
            continue
        known = _columns(connection, table)
        for column in table.columns:
            if column.name not in known:
                _add_column(connection, table, column)
                added.append(f"{table.name}.{column.name}")
        indexed = {index["name"] for index in inspector.get_indexes(table.name, schema=tables.schema)}
        for index in table.indexes:
            if index.name not in indexed:
                index.create(connection)
    return tuple(added)


def _columns(connection: Connection, table: Table) -> frozenset[str]:
    """The columns that a table has, asked in a way that no setting of the session misleads."""
    return frozenset(connection.execute(select(text("*")).select_from(table).limit(0)).keys())


def _add_column(connection: Connection, table: Table, column: Column[Any]) -> None:
    # Old records have no value for it, so it can't be NOT NULL whatever the definition says.
    nullable = Column(column.name, column.type)
    ddl = CreateColumn(nullable).compile(dialect=connection.dialect)
    name = connection.dialect.identifier_preparer.format_table(table)
    define(connection, f"ALTER TABLE {name} ADD COLUMN {ddl}")


def _info(connection: Connection, tables: LogTables) -> LogInfo | None:
    """What the log says; None where its creation, by hand perhaps, ended before it could say anything."""
    if not {"name", "value"} <= _columns(connection, tables.meta):
        raise _foreign(tables)
    meta = {
        str(name): str(value) for name, value in connection.execute(select(tables.meta.c.name, tables.meta.c.value))
    }
    if not meta and (not dialect_of(connection).transactional_ddl or _has_all_tables(connection, tables)):
        return None
    if meta.get("program") != _PROGRAM or "uuid" not in meta or not meta.get("version", "").isdecimal():
        raise _foreign(tables)
    _check_changelog(connection, tables)
    return LogInfo(meta["uuid"], int(meta["version"]))


def _has_all_tables(connection: Connection, tables: LogTables) -> bool:
    present = set(inspect(connection).get_table_names(schema=tables.schema))
    return present.issuperset(table.name for table in tables.metadata.tables.values())


def _check_changelog(connection: Connection, tables: LogTables) -> None:
    inspector = inspect(connection)
    if not inspector.has_table(tables.name, schema=tables.schema):
        raise LogError(
            f"the log's table {tables.changelog_name} is gone, though its other tables are there",
            hint=f"restore it from a backup, or drop the tables {tables.name}_* and run `audit init`",
        )
    if not _columns(connection, tables.changelog) >= _NEEDED_COLUMNS:
        raise _foreign(tables)


def _foreign(tables: LogTables) -> LogError:
    return LogError(
        f"the table {tables.changelog_name} belongs to another program",
        hint="choose another name for the log: `log_table` in the profile, `log_table=` in auditcli.track",
    )
