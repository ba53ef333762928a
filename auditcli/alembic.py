"""Alembic operations for the log and its triggers; importing this module in `env.py` is all that is needed.

    import auditcli.alembic

    op.create_audit_log()          op.drop_audit_log()
    op.audit_table("orders")       op.unaudit_table("orders")

Autogenerate notices a log that is missing or old and tables whose triggers are missing or stale, and leaves the log's
own tables alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import alembic.util
from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from sqlalchemy import Connection

from auditcli.capture.triggers import plan_capture, refresh_triggers
from auditcli.driver import dialect_of
from auditcli.errors import NotFound, UsageError
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking, write_tracking
from auditcli.log.tables import DEFAULT_NAME, LogTables, log_tables
from auditcli.log.upgrade import check_log, find_log, init_log
from auditcli.model import TableName

# Before it had priorities, Alembic compared in the order of registration.
_LAST: dict[str, Any] = (
    {"priority": alembic.util.DispatchPriority.LAST} if hasattr(alembic.util, "DispatchPriority") else {}
)


class _AuditOp(MigrateOperation):
    """What all of the operations say: which log they are about."""

    def __init__(self, *, log_table: str = DEFAULT_NAME, log_schema: str | None = None) -> None:
        self.log_table = log_table
        self.log_schema = log_schema

    @property
    def tables(self) -> LogTables:
        """The tables of that log."""
        return log_tables(self.log_table, self.log_schema)

    @property
    def options(self) -> list[str]:
        """The arguments that are not the usual ones, as a migration script spells them."""
        named = {"log_table": self.log_table, "log_schema": self.log_schema}
        usual = {"log_table": DEFAULT_NAME, "log_schema": None}
        return [f"{name}={value!r}" for name, value in named.items() if value != usual[name]]


@Operations.register_operation("create_audit_log")
class CreateAuditLogOp(_AuditOp):
    """Create the log, or upgrade it in place."""

    @classmethod
    def create_audit_log(cls, operations: Operations, **options: Any) -> None:
        """Create the change log, or bring an older one up to date."""
        operations.invoke(cls(**options))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropAuditLogOp(log_table=self.log_table, log_schema=self.log_schema)


@Operations.register_operation("drop_audit_log")
class DropAuditLogOp(_AuditOp):
    """Take away all triggers and the log with all its records."""

    @classmethod
    def drop_audit_log(cls, operations: Operations, **options: Any) -> None:
        """Take away all capture triggers, and the change log with all its records."""
        operations.invoke(cls(**options))

    def reverse(self) -> MigrateOperation:
        """Create an empty one."""
        return CreateAuditLogOp(log_table=self.log_table, log_schema=self.log_schema)


class _TableOp(_AuditOp):
    def __init__(self, table: str, *, schema: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.table = TableName(table, schema)

    def _other(self, kind: type[_TableOp]) -> MigrateOperation:
        schema = self.table.schema
        return kind(self.table.name, schema=schema, log_table=self.log_table, log_schema=self.log_schema)


@Operations.register_operation("audit_table")
class AuditTableOp(_TableOp):
    """Track a table: install its triggers, or refresh them."""

    @classmethod
    def audit_table(cls, operations: Operations, table: str, **options: Any) -> None:
        """Install the table's capture triggers, or refresh them."""
        operations.invoke(cls(table, **options))

    def reverse(self) -> MigrateOperation:
        """Track it no longer."""
        return self._other(UnauditTableOp)


@Operations.register_operation("unaudit_table")
class UnauditTableOp(_TableOp):
    """Track a table no longer; what the log holds of it stays."""

    @classmethod
    def unaudit_table(cls, operations: Operations, table: str, **options: Any) -> None:
        """Take away the table's capture triggers; what the log holds of it stays."""
        operations.invoke(cls(table, **options))

    def reverse(self) -> MigrateOperation:
        """Track it again."""
        return self._other(AuditTableOp)


@Operations.implementation_for(CreateAuditLogOp)
def _create_log(operations: Operations, operation: CreateAuditLogOp) -> None:
    init_log(_connection(operations), operation.tables)


@Operations.implementation_for(DropAuditLogOp)
def _drop_log(operations: Operations, operation: DropAuditLogOp) -> None:
    connection = _connection(operations)
    check_log(connection, operation.tables)
    dialect = dialect_of(connection)
    nothing = Tracking(exclude_tables=("*",))
    refresh_triggers(connection, operation.tables, dialect, nothing)
    operation.tables.metadata.drop_all(connection)


@Operations.implementation_for(AuditTableOp)
def _audit_table(operations: Operations, operation: AuditTableOp) -> None:
    _track(operations, operation, is_wanted=True)


@Operations.implementation_for(UnauditTableOp)
def _unaudit_table(operations: Operations, operation: UnauditTableOp) -> None:
    _track(operations, operation, is_wanted=False)


def _track(operations: Operations, operation: _TableOp, *, is_wanted: bool) -> None:
    connection, tables, table = _connection(operations), operation.tables, operation.table
    check_log(connection, tables)
    dialect = dialect_of(connection)
    if is_wanted and table not in read_shapes(connection, dialect).tables:
        raise NotFound(f"no table {table} to audit", hint="create it first, in this migration or an earlier one")
    tracking = _with(read_tracking(connection, tables), table) if is_wanted else _without(connection, tables, table)
    write_tracking(connection, tables, tracking)
    refresh_triggers(connection, tables, dialect, tracking)


def _with(tracking: Tracking, table: TableName) -> Tracking:
    word = str(table)
    kept = tuple(pattern for pattern in tracking.exclude_tables if pattern != word)
    named = tracking.tables if not tracking.tables or tracking.covers(table) else (*tracking.tables, word)
    changed = replace(tracking, tables=named, exclude_tables=kept, triggers=True)
    if not changed.covers(table):
        raise UsageError(
            f"{table} is left out of the log by a pattern: {', '.join(kept)}",
            hint="change the pattern with `audit init --exclude …`",
        )
    return changed


def _without(connection: Connection, tables: LogTables, table: TableName) -> Tracking:
    tracking = read_tracking(connection, tables)
    named = tuple(pattern for pattern in tracking.tables if pattern != str(table))
    if tracking.tables and not named:
        return replace(tracking, tables=(), exclude_tables=(*tracking.exclude_tables, "*"))
    changed = replace(tracking, tables=named)
    return replace(changed, exclude_tables=(*changed.exclude_tables, str(table))) if changed.covers(table) else changed


def _connection(operations: Operations) -> Connection:
    connection = operations.get_bind()
    if operations.migration_context.as_sql or not isinstance(connection, Connection):
        raise UsageError(
            "the audit operations need a database: what they do depends on what is there",
            hint="run the migration online; `audit init --dry-run` prints the SQL for a given database",
        )
    return connection


# After the comparison of tables, whose proposals about the log are taken back.
@comparators.dispatch_for("schema", **_LAST)
def _compare(context: AutogenContext, upgrade: UpgradeOps, _schemas: Collection[str | None]) -> None:
    """Propose what is missing of the log and its triggers, and leave the log's own tables alone."""
    connection = context.connection
    if connection is None:
        return
    tables = log_tables(**(context.opts or {}).get("auditcli", {}))
    _keep_log(upgrade, tables)
    info = find_log(connection, tables)
    options: dict[str, Any] = {"log_table": tables.name, "log_schema": tables.schema}
    if info is None or info.is_older:
        upgrade.ops.append(CreateAuditLogOp(**options))
        return
    dialect = dialect_of(connection)
    for table in plan_capture(connection, tables, dialect, read_tracking(connection, tables)).tables():
        upgrade.ops.append(AuditTableOp(table.name, schema=table.schema, **options))


def _keep_log(upgrade: UpgradeOps, tables: LogTables) -> None:
    """Take back what autogenerate says about tables that no model describes because they are the log's own."""
    own = tables.table_names

    def is_own(operation: MigrateOperation) -> bool:
        if not isinstance(operation, DropTableOp | ModifyTableOps):
            return False
        return TableName(operation.table_name, operation.schema) in own

    upgrade.ops[:] = [operation for operation in upgrade.ops if not is_own(operation)]


@renderers.dispatch_for(CreateAuditLogOp)
def _render_create(_context: AutogenContext, operation: CreateAuditLogOp) -> str:
    return _call("create_audit_log", operation.options)


@renderers.dispatch_for(DropAuditLogOp)
def _render_drop(_context: AutogenContext, operation: DropAuditLogOp) -> str:
    return _call("drop_audit_log", operation.options)


@renderers.dispatch_for(AuditTableOp)
def _render_audit(_context: AutogenContext, operation: AuditTableOp) -> str:
    return _call("audit_table", _table_arguments(operation))


@renderers.dispatch_for(UnauditTableOp)
def _render_unaudit(_context: AutogenContext, operation: UnauditTableOp) -> str:
    return _call("unaudit_table", _table_arguments(operation))


def _table_arguments(operation: _TableOp) -> list[str]:
    schema = [f"schema={operation.table.schema!r}"] if operation.table.schema is not None else []
    return [repr(operation.table.name), *schema, *operation.options]


def _call(name: str, arguments: Sequence[str]) -> str:
    return f"op.{name}({', '.join(arguments)})"
