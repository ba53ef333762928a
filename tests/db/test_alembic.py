"""Migrations make the log and its triggers, and autogenerate notices where they are missing or stale."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import api, produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, inspect, text

import auditcli.alembic
from auditcli.alembic import AuditTableOp, CreateAuditLogOp, DropAuditLogOp
from auditcli.capture.triggers import log_names
from auditcli.driver import define, dialect_of, run
from auditcli.errors import NotFound
from auditcli.log.tables import log_tables
from auditcli.model import TableName

# SQLAlchemy does not know MariaDB's system-versioned tables, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Unknown schema content")

METADATA = MetaData()
_ITEM = TableName("item")
Table("item", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
Table("other", METADATA, Column("id", Integer, primary_key=True))


@pytest.fixture
def connection(any_engine: Engine) -> Iterator[Connection]:
    """A database with two tables."""
    METADATA.create_all(any_engine)
    with any_engine.connect() as connection:
        yield connection


def _operations(connection: Connection) -> Operations:
    return Operations(MigrationContext.configure(connection))


def _proposed(connection: Connection) -> list[str]:
    context = MigrationContext.configure(connection)
    script = produce_migrations(context, METADATA)
    assert script.upgrade_ops is not None
    autogenerate = api.AutogenContext(context, METADATA)
    return [line for each in script.upgrade_ops.ops for line in _rendered(autogenerate, each) if "op." in line]


def _rendered(context: api.AutogenContext, operation: object) -> list[str]:
    from alembic.autogenerate.render import render_op

    return render_op(context, operation)  # type: ignore[arg-type]


def _records(connection: Connection) -> list[tuple[str, str]]:
    connection.execute(METADATA.tables["item"].insert().values(id=1, name="a"))
    connection.execute(METADATA.tables["other"].insert().values(id=1))
    return [tuple(row) for row in connection.execute(text("SELECT table_name, row_id FROM changelog ORDER BY id"))]


def test_operations_make_a_log_that_records_the_tables_named(connection: Connection) -> None:
    op = _operations(connection)

    op.create_audit_log()  # type: ignore[attr-defined]
    op.audit_table("item")  # type: ignore[attr-defined]
    op.unaudit_table("other")  # type: ignore[attr-defined]

    assert _records(connection) == [("item", "1")]


def test_a_table_that_is_not_there_can_not_be_audited(connection: Connection) -> None:
    op = _operations(connection)
    op.create_audit_log()  # type: ignore[attr-defined]

    with pytest.raises(NotFound, match="no table itm"):
        op.audit_table("itm")  # type: ignore[attr-defined]


def test_dropping_the_log_takes_its_triggers_along(connection: Connection) -> None:
    op = _operations(connection)
    op.create_audit_log()  # type: ignore[attr-defined]
    op.audit_table("item")  # type: ignore[attr-defined]

    op.drop_audit_log()  # type: ignore[attr-defined]

    connection.execute(text("INSERT INTO item (name) VALUES ('a')"))
    assert sorted(inspect(connection).get_table_names()) == ["item", "other"]


def test_autogenerate_notices_a_missing_log(connection: Connection) -> None:
    assert _proposed(connection) == ["op.create_audit_log()"]


def test_autogenerate_leaves_a_complete_log_alone(connection: Connection) -> None:
    op = _operations(connection)
    op.create_audit_log()  # type: ignore[attr-defined]
    op.audit_table("item")  # type: ignore[attr-defined]

    assert _proposed(connection) == []


def test_autogenerate_notices_stale_triggers(connection: Connection) -> None:
    op = _operations(connection)
    op.create_audit_log()  # type: ignore[attr-defined]
    op.audit_table("item")  # type: ignore[attr-defined]
    objects = dialect_of(connection).installed_capture_sql(log_names(log_tables()))
    gone = next(row for row in run(connection, objects) if row[0] == "trigger" and row[2] == "item")
    define(connection, dialect_of(connection).drop_capture_sql(log_names(log_tables()), "trigger", gone[3], _ITEM))

    assert _proposed(connection) == ["op.audit_table('item')"]


def test_each_operation_knows_its_opposite() -> None:
    table = AuditTableOp("item", schema="s").reverse()

    assert isinstance(CreateAuditLogOp().reverse(), DropAuditLogOp)
    assert isinstance(table, auditcli.alembic.UnauditTableOp)
    assert str(table.table) == "s.item"
