"""The tables that are replayed into: which are missing, whether the others fit, and in which order rows come in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from auditcli.errors import NotFound, UsageError
from auditcli.model import TableName
from auditcli.shape import TableShape
from auditcli.transfer import Transfer, columns_that_differ


def missing_tables(
    tables: Iterable[TableName],
    shapes: Mapping[TableName, TableShape],
    there: Mapping[TableName, TableShape],
    transfer: Transfer,
    *,
    create: bool,
) -> list[TableName]:
    """The tables that the target lacks; `shapes` are the source's, `there` the target's.

    Raises NotFound where they can't be created, and UsageError where one that is there lacks a column.
    """
    wanted = sorted(tables, key=str)
    missing = [table for table in wanted if transfer.table(table) not in there]
    if missing and not create:
        named = ", ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise NotFound(
            f"the target has no table {named}", hint="--create-tables makes what is missing, as the log knows it"
        )
    unknown = [table for table in missing if table not in shapes]
    if unknown:
        raise NotFound(f"the log does not know what {unknown[0]} looks like", hint="create it in the target")
    for table in wanted:
        if table in shapes and table not in missing:
            _check_columns(shapes[table], there[transfer.table(table)])
    return missing


def _check_columns(shape: TableShape, other: TableShape) -> None:
    differ = columns_that_differ(shape, other)
    if differ:
        raise UsageError(
            f"{other.table} in the target has no column {', '.join(differ)}",
            hint="add it there, or leave the table out: not:table:" + str(shape.table),
        )


def parents_first(tables: Collection[TableName], references: Mapping[TableName, set[TableName]]) -> list[TableName]:
    """The tables so that each comes after those that it refers to, as far as circles let it."""
    ordered: list[TableName] = []
    left = sorted(tables, key=str)
    while left:
        free = [table for table in left if not (references.get(table, set()) - {table}) & set(left)]
        chosen = free or left[:1]
        ordered += chosen
        left = [table for table in left if table not in chosen]
    return ordered
