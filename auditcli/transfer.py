"""Bringing tables and values from one database into another, whatever kind either of them is.

The types' translations stand in the dialects, by way of `auditcli.portable`; nothing is written here but definitions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli import codec
from auditcli.dialects import Dialect
from auditcli.driver import define
from auditcli.model import Image, JsonValue, TableName
from auditcli.portable import Kind, means_same, portable_default
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape

_NOW = re.compile(r"(?:current_timestamp|current_date|current_time)(?:\(\d?\))?|now\(\)", re.IGNORECASE)
"""Defaults that only a database of the same kind takes for the same time."""

_ACTIONS = ("CASCADE", "SET NULL", "RESTRICT")
"""What every database does along a foreign key; another action becomes none."""


@dataclass(frozen=True)
class Transfer:
    """The way from one kind of database to another, or to one of the same kind."""

    source: Dialect
    target: Dialect

    @property
    def is_exact(self) -> bool:
        """Whether both are of one kind, so that values go over as they are."""
        return self.source is self.target

    @property
    def same(self) -> Callable[[JsonValue, JsonValue], bool]:
        """Whether a value of the source and one of the target are the same."""
        return codec.same if self.is_exact else means_same

    def table(self, table: TableName) -> TableName:
        """The table's name in the target: kinds of databases agree about names, and not about schemas."""
        return table if self.is_exact else TableName(table.name)

    def value(self, value: JsonValue, column: ColumnShape) -> JsonValue:
        """A value in the words of the target's column, for `Dialect.bind`.

        What the column can't hold comes back as another value once it was written: compare by `same`.
        """
        return value if self.is_exact else self.target.carried(value, column)

    def image(self, image: Image, shape: TableShape) -> Image:
        """The values that the target's table can be given: of its columns, without generated and masked ones."""
        return {
            column.name: self.value(image[column.name], column)
            for column in shape.columns
            if column.name in image and not column.generated and not _is_masked(image[column.name])
        }


@dataclass(frozen=True)
class Definitions:
    """What creates tables: first all tables, then the foreign keys between them."""

    tables: tuple[str, ...]
    foreign_keys: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """What is known of the tables and does not go over, in words."""

    @property
    def statements(self) -> tuple[str, ...]:
        """All of them, in order."""
        return (*self.tables, *self.foreign_keys)


def define_tables(shapes: Iterable[TableShape], transfer: Transfer, others: Iterable[TableShape] = ()) -> Definitions:
    """Definitions of these tables in the target: columns, keys, NOT NULL, unique and foreign keys, plain defaults.

    `others` are tables that are there already and may be referred to. An integer key that numbers rows does so there
    too. CHECKs, further indexes and expressions don't go over: values come from the source.
    """
    wanted = list(shapes)
    known = {shape.table: shape for shape in (*others, *wanted)}
    target = transfer.target
    inline = not target.adds_foreign_keys
    return Definitions(
        tables=tuple(_table_sql(shape, known, transfer, inline=inline) for shape in wanted),
        foreign_keys=()
        if inline
        else tuple(
            f"ALTER TABLE {target.table_sql(transfer.table(shape.table))} ADD {_reference_sql(key, transfer)}"
            for shape in wanted
            for key in _references(shape, known)
        ),
        left_out=tuple(chain.from_iterable(_left_out(shape, known, transfer) for shape in wanted)),
    )


def create_tables(
    connection: Connection, shapes: Iterable[TableShape], transfer: Transfer, others: Iterable[TableShape] = ()
) -> list[str]:
    """Create the tables in the caller's transaction; returns a note for each thing that can't be there."""
    definitions = define_tables(shapes, transfer, others)
    for statement in definitions.tables:
        define(connection, statement)
    notes = [f"left out: {what}" for what in definitions.left_out]
    for statement in definitions.foreign_keys:
        try:
            # Where definitions commit, a savepoint would not outlive them.
            with connection.begin_nested() if transfer.target.transactional_ddl else nullcontext():
                define(connection, statement)
        except DBAPIError as error:
            notes.append(f"left out: {statement}: {error.orig}")
    return notes


def columns_that_differ(shape: TableShape, other: TableShape) -> tuple[str, ...]:
    """The columns of a table that the other database's table lacks, or only makes by itself."""
    there = {column.name for column in other.columns if not column.generated}
    return tuple(column.name for column in shape.columns if not column.generated and column.name not in there)


def _table_sql(shape: TableShape, known: Mapping[TableName, TableShape], transfer: Transfer, *, inline: bool) -> str:
    target = transfer.target
    short = _short_columns(shape, known)
    lines = [_column_sql(column, transfer, shape, is_key=column.name in short) for column in shape.columns]
    if shape.primary_key:
        lines.append(f"PRIMARY KEY ({_names(shape.primary_key, target)})")
    lines += [f"UNIQUE ({_names(key, target)})" for key in shape.unique_keys]
    if inline:
        lines += [_reference_sql(key, transfer) for key in _references(shape, known)]
    body = ",\n  ".join(lines)
    return f"CREATE TABLE {target.table_sql(transfer.table(shape.table))} (\n  {body}\n)"


def _column_sql(column: ColumnShape, transfer: Transfer, shape: TableShape, *, is_key: bool) -> str:
    target = transfer.target
    if transfer.is_exact:
        type_ = target.own_type(column)
    else:
        type_ = target.portable_sql(transfer.source.portable(column), is_key=is_key)
    # Some keys of SQLite let NULL in, no other database's do.
    needed = not column.nullable or (column.name in shape.primary_key and not transfer.is_exact)
    needs = " NOT NULL" if needed else ""
    words = f"{target.quote(column.name)} {type_}{needs}".replace(" NULL NOT NULL", " NOT NULL")
    if _counts(column, shape, transfer):
        return f"{words}{target.counting_words}"
    default = _default(column, transfer)
    return words if default is None else f"{words} DEFAULT {default}"


def _counts(column: ColumnShape, shape: TableShape, transfer: Transfer) -> bool:
    """Whether the column numbers rows in the target as well."""
    type_ = transfer.source.portable(column)
    # The largest numbers of some databases are no integers in others.
    is_integer = type_.kind is Kind.INTEGER and (transfer.is_exact or not (type_.unsigned and type_.size == 64))
    return column.counts and is_integer and shape.primary_key == (column.name,)


def _default(column: ColumnShape, transfer: Transfer) -> str | None:
    if column.default is None or column.generated:
        return None
    if transfer.is_exact and _NOW.fullmatch(column.default):
        return column.default
    return portable_default(column.default, transfer.source.portable(column).kind)


def _left_out(shape: TableShape, known: Mapping[TableName, TableShape], transfer: Transfer) -> Iterator[str]:
    """What the target's table won't have, of what is known of it."""
    for column in shape.columns:
        name = f"{shape.table}.{column.name}"
        if column.generated:
            yield f"the expression that generates {name}; its values come from the source where the log has them"
        elif column.counts and not _counts(column, shape, transfer):
            yield f"the numbering of {name}"
        elif column.default not in (None, "NULL") and not column.counts and _default(column, transfer) is None:
            yield f"the default of {name} ({column.default})"
    if shape.has_opaque_unique_index:
        yield f"the unique index of {shape.table} on an expression or on some rows"
    kept = _references(shape, known)
    for key in shape.foreign_keys:
        what = f"{shape.table} ({', '.join(key.columns)}) to {key.referred}"
        if key not in kept:
            yield f"the foreign key of {what}, which has no such key or does not go over"
        for event, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update)):
            if action not in (*_ACTIONS, "NO ACTION"):
                yield f"ON {event} {action} of the foreign key of {what}"


def _short_columns(shape: TableShape, known: Mapping[TableName, TableShape]) -> frozenset[str]:
    """The columns that an index is about."""
    referring = chain.from_iterable(key.columns for key in shape.foreign_keys)
    referred = chain.from_iterable(
        key.referred_columns for other in known.values() for key in other.foreign_keys if key.referred == shape.table
    )
    return frozenset({*shape.primary_key, *chain.from_iterable(shape.unique_keys), *referring, *referred})


def _references(shape: TableShape, known: Mapping[TableName, TableShape]) -> Sequence[ForeignKeyShape]:
    """The foreign keys that can be there: to a key of a table that goes over as well."""
    return [
        key
        for key in shape.foreign_keys
        if key.referred_columns
        and (referred := known.get(key.referred)) is not None
        and key.referred_columns in (referred.primary_key, *referred.unique_keys)
    ]


def _reference_sql(key: ForeignKeyShape, transfer: Transfer) -> str:
    target = transfer.target
    actions = "".join(
        f" ON {event} {action}"
        for event, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
        if action in _ACTIONS
    )
    referred = target.table_sql(transfer.table(key.referred))
    return (
        f"FOREIGN KEY ({_names(key.columns, target)}) REFERENCES {referred} "
        f"({_names(key.referred_columns, target)}){actions}{target.foreign_key_words}"
    )


def _names(columns: Sequence[str], dialect: Dialect) -> str:
    return ", ".join(map(dialect.quote, columns))


def _is_masked(value: JsonValue) -> bool:
    return isinstance(value, dict) and "$masked" in value
