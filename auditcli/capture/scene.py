"""What the recording of any transaction stands on: the log, the tables' shapes and settings, and our own quiet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import Connection

from auditcli.dialects import Dialect
from auditcli.log.settings import Tracking
from auditcli.log.tables import LogTables
from auditcli.model import TableName
from auditcli.shape import CHANGES_CHILD, DatabaseShape, TableShape

Values: TypeAlias = tuple[Any, ...]
"""A row's stored values, or some of them, as the driver gives and takes them."""

_QUIET = "auditcli_quiet"


@dataclass(frozen=True)
class Scene:
    """What is the same for all transactions until the schema or the settings change."""

    tables: LogTables
    dialect: Dialect
    shapes: DatabaseShape
    tracking: Tracking
    triggered: frozenset[TableName] = frozenset()

    @cached_property
    def _recorded(self) -> Mapping[TableName, TableShape]:
        left_out = self.tables.table_names | self.triggered
        return {
            table: self.tracking.recorded(shape)
            for table, shape in self.shapes.tables.items()
            if table not in left_out and self.tracking.captures(table)
        }

    def tracked_shapes(self) -> list[TableShape]:
        """The whole shapes of all tables whose changes belong into the log, whoever records them."""
        return [
            shape
            for table, shape in self.shapes.tables.items()
            if table not in self.tables.table_names and self.tracking.covers(table)
        ]

    @property
    def is_recording(self) -> bool:
        """Whether there is any table whose changes are recorded here."""
        return bool(self._recorded)

    def records(self, table: TableName) -> bool:
        """Whether changes of this table are recorded here, not by a trigger and not left out."""
        return table in self._recorded

    def shape(self, table: TableName) -> TableShape:
        """The table without its excluded columns."""
        return self._recorded.get(table) or self.shapes.tables[table]

    def masked(self, table: TableName) -> tuple[str, ...]:
        """The columns of which the log only tells that they changed."""
        return tuple(self.tracking.mask_columns.get(str(table), ()))

    def matters(self, table: TableName) -> bool:
        """Whether a write to this table may lead to a record: of its own rows, or of rows that cascades reach."""
        return table in self._mattering

    @cached_property
    def _mattering(self) -> Set[TableName]:
        found: set[TableName] = set()
        ahead = list(self._recorded)
        while ahead:
            table = ahead.pop()
            if table not in found:
                found.add(table)
                ahead += [
                    key.referred
                    for key in self.shapes.tables[table].foreign_keys
                    if CHANGES_CHILD & {key.on_delete, key.on_update} and key.referred in self.shapes.tables
                ]
        return found


@contextmanager
def quiet(connection: Connection) -> Iterator[None]:
    """Inside this block no listener looks at what the connection executes: it is our own."""
    outer = connection.info.get(_QUIET, False)
    connection.info[_QUIET] = True
    try:
        yield
    finally:
        connection.info[_QUIET] = outer


def is_quiet(connection: Connection) -> bool:
    """Whether our own statements run on the connection."""
    return bool(connection.info.get(_QUIET, False))
