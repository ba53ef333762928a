"""The tables of the change log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import DateTime, TypeEngine

from auditcli.model import TableName

DEFAULT_NAME = "changelog"
LOG_VERSION = 1
"""The version of these tables; a log of a higher one is refused."""

_TABLES_BESIDE = ("replaced", "number", "replay")
"""What only triggers use, and what a replay into this database keeps."""

BIG = BigInteger().with_variant(Integer, "sqlite")
ACTOR_LENGTH = 255
"""How many characters the log holds of who wrote."""

LONG_TEXT = Text().with_variant(Text(2**32 - 1), "mysql", "mariadb")
_MYSQL = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin", "row_format": "DYNAMIC"}
OPTIONS: dict[str, Any] = {
    "sqlite_autoincrement": True,
    **{f"{name}_{option}": value for name in ("mysql", "mariadb") for option, value in _MYSQL.items()},
}
"""Ids are never given twice, names and keys differ as soon as a byte does, and a transaction covers every table."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime with microseconds; stored without a zone, since not every database has one."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # The only database that would drop the microseconds.
        return _mysql_datetime() if dialect.name in ("mysql", "mariadb") else super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def _mysql_datetime() -> TypeEngine[Any]:
    """Its module is loaded where a connection to such a database has loaded it already."""
    from sqlalchemy.dialects.mysql import DATETIME

    return DATETIME(fsp=6)


class ImageText(TypeDecorator[Any]):
    """A JSON image: a dict in Python, text without spaces in the log."""

    impl = LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class _AsStored(FunctionElement[str]):
    """A text as the database stores it, whether or not it is valid."""

    inherit_cache = True


@compiles(_AsStored)
def _as_text(element: _AsStored, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_AsStored, "sqlite")
def _as_bytes(element: _AsStored, compiler: SQLCompiler, **options: Any) -> str:
    # A trigger can't tell whether a text is valid UTF-8, and the driver refuses to return one that is not.
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


class StoredText(TypeDecorator[str]):
    """Text that a trigger wrote: bytes that are not valid stand in it as lone surrogates."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        stored = _AsStored(column)
        stored.type = self
        return stored

    def process_result_value(self, value: str | bytes | None, dialect: Dialect) -> str | None:
        return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


class LogTables:
    """The log's tables under one name and schema."""

    def __init__(self, name: str = DEFAULT_NAME, schema: str | None = None) -> None:
        self.name = name
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self.changelog = _changelog(name, self.metadata)
        self.transaction = _transaction(f"{name}_transaction", self.metadata)
        self.undo = _undo(f"{name}_undo", self.metadata)
        self.table_shape = _table_shape(f"{name}_schema", self.metadata)
        self.mark = _mark(f"{name}_mark", self.metadata)
        self.gap = _gap(f"{name}_gap", self.metadata)
        self.meta = _meta(f"{name}_meta", self.metadata)

    @property
    def table_names(self) -> frozenset[TableName]:
        """The log's own tables, and those that stand beside it: none of them is ever tracked."""
        beside = (TableName(f"{self.name}_{what}", self.schema) for what in _TABLES_BESIDE)
        return frozenset({*beside, *(TableName(table.name, table.schema) for table in self.metadata.tables.values())})

    @property
    def changelog_name(self) -> TableName:
        """The table of the changes themselves."""
        return TableName(self.name, self.schema)


@lru_cache
def log_tables(name: str = DEFAULT_NAME, schema: str | None = None) -> LogTables:
    """The tables of the log with this name; the same objects at every call."""
    return LogTables(name, schema)


def _id() -> Column[int]:
    # Numbers that a session keeps for itself would not come in the order of the writes.
    return Column("id", BIG, Identity(cache=1), primary_key=True, autoincrement=True)


def _changelog(name: str, metadata: MetaData) -> Table:
    table = Table(
        name,
        metadata,
        _id(),
        Column("transaction_id", String(36)),
        Column("timestamp", UtcDateTime, nullable=False),
        Column("actor", String(ACTOR_LENGTH)),
        Column("table_schema", String(255)),
        Column("table_name", String(255), nullable=False),
        Column("row_id", String(255)),
        Column("old_row_id", String(255)),
        Column("event_type", String(8), nullable=False),
        Column("before", ImageText),
        Column("after", ImageText),
        Column("source", String(8), nullable=False),
        **OPTIONS,
    )
    columns = table.c
    Index(f"{name}_row", columns.table_name, columns.row_id, columns.id)
    Index(f"{name}_timestamp", columns.timestamp)
    # Records without a transaction are never looked for by it: where the database can, the index leaves them out.
    Index(f"{name}_transaction_id", columns.transaction_id, sqlite_where=columns.transaction_id.is_not(None))
    moved = columns.old_row_id.is_not(None)
    # Few rows ever change their key: where the database can, the index holds only those.
    Index(f"{name}_moved", columns.table_name, columns.old_row_id, sqlite_where=moved, postgresql_where=moved)
    return table


def _transaction(name: str, metadata: MetaData) -> Table:
    table = Table(
        name,
        metadata,
        _id(),
        Column("transaction_id", String(36), nullable=False),
        Column("timestamp", UtcDateTime, nullable=False),
        Column("reason", LONG_TEXT),
        Column("context", ImageText),
        Column("db_user", String(255)),
        Column("client", String(255)),
        Column("application", String(255)),
        **OPTIONS,
    )
    Index(f"{name}_transaction_id", table.c.transaction_id)
    return table


def _undo(name: str, metadata: MetaData) -> Table:
    table = Table(
        name,
        metadata,
        _id(),
        Column("transaction_id", String(36), nullable=False),
        Column("kind", String(4), nullable=False),
        Column("first_id", BIG, nullable=False),
        Column("last_id", BIG, nullable=False),
        **OPTIONS,
    )
    Index(f"{name}_transaction_id", table.c.transaction_id)
    Index(f"{name}_last_id", table.c.last_id)
    return table


def _table_shape(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        _id(),
        Column("table_schema", String(255)),
        Column("table_name", String(255), nullable=False),
        Column("timestamp", UtcDateTime, nullable=False),
        Column("after_id", BIG, nullable=False),
        Column("shape", ImageText, nullable=False),
        **OPTIONS,
    )


def _mark(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        _id(),
        Column("name", String(255), nullable=False, unique=True),
        Column("change_id", BIG, nullable=False),
        Column("timestamp", UtcDateTime, nullable=False),
        Column("actor", String(ACTOR_LENGTH)),
        Column("reason", LONG_TEXT),
        **OPTIONS,
    )


def _gap(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        _id(),
        Column("table_schema", String(255)),
        Column("table_name", String(255), nullable=False),
        Column("after_id", BIG, nullable=False),
        Column("until_id", BIG),
        Column("timestamp", UtcDateTime, nullable=False),
        Column("until_timestamp", UtcDateTime),
        Column("actor", String(ACTOR_LENGTH)),
        Column("reason", LONG_TEXT),
        **OPTIONS,
    )


def _meta(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("name", String(64), primary_key=True),
        Column("value", LONG_TEXT, nullable=False),
        **{**OPTIONS, "sqlite_autoincrement": False, "sqlite_with_rowid": False},
    )
