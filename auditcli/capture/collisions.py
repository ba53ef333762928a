"""The rows that stand in the way of an INSERT, read before it, and those that it met all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ClauseElement, ColumnElement, Insert, Table
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import Select

from auditcli.capture.statements import (
    Parameters,
    assigned,
    columns_named,
    conflict_words,
    is_unpredictable,
    target,
)
from auditcli.errors import UnrecordableWrite
from auditcli.shape import TableShape

_ADD_COLUMN = "add the column to the model, or use capture triggers"
_CONDITIONS_AT_ONCE = 100


class OnConflict(Enum):
    """What an INSERT does with a row that is in its way."""

    FAIL = auto()
    IGNORE = auto()
    UPDATE = auto()
    REPLACE = auto()


def on_conflict(statement: Insert, shape: TableShape) -> OnConflict:
    """What the statement, or the table's own definition, says about rows in the way."""
    clause = statement._post_values_clause
    words = conflict_words(statement)
    if "REPLACE" in words or shape.replaces:
        return OnConflict.REPLACE
    if clause is not None:
        return OnConflict.IGNORE if _updates(clause) is None else OnConflict.UPDATE
    return OnConflict.IGNORE if "IGNORE" in words else OnConflict.FAIL


def colliding_queries(
    statement: Insert, shape: TableShape, parameters: Parameters, columns: Sequence[ColumnElement[Any]]
) -> Iterator[Select[Any]]:
    """SELECTs of `columns` from the rows that are in the INSERT's way.

    Raises UnrecordableWrite where that can't be known before the statement runs.
    """
    table = target(statement)
    assert table is not None, "the caller asked for it before"
    action = on_conflict(statement, shape)
    query = sa.select(*columns).select_from(table)
    for key in _relevant_keys(statement, shape, action):
        conditions = _key_conditions(statement, table, key, parameters, strict=action is not OnConflict.IGNORE)
        for start in range(0, len(conditions), _CONDITIONS_AT_ONCE):
            yield query.where(sa.or_(*conditions[start : start + _CONDITIONS_AT_ONCE]))


def noting_met_rows(statement: Insert, note_sql: str, key: Sequence[sa.Column[Any]] | None) -> Insert:
    """The upsert, which has the database evaluate an expression for each row that it meets.

    Raises UnrecordableWrite where the model lacks a column of the key.
    """
    if not key:
        raise UnrecordableWrite(f"the model of {statement.table} lacks a column of its key", hint=_ADD_COLUMN)
    clause: Any = copy(statement._post_values_clause)
    column = key[0]
    noted = sa.case((sa.literal_column(note_sql).is_(None), None), else_=column)
    clause.update = {**clause.update, column.key: noted}
    if clause._parameter_ordering:
        clause._parameter_ordering = [*clause._parameter_ordering, column.key]
    told = statement._clone()
    told._post_values_clause = clause
    return told


def updated_columns(statement: Insert) -> set[str]:
    """The columns that an upsert may change; those of the conflicting key stay when set from `excluded`."""
    clause: Any = statement._post_values_clause
    updates = _updates(clause)
    pairs = updates.items() if isinstance(updates, Mapping) else updates or ()
    elements = getattr(clause, "inferred_target_elements", None) or ()
    matched = {str(getattr(element, "name", element)) for element in elements}
    return {
        name
        for column, value in pairs
        if (name := str(getattr(column, "name", column))) not in matched or not _is_excluded(value, name)
    }


def _updates(clause: Any) -> Any:
    """What ON CONFLICT DO UPDATE, or ON DUPLICATE KEY UPDATE, assigns; None for a clause that assigns nothing."""
    return getattr(clause, "update_values_to_set", None) or getattr(clause, "update", None)


def _is_excluded(value: Any, name: str) -> bool:
    table = getattr(value, "table", None)
    return getattr(value, "name", None) == name and getattr(table, "name", None) == "excluded"


def _relevant_keys(statement: Insert, shape: TableShape, action: OnConflict) -> list[tuple[str, ...]]:
    own = [shape.primary_key] if shape.primary_key else []
    if action is OnConflict.FAIL:
        return []
    if action is OnConflict.IGNORE:
        return own
    elements = getattr(statement._post_values_clause, "inferred_target_elements", None)
    if action is OnConflict.UPDATE and elements:
        names = tuple(str(getattr(element, "name", element)) for element in elements)
        if names in ([*own, *shape.unique_keys]) or set(names) in [set(key) for key in [*own, *shape.unique_keys]]:
            return [names]
    if shape.has_opaque_unique_index:
        raise UnrecordableWrite(
            f"{shape.table} has a unique index on an expression or on part of its rows: "
            "which rows an upsert hits can't be told beforehand",
            hint="name a plain unique key in on_conflict_do_update(index_elements=…), or use capture triggers",
        )
    return [*own, *shape.unique_keys]


def _key_conditions(
    statement: Insert, table: Table, key: tuple[str, ...], parameters: Parameters, *, strict: bool
) -> list[ColumnElement[bool]]:
    columns = columns_named(table, key)
    if columns is None:
        raise UnrecordableWrite(
            f"the model of {table.name} lacks a column of the unique key ({', '.join(key)})", hint=_ADD_COLUMN
        )
    if statement.select is not None:
        return _selected_key(statement, columns, strict=strict)
    conditions = []
    for values in _value_sets(statement, parameters):
        parts = [_equals(column, values, strict=strict) for column in columns]
        if all(part is not None for part in parts):
            conditions.append(sa.and_(*[part for part in parts if part is not None]))
    return conditions


def _value_sets(statement: Insert, parameters: Parameters) -> list[dict[str, Any]]:
    if not statement._multi_values:
        return [assigned(statement, given) for given in parameters]
    table = target(statement)
    rows: list[Any] = [row for group in statement._multi_values for row in group]
    names = [column.name for column in table.c] if table is not None else []
    return [
        {str(getattr(column, "name", column)): value for column, value in row.items()}
        if isinstance(row, Mapping)
        else dict(zip(names, row, strict=False))
        for row in rows
    ]


def _equals(column: sa.Column[Any], values: Mapping[str, Any], *, strict: bool) -> ColumnElement[bool] | None:
    """The column is what the row will have; None where that is NULL or new, which collides with nothing."""
    if column.name in values:
        value = values[column.name]
        if isinstance(value, ClauseElement) and any(map(is_unpredictable, visitors.iterate(value))):
            raise UnrecordableWrite(
                f"an upsert on {column.table.name} gives {column.name}, part of a unique key, what a function makes: "
                "which row it hits can't be told beforehand",
                hint=f"give {column.name} as a plain value, or use capture triggers",
            )
        return None if value is None else column == value
    if column.default is not None and column.default.is_scalar:
        default: Any = column.default
        equal: ColumnElement[bool] = column == default.arg
        return equal
    if strict and (column.default is not None or column.server_default is not None):
        raise UnrecordableWrite(
            f"an upsert on {column.table.name} leaves {column.name}, part of a unique key, to its default: "
            "which row it hits can't be told beforehand",
            hint=f"give {column.name} in the statement, or use capture triggers",
        )
    return None


def _selected_key(statement: Insert, columns: Sequence[sa.Column[Any]], *, strict: bool) -> list[ColumnElement[bool]]:
    names = [getattr(name, "name", name) for name in statement._select_names or ()]
    missing = [column for column in columns if column.name not in names]
    if missing:
        # Raises where a default might hit a row.
        return [found for column in missing if (found := _equals(column, {}, strict=strict)) is not None]
    selected = statement.select.subquery()  # type: ignore[union-attr]  # the caller looked
    source = list(selected.c)
    wanted = sa.select(*[source[names.index(column.name)] for column in columns])
    return [(columns[0] if len(columns) == 1 else sa.tuple_(*columns)).in_(wanted)]
