"""Taking many rows back by one statement, on SQLite: a member is the value itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import product

from auditcli.dialects.netting import Netting, counted_on
from auditcli.dialects.sqlite_images import quoted
from auditcli.planning.stamps import EPOCH_SECONDS, moved_on
from auditcli.shape import ColumnShape

_KEY_TYPES = ("INT", "CHAR", "CLOB", "TEXT")
"""A column of such a type turns 42 and '42' into one of them, so that no two rows share a key's text."""

_DIGIT = re.compile("[0-9]")
_DAY, _UTC = "2000-01-01", ("", "Z", "+00:00")
_TIMES = ("00:00", "00:00:00", "00:00:00.000", "00:00:00.000000")
_FORMS = {
    _DAY + clock + zone: _DIGIT.sub("[0-9]", _DAY + clock) + zone
    for clock, zone in (("", ""), *product(map("".join, product(" T", _TIMES)), _UTC))
}
"""Stamps as programs write them, and what finds texts of the same form."""


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

    def moves(self, column: ColumnShape) -> bool:
        return True

    def moved_on(self, column: ColumnShape, name: str, now: datetime) -> str:
        seconds = f"abs({name}) >= {EPOCH_SECONDS.start} AND abs({name}) < {EPOCH_SECONDS.stop}"
        stamps = (f"WHEN {name} GLOB '{pattern}' THEN '{moved_on(form, now)}'" for form, pattern in _FORMS.items())
        return (
            f"CASE typeof({name}) WHEN 'integer' THEN {counted_on(name, now)} "
            f"WHEN 'real' THEN CASE WHEN {seconds} THEN {now.timestamp()!r} ELSE {name} END "
            f"WHEN 'text' THEN CASE {' '.join(stamps)} ELSE {name} END ELSE {name} END"
        )

    def can_move(self, column: ColumnShape, name: str) -> str:
        forms = " OR ".join(f"{name} GLOB '{pattern}'" for pattern in _FORMS.values())
        return f"(typeof({name}) <> 'text' OR {name} NOT GLOB '[0-9]*' OR {forms})"

    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        values = ", ".join(f"{quoted(name)} = {value}" for name, value in assigned)
        return f"{words} {target} AS t SET {values} FROM {source} AS n WHERE {where}"

    def delete(self, target: str, source: str, keys: Sequence[str], where: str) -> str:
        found = ", ".join(f"t.{key}" for key in keys)
        rows = f"SELECT {found} FROM {self.joined(target, source)} WHERE {where}"
        return f"DELETE FROM {target} WHERE ({', '.join(keys)}) IN ({rows})"

    def joined(self, target: str, source: str) -> str:
        return f"{source} AS n CROSS JOIN {target} AS t"


def _path(name: str) -> str:
    return f"'$.{name}'"
