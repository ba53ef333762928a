"""What is tracked, left out, masked or bookkeeping: kept in the log itself, where every way of capture reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection

from auditcli.errors import UsageError
from auditcli.log.meta import read_meta, write_meta
from auditcli.log.tables import LogTables
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape

_META_NAME = "tracking"

_STAMP_NAMES = frozenset({"updated_at", "modified_at", "last_modified", "last_updated", "updated_on", "modified_on"})


@dataclass(frozen=True)
class Tracking:
    """The log's settings; tables are spelled as `str(TableName)`.

    `tables` and `exclude_tables` are patterns with `*`; no `tables` means all. The mappings give columns by table;
    `paused` are tables whose changes are not recorded for the time being; `triggers` says that triggers capture.
    """

    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mask_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bookkeeping: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paused: tuple[str, ...] = ()
    triggers: bool = False

    def captures(self, table: TableName) -> bool:
        """Whether changes of the table are recorded at present."""
        return self.covers(table) and str(table) not in self.paused

    def covers(self, table: TableName) -> bool:
        """Whether changes of the table belong into the log."""
        wanted = not self.tables or _matches(table, self.tables)
        return wanted and not _matches(table, self.exclude_tables)

    def recorded(self, shape: TableShape) -> TableShape:
        """The table without its excluded columns."""
        excluded = self.exclude_columns.get(str(shape.table), ())
        if not excluded:
            return shape
        return replace(shape, columns=tuple(column for column in shape.columns if column.name not in excluded))

    def excluded_of(self, table: TableName) -> frozenset[str]:
        """The columns that never reach the log."""
        return frozenset(self.exclude_columns.get(str(table), ()))

    def masked_of(self, table: TableName) -> frozenset[str]:
        """The columns that reach the log unreadable."""
        return frozenset(self.mask_columns.get(str(table), ()))

    def bookkeeping_of(self, table: TableName) -> tuple[str, ...]:
        """The columns that the application or the database moves by itself."""
        return tuple(self.bookkeeping.get(str(table), ()))

    def to_json(self) -> str:
        """The form in which the log holds it."""
        mappings = ("exclude_columns", "mask_columns", "bookkeeping")
        stored: dict[str, Any] = {"tables": self.tables, "exclude_tables": self.exclude_tables}
        stored |= {"paused": self.paused, "triggers": self.triggers}
        stored |= {name: {table: list(columns) for table, columns in getattr(self, name).items()} for name in mappings}
        return json.dumps(stored, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Tracking:
        """The settings that `to_json` wrote; keys of a later version are left alone."""
        stored = json.loads(text)
        return cls(
            tables=tuple(stored.get("tables", ())),
            exclude_tables=tuple(stored.get("exclude_tables", ())),
            paused=tuple(stored.get("paused", ())),
            triggers=bool(stored.get("triggers", False)),
            **{
                name: {table: tuple(columns) for table, columns in stored.get(name, {}).items()}
                for name in ("exclude_columns", "mask_columns", "bookkeeping")
            },
        )


def read_tracking(connection: Connection, tables: LogTables) -> Tracking:
    """The settings that stand in the log."""
    text = read_meta(connection, tables, _META_NAME)
    return Tracking() if text is None else Tracking.from_json(text)


def write_tracking(connection: Connection, tables: LogTables, tracking: Tracking) -> None:
    """Put the settings into the log, in place of those that stand there."""
    write_meta(connection, tables, {_META_NAME: tracking.to_json()})


def check_columns(tracking: Tracking, shapes: DatabaseShape) -> None:
    """Raise UsageError where a setting names a table or column that is not there, or leaves out part of a key."""
    for setting in (tracking.exclude_columns, tracking.mask_columns, tracking.bookkeeping):
        for word, columns in setting.items():
            shape = next((shape for table, shape in shapes.tables.items() if str(table) == word), None)
            if shape is None:
                raise UsageError(f"no table {word!r}", hint=f"tables: {_listed(map(str, shapes.tables))}")
            for column in columns:
                if shape.column(column) is None:
                    raise UsageError(f"no column {word}.{column}", hint=f"columns: {_listed(shape.column_names)}")
    check_keys(tracking, shapes)


def check_keys(tracking: Tracking, shapes: DatabaseShape) -> None:
    """Raise UsageError where a setting leaves out or masks part of a key, or both leaves out and masks a column."""
    by_word = {str(table): shape for table, shape in shapes.tables.items()}
    for setting, done in ((tracking.exclude_columns, "left out of the log"), (tracking.mask_columns, "masked")):
        for word, columns in setting.items():
            if word in by_word:
                _refuse_key_columns(by_word[word], columns, shapes, done)
    for word, columns in tracking.mask_columns.items():
        both = [column for column in columns if column in tracking.exclude_columns.get(word, ())]
        if both:
            raise UsageError(
                f"{word}.{both[0]} is both left out and masked",
                hint="a column that is left out needs no mask: name it in one of the two options",
            )


def gone_columns(tracking: Tracking, shapes: DatabaseShape) -> dict[str, tuple[str, ...]]:
    """The columns, by table, that are left out or masked and are not there any more, under these names at least."""
    by_word = {str(table): shape for table, shape in shapes.tables.items()}
    found: dict[str, tuple[str, ...]] = {}
    for setting in (tracking.exclude_columns, tracking.mask_columns):
        for word, columns in setting.items():
            shape = by_word.get(word)
            gone = () if shape is None else tuple(name for name in columns if shape.column(name) is None)
            if gone:
                found[word] = (*found.get(word, ()), *gone)
    return found


def propose_bookkeeping(shapes: DatabaseShape) -> Mapping[str, tuple[str, ...]]:
    """The columns that by their names hold the time of the last write."""
    found = {
        str(shape.table): tuple(name for name in shape.column_names if name.lower() in _STAMP_NAMES)
        for shape in shapes.tables.values()
    }
    return {table: columns for table, columns in found.items() if columns}


def _refuse_key_columns(shape: TableShape, columns: Sequence[str], shapes: DatabaseShape, done: str) -> None:
    referenced = {column for key in shapes.references_to.get(shape.table, ()) for column in key.referred_columns}
    for column in columns:
        if column in shape.primary_key or column in referenced:
            raise UsageError(
                f"{shape.table}.{column} is part of a key and can't be {done}",
                hint="choose other columns, or leave out the whole table",
            )


def _matches(table: TableName, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(str(table), pattern) or fnmatchcase(table.name, pattern) for pattern in patterns)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
