"""PostgreSQL's types and values in the words of other databases, and theirs in its own."""

from __future__ import annotations

import re

from auditcli import codec
from auditcli.model import JsonValue
from auditcli.portable import Kind, Portable, arguments, exact_float, number_of, spelled_moment, spelled_time
from auditcli.shape import ColumnShape

_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_NAMED = {"date": Kind.DATE, "uuid": Kind.UUID, "text": Kind.TEXT}
_BY_KIND = {
    "boolean": Kind.BOOLEAN,
    "decimal": Kind.DECIMAL,
    "float": Kind.FLOAT,
    "bytes": Kind.BYTES,
    "moment": Kind.MOMENT,
}
_TYPES = {
    Kind.BOOLEAN: "boolean",
    Kind.DECIMAL: "numeric",
    Kind.FLOAT: "double precision",
    Kind.BYTES: "bytea",
    Kind.DATE: "date",
    Kind.TIME: "time",
    Kind.DATETIME: "timestamp",
    Kind.MOMENT: "timestamp with time zone",
    Kind.UUID: "uuid",
}
_BUILT_IN = re.compile(
    r"(?:smallint|integer|bigint|numeric|real|double precision|boolean|bytea|text|uuid|date|interval|json|jsonb|inet"
    r"|cidr|macaddr|macaddr8|money|character varying|character|bit varying|bit|xml|tsvector|tsquery|point|line|lseg"
    r"|box|path|polygon|circle|int4range|int8range|numrange|tsrange|tstzrange|daterange|oid|name"
    r"|time(?:stamp)? ?(?:\(\d\))? ?(?:with|without) time zone|time(?:stamp)?(?:\(\d\) (?:with|without) time zone)?)"
    r"(?:\(\d+(?:,-?\d+)?\))?(?:\[\])*"
)


def portable(column: ColumnShape) -> Portable:
    """What a type means; one that nobody else has is text."""
    if column.kind == "integer":
        return Portable(Kind.INTEGER, _BITS.get(column.type, 64))
    kind = _kind(column)
    size, scale = arguments(column.type) if kind in (Kind.DECIMAL, Kind.TEXT) else (None, None)
    if size is not None and scale is not None and scale < 0:
        size, scale = size - scale, 0
    return Portable(kind, size, scale)


def _kind(column: ColumnShape) -> Kind:
    if column.type.endswith("[]"):
        return Kind.OTHER
    if column.kind in _BY_KIND:
        return _BY_KIND[column.kind]
    if column.type.startswith("timestamp"):
        return Kind.DATETIME
    if column.type.startswith("time") and "without" in column.type:
        return Kind.TIME
    return Kind.TEXT if column.type.startswith("character") else _NAMED.get(column.type, Kind.OTHER)


def own_type(column: ColumnShape) -> str:
    """The column's own type where every database of the kind has it; else, of what somebody defined, what is below."""
    return column.type if _BUILT_IN.fullmatch(column.type) else type_sql(portable(column))


def type_sql(type_: Portable) -> str:
    """A type that holds such values; text has no limit, so that none is in its way."""
    if type_.kind is Kind.INTEGER:
        if type_.unsigned:
            return "bigint" if (type_.size or 64) < 64 else "numeric(20)"
        return {16: "smallint", 32: "integer"}.get(type_.size or 64, "bigint")
    name = _TYPES.get(type_.kind, "text")
    return f"numeric({type_.size},{type_.scale or 0})" if type_.kind is Kind.DECIMAL and type_.size else name


def carried(value: JsonValue, column: ColumnShape) -> JsonValue:
    """A value of another database as an image of this one has it; what it can't hold is left as it is."""
    number = number_of(value)
    if number is not None:
        return _carried_number(value, column)
    if not isinstance(value, str):
        return value
    if column.kind == "moment" or column.type.startswith("timestamp"):
        return spelled_moment(value, between="T")
    return spelled_time(value) if column.type.startswith("time") else value


def _carried_number(value: JsonValue, column: ColumnShape) -> JsonValue:
    number = number_of(value)
    assert number is not None
    if column.kind == "boolean":
        return bool(number) if number in (0, 1) else value
    if column.kind == "integer":
        return int(number) if number.is_finite() and number == number.to_integral_value() else value
    if column.kind == "decimal":
        return {"$decimal": format(number, "f") if number.is_finite() else str(number)}
    double = exact_float(number) if column.kind == "float" else None
    return value if double is None else codec.encode(double)
