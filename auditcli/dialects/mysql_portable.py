"""MariaDB's and MySQL's types and values in the words of other databases, and theirs in its own."""

from __future__ import annotations

from auditcli import codec
from auditcli.dialects.mysql_shapes import digits
from auditcli.model import JsonValue
from auditcli.portable import Kind, Portable, arguments, exact_float, number_of, spelled_moment, spelled_time
from auditcli.shape import ColumnShape

_BITS = {"tinyint": 16, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64, "year": 16}
_BY_KIND = {
    "decimal": Kind.DECIMAL,
    "float": Kind.FLOAT,
    "bytes": Kind.BYTES,
    "geometry": Kind.BYTES,
    "text": Kind.TEXT,
    "char": Kind.TEXT,
    "moment": Kind.MOMENT,
}
_TYPES = {
    Kind.BOOLEAN: "TINYINT(1)",
    Kind.FLOAT: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME(6)",
    Kind.DATETIME: "DATETIME(6)",
    Kind.MOMENT: "TIMESTAMP(6) NULL",
}
_SHORT = 255
_TEXT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
"""Texts differ as soon as a byte does, as they do elsewhere."""


def portable(column: ColumnShape) -> Portable:
    """What a type means."""
    word = column.type.partition("(")[0].partition(" ")[0]
    if column.type == "tinyint(1)":
        return Portable(Kind.BOOLEAN)
    size, scale = arguments(column.type)
    if column.kind == "integer":
        return Portable(Kind.INTEGER, _BITS.get(word, 64), unsigned="unsigned" in column.type)
    if column.kind == "bit":
        return Portable(Kind.INTEGER, 64, unsigned=size == 64)
    if column.kind == "time":
        return Portable({"date": Kind.DATE, "time": Kind.TIME}.get(word, Kind.DATETIME))
    if word == "uuid":
        return Portable(Kind.UUID)
    return Portable(_BY_KIND.get(column.kind, Kind.OTHER), size, scale)


def type_sql(type_: Portable, *, is_key: bool) -> str:
    """A type that holds such values; a key has to be short."""
    if type_.kind is Kind.INTEGER:
        name = {16: "SMALLINT", 32: "INT"}.get(type_.size or 64, "BIGINT")
        return f"{name} UNSIGNED" if type_.unsigned else name
    if type_.kind is Kind.DECIMAL:
        whole = type_.size if type_.size is not None and type_.size <= 65 else 65
        scale = max(0, min(38, type_.scale or 0)) if type_.size is not None else 30
        return f"DECIMAL({whole}, {scale})"
    if type_.kind is Kind.BYTES:
        return f"VARBINARY({_SHORT})" if is_key else "LONGBLOB"
    if type_.kind in _TYPES:
        return _TYPES[type_.kind]
    return f"VARCHAR({min(type_.size or _SHORT, 768)}) {_TEXT}" if is_key else f"LONGTEXT {_TEXT}"


def carried(value: JsonValue, column: ColumnShape) -> JsonValue:
    """A value of another database as an image of this one has it; what it can't hold is left as it is."""
    number = number_of(value)
    if number is None:
        return _carried_text(value, column) if isinstance(value, str) else value
    if column.kind == "integer" and number.is_finite() and number == number.to_integral_value():
        return int(number)
    if column.kind == "decimal" and number.is_finite():
        return {"$decimal": format(number, "f")}
    double = exact_float(number) if column.kind == "float" else None
    return int(value) if isinstance(value, bool) else value if double is None else codec.encode(double)


def _carried_text(value: str, column: ColumnShape) -> str:
    if column.kind == "moment" or column.type.startswith("datetime"):
        return spelled_moment(value, between=" ", digits=digits(column))
    return spelled_time(value, digits=digits(column)) if column.type.startswith("time") else value
