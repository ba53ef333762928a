"""What a column's type means on any database, so that another one can spell it, and what its values mean there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from auditcli import codec
from auditcli.model import JsonValue


class Kind(StrEnum):
    """What values of a type are; `OTHER` are those that only their own database knows, as text."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    MOMENT = "moment"
    UUID = "uuid"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Portable:
    """A type in nobody's words; `size` is the length of text, the bits of an integer or the digits of a decimal."""

    kind: Kind
    size: int | None = None
    scale: int | None = None
    unsigned: bool = False


_ARGUMENTS = re.compile(r"\((\d+)(?:\s*,\s*(-?\d+))?\)")


def arguments(spelled: str) -> tuple[int | None, int | None]:
    """The numbers in a type's brackets."""
    found = _ARGUMENTS.search(spelled)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] is None else int(found[2])


_LITERAL = re.compile(
    r"(?P<number>[-+]?\d+(?:\.\d+)?)|'(?P<text>(?:[^'\\]|'')*)'(?:::[\w .\"()\[\],]+)?|(?P<yes>true)|(?P<no>false)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def portable_default(spelled: str, kind: Kind) -> str | None:
    """A default as each database spells it for values of a kind; None where it is no literal, or none of that kind."""
    inner = spelled.strip()
    while inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1].strip()
    found = _LITERAL.fullmatch(inner)
    if found is None:
        return None
    word = found["number"] or ("1" if found["yes"] else "0" if found["no"] else found["text"])
    if kind is Kind.BOOLEAN:
        return {"1": "TRUE", "0": "FALSE", "true": "TRUE", "false": "FALSE"}.get(word)
    if kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT):
        is_whole = kind is not Kind.INTEGER or "." not in word
        return word if _NUMBER.fullmatch(word) and is_whole else None
    return f"'{word}'" if kind is Kind.TEXT else None


_MOMENT = re.compile(
    r"(\d{4,}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?(?P<era> BC)?"
)
_TIME = re.compile(r"(-?\d+:\d\d:\d\d)(?:\.(\d+))?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_UTC = ("Z", "+00", "+00:00", "+0000")


def means_same(left: JsonValue, right: JsonValue) -> bool:
    """Whether values of two databases mean the same: true and 1, 1.10 and 1.1, one moment spelled in two ways.

    Text is never a number, bytes are never text, and a number that lost a digit is another one.
    """
    return codec.same(left, right) or _meaning(left) == _meaning(right)


def meaning_word(value: JsonValue) -> str:
    """A word that values have in common exactly where they mean the same."""
    meaning = _meaning(value)
    assert isinstance(meaning, tuple)
    kind, content = meaning
    if isinstance(content, Decimal) and content.is_finite():
        # By its digits alone: arithmetic would round to as many as the context says.
        digits = format(content.copy_abs(), "f")
        shortest = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return f"{kind} {'-' if content.is_signed() and content else ''}{shortest}"
    return f"{kind} {content!r}"


def number_of(value: JsonValue) -> Decimal | None:
    """The number that a value is, exactly as it is spelled; None for what is none."""
    if isinstance(value, bool | int):
        return Decimal(int(value))
    if isinstance(value, float):
        return Decimal(repr(value))
    decoded = codec.decode(value) if isinstance(value, dict) else None
    if isinstance(decoded, float):
        return Decimal(str(decoded))
    return decoded if isinstance(decoded, Decimal) else None


def exact_float(number: Decimal) -> float | None:
    """The double that is spelled like the number; None where there is none."""
    double = float(number)
    if number.is_nan() or (math.isfinite(double) and Decimal(repr(double)) == number):
        return double
    return double if number.is_infinite() else None


def spelled_moment(text: str, *, between: str, digits: int | None = None) -> str:
    """A date and time with another word in the middle and, where that is said, so many digits of a second."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return text
    fraction = (found[3] or "").rstrip("0") if digits is None else (found[3] or "").ljust(digits, "0")
    clock = found[2] if len(found[2]) == 8 else f"{found[2]}:00"
    zone = "+00:00" if found["zone"] in _UTC else found["zone"] or ""
    return f"{found[1]}{between}{clock}{'.' if fraction else ''}{fraction}{zone}{found['era'] or ''}"


def spelled_time(text: str, *, digits: int | None = None) -> str:
    """A time of day with so many digits of a second, or as few as there are."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    fraction = (found[2] or "").rstrip("0") if digits is None else (found[2] or "").ljust(digits, "0")
    return f"{found[1]}{'.' if fraction else ''}{fraction}"


def _meaning(value: JsonValue) -> Hashable:
    number = number_of(value)
    if number is not None:
        return ("number", "NaN" if number.is_nan() else number)
    if isinstance(value, str):
        return _text_meaning(value)
    return ("value", codec.dump(value))


def _text_meaning(text: str) -> Hashable:
    if _MOMENT.fullmatch(text):
        return ("text", spelled_moment(text, between=" "))
    if _TIME.fullmatch(text):
        return ("text", spelled_time(text))
    if _UUID.fullmatch(text):
        return ("text", str(UUID(text)))
    if text[:1] in ("{", "["):
        return _document(text)
    return ("text", text)


def _document(text: str) -> Hashable:
    """What a JSON document says, whatever its spaces and the order of its keys; a repeated key says more."""
    try:
        read = json.loads(text, parse_float=Decimal, object_pairs_hook=_Pairs)
    except ValueError:
        return ("text", text)
    return ("document", _frozen(read))


class _Pairs(tuple[tuple[str, Any], ...]):
    """The members of an object."""

    __slots__ = ()

    def __new__(cls, pairs: list[tuple[str, Any]]) -> _Pairs:
        return super().__new__(cls, tuple(pairs))


def _frozen(read: Any) -> Hashable:
    if isinstance(read, _Pairs):
        return ("object", tuple(sorted((name, repr(_frozen(value))) for name, value in read)))
    if isinstance(read, list):
        return ("array", tuple(map(_frozen, read)))
    return (type(read).__name__ if isinstance(read, bool | str) else "", read)


VECTORS: Mapping[str, tuple[JsonValue, JsonValue, bool]] = {
    "true and one": (True, 1, True),
    "false and null": (False, None, False),
    "an integer and a double": (1, 1.0, True),
    "a decimal and a double": ({"$decimal": "1.10"}, 1.1, True),
    "a decimal that a double can't hold": ({"$decimal": "12345678901234567890.123"}, 1.2345678901234567e19, False),
    "an integer that a double can't hold": (2**63, float(2**63), False),
    "two signs of zero": (-0.0, 0, True),
    "no number in both": ({"$float": "NaN"}, {"$decimal": "NaN"}, True),
    "no number and nothing": ({"$float": "NaN"}, None, False),
    "infinities": ({"$float": "Infinity"}, {"$decimal": "Infinity"}, True),
    "numbers of many digits": ({"$decimal": "1." + "0" * 40 + "1"}, {"$decimal": "1." + "0" * 40 + "2"}, False),
    "a large number with its zeros": ({"$decimal": "1" + "0" * 40 + ".50"}, {"$decimal": "1" + "0" * 40 + ".5"}, True),
    "a number and its text": (1, "1", False),
    "text and bytes": ("a", {"$hex": "61"}, False),
    "empty text and nothing": ("", None, False),
    "text in another case": ("a", "A", False),
    "text with a space behind it": ("a", "a ", False),
    "a time with and without its zeros": ("2026-03-02T08:00:00", "2026-03-02 08:00:00.000000", True),
    "a time that lost a digit": ("2026-03-02T08:00:00.123456", "2026-03-02 08:00:00.123", False),
    "a moment in two spellings": ("2026-03-02T08:00:00+00:00", "2026-03-02 08:00:00+00:00", True),
    "a moment and a time without a zone": ("2026-03-02T08:00:00+00:00", "2026-03-02 08:00:00", False),
    "a time of day with its zeros": ("08:00:00", "08:00:00.000000", True),
    "a document with spaces": ('{"a":1,"b":[2]}', '{"b": [2], "a": 1}', True),
    "a document that lost a repeated key": ('{"a":1,"a":2}', '{"a": 2}', False),
    "a document with another value": ('{"a":true}', '{"a": 1}', False),
    "a UUID with and without dashes": (
        "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        True,
    ),
    "masked and a value": ({"$masked": True}, "x", False),
}
"""Two values and whether they mean the same."""
