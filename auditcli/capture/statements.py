"""What an INSERT, UPDATE or DELETE of SQLAlchemy says of the rows that it will touch, before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Delete, Insert, Table, Update
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select

from auditcli.capture.recorder import Values
from auditcli.dialects import Dialect
from auditcli.model import TableName
from auditcli.shape import TableShape

Parameters: TypeAlias = Sequence[Mapping[str, Any]]
"""The parameter sets of one execution; a single empty one where there are none."""

Dml: TypeAlias = Insert | Update | Delete


def target(statement: Dml) -> Table | None:
    """The table that the statement writes to; None for something that is no table."""
    return statement.table if isinstance(statement.table, Table) else None


def entity(statement: Dml) -> Any:
    """The mapped class (or its mapper) that the statement was written for; None for a plain table."""
    return statement.table._annotations.get("parententity")


def table_name(table: Table, schema_map: Mapping[str | None, str | None] | None, default: str | None) -> TableName:
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


def key_equality(statement: Update | Delete, key: Sequence[ColumnElement[Any]]) -> list[BindParameter[Any]] | None:
    """The parameters that the WHERE clause compares the key's columns with; None where it finds rows another way."""
    where = statement.whereclause
    if where is None or not key:
        return None
    terms = where.clauses if isinstance(where, BooleanClauseList) and where.operator is operators.and_ else [where]
    compared = {term.left.key: term.right for term in terms if _compares_column(term, statement)}
    found = [compared.get(column.key) for column in key]
    return found if all(bind is not None for bind in found) else None  # type: ignore[return-value]  # just tested


def _compares_column(term: Any, statement: Update | Delete) -> bool:
    return (
        isinstance(term, BinaryExpression)
        and term.operator is operators.eq
        and isinstance(term.right, BindParameter)
        and not term.right.expanding
        and getattr(term.left, "table", None) is not None
        and term.left.table.is_derived_from(target(statement))
    )


def key_values(binds: Sequence[BindParameter[Any]], parameters: Parameters) -> list[Values]:
    """What the key's parameters are in each parameter set."""
    return [
        tuple(given[bind.key] if bind.key in given else bind.effective_value for bind in binds) for given in parameters
    ]


def rows_query(
    statement: Update | Delete, shape: TableShape, dialect: Dialect, *, as_bytes: bool = False
) -> Select[Any]:
    """Reads locator and stored values of the rows that the statement's WHERE clause finds."""
    expressions = [*dialect.locator_sql(shape), *dialect.value_sql(shape, as_bytes=as_bytes)]
    return matching(statement, [sa.literal_column(expression) for expression in expressions])


def matching(statement: Update | Delete, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """A SELECT of these columns from the rows that the statement's WHERE clause finds."""
    # An entity brings along what the ORM adds by itself, such as the discriminator of single-table inheritance.
    mapped = entity(statement)
    query = sa.select(*columns).select_from(statement.table if mapped is None else mapped)
    query = query.options(*statement._with_options)
    return query if statement.whereclause is None else query.where(statement.whereclause)


def query_parameters(query: Select[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an execution's parameters that the query takes."""
    names = {element.key for element in visitors.iterate(query) if isinstance(element, BindParameter)}
    return {name: value for name, value in given.items() if name in names}


def may_vary(statement: Update | Delete) -> bool:
    """Whether the WHERE clause might find other rows a moment later: it calls a function or holds plain text."""
    where = statement.whereclause
    return where is not None and any(
        isinstance(element, FunctionElement | TextClause) for element in visitors.iterate(where)
    )


def assigned(statement: Update | Insert, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns (by name) that the statement gives a value to with one parameter set, with value or expression."""
    where_names = _where_names(statement)
    own = {_column_name(statement, column): value for column, value in dict(statement._values or {}).items()}
    sent = {_column_name(statement, name): value for name, value in given.items() if name not in where_names}
    return {name: _plain(value) for name, value in {**own, **sent}.items() if name is not None}


def _plain(value: Any) -> Any:
    """A literal that SQLAlchemy wrapped into a parameter, as it was; expressions stay."""
    return value.effective_value if isinstance(value, BindParameter) and not value.required else value


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
    """The table's columns of these names; None where the model leaves one of them out."""
    by_name = {column.name: column for column in table.c}
    wanted = list(names)
    return [by_name[name] for name in wanted] if all(name in by_name for name in wanted) else None


def new_keys_query(
    statement: Update, shape: TableShape, columns: Sequence[sa.Column[Any]], given: Mapping[str, Any], dialect: Dialect
) -> Select[Any]:
    """Reads the locators of the rows that an UPDATE finds, and the values that its SET clause will give `columns`."""
    values = assigned(statement, given)
    located = [sa.literal_column(expression) for expression in dialect.locator_sql(shape)]
    new = [_as_expression(column, values.get(column.name, column)) for column in columns]
    return matching(statement, [*located, *new])


def _as_expression(column: sa.Column[Any], value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else sa.literal(value, column.type)
