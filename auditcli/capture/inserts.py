"""How the rows that an INSERT makes, and those that it replaces or updates on a conflict, are found."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ClauseElement, ColumnElement, Connection, CursorResult, Insert, Table
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Select

from auditcli.capture.scene import Values
from auditcli.capture.statements import (
    Parameters,
    assigned,
    columns_named,
    conflict_words,
    is_unpredictable,
    raw_values,
    target,
)
from auditcli.dialects import Dialect
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.shape import TableShape

_CONDITIONS_AT_ONCE = 100


class OnConflict(Enum):
    """What an INSERT does with a row that is in its way."""

    FAIL = auto()
    IGNORE = auto()
    UPDATE = auto()
    REPLACE = auto()


class KeySource(Enum):
    """Where the keys of new rows come from."""

    PARAMETERS = auto()
    RESULT = auto()
    OUR_RETURNING = auto()
    UPSERT_RETURNING = auto()
    THEIR_RETURNING = auto()


@dataclass(frozen=True)
class PreparedInsert:
    """An INSERT as it will run, and where its keys will be found."""

    statement: Insert
    table: Table
    shape: TableShape
    key_source: KeySource


def on_conflict(statement: Insert, shape: TableShape) -> OnConflict:
    """What the statement, or the table's own definition, says about rows in the way."""
    clause = statement._post_values_clause
    words = conflict_words(statement)
    if "REPLACE" in words or shape.replaces:
        return OnConflict.REPLACE
    if clause is not None:
        return OnConflict.IGNORE if _updates(clause) is None else OnConflict.UPDATE
    return OnConflict.IGNORE if "IGNORE" in words else OnConflict.FAIL


def prepare(statement: Insert, shape: TableShape, parameters: Parameters, dialect: Dialect) -> PreparedInsert:
    """Decide how new rows are found; adds a RETURNING clause where nothing else tells their keys.

    Raises UnrecordableWrite where the application's own RETURNING clause is in the way.
    """
    table = target(statement)
    assert table is not None, "the caller asked for it before"
    columns = columns_named(table, shape.primary_key) if shape.primary_key else None
    action = on_conflict(statement, shape)
    # Many parameter sets would become one statement, which may not touch a row twice.
    is_told = not statement._returning and len(parameters) <= 1
    races = dialect.upserts_race and action is not OnConflict.FAIL and is_told
    if columns is not None and not races and _keys_are_known(statement, columns, parameters, shape):
        return PreparedInsert(statement, table, shape, KeySource.PARAMETERS)
    if statement._returning:
        return PreparedInsert(statement, table, shape, _their_returning(statement, shape))
    if columns is not None and _result_tells_keys(statement, table, columns, parameters, shape):
        return PreparedInsert(statement, table, shape, KeySource.RESULT)
    locators: list[ColumnElement[Any]] = [sa.literal_column(name) for name in _returned_locator(shape, dialect)]
    if races and action is OnConflict.UPDATE:
        told = statement.returning(*locators, sa.literal_column(dialect.inserted_sql))
        return PreparedInsert(told, table, shape, KeySource.UPSERT_RETURNING)
    return PreparedInsert(statement.returning(*locators), table, shape, KeySource.OUR_RETURNING)


def new_rows(
    connection: Connection, prepared: PreparedInsert, result: CursorResult[Any], known: Callable[[], Container[Values]]
) -> tuple[tuple[str, ...], list[Values]]:
    """The names and values by which the new rows are found, once the INSERT ran.

    `known` gives the locators of rows that were there before. Raises CaptureError where an upsert changed another one.
    """
    shape = prepared.shape
    if prepared.key_source is KeySource.OUR_RETURNING:
        return shape.locator, _consumed(result, len(shape.locator))
    if prepared.key_source is KeySource.UPSERT_RETURNING:
        told = _consumed(result, len(shape.locator) + 1)
        updated = [row[:-1] for row in told if not row[-1]]
        _refuse_unread(shape, updated, known() if updated else ())
        return shape.locator, [row[:-1] for row in told]
    columns = columns_named(prepared.table, shape.primary_key) or []
    if prepared.key_source is KeySource.THEIR_RETURNING:
        return shape.primary_key, _peeked(result, shape)
    if prepared.key_source is KeySource.RESULT:
        keys = _result_keys(result, prepared.table, columns)
    else:
        context: Any = result.context
        sets = context.compiled_parameters
        keys = [tuple(given[column.key] for column in columns) for given in sets]
    if any(None in key for key in keys):
        raise CaptureError(
            f"the database did not tell the key of a new row of {shape.table}",
            hint="give the key in the statement, or use capture triggers",
        )
    return shape.primary_key, raw_values(connection, columns, keys)


def _refuse_unread(shape: TableShape, updated: Sequence[Values], known: Container[Values]) -> None:
    """What another transaction committed between our look and the upsert is not known as it was."""
    unread = [row for row in updated if row not in known]
    if unread:
        raise CaptureError(
            f"an upsert on {shape.table} met a row that another transaction had just inserted: {unread[0]}",
            hint="run the transaction again, as after a failed serialization, or use capture triggers",
        )


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


def _keys_are_known(
    statement: Insert, columns: Sequence[sa.Column[Any]], parameters: Parameters, shape: TableShape
) -> bool:
    """Whether the parameters will hold the keys of all new rows, and of new rows alone."""
    if statement._multi_values or statement.select is not None:
        return False
    if any(not _is_own_parameter(value) for value in (statement._values or {}).values()):
        # A parameter of another name may stand for the key.
        return False
    ignores = on_conflict(statement, shape) is OnConflict.IGNORE
    for given in parameters:
        values = assigned(statement, given)
        for column in columns:
            value = values.get(column.name)
            by_default = not ignores and _has_python_default(column, values)
            if isinstance(value, ClauseElement) or (value is None and not by_default):
                return False
    return True


def _is_own_parameter(value: Any) -> bool:
    return not isinstance(value, BindParameter) or value.unique


def _has_python_default(column: sa.Column[Any], values: Mapping[str, Any]) -> bool:
    default = column.default
    return column.name not in values and default is not None and (default.is_scalar or default.is_callable)


def _result_tells_keys(
    statement: Insert,
    table: Table,
    columns: Sequence[sa.Column[Any]],
    parameters: Parameters,
    shape: TableShape,
) -> bool:
    """Whether SQLAlchemy fetches the keys by itself: for one plain row, and for the ORM's batches."""
    if on_conflict(statement, shape) is not OnConflict.FAIL or set(table.primary_key.columns) != set(columns):
        return False
    if statement._multi_values or statement.select is not None or statement._inline:
        return False
    if len(parameters) > 1 or statement._return_defaults:
        return bool(statement._return_defaults)
    return len(columns) == 1 and (table.implicit_returning or columns[0].server_default is None)


def _their_returning(statement: Insert, shape: TableShape) -> KeySource:
    returned = [getattr(column, "name", None) for column in statement._all_selected_columns]
    plain = {column.name for column in statement._all_selected_columns if isinstance(column, sa.Column)}
    if not shape.primary_key or any(name not in plain or returned.count(name) > 1 for name in shape.primary_key):
        wanted = ", ".join(shape.primary_key) or "a primary key, which it lacks"
        raise UnrecordableWrite(
            f"INSERT … RETURNING on {shape.table} does not return what tells its new rows apart: {wanted}",
            hint="add the primary key to returning(), or give it in the statement",
        )
    return KeySource.THEIR_RETURNING


def _returned_locator(shape: TableShape, dialect: Dialect) -> list[str]:
    return [dialect.quote(name) if shape.column(name) else name for name in shape.locator]


def _consumed(result: CursorResult[Any], width: int) -> list[Values]:
    # The ORM may return columns of its own before ours.
    rows = [tuple(row)[-width:] for row in result.fetchall()]
    # The application asked for no rows: for it the count is what the result has to tell.
    context: Any = result.context
    context._rowcount = len(rows)
    return rows


def _peeked(result: CursorResult[Any], shape: TableShape) -> list[Values]:
    """The keys in the application's own RETURNING rows, which stay there for it to read."""
    names = list(result.keys())
    places = [names.index(name) for name in shape.primary_key]
    rows = result.cursor_strategy.fetchall(result, result.cursor)
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(None, initial_buffer=rows)
    return [tuple(row[place] for place in places) for row in rows]


def _result_keys(result: CursorResult[Any], table: Table, columns: Sequence[sa.Column[Any]]) -> list[Values]:
    order = list(table.primary_key.columns)
    places = [order.index(column) for column in columns]
    rows: Any = result.inserted_primary_key_rows
    return [tuple(row[place] for place in places) for row in rows]


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
            f"the model of {table.name} lacks a column of the unique key ({', '.join(key)})",
            hint="add the column to the model, or use capture triggers",
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
