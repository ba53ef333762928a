"""Taking many rows back by one statement, on SQLite: a member is the value itself."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.dialects.netting import Netting
from auditcli.dialects.sqlite_images import quoted
from auditcli.shape import ColumnShape

_KEY_TYPES = ("INT", "CHAR", "CLOB", "TEXT")
"""A column of such a type turns 42 and '42' into one of them, so that no two rows share a key's text."""


class SQLiteNetting(Netting):
    """Numbers, texts and NULLs; what stands in images as something else is none of its business."""

    def takes(self, column: ColumnShape) -> bool:
        return True

    def takes_key(self, column: ColumnShape) -> bool:
        return any(word in column.type.upper() for word in _KEY_TYPES)

    def member(self, image: str, column: ColumnShape) -> str:
        return f"json_extract({image}, {_path(column.name)})"

    def is_plain(self, image: str, member: str, column: ColumnShape) -> str:
        kind = f"json_type({image}, {_path(column.name)})"
        # Some versions end a text at its first NUL, and read a double that is off by its last bit.
        digits = f"printf('%!.20e', {member})"
        is_exact = f"instr({image}, '\"{column.name}\":' || {digits})"
        return (
            f"CASE {kind} WHEN 'integer' THEN 1 WHEN 'null' THEN 1 WHEN 'text' THEN NOT instr({image}, '\\u0000') "
            f"WHEN 'real' THEN {is_exact} ELSE 0 END"
        )

    def differ_only(self, before: str, after: str, columns: Sequence[tuple[str, str, str]]) -> str:
        paths = ", ".join(_path(name) for name, _, _ in columns)
        return f"json_remove({before}, {paths}) = json_remove({after}, {paths})"

    def same(self, left: str, right: str) -> str:
        return f"({left} IS {right} AND typeof({left}) = typeof({right}))"

    def holds(self, column: ColumnShape, name: str, member: str) -> str:
        return f"({name} IS {member} COLLATE BINARY AND typeof({name}) = typeof({member}))"

    def stored(self, column: ColumnShape, member: str) -> str:
        return member

    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        values = ", ".join(f"{quoted(name)} = {value}" for name, value in assigned)
        return f"{words} {target} AS t SET {values} FROM {source} AS n WHERE {where}"


def _path(name: str) -> str:
    return f"'$.{name}'"
