"""Which table a statement writes to, and whether that matters to the log."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from sqlalchemy import Connection, TableClause

from auditcli.capture.scene import Scene
from auditcli.capture.statements import Dml, SchemaMap, table_name, target
from auditcli.driver import run
from auditcli.errors import UnrecordableWrite
from auditcli.model import TableName


def written_tables_of(scene: Scene, connection: Connection, statement: Dml, schema_map: SchemaMap) -> list[TableName]:
    """The table that a statement writes to, whatever it is, unless it is nobody's history."""
    written: Any = statement.table
    if not isinstance(written, TableClause):
        return []
    name = table_name(written, schema_map, connection.dialect.default_schema_name)
    known = _known_name(scene, name)
    if known is not None:
        return [known] if scene.matters(known) else []
    return [name] if _is_history(scene, name, _kind(scene, connection, name)) else []


def recorded_target(scene: Scene, connection: Connection, statement: Dml, schema_map: SchemaMap) -> TableName | None:
    """The table that a statement writes to, if what it does there is to be recorded here.

    Raises UnrecordableWrite for a target whose rows can't be followed.
    """
    if not scene.is_recording:
        return None
    table = target(statement)
    if table is None:
        raise UnrecordableWrite(
            f"a write to {_described(statement.table)}, which is no Table, can't be recorded",
            hint="write to the Table itself, or wrap it in `auditcli.untracked(reason)`, which leaves a gap",
        )
    name = table_name(table, schema_map, connection.dialect.default_schema_name)
    known = _known_name(scene, name)
    if known is not None:
        if not scene.matters(known):
            return None
        refuse_without_address(scene, known)
        _refuse_without_transactions(scene, known)
        return known
    kind = _kind(scene, connection, name)
    if _is_history(scene, name, kind):
        raise UnrecordableWrite(
            f"a write to the {kind} {name} can't be recorded by listeners",
            hint="write to its table, exclude it (`exclude_tables`), or wrap it in `auditcli.untracked(reason)`",
        )
    return None


def written_by_text(scene: Scene, connection: Connection, names: Set[str]) -> list[TableName]:
    """Which of these tables and views, in lower case, that plain SQL writes to matter to the log."""
    by_name: dict[str, list[TableName]] = {}
    for table in scene.shapes.tables:
        by_name.setdefault(table.name.lower(), []).append(table)
    found = [table for name in names for table in by_name.get(name, ()) if scene.matters(table)]
    if scene.is_recording:
        others = [TableName(name) for name in sorted(names - by_name.keys())]
        found += [name for name in others if _is_history(scene, name, _kind(scene, connection, name))]
    return sorted(found, key=str)


def refuse_without_address(scene: Scene, table: TableName) -> None:
    """Raise UnrecordableWrite for a table whose rows can't be read again after a write."""
    if not scene.shape(table).locator:
        raise UnrecordableWrite(
            f"{table} has no primary key, and {scene.dialect.without_locator}: its rows can't be told apart",
            hint="give the table a primary key, install capture triggers (`audit init`), "
            "or exclude it (`exclude_tables`)",
        )


def _refuse_without_transactions(scene: Scene, table: TableName) -> None:
    if scene.records(table) and not scene.shape(table).is_transactional:
        raise UnrecordableWrite(
            f"a write to {table} can't be recorded by listeners: its engine has no transactions, "
            "so a rollback would take the record back and leave the rows",
            hint=f"{scene.dialect.make_transactional_sql.format(table=table)}, exclude it (`exclude_tables`), "
            "or wrap it in `auditcli.untracked(reason)`, which leaves a gap",
        )


def _described(written: Any) -> str:
    element = getattr(written, "element", None)
    return f"an alias of {element}" if isinstance(element, TableClause) else str(written)


def _known_name(scene: Scene, name: TableName) -> TableName | None:
    """The table as the database spells it; None where there is none."""
    if name in scene.shapes.tables:
        return name
    wanted = str(name).lower()
    return next((table for table in scene.shapes.tables if str(table).lower() == wanted), None)


def _kind(scene: Scene, connection: Connection, name: TableName) -> str | None:
    """What a name is that is no table."""
    kinds = run(connection, scene.dialect.relation_kind_sql(), (name.name,))
    return next(iter(kinds.scalars().all()), None)


def _is_history(scene: Scene, name: TableName, kind: str | None) -> bool:
    """Whether somebody will ask for it: temporary tables are nobody's history."""
    return kind not in (None, "temporary") and scene.tracking.covers(name)
