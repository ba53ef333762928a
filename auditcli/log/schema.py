"""The tables' shapes: as the database has them now, and as the log remembers them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.log.tables import LogTables
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape


def read_shapes(connection: Connection, dialect: Dialect) -> DatabaseShape:
    """All tables as the database describes them now, the log's own included."""
    answers = [run(connection, query).fetchall() for query in dialect.shape_queries()]
    return DatabaseShape({shape.table: shape for shape in dialect.shapes(answers)})


def remembered_shapes(connection: Connection, tables: LogTables) -> dict[TableName, TableShape]:
    """The newest shape of each table in the log."""
    shape_log = tables.table_shape
    newest = select(func.max(shape_log.c.id)).group_by(shape_log.c.table_schema, shape_log.c.table_name)
    rows = connection.scalars(select(shape_log.c.shape).where(shape_log.c.id.in_(newest)))
    return {shape.table: shape for shape in map(TableShape.from_json, rows)}


def first_noticed(connection: Connection, tables: LogTables, table: TableName) -> tuple[int, datetime] | None:
    """After which log id, and when, the log got to know the table; None where it never did."""
    shape_log = tables.table_shape.c
    noticed = (
        select(shape_log.after_id, shape_log.timestamp)
        .where(shape_log.table_name == table.name, shape_log.table_schema.is_not_distinct_from(table.schema))
        .order_by(shape_log.after_id, shape_log.id)
        .limit(1)
    )
    found = connection.execute(noticed).first()
    return None if found is None else (found[0], found[1])


def remember_shapes(
    connection: Connection, tables: LogTables, shapes: Iterable[TableShape], now: datetime
) -> tuple[TableName, ...]:
    """Write the shapes that differ from what the log remembers; returns the tables that were written."""
    known = remembered_shapes(connection, tables)
    changed = [shape for shape in shapes if known.get(shape.table) != shape]
    if not changed:
        return ()
    after_id = connection.scalar(select(func.max(tables.changelog.c.id))) or 0
    connection.execute(
        insert(tables.table_shape),
        [
            {
                "table_schema": shape.table.schema,
                "table_name": shape.table.name,
                "timestamp": now,
                "after_id": after_id,
                "shape": shape.to_json(),
            }
            for shape in changed
        ],
    )
    return tuple(shape.table for shape in changed)
