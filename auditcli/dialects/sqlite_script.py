"""Scripts for the program `sqlite3`, and values as they stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from auditcli.dialects.script import ScriptStep, comment

_GUARD = "temp.auditcli_guard"
_RESET = f"DELETE FROM {_GUARD} WHERE 0;"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST_POWER = 2.0**1000


def script(steps: Iterable[ScriptStep], lock_timeout: int, closing: Iterable[str]) -> Iterator[str]:
    """Each step is followed by a check of how many rows it changed.

    `sqlite3` ends at the first error, and so takes everything back. A program that goes on finds at the end that a
    check is missing, and loses its transaction before it can commit.
    """
    yield ".bail on"
    yield f".timeout {lock_timeout:d}"
    yield "PRAGMA foreign_keys = ON;"
    yield "BEGIN IMMEDIATE;"
    yield "PRAGMA defer_foreign_keys = ON;"
    yield (
        f"CREATE TEMP TABLE {_GUARD.partition('.')[2]} "
        '(step, rows, CONSTRAINT "a row is not as planned, nothing was written" CHECK (rows = 1));'
    )
    count = 0
    yield _RESET
    for count, step in enumerate(steps, 1):
        yield comment(step.word)
        yield f"{step.sql};"
        # A statement that fails leaves the count of the one before it.
        yield f"INSERT INTO {_GUARD} VALUES ({count:d}, changes()); {_RESET}"
    yield f"INSERT OR ROLLBACK INTO {_GUARD} SELECT NULL, COUNT(*) = {count:d} FROM {_GUARD};"
    yield from (f"{statement};" for statement in closing)
    yield f"DROP TABLE {_GUARD};"
    yield "COMMIT;"


def literal(value: Any) -> str:
    """A value, exact on every version."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return _text(str(value))


def _text(text: str) -> str:
    """A text, its control characters by their numbers: the program cuts off carriage returns, and ends at a NUL."""
    sql = text
    stands_for: dict[str, str] = {}
    for character in sorted(set(_CONTROL.findall(text))):
        symbol = _unused(text, character, stands_for.values())
        stands_for[character] = symbol
        sql = sql.replace(character, symbol)
    quoted = "'" + sql.replace("'", "''") + "'"
    for character, symbol in stands_for.items():
        quoted = f"replace({quoted}, '{symbol}', char({ord(character)}))"
    return quoted


def _unused(text: str, character: str, taken: Iterable[str]) -> str:
    """A character that stands for another one: its picture, or any that the text does not have."""
    pictures = [chr(0x2400 + ord(character)) if ord(character) < 0x20 else "\u2421", *map(chr, range(0xE000, 0xF8FF))]
    return next(picture for picture in pictures if picture not in text and picture not in set(taken))


def _double(value: float) -> str:
    """A double: as decimal digits only where these are all of it, since versions differ in how they round."""
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    digits = repr(value)
    if Decimal(digits) == Decimal(value) and len(Decimal(digits).as_tuple().digits) <= 15 and 1e-5 < abs(value) < 1e15:
        return digits
    if value == 0:
        return digits
    return f"({_scaled(value)} /* {digits} */)"


def _scaled(value: float) -> str:
    """An integer times a power of two: every step of that is exact."""
    fraction, exponent = math.frexp(value)
    power = exponent - 53
    mantissa = int(math.ldexp(fraction, 53))
    while mantissa % 2 == 0 and power < 0:
        mantissa, power = mantissa // 2, power + 1
    sign = "*" if power > 0 else "/"
    factors = ""
    left = abs(power)
    while left:
        part = min(left, 60)
        factors += f" {sign} {2**part}.0"
        left -= part
    return f"{mantissa}.0{factors}"
