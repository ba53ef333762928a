"""What a log knows of itself: texts by name."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from auditcli.log.tables import LogTables


def read_meta(connection: Connection, tables: LogTables, name: str) -> str | None:
    """The text of that name; None where there is none."""
    meta = tables.meta.c
    found: str | None = connection.scalar(select(meta.value).where(meta.name == name))
    return found


def write_meta(connection: Connection, tables: LogTables, values: Mapping[str, str]) -> None:
    """Put texts in place of those that stand there under the same names. The caller commits."""
    connection.execute(delete(tables.meta).where(tables.meta.c.name.in_(values)))
    connection.execute(insert(tables.meta), [{"name": name, "value": value} for name, value in values.items()])


def forget_meta(connection: Connection, tables: LogTables, name: str) -> None:
    """Let a text go. The caller commits."""
    connection.execute(delete(tables.meta).where(tables.meta.c.name == name))
