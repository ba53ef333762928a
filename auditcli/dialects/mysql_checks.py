"""What MariaDB and MySQL can be asked about the completeness of a log."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.dialects.checks import Check
from auditcli.dialects.mysql_shapes import IS_TRANSACTIONAL
from auditcli.dialects.mysql_text import literal, quoted
from auditcli.dialects.mysql_values import may_be_long
from auditcli.shape import TableShape

_HERE = "table_schema = DATABASE()"

MAKE_TRANSACTIONAL = "ALTER TABLE `{table}` ENGINE = InnoDB"
"""By the table's name; with its engine a table gets transactions."""


def checks(shapes: Sequence[TableShape]) -> list[Check]:
    """All questions; the longest rows are looked for in those tables whose columns may hold much."""
    return [
        Check(
            "no-transactions",
            f"""SELECT NULL, t.table_name, t.engine FROM information_schema.tables AS t WHERE {_HERE}
              AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND NOT {IS_TRANSACTIONAL}""",
            "its engine {0} has no transactions: a write that fails half way stays, and its records do not",
            MAKE_TRANSACTIONAL,
        ),
        Check(
            "id-steps",
            "SELECT NULL, NULL, @@auto_increment_increment FROM DUAL WHERE @@auto_increment_increment > 1",
            "auto_increment_increment is {0}: several servers write, and ids don't follow the order of their writes",
            "let one server write: SET GLOBAL auto_increment_increment = 1",
        ),
        Check(
            "no-right",
            """SELECT NULL, NULL, CURRENT_USER(), DATABASE() FROM DUAL WHERE NOT EXISTS (
              SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'TRIGGER'
              UNION ALL SELECT 1 FROM information_schema.schema_privileges WHERE privilege_type = 'TRIGGER'
              AND DATABASE() LIKE table_schema)""",
            "{0} may not install triggers in {1}",
            "GRANT TRIGGER ON `{1}`.* TO {0}",
        ),
        *(_longest(shape) for shape in shapes if any(map(may_be_long, shape.columns))),
    ]


def _longest(shape: TableShape) -> Check:
    # Two digits a byte; texts have few characters that JSON has to write longer.
    parts = [
        f"COALESCE(LENGTH({quoted(column.name)}), 0) * {1 if column.kind == 'text' else 2}"
        for column in shape.columns
        if may_be_long(column)
    ]
    longest = f"SELECT MAX({' + '.join(parts)}) AS size FROM {quoted(shape.table.name)}"
    return Check(
        "long-row",
        f"""SELECT NULL, {literal(shape.table.name)}, r.size, @@global.max_allowed_packet FROM ({longest}) AS r
          WHERE r.size > @@global.max_allowed_packet""",
        "the image of its longest row has {0} bytes, more than max_allowed_packet ({1}): such a row can't be changed",
        "SET GLOBAL max_allowed_packet to more than that, or leave the column out (--exclude-column)",
    )
