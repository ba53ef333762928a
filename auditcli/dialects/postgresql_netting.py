"""Taking many rows back by one statement, on PostgreSQL: a member is the JSON text in the image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from auditcli.dialects.netting import Netting, counted_on
from auditcli.dialects.postgresql_values import json_sql
from auditcli.shape import ColumnShape


class PostgreSQLNetting(Netting):
    """Whatever a trigger writes without a tag."""

    fence: ClassVar[str] = "OFFSET 0"

    def takes(self, column: ColumnShape) -> bool:
        return bool(column.type)

    def takes_key(self, column: ColumnShape) -> bool:
        return (
            column.kind == "integer" or column.type in ("text", "uuid") or column.type.startswith("character varying")
        )

    def member(self, image: str, column: ColumnShape) -> str:
        return f"NULLIF(CAST(CAST({image} AS json) -> '{column.name}' AS text), 'null')"

    def is_plain(self, image: str, member: str, column: ColumnShape) -> str:
        # NULL may also stand for a column that is not there.
        is_null = f"position('\"{column.name}\":null' IN {image}) > 0"
        return f"CASE WHEN {member} IS NULL THEN {is_null} ELSE left({member}, 1) NOT IN ('{{', '[') END"

    def differ_only(self, before: str, after: str, columns: Sequence[tuple[str, str, str]]) -> str:
        # A name in quotes before a colon is no part of a text, whose own quotes are escaped.
        named = [(f"'\"{name}\":'", old, new) for name, old, new in columns]
        once = [f"cardinality(string_to_array({before}, {name})) = 2" for name, _, _ in named]
        made = before
        for name, old, new in named:
            made = f"replace({made}, {name} || coalesce({old}, 'null'), {name} || coalesce({new}, 'null'))"
        return " AND ".join([*once, f'{made} = {after} COLLATE "C"'])

    def same(self, left: str, right: str) -> str:
        return f'({left}) COLLATE "C" IS NOT DISTINCT FROM {right}'

    def holds(self, column: ColumnShape, name: str, member: str) -> str:
        return f'{json_sql(column, name)} IS NOT DISTINCT FROM {member} COLLATE "C"'

    def stored(self, column: ColumnShape, member: str) -> str:
        return f"CAST(CAST({member} AS json) #>> '{{}}' AS {column.type})"

    def moves(self, column: ColumnShape) -> bool:
        return column.kind == "integer" or _is_stamp(column)

    def moved_on(self, column: ColumnShape, name: str, now: datetime) -> str:
        if column.kind == "integer":
            return counted_on(name, now)
        return f"CASE WHEN isfinite({name}) THEN CAST('{_moment(column, now)}' AS {column.type}) ELSE {name} END"

    def keep(self, name: str, select: str) -> str:
        return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {select}"

    def measure(self, name: str) -> str | None:
        return f"ANALYZE {name}"

    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        values = ", ".join(f'"{name}" = {value}' for name, value in assigned)
        return f"{words} {target} AS t SET {values} FROM {source} AS n WHERE {where}"

    def delete(self, target: str, source: str, keys: Sequence[str], where: str) -> str:
        return f"DELETE FROM {target} AS t USING {source} AS n WHERE {where}"


_DIGITS = re.compile(r"\((\d)\)")


def _is_stamp(column: ColumnShape) -> bool:
    return column.type == "date" or (column.type.startswith("timestamp") and "[" not in column.type)


def _moment(column: ColumnShape, now: datetime) -> str:
    """A time in no more digits than the column has, which would round others up, into the future."""
    digits = _DIGITS.search(column.type)
    fraction = f"{now:%f}"[: int(digits[1]) if digits else 6]
    return f"{now:%Y-%m-%d %H:%M:%S}.{fraction}+00:00"
