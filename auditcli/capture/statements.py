"""What an INSERT, UPDATE or DELETE of SQLAlchemy says of the rows that it will touch, before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import ClauseElement, ColumnElement, Connection, Delete, Insert, Table, TableClause, Update
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ClauseList,
    ExpressionClauseList,
    False_,
    Grouping,
    Null,
    TextClause,
    True_,
    TypeClause,
    UnaryExpression,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.util import immutabledict

from auditcli.capture.scene import Values
from auditcli.dialects import Dialect
from auditcli.errors import UnrecordableWrite
from auditcli.model import TableName
from auditcli.shape import TableShape

Parameters: TypeAlias = Sequence[Mapping[str, Any]]
"""The parameter sets of one execution; a single empty one where there are none."""

Dml: TypeAlias = Insert | Update | Delete

SchemaMap: TypeAlias = "Mapping[str | None, str | None] | None"
"""A `schema_translate_map`."""


def target(statement: Dml) -> Table | None:
    """The table that the statement writes to; None for something that is no table."""
    return statement.table if isinstance(statement.table, Table) else None


def emitted(statement: Dml) -> Dml:
    """The statement as it will be compiled: what the ORM executes in bulk, class by class, names its own table.

    A class mapped to several tables has one statement for all of them, with an annotation for each table's execution.
    """
    notes = statement._annotations
    table = notes.get("_emit_insert_table", notes.get("_emit_update_table"))
    if table is None:
        return statement
    own: Any = statement._clone()
    own.table = table
    if own._values:
        own._values = immutabledict({column: value for column, value in own._values.items() if column.table is table})
    return own  # type: ignore[no-any-return]  # a clone of its own class


def is_emitted_in_bulk(statement: Dml) -> bool:
    """Whether the ORM executes it for many rows; it fetches the keys along with what the application wants."""
    return "_emit_insert_table" in statement._annotations


def entity(statement: Dml) -> Any:
    """The mapped class (or its mapper) that the statement was written for; None for a plain table."""
    return statement.table._annotations.get("parententity")


def table_name(table: TableClause, schema_map: SchemaMap, default: str | None) -> TableName:
    """The table's name in the database, after a `schema_translate_map`; the default schema goes without saying."""
    schema = (schema_map or {}).get(table.schema, table.schema)
    return TableName(table.name, None if schema == default else schema)


def raw_values(connection: Connection, columns: Sequence[ColumnElement[Any]], rows: Iterable[Values]) -> list[Values]:
    """Python values as the driver will store them in these columns."""
    processors = [column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for column in columns]
    if not any(processors):
        return list(rows)
    return [
        tuple(process(value) if process else value for process, value in zip(processors, row, strict=True))
        for row in rows
    ]


def are_stored_as_sent(columns: Iterable[ColumnElement[Any]]) -> bool:
    """Whether the columns hold what the driver is given, and give it back: some types put SQL around their values."""
    return not any(column.type._has_bind_expression or column.type._has_column_expression for column in columns)


def key_equality(statement: Update | Delete, key: Sequence[ColumnElement[Any]]) -> list[BindParameter[Any]] | None:
    """The parameters that the WHERE clause compares the key's columns with; None where it finds rows another way."""
    where = statement.whereclause
    if where is None or not key:
        return None
    terms = where.clauses if isinstance(where, BooleanClauseList) and where.operator is operators.and_ else [where]
    compared = {term.left.key: term.right for term in terms if _compares_column(term, target(statement))}
    found = [compared.get(column.key) for column in key]
    return found if all(bind is not None for bind in found) else None  # type: ignore[return-value]  # just tested


def _compares_column(term: Any, table: Table | None) -> bool:
    return (
        isinstance(term, BinaryExpression)
        and term.operator is operators.eq
        and isinstance(term.right, BindParameter)
        and not term.right.expanding
        and not term.right.type._has_bind_expression
        and _is_own_column(term.left, table)
    )


def _is_own_column(element: Any, table: Table | None) -> bool:
    """Whether a column is one of the table itself; an alias of the table stands for other rows."""
    of = getattr(element, "table", None)
    return table is not None and isinstance(of, Table) and (of is table or of.is_derived_from(table))


def key_values(binds: Sequence[BindParameter[Any]], parameters: Parameters) -> list[Values]:
    """What the key's parameters are in each parameter set."""
    own = [(bind.key, bind.effective_value) for bind in binds]
    return [tuple([given.get(name, value) for name, value in own]) for given in parameters]


def rows_query(
    statement: Update | Delete, shape: TableShape, dialect: Dialect, *, as_bytes: bool = False
) -> Select[Any]:
    """Reads locator and stored values of the rows that the statement's WHERE clause finds."""
    expressions = [*dialect.locator_sql(shape), *dialect.value_sql(shape, as_bytes=as_bytes)]
    return matching(statement, [sa.literal_column(expression) for expression in expressions])


def matching(statement: Update | Delete, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """A SELECT of these columns from the rows that the statement's WHERE clause finds."""
    # The table knows the entity that it was given as, and the ORM adds by itself what it adds to the statement.
    criteria = [option for option in statement._with_options if getattr(option, "_is_criteria_option", False)]
    query = sa.select(*columns).select_from(statement.table).options(*criteria)
    return query if statement.whereclause is None else query.where(statement.whereclause)


def query_parameters(query: Select[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an execution's parameters that the query takes."""
    names = {element.key for element in visitors.iterate(query) if isinstance(element, BindParameter)}
    return {name: value for name, value in given.items() if name in names}


def is_certain(statement: Update | Delete) -> bool:
    """Whether the WHERE clause decides row by row, so that it finds the same ones a moment later."""
    where = statement.whereclause
    table = target(statement)
    return where is None or all(_is_certain(element, table) for element in visitors.iterate(where))


def _is_certain(element: Any, table: Table | None) -> bool:
    if isinstance(element, sa.ColumnClause):
        return _is_own_column(element, table)
    return isinstance(element, _PLAIN_ELEMENTS) or _is_function(element, _PURE_FUNCTIONS)


def writes_inside(statement: Update | Delete) -> bool:
    """Whether the WHERE clause itself contains statements that write."""
    where = statement.whereclause
    return where is not None and any(isinstance(element, Dml) for element in visitors.iterate(where))


def is_by_chance(statement: Update | Delete) -> bool:
    """Whether the WHERE clause might choose any rows the next time: nobody knows what it calls."""
    where = statement.whereclause
    return where is not None and any(map(is_unpredictable, visitors.iterate(where)))


def is_unpredictable(element: Any) -> bool:
    """Plain text, and functions that are not known to give the same again."""
    if isinstance(element, sa.ColumnClause):
        return element.is_literal
    return isinstance(element, TextClause) or (
        isinstance(element, FunctionElement) and not _is_function(element, _PURE_FUNCTIONS | _STEADY_FUNCTIONS)
    )


def _is_function(element: Any, names: frozenset[str]) -> bool:
    return isinstance(element, FunctionElement) and getattr(element, "name", "").lower() in names


_PLAIN_ELEMENTS = (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    sa.Case,
    sa.Cast,
    ClauseList,
    ExpressionClauseList,
    False_,
    Grouping,
    Null,
    True_,
    sa.Tuple,
    TypeClause,
    UnaryExpression,
)
_PURE_FUNCTIONS = frozenset(
    [
        "abs",
        "coalesce",
        "hex",
        "ifnull",
        "instr",
        "json_extract",
        "length",
        "lower",
        "ltrim",
        "nullif",
        "replace",
        "round",
        "rtrim",
        "substr",
        "trim",
        "upper",
    ]
)
_STEADY_FUNCTIONS = frozenset(
    [
        "avg",
        "char_length",
        "concat",
        "count",
        "current_date",
        "current_time",
        "current_timestamp",
        "date",
        "datetime",
        "julianday",
        "max",
        "min",
        "now",
        "strftime",
        "sum",
        "time",
        "total",
    ]
)


def is_multi_table(statement: Update | Delete) -> bool:
    """Whether the WHERE clause joins other tables, which a SET clause may use."""
    where = statement.whereclause
    return where is not None and any(part is not statement.table for part in where._from_objects)


def held_to(statement: Update | Delete, rows: ColumnElement[bool]) -> Update | Delete:
    """The statement, finding these rows and no others whatever its WHERE clause says by then."""
    where = statement.whereclause
    held = statement.where(rows)
    if where is None or is_multi_table(statement):
        return held
    # The clause stays for its parameters alone.
    held._where_criteria = (rows, sa.or_(sa.literal_column("1 = 1"), where))
    return held


def is_split(statement: Update) -> bool:
    """Whether the SET clause gives values to columns of other tables too."""
    table = target(statement)
    return any(
        isinstance(column, sa.Column) and not _is_own_column(column, table) for column in statement._values or ()
    )


def is_one_row(statement: Dml) -> bool:
    """Whether the statement inserts a single row, which is there or not."""
    return isinstance(statement, Insert) and not statement._multi_values and statement.select is None


def conflict_words(statement: Dml) -> frozenset[str]:
    """The words of `prefix_with`, such as OR and IGNORE."""
    return frozenset(" ".join(str(prefix) for prefix, _ in statement._prefixes).upper().split())


def assigned(statement: Update | Insert, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns (by name) that the statement gives a value to with one parameter set, with value or expression."""
    where_names = _where_names(statement)
    own = dict(statement._values or getattr(statement, "_ordered_values", None) or {})
    named = {_column_name(statement, column): _plain(value, given) for column, value in own.items()}
    sent = {_column_name(statement, name): value for name, value in given.items() if name not in where_names}
    return {name: value for name, value in {**named, **sent}.items() if name is not None}


def assigned_names(statement: Update, given: Mapping[str, Any]) -> set[str]:
    """The columns (by name) that an UPDATE gives values to; some values differ each time that they are asked for."""
    where_names = _where_names(statement)
    own = statement._values or getattr(statement, "_ordered_values", None) or {}
    names = [*dict(own), *(name for name in given if name not in where_names)]
    return {found for name in names if (found := _column_name(statement, name)) is not None}


def _plain(value: Any, given: Mapping[str, Any]) -> Any:
    """The value that a parameter stands for; expressions stay."""
    if not isinstance(value, BindParameter):
        return value
    return given.get(value.key, value if value.required else value.effective_value)


def _column_name(statement: Update | Insert, column: Any) -> str | None:
    """The database's name of a column given as a column, a mapped attribute, a column key or an attribute's name."""
    if not isinstance(column, str):
        return str(column.name) if isinstance(column, sa.Column) else str(sa.inspect(column).expression.name)
    table = target(statement)
    if table is not None and column in table.c:
        return table.c[column].name
    mapped = entity(statement)
    attribute = None if mapped is None else mapped.mapper.column_attrs.get(column)
    return None if attribute is None else str(attribute.columns[0].name)


def _where_names(statement: Update | Insert) -> set[str]:
    where = statement.whereclause if isinstance(statement, Update) else None
    if where is None:
        return set()
    return {element.key for element in visitors.iterate(where) if isinstance(element, BindParameter)}


def columns_named(table: Table, names: Iterable[str]) -> list[sa.Column[Any]] | None:
    """The table's columns of these names, however spelled; None where the model leaves one of them out."""
    by_name = {column.name.lower(): column for column in table.c}
    wanted = [name.lower() for name in names]
    return [by_name[name] for name in wanted] if all(name in by_name for name in wanted) else None


def new_keys_query(
    statement: Update, shape: TableShape, columns: Sequence[sa.Column[Any]], given: Mapping[str, Any], dialect: Dialect
) -> Select[Any]:
    """Reads the locators of the rows that an UPDATE finds, and the values that its SET clause will give `columns`."""
    values = assigned(statement, given)
    located: list[ColumnElement[Any]] = [sa.literal_column(expression) for expression in dialect.locator_sql(shape)]
    new = [_as_expression(column, values.get(column.name, column)) for column in columns]
    if any(is_unpredictable(element) for value in new for element in visitors.iterate(value)):
        raise UnrecordableWrite(
            f"an UPDATE that makes keys of {shape.table} with functions or plain text can't be followed",
            hint="give the new keys as values or arithmetic, or install capture triggers",
        )
    return matching(statement, [*located, *new])


def _as_expression(column: sa.Column[Any], value: Any) -> Any:
    return value if isinstance(value, ClauseElement) else sa.literal(value, column.type)
