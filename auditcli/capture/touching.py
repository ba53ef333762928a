"""Reading the rows that a statement may change, just before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, CursorResult, Delete, Insert, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.selectable import Select

from auditcli.capture import inserts, statements
from auditcli.capture.inserts import OnConflict, PreparedInsert
from auditcli.capture.recorder import Recorder, Unit, Values
from auditcli.capture.statements import Dml, Parameters
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.model import TableName
from auditcli.shape import TableShape

_MOST_RESTRICTED_ROWS = 20_000


@dataclass
class Touch:
    """A statement as it will run, the unit that it belongs to, and what its result has to tell."""

    unit: Unit
    table: TableName
    statement: Dml
    insert: PreparedInsert | None = None
    expected_count: int | None = None

    def note_result(self, connection: Connection, result: CursorResult[Any]) -> None:
        """Take the keys of new rows from the result, and check what could not be made certain before."""
        if self.insert is not None:
            names, rows = inserts.new_rows(connection, self.insert, result)
            self.unit.expect(self.table, names, rows)
        if self.expected_count is not None and result.rowcount != self.expected_count:
            raise CaptureError(
                f"{self.expected_count} rows of {self.table} were read before a write that changed {result.rowcount}",
                hint="its WHERE clause found other rows a moment later: write it without functions of time or chance",
            )


def touch_rows(recorder: Recorder, unit: Unit, table: TableName, statement: Dml, parameters: Parameters) -> Touch:
    """Read what the statement may change; raises UnrecordableWrite where that can't be known."""
    toucher = _Toucher(recorder, unit, table)
    if isinstance(statement, Insert):
        return toucher.insert(statement, parameters)
    if isinstance(statement, Update):
        return toucher.update(statement, parameters)
    return toucher.delete(statement, parameters)


class _Toucher:
    """Reads the rows of one table for one statement."""

    def __init__(self, recorder: Recorder, unit: Unit, table: TableName) -> None:
        self._recorder = recorder
        self._connection = recorder.connection
        self._dialect = recorder.scene.dialect
        self._unit = unit
        self._table = table
        self._shape: TableShape = recorder.scene.shape(table)

    def insert(self, statement: Insert, parameters: Parameters) -> Touch:
        action = inserts.on_conflict(statement, self._shape)
        if action is not OnConflict.FAIL:
            self._read_colliding(statement, parameters, action)
        prepared = inserts.prepare(statement, self._shape, parameters, self._dialect)
        return Touch(self._unit, self._table, prepared.statement, insert=prepared)

    def update(self, statement: Update, parameters: Parameters) -> Touch:
        columns = {name for given in parameters[:1] for name in statements.assigned(statement, given)}
        self._refuse_replacing(statement, columns)
        rows = self._found_rows(statement, parameters)
        if columns & set(self._shape.moved_by):
            self._expect_moves(statement, parameters)
        if self._has_children(columns):
            self._unit.remember_children(self._table, self._reread(statement, parameters, rows), columns)
        return self._restricted(statement, parameters, rows)

    def delete(self, statement: Delete, parameters: Parameters) -> Touch:
        rows = self._found_rows(statement, parameters)
        if self._has_children(None):
            self._unit.remember_children(self._table, self._reread(statement, parameters, rows), None)
        return self._restricted(statement, parameters, rows)

    def _found_rows(self, statement: Update | Delete, parameters: Parameters) -> list[Values] | None:
        """Remember the rows that the WHERE clause finds; returns them, or None where they were found by their keys."""
        keys = self._keys(statement, parameters)
        if keys is not None:
            self._unit.read(self._table, keys)
            return None
        rows = self._query_rows(statement, parameters)
        self._unit.remember(self._table, rows)
        return rows

    def _keys(self, statement: Update | Delete, parameters: Parameters) -> list[Values] | None:
        table = statements.target(statement)
        columns = None if table is None else statements.columns_named(table, self._shape.primary_key)
        binds = statements.key_equality(statement, columns) if columns else None
        if columns is None or binds is None:
            return None
        return statements.raw_values(self._connection, columns, statements.key_values(binds, parameters))

    def _reread(self, statement: Update | Delete, parameters: Parameters, rows: list[Values] | None) -> list[Values]:
        """The rows as they are now, which may differ from how they were when the unit began."""
        if rows is not None:
            return rows
        keys = self._keys(statement, parameters) or []
        return self._recorder.read_rows(self._shape, self._shape.primary_key, [key for key in keys if None not in key])

    def _query_rows(self, statement: Update | Delete, parameters: Parameters) -> list[Values]:
        query = statements.rows_query(statement, self._shape, self._dialect)
        try:
            return self._run(query, parameters)
        except DBAPIError as error:
            if not self._dialect.is_broken_text(error):
                raise
        width = len(self._shape.locator)
        rows = self._run(statements.rows_query(statement, self._shape, self._dialect, as_bytes=True), parameters)
        return [(*row[:width], *self._dialect.values_from_bytes(row[width:])) for row in rows]

    def _run(self, query: Select[Any], parameters: Parameters) -> list[Values]:
        rows: dict[Values, None] = {}
        for given in parameters:
            answer = self._connection.execute(query, statements.query_parameters(query, given))
            rows |= dict.fromkeys(tuple(row) for row in answer)
        return list(rows)

    def _restricted(self, statement: Update | Delete, parameters: Parameters, rows: list[Values] | None) -> Touch:
        """A statement that might find other rows a moment later is held to those that were read."""
        touch = Touch(self._unit, self._table, statement)
        if rows is None or not statements.may_vary(statement):
            return touch
        if len(parameters) == 1 and len(rows) <= _MOST_RESTRICTED_ROWS:
            width = len(self._shape.locator)
            locators = [sa.literal_column(expression) for expression in self._dialect.locator_sql(self._shape)]
            subject: Any = locators[0] if width == 1 else sa.tuple_(*locators)
            touch.statement = statement.where(subject.in_([row[0] if width == 1 else row[:width] for row in rows]))
        else:
            touch.expected_count = len(rows)
        return touch

    def _has_children(self, columns: set[str] | None) -> bool:
        references = self._recorder.scene.shapes.references_to.get(self._table, ())
        return any(columns is None or columns & set(key.referred_columns) for key in references)

    def _expect_moves(self, statement: Update, parameters: Parameters) -> None:
        """Follow the rows whose physical place the statement changes."""
        table = statements.target(statement)
        columns = None if table is None else statements.columns_named(table, self._shape.moved_by)
        if columns is None:
            raise UnrecordableWrite(f"the model of {self._table} lacks a column of its key")
        width = len(self._shape.locator)
        for given in parameters:
            query = statements.new_keys_query(statement, self._shape, columns, given, self._dialect)
            bound: Mapping[str, Any] = statements.query_parameters(query, given)
            for row in self._connection.execute(query, bound).fetchall():
                [key] = statements.raw_values(self._connection, columns, [tuple(row[width:])])
                self._unit.expect_move(self._table, tuple(row[:width]), key)

    def _refuse_replacing(self, statement: Update, columns: set[str]) -> None:
        prefixes = " ".join(str(prefix).upper() for prefix, _ in statement._prefixes)
        keys = {column for key in (self._shape.primary_key, *self._shape.unique_keys) for column in key}
        if "REPLACE" in prefixes or (self._shape.replaces and columns & keys):
            raise UnrecordableWrite(
                f"an UPDATE of {self._table} that replaces the rows in its way can't be recorded by listeners",
                hint="delete those rows first, or install capture triggers",
            )

    def _read_colliding(self, statement: Insert, parameters: Parameters, action: OnConflict) -> None:
        expressions = [*self._dialect.locator_sql(self._shape), *self._dialect.value_sql(self._shape)]
        columns = [sa.literal_column(expression) for expression in expressions]
        query = inserts.colliding_query(statement, self._shape, parameters, columns)
        if query is None:
            return
        rows = [tuple(row) for row in self._connection.execute(query)]
        self._unit.remember(self._table, rows)
        if action is OnConflict.REPLACE:
            self._unit.remember_children(self._table, rows, None)
        elif action is OnConflict.UPDATE:
            changed = inserts.updated_columns(statement)
            if changed & set(self._shape.moved_by):
                raise UnrecordableWrite(
                    f"an upsert that changes the key of {self._table} can't be followed",
                    hint="change the key with update(), or install capture triggers",
                )
            self._unit.remember_children(self._table, rows, changed)
