"""What tells new rows apart, in the RETURNING clause of an INSERT whose application does not get to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, CursorResult, Insert, Table
from sqlalchemy.engine.cursor import _NO_RESULT_METADATA, MD_LOOKUP_KEY, FullyBufferedCursorFetchStrategy

from auditcli.capture.scene import Values
from auditcli.capture.statements import are_stored_as_sent
from auditcli.errors import UnrecordableWrite
from auditcli.shape import TableShape

_LABEL = "auditcli_own_"


def with_own(statement: Insert, table: Table, expressions: Sequence[str]) -> Insert:
    """The statement, which returns these SQL expressions last, whatever else it returns."""
    own: list[Any] = [sa.literal_column(sql).label(f"{_LABEL}{number}") for number, sql in enumerate(expressions)]
    if statement._returning:
        return statement.returning(*own)
    if statement._multi_values or statement.select is not None or statement._inline or not table.implicit_returning:
        # There SQLAlchemy fetches no defaults, asked for or not.
        told = statement._clone()
        told._return_defaults = False
        return told.returning(*own)
    # What it fetches by itself it goes on to fetch: the ORM waits for its keys.
    wanted: Any = statement._return_defaults_columns if statement._return_defaults else table.primary_key
    return statement.return_defaults(
        *wanted, supplemental_cols=own, sort_by_parameter_order=statement._sort_by_parameter_order
    )


def can_return(connection: Connection, rows: int) -> bool:
    """Whether an INSERT with so many parameter sets can return something of each."""
    dialect = connection.dialect
    return dialect.insert_returning and (rows <= 1 or dialect.insert_executemany_returning)


def take_own(result: CursorResult[Any], width: int, *, is_asked: bool) -> list[Values]:
    """The values of `width` expressions of ours; the result is left as if they had not been returned.

    `is_asked` says whether the application itself asked for rows.
    """
    context: Any = result.context
    rows = (context.returned_default_rows or []) if context._is_implicit_returning else result.fetchall()
    result._soft_close()
    loading = _hide_from_orm(context.compiled.compile_state, is_asked=is_asked)
    if not is_asked:
        # For the application the count is what the result has to tell.
        context._rowcount = len(rows)
        context._is_explicit_returning = False
        result._metadata = _NO_RESULT_METADATA
    elif loading:
        result._rewind(rows)
    else:
        result._rewind([tuple(row)[:-width] for row in rows])
        _leave_out_last(result._metadata, width)
    return [tuple(row)[-width:] for row in rows]


def _leave_out_last(metadata: Any, width: int) -> None:
    """Have a result's description, which `_rewind` made anew, know nothing of its last columns."""
    names, processors = list(metadata._keys), list(metadata._processors)
    metadata._keys, metadata._processors = names[:-width], processors[:-width]
    own = set(names[-width:])
    metadata._keymap = {key: record for key, record in metadata._keymap.items() if record[MD_LOOKUP_KEY] not in own}


def _hide_from_orm(compile_state: Any, *, is_asked: bool) -> bool:
    """Take what is ours from what the ORM will load; false where it loads nothing.

    A compiled statement is kept for those that are like it, and none is like it that has nothing of ours.
    """
    loading = getattr(compile_state, "from_statement_ctx", None)
    if loading is None:
        return False
    if is_asked:
        loading._entities = [each for each in loading._entities if not str(each._label_name).startswith(_LABEL)]
    else:
        compile_state.from_statement_ctx = None
    return is_asked


def returns_key(statement: Insert, shape: TableShape) -> bool:
    """Whether what the application returns tells the new rows apart.

    Raises UnrecordableWrite for a `*` that does not, since nothing can be added to one.
    """
    columns: list[Any] = list(statement._all_selected_columns)
    if any(getattr(column, "_is_star", False) for column in columns):
        if not shape.primary_key:
            raise UnrecordableWrite(
                f"INSERT … RETURNING * does not tell new rows of {shape.table} apart: it has no primary key",
                hint="name the columns in returning(), or give the table a primary key",
            )
        return True
    names = [getattr(column, "name", None) for column in columns]
    plain = {column.name for column in columns if isinstance(column, sa.Column) and are_stored_as_sent([column])}
    return bool(shape.primary_key) and all(name in plain and names.count(name) == 1 for name in shape.primary_key)


def peeked(result: CursorResult[Any], names: Sequence[str]) -> list[Values]:
    """Columns of the application's own RETURNING rows, which stay there for it to read."""
    keys = list(result.keys())
    places = [keys.index(name) for name in names]
    rows = result.cursor_strategy.fetchall(result, result.cursor)
    result.cursor_strategy = FullyBufferedCursorFetchStrategy(None, initial_buffer=rows)
    return [tuple(row[place] for place in places) for row in rows]
