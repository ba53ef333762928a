"""Tables as they are, and as they were, in the same form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine

from auditcli import codec
from auditcli.asof import as_of
from auditcli.driver import dialect_of
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image, TableName
from auditcli.rows import RowReader

Rows = dict[str, Counter[str]]


def rows_now(engine: Engine) -> Rows:
    """All rows of all tables but the log's, by table; tables without rows are left out."""
    with engine.connect() as connection:
        reader, own = RowReader(connection, dialect_of(connection)), log_tables().table_names
        shapes = read_shapes(connection, reader.dialect).tables
        return _without_empty(
            {
                str(table): [row.image for row in reader.all_of(shape)]
                for table, shape in shapes.items()
                if table not in own
            }
        )


def rows_then(engine: Engine, boundary: int, **options: Any) -> Rows:
    """The same as they were at a log id."""
    with engine.connect() as connection, as_of(_reader(connection), boundary, **options) as past:
        return _without_empty({str(each.table): past.rows(each) for each in past.tables})


def table_then(engine: Engine, name: str, boundary: int, **options: Any) -> list[Image]:
    """One table's rows at a log id, in order."""
    wanted = [TableName(name)]
    with engine.connect() as connection, as_of(_reader(connection), boundary, wanted=wanted, **options) as past:
        [table] = past.tables
        return list(past.rows(table))


def caveats_then(engine: Engine, boundary: int, *names: str, **options: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """What is not known of some tables, or of all: the doubt, the table and the columns."""
    wanted = [TableName(name) for name in names] or None
    with engine.connect() as connection, as_of(_reader(connection), boundary, wanted=wanted, **options) as past:
        return [(each.doubt.value, str(each.table), each.columns) for each in past.caveats]


def last_id(engine: Engine) -> int:
    """The highest log id."""
    with engine.connect() as connection:
        return _reader(connection).last_id()


def _reader(connection: Connection) -> LogReader:
    return LogReader(connection, log_tables())


def _without_empty(found: dict[str, Iterable[Image]]) -> Rows:
    counted = {
        table: Counter(codec.dump({column: image[column] for column in sorted(image)}) for image in images)
        for table, images in found.items()
    }
    return {table: rows for table, rows in counted.items() if rows}
