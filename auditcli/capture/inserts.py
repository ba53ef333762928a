"""How the rows that an INSERT makes, and those that it replaces or updates on a conflict, are found."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ClauseElement, Connection, CursorResult, Insert, Table
from sqlalchemy.sql.elements import BindParameter

from auditcli.capture.collisions import OnConflict, noting_met_rows, on_conflict
from auditcli.capture.returning import can_return, peeked, returns_key, take_own, with_own
from auditcli.capture.scene import Values
from auditcli.capture.statements import (
    Parameters,
    are_stored_as_sent,
    assigned,
    columns_named,
    is_emitted_in_bulk,
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

    `notes_met` is true where the database notes the rows that it meets, for `met_rows` to read, `is_asked` where the
    application itself wants rows back.
    """

    statement: Insert
    table: Table
    shape: TableShape
    key_source: KeySource
    notes_met: bool = False
    is_asked: bool = False


def prepare(
    connection: Connection, statement: Insert, shape: TableShape, parameters: Parameters, dialect: Dialect
) -> PreparedInsert:
    """Decide how new rows are found; adds to the RETURNING clause where nothing else tells their keys.

    Raises UnrecordableWrite where there can be none, or what the application returns stands in the way.
    """
    table = target(statement)
    assert table is not None, "the caller asked for it before"
    columns = columns_named(table, shape.primary_key) if shape.primary_key else None
    action = on_conflict(statement, shape)
    notes_met = action is OnConflict.UPDATE and dialect.writes_see_latest
    if notes_met:
        statement = noting_met_rows(statement, dialect.note_met_sql(shape), columns)
    source = _key_source(statement, table, columns, parameters, shape, dialect)
    is_asked = bool(statement._returning)
    is_ours = source in (KeySource.OUR_RETURNING, KeySource.UPSERT_RETURNING)
    if is_ours and not can_return(connection, len(parameters)):
        raise UnrecordableWrite(
            f"the keys of new rows of {shape.table} are not told: here INSERT can't return any, or not of many at once",
            hint="give the keys in the statement, or install capture triggers",
        )
    if source is KeySource.OUR_RETURNING:
        statement = with_own(statement, table, _returned_locator(shape, dialect))
    elif source is KeySource.UPSERT_RETURNING:
        statement = with_own(statement, table, [*_returned_locator(shape, dialect), dialect.inserted_sql])
    return PreparedInsert(statement, table, shape, source, notes_met, is_asked)


def _key_source(
    statement: Insert,
    table: Table,
    columns: Sequence[sa.Column[Any]] | None,
    parameters: Parameters,
    shape: TableShape,
    dialect: Dialect,
) -> KeySource:
    """Raises UnrecordableWrite where nothing tells the keys."""
    action = on_conflict(statement, shape)
    if columns is not None and not are_stored_as_sent(columns):
        columns = None
    if is_emitted_in_bulk(statement) and statement._returning:
        if columns is None or set(table.primary_key.columns) != set(columns):
            raise UnrecordableWrite(
                f"INSERT … RETURNING of many rows of {shape.table} can't be recorded: "
                "its model has another key, or one of a type that puts SQL around its values",
                hint="leave returning() out, give the model the table's key, or install capture triggers",
            )
        return KeySource.RESULT
    races = _races(action, parameters, dialect)
    if races and action is OnConflict.UPDATE:
        return KeySource.UPSERT_RETURNING
    if columns is not None and not races and _keys_are_known(statement, columns, parameters, shape):
        return KeySource.PARAMETERS
    if statement._returning:
        return KeySource.THEIR_RETURNING if returns_key(statement, shape) else KeySource.OUR_RETURNING
    if columns is not None and _result_tells_keys(statement, table, columns, parameters, shape):
        return KeySource.RESULT
    return KeySource.OUR_RETURNING


def _races(action: OnConflict, parameters: Parameters, dialect: Dialect) -> bool:
    """Whether only a RETURNING clause tells which rows the statement made."""
    if action is OnConflict.FAIL:
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
        return shape.locator, take_own(result, len(shape.locator), is_asked=prepared.is_asked)
    if prepared.key_source is KeySource.UPSERT_RETURNING:
        told = take_own(result, len(shape.locator) + 1, is_asked=prepared.is_asked)
        updated = [row[:-1] for row in told if not row[-1]]
        _refuse_unread(shape, updated, known() if updated else ())
        return shape.locator, [row[:-1] for row in told]
    columns = columns_named(prepared.table, shape.primary_key) or []
    if prepared.key_source is KeySource.THEIR_RETURNING:
        return shape.primary_key, peeked(result, shape.primary_key)
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
    fetches = bool(statement._return_defaults) and table.implicit_returning
    if len(parameters) > 1 or fetches:
        known = assigned(statement, parameters[0])
        return fetches and all(column.name in known or _is_fetched(column, table) for column in columns)
    return len(columns) == 1 and _is_fetched(columns[0], table)


def _is_fetched(key: sa.Column[Any], table: Table) -> bool:
    """Whether SQLAlchemy learns the value that a key gets which no parameter gives."""
    if key.server_default is not None:
        return table.implicit_returning
    return key.default is not None or key is table.autoincrement_column


def _returned_locator(shape: TableShape, dialect: Dialect) -> list[str]:
    return [dialect.quote(name) if shape.column(name) else name for name in shape.locator]


def _result_keys(result: CursorResult[Any], table: Table, columns: Sequence[sa.Column[Any]]) -> list[Values]:
    order = list(table.primary_key.columns)
    places = [order.index(column) for column in columns]
    rows: Any = result.inserted_primary_key_rows
    return [tuple(row[place] for place in places) for row in rows]
