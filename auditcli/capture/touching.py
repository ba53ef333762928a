"""Reading the rows that a statement may change, just before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, CursorResult, Delete, Insert, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.selectable import Select

from auditcli.capture import collisions, inserts, latest, statements
from auditcli.capture.collisions import OnConflict
from auditcli.capture.inserts import PreparedInsert
from auditcli.capture.recorder import Recorder, Unit
from auditcli.capture.scene import Values
from auditcli.capture.statements import Dml, Parameters, SchemaMap
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.model import TableName
from auditcli.shape import TableShape

_MOST_HELD_ROWS = 20_000


@dataclass
class Touch:
    """A statement as it will run, the unit that it belongs to, and what its result has to tell.

    `most_rows` is how many rows it can change if all was foreseen.
    """

    unit: Unit
    table: TableName
    statement: Dml
    insert: PreparedInsert | None = None
    most_rows: int | None = None
    exactly: bool = False
    moves_rows: bool = False
    may_fail_half_way: bool = False

    def note_result(self, connection: Connection, result: CursorResult[Any]) -> None:
        """Take the keys of new rows from the result, and check what could not be made certain before."""
        if self.insert is not None:
            known = partial(self.unit.known, self.table)
            names, rows = inserts.new_rows(connection, self.insert, result, known)
            if self.insert.notes_met:
                self.unit.refuse_strangers(self.table, names, rows)
            self.unit.expect(self.table, names, rows)
        count = result.rowcount
        if self.most_rows is not None and (count > self.most_rows or (self.exactly and count != self.most_rows)):
            raise CaptureError(
                f"{self.most_rows} rows of {self.table} were read before a write that changed {count}",
                hint="its WHERE clause found other rows a moment later: write it without functions of time or chance",
            )
        if self.moves_rows:
            self.unit.confirm_moves(self.table)


def touch_rows(
    recorder: Recorder, unit: Unit, table: TableName, statement: Dml, parameters: Parameters, schema_map: SchemaMap
) -> Touch:
    """Read what the statement may change; raises UnrecordableWrite where that can't be known."""
    toucher = _Toucher(recorder, unit, table, schema_map)
    toucher.refuse_half_statements(statement)
    if isinstance(statement, Insert):
        touch = toucher.insert(statement, parameters)
    elif isinstance(statement, Update):
        touch = toucher.update(statement, parameters)
    else:
        touch = toucher.delete(statement, parameters)
    keeps_half = recorder.scene.shape(table).replaces and not statements.is_one_row(statement)
    touch.may_fail_half_way = len(parameters) > 1 or keeps_half
    return touch


class _Toucher:
    """Reads the rows of one table for one statement."""

    def __init__(self, recorder: Recorder, unit: Unit, table: TableName, schema_map: SchemaMap) -> None:
        self._recorder = recorder
        self._connection = recorder.connection
        self._dialect = recorder.scene.dialect
        self._unit = unit
        self._table = table
        self._shape: TableShape = recorder.scene.shape(table)
        self._options = {"schema_translate_map": schema_map} if schema_map else {}

    def refuse_half_statements(self, statement: Dml) -> None:
        """Some conflict clauses leave half of a failed statement's changes, or end the transaction."""
        words = statements.conflict_words(statement) & {"FAIL", "ROLLBACK"}
        if words:
            raise UnrecordableWrite(
                f"a write to {self._table} with OR {' or '.join(sorted(words))} can't be recorded by listeners",
                hint="leave the conflict clause out and use a savepoint (`begin_nested()`), or capture triggers",
            )

    def insert(self, statement: Insert, parameters: Parameters) -> Touch:
        action = collisions.on_conflict(statement, self._shape)
        if action is not OnConflict.FAIL:
            self._read_colliding(statement, parameters, action)
        prepared = inserts.prepare(self._connection, statement, self._shape, parameters, self._dialect)
        if prepared.notes_met:
            self._recorder.forget_met()
        return Touch(self._unit, self._table, prepared.statement, insert=prepared)

    def update(self, statement: Update, parameters: Parameters) -> Touch:
        if self._dialect.updates_joined_tables and statements.is_split(statement):
            raise UnrecordableWrite(
                f"an UPDATE of {self._table} and of other tables at once can't be recorded by listeners",
                hint="update each table by a statement of its own, or install capture triggers",
            )
        columns = self._assigned_columns(statement, parameters)
        self._refuse_replacing(statement, columns)
        rows = self._found_rows(statement, parameters)
        self._unit.note_changes(self._table, columns)
        moves_rows = bool(columns & set(self._shape.moved_by))
        if moves_rows and not self._shape.primary_key:
            raise UnrecordableWrite(
                f"{self._table} has no key, and an UPDATE gives its rows another place: they can't be followed",
                hint="give the table a primary key, or install capture triggers",
            )
        if moves_rows:
            self._expect_moves(statement, parameters)
        if self._has_children(columns):
            self._unit.remember_children(self._table, self._reread(statement, parameters, rows), columns)
        touch = self._held(statement, parameters, rows)
        touch.moves_rows = moves_rows
        return touch

    def delete(self, statement: Delete, parameters: Parameters) -> Touch:
        rows = self._found_rows(statement, parameters)
        self._unit.note_removal(self._table)
        if self._has_children(None):
            self._unit.remember_children(self._table, self._reread(statement, parameters, rows), None)
        return self._held(statement, parameters, rows)

    def _assigned_columns(self, statement: Update, parameters: Parameters) -> set[str]:
        """The columns that the statement sets, as the database spells them."""
        names = {name for given in parameters[:1] for name in statements.assigned_names(statement, given)}
        table = statements.target(statement)
        names |= {column.name for column in table.c if column.onupdate is not None} if table is not None else set()
        return self._spelled(names)

    def _spelled(self, names: Iterable[str]) -> set[str]:
        spelled = {name.lower(): name for name in self._shape.column_names}
        return {spelled.get(name.lower(), name) for name in names}

    def _found_rows(self, statement: Update | Delete, parameters: Parameters) -> list[Values] | None:
        """Remember the rows that the WHERE clause finds; returns them, or None where they were found by their keys."""
        keys = self._keys(statement, parameters)
        if keys is not None:
            self._unit.read(self._table, keys)
            return None
        if statements.writes_inside(statement):
            raise UnrecordableWrite(
                f"a write to {self._table} whose WHERE clause writes too can't be recorded by listeners",
                hint="execute them one after the other, or wrap them in `auditcli.untracked(reason)`",
            )
        if len(parameters) > 1 and not statements.is_certain(statement):
            raise UnrecordableWrite(
                f"a write to {self._table} with many parameter sets finds its rows by more than its own columns: "
                "which ones can't be told beforehand",
                hint="execute it once for each parameter set, or compare plain columns",
            )
        where = () if statement.whereclause is None else (statement.whereclause,)
        known = self._recorder.scene.shapes.tables
        latest.refuse_hidden_reads(self._connection, self._dialect, self._table, where, known)
        rows = self._query_rows(statement, parameters)
        self._unit.remember(self._table, rows)
        return rows

    def _keys(self, statement: Update | Delete, parameters: Parameters) -> list[Values] | None:
        table = statements.target(statement)
        columns = None if table is None else statements.columns_named(table, self._shape.primary_key)
        binds = statements.key_equality(statement, columns) if columns else None
        if binds is None:
            return None
        return statements.raw_values(self._connection, binds, statements.key_values(binds, parameters))

    def _reread(self, statement: Update | Delete, parameters: Parameters, rows: list[Values] | None) -> list[Values]:
        """The rows as they are now, which may differ from how they were when the unit began."""
        if rows is not None:
            return rows
        keys = self._keys(statement, parameters) or []
        return self._recorder.read_rows(self._shape, self._shape.primary_key, [key for key in keys if None not in key])

    def _query_rows(self, statement: Update | Delete, parameters: Parameters) -> list[Values]:
        try:
            return self._run(statement, statements.rows_query(statement, self._shape, self._dialect), parameters)
        except DBAPIError as error:
            if not self._dialect.is_broken_text(error):
                raise
        width = len(self._shape.locator)
        query = statements.rows_query(statement, self._shape, self._dialect, as_bytes=True)
        rows = self._run(statement, query, parameters)
        return [(*row[:width], *self._dialect.values_from_bytes(row[width:])) for row in rows]

    def _run(self, statement: Update | Delete, query: Select[Any], parameters: Parameters) -> list[Values]:
        rows: dict[Values, None] = {}
        for given in parameters:
            rows |= dict.fromkeys(self._locked(statement, query, given))
        return list(rows)

    def _locked(self, statement: Update | Delete, query: Select[Any], given: Mapping[str, Any]) -> list[Values]:
        """What a query tells of the rows that the statement will find, which stay locked."""
        bound = statements.query_parameters(query, given)
        return self._fetch(latest.locking(query, statement.table, self._dialect), bound)

    def _fetch(self, query: Select[Any], bound: Mapping[str, Any] | None = None) -> list[Values]:
        with self._recorder.reading.of(self._shape):
            return [tuple(row) for row in self._connection.execute(query, bound, execution_options=self._options)]

    def _held(self, statement: Update | Delete, parameters: Parameters, rows: list[Values] | None) -> Touch:
        """A statement that might find other rows a moment later is held to those that were read."""
        touch = Touch(self._unit, self._table, statement)
        if rows is None or len(parameters) > 1:
            return touch
        touch.most_rows = len(rows)
        if statements.is_certain(statement):
            return touch
        if len(rows) <= _MOST_HELD_ROWS:
            touch.statement = statements.held_to(statement, self._is_one_of(rows))
        elif statements.is_by_chance(statement):
            raise UnrecordableWrite(
                f"a write that finds {len(rows)} rows of {self._table} by functions or plain text can't be recorded: "
                "it might find other ones a moment later",
                hint="select the keys first and write to these rows, or install capture triggers",
            )
        else:
            touch.exactly = True
        return touch

    def _is_one_of(self, rows: Sequence[Values]) -> ColumnElement[bool]:
        width = len(self._shape.locator)
        locators: list[ColumnElement[Any]] = [
            sa.literal_column(expression) for expression in self._dialect.locator_sql(self._shape)
        ]
        subject: Any = locators[0] if width == 1 else sa.tuple_(*locators)
        condition: ColumnElement[bool] = subject.in_([row[0] if width == 1 else row[:width] for row in rows])
        return condition

    def _has_children(self, columns: set[str] | None) -> bool:
        references = self._recorder.scene.shapes.references_to.get(self._table, ())
        return any(columns is None or columns & set(key.referred_columns) for key in references)

    def _expect_moves(self, statement: Update, parameters: Parameters) -> None:
        """Follow the rows whose physical place the statement changes."""
        table = statements.target(statement)
        columns = None if table is None else statements.columns_named(table, self._shape.moved_by)
        if columns is None:
            raise UnrecordableWrite(
                f"the model of {self._table} lacks a column of its key", hint="add the column to the model"
            )
        width = len(self._shape.locator)
        moves: dict[Values, Values] = {}
        for given in parameters:
            query = statements.new_keys_query(statement, self._shape, columns, given, self._dialect)
            rows = self._locked(statement, query, given)
            keys = statements.raw_values(self._connection, columns, [row[width:] for row in rows])
            moves |= {row[:width]: key for row, key in zip(rows, keys, strict=True)}
        self._unit.expect_moves(self._table, moves)

    def _refuse_replacing(self, statement: Update, columns: set[str]) -> None:
        words = statements.conflict_words(statement)
        keys = {column for key in (self._shape.primary_key, *self._shape.unique_keys) for column in key}
        ignores = "IGNORE" in words and columns & set(self._shape.moved_by)
        if "REPLACE" in words or ignores or (self._shape.replaces and columns & keys):
            raise UnrecordableWrite(
                f"an UPDATE of {self._table} that replaces or passes over the rows in its way can't be recorded",
                hint="remove those rows first, or install capture triggers",
            )

    def _read_colliding(self, statement: Insert, parameters: Parameters, action: OnConflict) -> None:
        changed = self._spelled(collisions.updated_columns(statement)) if action is OnConflict.UPDATE else set()
        if changed & set(self._shape.primary_key):
            raise UnrecordableWrite(
                f"an upsert that changes the key of {self._table} can't be followed",
                hint="change the key with update(), or install capture triggers",
            )
        self._unit.note_changes(self._table, changed)
        if action is OnConflict.REPLACE:
            self._unit.note_removal(self._table)
        expressions = [*self._dialect.locator_sql(self._shape), *self._dialect.value_sql(self._shape)]
        columns: list[ColumnElement[Any]] = [sa.literal_column(expression) for expression in expressions]
        for query in collisions.colliding_queries(statement, self._shape, parameters, columns):
            rows = self._colliding_rows(query, statement)
            self._unit.remember(self._table, rows)
            if action is not OnConflict.IGNORE:
                self._unit.remember_children(self._table, rows, changed if action is OnConflict.UPDATE else None)

    def _colliding_rows(self, query: Select[Any], statement: Insert) -> list[Values]:
        if statement.select is not None:
            return self._fetch(latest.locking(query, statement.table, self._dialect))
        rows = self._fetch(query)
        if not rows or not self._dialect.writes_see_latest:
            return rows
        # To lock keys that are free yet would lock the gaps between them, in which others are about to write.
        places = [row[: len(self._shape.locator)] for row in rows]
        return self._recorder.read_rows(self._shape, self._shape.locator, places)
