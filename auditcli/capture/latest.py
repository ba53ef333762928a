"""Reading, before a write, what the write will find.

On MariaDB a write finds what others committed since the transaction's snapshot. Of reads only those that lock do, and
then what they read in a subquery is as old as the snapshot unless the subquery locks too (InnoDB, "Consistent
Nonlocking Reads").
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from sqlalchemy import ClauseElement, ColumnClause, Connection, FromClause, TableClause, TextClause
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import CompoundSelect, ForUpdateArg, Select, SelectStatementGrouping

from auditcli.capture.sqltext import words_in
from auditcli.capture.statements import is_unpredictable
from auditcli.dialects import Dialect
from auditcli.dialects.lexis import Lexis
from auditcli.driver import run
from auditcli.errors import UnrecordableWrite
from auditcli.model import TableName


def locking(query: Select[Any], of: FromClause, dialect: Dialect) -> Select[Any]:
    """The query, which locks its rows of one table and finds those that a write would find now."""
    if not dialect.row_lock_sql:
        return query
    if not dialect.writes_see_latest:
        return query.with_for_update(of=of)
    # Options can't be copied, and need not be.
    as_they_are = [option for each in visitors.iterate(query) for option in getattr(each, "_with_options", ())]
    sharing: dict[str, Callable[[Any], None]] = {"select": _share, "compound_select": _set_apart}
    return visitors.cloned_traverse(query, {"stop_on": as_they_are}, sharing).with_for_update()


def _share(select: Select[Any]) -> None:
    select._for_update_arg = ForUpdateArg(read=True)


def _set_apart(union: CompoundSelect[Any]) -> None:
    """Each part of a union may have a lock of its own inside brackets only."""
    union.selects = [SelectStatementGrouping(part) if isinstance(part, Select) else part for part in union.selects]


def refuse_hidden_reads(
    connection: Connection,
    dialect: Dialect,
    table: TableName,
    clauses: Iterable[ClauseElement],
    known: Container[TableName],
) -> None:
    """Raise UnrecordableWrite where clauses of a write read what no lock of ours reaches: by views, functions, text."""
    if not dialect.writes_see_latest:
        return
    lexis = dialect.lexis(connection.connection.driver_connection)
    names = {name for clause in clauses for name in _hidden_names(clause, known, lexis)}
    if not names:
        return
    hidden = {"plain text"}
    if "select" not in names:
        question = dialect.hidden_reads(sorted(names))
        hidden = {row[0] for row in run(connection, question.sql, question.values)}
    if hidden:
        raise UnrecordableWrite(
            f"a write to {table} that reads other rows by {', '.join(sorted(hidden))} can't be recorded by listeners: "
            "it would find what others committed since this transaction began to read, and a look before it does not",
            hint="write subqueries with select() from the tables themselves, or install capture triggers",
        )


def _hidden_names(clause: ClauseElement, known: Container[TableName], lexis: Lexis) -> Iterator[str]:
    """The names, in lower case, by which a clause may read rows that its own subqueries don't show."""
    for element in visitors.iterate(clause):
        if isinstance(element, TextClause):
            yield from words_in(element.text, lexis)
        elif isinstance(element, ColumnClause):
            yield from words_in(element.name, lexis) if element.is_literal else ()
        elif isinstance(element, FunctionElement):
            yield from (element.name.lower(),) if is_unpredictable(element) else ()
        elif isinstance(element, TableClause) and TableName(element.name) not in known:
            yield from (element.name.lower(), element.schema.lower()) if element.schema else (element.name.lower(),)
