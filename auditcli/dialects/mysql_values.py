"""How MariaDB's and MySQL's values stand in images: one expression a type, for triggers, readers and guards alike.

None of them depends on the session that runs it: not on its time zone, nor on its character set or `sql_mode`.
"""

from __future__ import annotations

import json

from auditcli import codec
from auditcli.dialects.base import MARK, Fragment
from auditcli.dialects.mysql_shapes import digits
from auditcli.errors import AuditError
from auditcli.model import JsonValue
from auditcli.shape import ColumnShape

ANY_VALUE_SQL = """SET @auditcli_sql_mode = @@SESSION.sql_mode, SESSION sql_mode = CONCAT(
  REPLACE(REPLACE(REPLACE(@@SESSION.sql_mode, 'NO_ZERO_IN_DATE', ''), 'NO_ZERO_DATE', ''), 'TRADITIONAL', ''),
  ',STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO')"""
"""Has the session take dates that are none, and a zero as a number of its own."""

OWN_NUMBERS_SQL = """SET @auditcli_sql_mode = @@SESSION.sql_mode,
  SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"""
"""Has the session take a zero as a number of its own."""

USUAL_VALUES_SQL = "SET SESSION sql_mode = @auditcli_sql_mode"

_NOT_STRICT = """/*M! SET STATEMENT sql_mode =
  REPLACE(REPLACE(@@SESSION.sql_mode, 'STRICT_ALL_TABLES', ''), 'STRICT_TRANS_TABLES', '') FOR */ """

TOO_LONG = ""
"""Stands for the text of a value that is too long; no JSON is empty."""

LONGER_PACKETS = "SET GLOBAL max_allowed_packet to more, or leave the column out (`exclude_columns`)"

_TEXT = "CHAR CHARACTER SET utf8mb4"
_LONG_KINDS = frozenset({"bytes", "text", "geometry"})


def json_sql(column: ColumnShape, value: str) -> str:
    """The JSON text that an image holds for a column's value, NULL for NULL."""
    return _ENCODERS.get(column.kind, _word)(column, value)


def read_sql(column: ColumnShape, value: str) -> str:
    """The same, but `TOO_LONG` for a value whose text the server can't make."""
    text = json_sql(column, value)
    return f"COALESCE({text}, IF({value} IS NULL, NULL, '{TOO_LONG}'))" if may_be_long(column) else text


def same_sql(column: ColumnShape, old: str, new: str) -> str:
    """Whether two values of a column are the same stored value, whatever its collation calls equal."""
    if column.kind in ("integer", "decimal", "bit", "time"):
        return f"{old} <=> {new}"
    if column.kind in ("enum", "flags"):
        return f"{old} + 0 <=> {new} + 0"
    if column.kind in ("float", "moment"):
        return f"{json_sql(column, old)} <=> {json_sql(column, new)}"
    return f"CAST({old} AS BINARY) <=> CAST({new} AS BINARY)"


def may_be_long(column: ColumnShape) -> bool:
    """Whether the column may hold values that an UPDATE which leaves them alone should not repeat."""
    return column.kind in _LONG_KINDS


def read_value(column: ColumnShape, text: str | None) -> JsonValue:
    """The value that `read_sql` gave the text of; raises AuditError where there was none to give."""
    if text == TOO_LONG:
        message = f"{column.name} of a row is longer than max_allowed_packet lets it be read"
        raise AuditError(message, hint=LONGER_PACKETS)
    value: JsonValue = None if text is None else json.loads(text)
    return value


def bind(value: JsonValue, column: ColumnShape) -> Fragment:
    """An expression that is exactly the stored value."""
    decoded = codec.decode(value)
    if column.kind == "moment" and isinstance(decoded, str) and not decoded.startswith("0000"):
        # A quotient would have as many digits as a setting of the session says.
        seconds = f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CAST({MARK} AS DATETIME(6))) * 0.000001"
        return Fragment(f"FROM_UNIXTIME({seconds})", (decoded.removesuffix("+00:00"),))
    if column.kind == "moment" and isinstance(decoded, str):
        return Fragment(MARK, (decoded.removesuffix("+00:00"),))
    if column.kind == "float" and isinstance(decoded, float):
        # As text: a driver's own way of writing doubles need not be exact.
        return Fragment(f"CAST({MARK} AS DOUBLE)", (repr(decoded),))
    if column.kind == "enum" and isinstance(decoded, int):
        return Fragment(MARK, (decoded,), before=_NOT_STRICT)
    return Fragment(MARK, (str(decoded) if column.kind == "decimal" and decoded is not None else decoded,))


def guard(column: ColumnShape, name: str, value: JsonValue) -> Fragment:
    """A condition: the column (`name` in SQL) has exactly this value."""
    if value is None:
        return Fragment(f"{name} IS NULL")
    text = codec.dump(value)
    if column.kind == "float":
        bound = bind(value, column)
        return Fragment(f"{json_sql(column, name)} = {_float(column, bound.sql)}", bound.values * 3)
    if column.kind == "enum" and isinstance(value, int):
        return Fragment(f"{name} + 0 = {MARK}", (value,))
    if column.kind == "enum":
        word = f"CAST({_plain(column, name)} AS BINARY) = CAST({MARK} AS BINARY)"
        return Fragment(f"{name} + 0 <> 0 AND {word}", (value,))
    if column.kind in ("text", "char", "word"):
        return Fragment(f"CAST({_plain(column, name)} AS BINARY) = CAST({MARK} AS BINARY)", (codec.decode(value),))
    return Fragment(f"{json_sql(column, name)} = {MARK}", (text,))


def _integer(_column: ColumnShape, value: str) -> str:
    # The sum has no ZEROFILL.
    return f"CAST({value} + 0 AS {_TEXT})"


def _decimal(_column: ColumnShape, value: str) -> str:
    return f"""CONCAT('{{"$decimal":"', CAST({value} AS {_TEXT}), '"}}')"""


def _float(_column: ColumnShape, value: str) -> str:
    # The product is a DOUBLE without a fixed number of digits, and keeps the sign of zero.
    text = f"CAST({value} * 1e0 AS {_TEXT})"
    return f"IF({text} REGEXP '^-?[0-9]+$', CONCAT({text}, '.0'), {text})"


def _bytes(_column: ColumnShape, value: str) -> str:
    return f"""CONCAT('{{"$hex":"', LOWER(HEX({value})), '"}}')"""


def _text(column: ColumnShape, value: str) -> str:
    return f"JSON_QUOTE({_plain(column, value)})"


def _plain(column: ColumnShape, value: str) -> str:
    text = f"CONVERT({value} USING utf8mb4)"
    # What a CHAR is filled up with is no part of its value, though `sql_mode` may show it.
    return f"TRIM(TRAILING ' ' FROM {text})" if column.kind == "char" else text


def _time(_column: ColumnShape, value: str) -> str:
    return f"CONCAT('\"', CAST({value} AS {_TEXT}), '\"')"


def _moment(column: ColumnShape, value: str) -> str:
    since = f"'1970-01-01 00:00:00' + INTERVAL UNIX_TIMESTAMP({value}) SECOND"
    text = f"CAST(CAST({since} AS DATETIME({digits(column)})) AS {_TEXT})"
    zero = f"CONCAT('\"', CAST({value} AS {_TEXT}), '\"')"
    # Not by UNIX_TIMESTAMP, which knows no zero in triggers.
    return f"IF({value} = 0, {zero}, CONCAT('\"', {text}, '+00:00\"'))"


def _word(_column: ColumnShape, value: str) -> str:
    return f"JSON_QUOTE(CONVERT(CAST({value} AS {_TEXT}) USING utf8mb4))"


def _enum(column: ColumnShape, value: str) -> str:
    # The error value, of number 0, is no word, though it is shown as an empty one.
    return f"IF({value} + 0 = 0, '0', {_word(column, value)})"


_ENCODERS = {
    "integer": _integer,
    "flags": _integer,
    "enum": _enum,
    "bit": _integer,
    "decimal": _decimal,
    "float": _float,
    "bytes": _bytes,
    "geometry": _bytes,
    "text": _text,
    "char": _text,
    "time": _time,
    "moment": _moment,
}
