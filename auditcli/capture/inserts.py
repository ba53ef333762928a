"""How the rows that an INSERT makes, and those that it replaces or updates on a conflict, are found."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ClauseElement, ColumnElement, Connection, CursorResult, Insert, Table
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.sql.elements import BindParameter

from auditcli.capture.collisions import OnConflict, noting_met_rows, on_conflict
from auditcli.capture.scene import Values
from auditcli.capture.statements import (
    Parameters,
    assigned,
    columns_named,
    raw_values,
    target,
)
from auditcli.dialects import Dialect
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.shape import TableShape


class KeySource(Enum):
    """Where the keys of new rows come from."""

    PARAMETERS = auto()
    RESULT = auto()
    OUR_RETURNING = auto()
    UPSERT_RETURNING = auto()
    THEIR_RETURNING = auto()


@dataclass(frozen=True)
class PreparedInsert:
    """An INSERT as it will run, and where its keys will be found.

    `notes_met` is true where the database notes the rows that it meets, for `met_rows` to read.
    """

    statement: Insert
    table: Table
    shape: TableShape
    key_source: KeySource
    notes_met: bool = False


def prepare(statement: Insert, shape: TableShape, parameters: Parameters, dialect: Dialect) -> PreparedInsert:
    """Decide how new rows are found; adds a RETURNING clause where nothing else tells their keys.

    Raises UnrecordableWrite where the application's own RETURNING clause is in the way.
    """
    table = target(statement)
    assert table is not None, "the caller asked for it before"
    columns = columns_named(table, shape.primary_key) if shape.primary_key else None
    action = on_conflict(statement, shape)
    notes_met = action is OnConflict.UPDATE and dialect.writes_see_latest
    if notes_met:
        statement = noting_met_rows(statement, dialect.note_met_sql(shape), columns)
    races = _races(statement, action, parameters, dialect)
    if columns is not None and not races and _keys_are_known(statement, columns, parameters, shape):
        return PreparedInsert(statement, table, shape, KeySource.PARAMETERS, notes_met)
    if statement._returning:
        return PreparedInsert(statement, table, shape, _their_returning(statement, shape), notes_met)
    if columns is not None and _result_tells_keys(statement, table, columns, parameters, shape):
        return PreparedInsert(statement, table, shape, KeySource.RESULT)
    locators: list[ColumnElement[Any]] = [sa.literal_column(name) for name in _returned_locator(shape, dialect)]
    if races and action is OnConflict.UPDATE:
        told = statement.returning(*locators, sa.literal_column(dialect.inserted_sql))
        return PreparedInsert(told, table, shape, KeySource.UPSERT_RETURNING)
    return PreparedInsert(statement.returning(*locators), table, shape, KeySource.OUR_RETURNING, notes_met)


def _races(statement: Insert, action: OnConflict, parameters: Parameters, dialect: Dialect) -> bool:
    """Whether only a RETURNING clause tells which rows the statement made."""
    if action is OnConflict.FAIL or statement._returning:
        return False
    if dialect.writes_see_latest:
        return action is OnConflict.IGNORE
    # Many parameter sets would become one statement, which may not touch a row twice.
    return dialect.upserts_race and len(parameters) <= 1


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
