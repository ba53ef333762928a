"""A database as it was, written into another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from auditcli.apply import PlanConflict
from auditcli.applying.refusal import Refused
from auditcli.asof import Doubt, Past, PastTable
from auditcli.capture.context import context
from auditcli.clock import Clock, utc_now
from auditcli.connect import Database
from auditcli.errors import ConflictError, NotFound
from auditcli.model import Image, TableName
from auditcli.plan import PlanOptions
from auditcli.replaying.target import ReplayTarget
from auditcli.shape import TableShape
from auditcli.transfer import Transfer

__all__ = ["Restored", "check_restore", "restore"]


@dataclass(frozen=True)
class Restored:
    """What was written: how many tables and rows, and what of their definitions can't be there."""

    tables: int
    rows: int
    notes: tuple[str, ...] = ()


def check_restore(past: Past, source: Database, target: Database) -> None:
    """Raise UsageError, NotFound or ConflictError where the tables can't be written into the target."""
    with target.engine.connect() as connection:
        _checked(_target(connection, past, source, target, utc_now), past)


def restore(
    past: Past,
    source: Database,
    target: Database,
    *,
    actor: str | None = None,
    reason: str | None = None,
    clock: Clock = utc_now,
    tell: Callable[[int], None] = lambda _rows: None,
) -> Restored:
    """Create the tables and write their rows, in one transaction where definitions can be part of one.

    Raises ConflictError where a table has rows already or a row can't be written; no row is written then.
    """
    with target.engine.connect() as connection, context(actor=actor, reason=reason):
        writing = _target(connection, past, source, target, clock)
        missing = _checked(writing, past)
        tables = [each.table for each in past.tables]
        if not target.dialect.transactional_ddl:
            with writing.transaction():
                writing.create(missing)
        try:
            with writing.transaction():
                if target.dialect.transactional_ddl:
                    writing.create(missing)
                written = writing.write_rows(_rows_of(past), tables, tell)
        except (PlanConflict, Refused) as conflict:
            first = conflict.conflicts[0].message if conflict.conflicts else str(conflict)
            raise ConflictError(
                f"the target can't hold it, no row was written: {first}",
                hint="restore into a database of the same kind, or fewer tables with --table",
            ) from conflict
    return Restored(len(tables), written.rows, tuple(writing.notes))


def _target(connection: Connection, past: Past, source: Database, target: Database, clock: Clock) -> ReplayTarget:
    shapes = {each.table: shape for each in past.tables if (shape := _shape_of(each)) is not None}
    transfer = Transfer(source.dialect, target.dialect)
    return ReplayTarget(connection, target, transfer, clock, PlanOptions(), shapes, kept="no row was written")


def _checked(target: ReplayTarget, past: Past) -> list[TableName]:
    """The tables that are to be created."""
    tables = [each.table for each in past.tables]
    if not tables:
        raise NotFound("there was no table then", hint="`audit status` says what is recorded")
    filled = target.with_rows(tables)
    if filled:
        raise ConflictError(
            f"the target has rows in {_listed(filled)}: they would be mixed with those of then",
            hint="name a new database, or choose other tables with --table",
        )
    return target.to_create(tables, create=True)


def _rows_of(past: Past) -> Callable[[TableName], Iterable[Image]]:
    by_name = {each.table: each for each in past.tables}
    return lambda table: past.rows(by_name[table])


def _shape_of(past: PastTable) -> TableShape | None:
    """The table of then with those columns that are known, without keys and rules of the others."""
    shape = past.shape
    if shape is None:
        return None
    unknown = {column for caveat in past.caveats if caveat.doubt is Doubt.LOST for column in caveat.columns}
    known = frozenset(past.columns)
    return replace(
        shape,
        columns=tuple(
            replace(column, nullable=column.nullable or column.name in unknown)
            for column in shape.columns
            if column.name in known
        ),
        unique_keys=tuple(key for key in shape.unique_keys if known.issuperset(key)),
        foreign_keys=tuple(key for key in shape.foreign_keys if known.issuperset(key.columns)),
    )


def _listed(tables: Sequence[TableName]) -> str:
    more = f" and {len(tables) - 5} more" if len(tables) > 5 else ""
    return ", ".join(map(str, tables[:5])) + more
