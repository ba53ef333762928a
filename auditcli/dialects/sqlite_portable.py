"""SQLite's types and values in the words of other databases, and theirs in its own."""

from __future__ import annotations

from auditcli.model import JsonValue
from auditcli.portable import Kind, Portable, arguments, exact_float, number_of, spelled_moment
from auditcli.shape import ColumnShape

_WORDS = (
    ("BOOL", Kind.BOOLEAN),
    ("INT", Kind.INTEGER),
    ("CHAR", Kind.TEXT),
    ("CLOB", Kind.TEXT),
    ("TEXT", Kind.TEXT),
    ("BLOB", Kind.BYTES),
    ("REAL", Kind.FLOAT),
    ("FLOA", Kind.FLOAT),
    ("DOUB", Kind.FLOAT),
    ("DATETIME", Kind.DATETIME),
    ("TIMESTAMP", Kind.DATETIME),
    ("DATE", Kind.DATE),
    ("TIME", Kind.TIME),
    ("DEC", Kind.DECIMAL),
    ("NUM", Kind.DECIMAL),
)
"""What a declared type holds, by the first of these that stands in it."""

_TYPES = {
    Kind.INTEGER: "INTEGER",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DECIMAL: "NUMERIC",
    Kind.FLOAT: "DOUBLE",
    Kind.BYTES: "BLOB",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.DATETIME: "DATETIME",
    Kind.MOMENT: "TIMESTAMP",
}


def portable(column: ColumnShape) -> Portable:
    """What a declared type means; SQLite minds neither the length of text nor the digits of a number."""
    declared = column.type.upper()
    kind = next((kind for word, kind in _WORDS if word in declared), Kind.OTHER)
    sizes = {Kind.INTEGER: 64, Kind.TEXT: arguments(declared)[0]}
    return Portable(kind, sizes.get(kind))


def type_sql(type_: Portable) -> str:
    """A type that holds such values."""
    name = _TYPES.get(type_.kind, "TEXT")
    return f"{name}({type_.size}, {type_.scale or 0})" if type_.kind is Kind.DECIMAL and type_.size else name


def carried(value: JsonValue, column: ColumnShape) -> JsonValue:
    """A value of another database as this one stores it; what it can't hold comes out as something else."""
    number = number_of(value)
    if number is None:
        return spelled_moment(value, between=" ") if isinstance(value, str) and _is_time(column) else value
    if not number.is_finite() or isinstance(value, float):
        return {"$float": str(value["$decimal"])} if isinstance(value, dict) and "$decimal" in value else value
    if number == number.to_integral_value():
        whole = int(number)
        return whole if -(2**63) <= whole < 2**63 else str(whole)
    double = exact_float(number)
    return double if double is not None else str(number)


def _is_time(column: ColumnShape) -> bool:
    return portable(column).kind in (Kind.DATETIME, Kind.MOMENT)
