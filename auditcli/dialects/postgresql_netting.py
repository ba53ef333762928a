"""Taking many rows back by one statement, on PostgreSQL: a member is the JSON text in the image."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.dialects.netting import Netting
from auditcli.dialects.postgresql_values import json_sql
from auditcli.shape import ColumnShape


class PostgreSQLNetting(Netting):
    """Whatever a trigger writes without a tag."""

    def takes(self, column: ColumnShape) -> bool:
        return bool(column.type)

    def takes_key(self, column: ColumnShape) -> bool:
        return (
            column.kind == "integer" or column.type in ("text", "uuid") or column.type.startswith("character varying")
        )

    def member(self, image: str, column: ColumnShape) -> str:
        return f"NULLIF(CAST(CAST({image} AS json) -> '{column.name}' AS text), 'null')"

    def is_plain(self, image: str, column: ColumnShape) -> str:
        return f"json_typeof(CAST({image} AS json) -> '{column.name}') NOT IN ('object', 'array')"

    def rest(self, image: str, columns: Sequence[str]) -> str:
        # As text: to jsonb itself 1.0 and 1.00 are equal.
        return f"CAST(CAST({image} AS jsonb) - CAST('{{{','.join(columns)}}}' AS text[]) AS text) COLLATE \"C\""

    def same(self, left: str, right: str) -> str:
        return f'({left}) COLLATE "C" IS NOT DISTINCT FROM {right}'

    def holds(self, column: ColumnShape, name: str, member: str) -> str:
        return f'{json_sql(column, name)} IS NOT DISTINCT FROM {member} COLLATE "C"'

    def stored(self, column: ColumnShape, member: str) -> str:
        return f"CAST(CAST({member} AS json) #>> '{{}}' AS {column.type})"

    def keep(self, name: str, select: str) -> str:
        return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {select}"

    def measure(self, name: str) -> str | None:
        return f"ANALYZE {name}"

    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        values = ", ".join(f'"{name}" = {value}' for name, value in assigned)
        return f"{words} {target} AS t SET {values} FROM {source} AS n WHERE {where}"
