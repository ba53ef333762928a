"""Taking many rows back by one statement, on MariaDB: a member is the JSON text in the image."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from auditcli.dialects.mysql_shapes import digits
from auditcli.dialects.mysql_text import quoted
from auditcli.dialects.mysql_values import json_sql
from auditcli.dialects.netting import Netting, counted_on
from auditcli.shape import ColumnShape

_READ_AS: dict[str, str] = {
    "integer": "CAST({} AS SIGNED)",
    "decimal": "{}",
    "text": "JSON_UNQUOTE({})",
    "char": "JSON_UNQUOTE({})",
    "word": "JSON_UNQUOTE({})",
}
"""How values come out of members, by their types; other ones take more than an expression."""


class MySQLNetting(Netting):
    """Numbers that are exact, and texts."""

    reads_lock: ClassVar[bool] = True

    def takes(self, column: ColumnShape) -> bool:
        return column.kind in _READ_AS and "unsigned" not in column.type.lower()

    def compares(self, column: ColumnShape) -> bool:
        return self.takes(column) or column.kind in ("time", "moment")

    def takes_key(self, column: ColumnShape) -> bool:
        return self.takes(column) and column.kind == "integer"

    def member(self, image: str, column: ColumnShape) -> str:
        if column.kind == "decimal":
            return f"JSON_VALUE({image}, {_decimal(column)})"
        return f"NULLIF(JSON_EXTRACT({image}, {_path(column.name)}), 'null')"

    def is_plain(self, image: str, member: str, column: ColumnShape) -> str:
        kind = f"JSON_TYPE(JSON_EXTRACT({image}, {_path(column.name)}))"
        if column.kind == "decimal":
            return f"({kind} = 'NULL' OR JSON_EXISTS({image}, {_decimal(column)}))"
        return f"{kind} NOT IN ('OBJECT', 'ARRAY')"

    def differ_only(self, before: str, after: str, columns: Sequence[tuple[str, str, str]]) -> str:
        paths = ", ".join(_path(name) for name, _, _ in columns)
        return f"CAST(JSON_REMOVE({before}, {paths}) AS BINARY) = CAST(JSON_REMOVE({after}, {paths}) AS BINARY)"

    def same(self, left: str, right: str) -> str:
        return f"CAST({left} AS BINARY) <=> CAST({right} AS BINARY)"

    def holds(self, column: ColumnShape, name: str, member: str) -> str:
        text = f"CAST({name} AS CHAR)" if column.kind == "decimal" else json_sql(column, name)
        return f"CAST({text} AS BINARY) <=> CAST({member} AS BINARY)"

    def stored(self, column: ColumnShape, member: str) -> str:
        return _READ_AS[column.kind].format(member)

    def moves(self, column: ColumnShape) -> bool:
        return column.kind in ("integer", "moment") or column.type.startswith("date")

    def moved_on(self, column: ColumnShape, name: str, now: datetime) -> str:
        if column.kind == "integer":
            return counted_on(name, now)
        stamp = f"{now:%Y-%m-%d %H:%M:%S}.{now:%f}"[: 20 + digits(column)].rstrip(".")
        if column.kind == "moment":
            # What the session's time zone does not touch.
            stamp = (
                f"FROM_UNIXTIME(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CAST('{stamp}' AS DATETIME(6))) * 0.000001)"
            )
        elif column.type.startswith("datetime"):
            stamp = f"'{stamp}'"
        else:
            stamp = f"'{now:%Y-%m-%d}'"
        return f"IF({name} IS NULL, NULL, {stamp})"

    def drop(self, name: str) -> str:
        return f"DROP TEMPORARY TABLE IF EXISTS {name}"

    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        values = ", ".join(f"t.{quoted(name)} = {value}" for name, value in assigned)
        return f"{words} {self.joined(target, source)} ON {where} SET {values}"

    def delete(self, target: str, source: str, keys: Sequence[str], where: str) -> str:
        return f"DELETE t FROM {self.joined(target, source)} ON {where}"

    def joined(self, target: str, source: str) -> str:
        # Whatever a locking statement reads it locks, and a scan reads all rows.
        return f"{source} AS n STRAIGHT_JOIN {target} AS t FORCE INDEX (PRIMARY)"


def _path(name: str) -> str:
    return f"'$.{name}'"


def _decimal(column: ColumnShape) -> str:
    """Where the digits stand; the database would put a space into the object around them."""
    return f"'$.{column.name}.\"$decimal\"'"
