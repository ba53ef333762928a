"""The shape of a table as its database describes it: columns, keys and foreign keys as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from auditcli.model import TableName

CHANGES_CHILD = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
"""Referential actions by which the database itself changes the referencing rows."""


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """One column; `type` is the database's own spelling, `kind` how its dialect writes values of the type.

    `assigned` says that no UPDATE may give it a value, and an INSERT only by words of its own. `counter` names what the
    database takes numbers for it from, where that does not move on by itself when a row brings its own number. `counts`
    says that rows which bring none are numbered by the database.
    """

    name: str
    type: str
    nullable: bool = True
    generated: bool = False
    default: str | None = None
    kind: str = ""
    assigned: bool = False
    counter: str | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKeyShape:
    """A reference from `columns` of `table` to `referred_columns` of `referred`."""

    table: TableName
    columns: tuple[str, ...]
    referred: TableName
    referred_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index by its expressions and, where it covers only some rows, their condition, as SQL.

    `is_opaque` is true where names of columns don't describe it.
    """

    terms: tuple[str, ...]
    condition: str | None = None
    is_opaque: bool = False


@dataclass(frozen=True)
class TableShape:
    """One table.

    `unique_keys` leaves out the primary key. `has_opaque_unique_index` is true where a unique index on an expression
    or on part of the rows exists. `replaces` is true where the table's own DDL says ON CONFLICT REPLACE or its like.
    `unique_indexes` are all but the primary key's, where the database's triggers need them. `locator`
    names what addresses a row physically within a transaction (a row id, else the key), and `moved_by` the columns
    whose assignment changes it. `signature` is a text that changes with the columns, where triggers compare one.
    `is_transactional` is false where a rollback leaves the rows as they were written.
    """

    table: TableName
    columns: tuple[ColumnShape, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKeyShape, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    has_opaque_unique_index: bool = False
    replaces: bool = False
    locator: tuple[str, ...] = ()
    moved_by: tuple[str, ...] = ()
    unique_indexes: tuple[UniqueIndex, ...] = ()
    signature: str = ""
    is_transactional: bool = True

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """All columns in the table's order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """Where the primary key's columns stand among the columns."""
        return tuple(self.column_names.index(column) for column in self.primary_key)

    @cached_property
    def writable(self) -> tuple[str, ...]:
        """The columns that a statement may set."""
        return tuple(column.name for column in self.columns if not column.generated)

    def column(self, name: str) -> ColumnShape | None:
        """The column of that name, if there is one."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str, ColumnShape]:
        # Of two of one name, the first.
        return {column.name: column for column in reversed(self.columns)}

    def known_column(self, name: str) -> ColumnShape:
        """The column of that name; one that is not there any more has no type."""
        return self.column(name) or ColumnShape(name, "")

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes an equal shape."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TableShape:
        """The shape that `to_json` wrote."""
        return cls(
            table=TableName(**stored["table"]),
            columns=tuple(map(_column, stored["columns"])),
            primary_key=tuple(stored["primary_key"]),
            foreign_keys=tuple(_foreign_key(key) for key in stored["foreign_keys"]),
            unique_keys=tuple(tuple(key) for key in stored["unique_keys"]),
            has_opaque_unique_index=stored["has_opaque_unique_index"],
            replaces=stored["replaces"],
            locator=tuple(stored["locator"]),
            moved_by=tuple(stored["moved_by"]),
            unique_indexes=tuple(
                UniqueIndex(tuple(index["terms"]), index["condition"], index["is_opaque"])
                for index in stored.get("unique_indexes", ())
            ),
            signature=stored.get("signature", ""),
            is_transactional=stored.get("is_transactional", True),
        )


def _column(stored: Mapping[str, Any]) -> ColumnShape:
    """The column, without what only a later version knows of it."""
    return ColumnShape(**{name: value for name, value in stored.items() if name in ColumnShape.__slots__})


def _foreign_key(stored: Mapping[str, Any]) -> ForeignKeyShape:
    return ForeignKeyShape(
        table=TableName(**stored["table"]),
        columns=tuple(stored["columns"]),
        referred=TableName(**stored["referred"]),
        referred_columns=tuple(stored["referred_columns"]),
        on_delete=stored["on_delete"],
        on_update=stored["on_update"],
    )


@dataclass(frozen=True)
class DatabaseShape:
    """All tables of a database, and who references whom."""

    tables: Mapping[TableName, TableShape]

    @cached_property
    def references_to(self) -> Mapping[TableName, tuple[ForeignKeyShape, ...]]:
        """The foreign keys that point at each table."""
        found: dict[TableName, tuple[ForeignKeyShape, ...]] = {}
        for shape in self.tables.values():
            for key in shape.foreign_keys:
                found[key.referred] = (*found.get(key.referred, ()), key)
        return found
