"""How PostgreSQL's values stand in images.

A trigger writes `row_to_json`, under settings of its own, with the values that JSON would take apart as their text.
That keeps all there is to know, but it takes the column's type to read it: `1.10` may be exact or a double, and a text
may stand for bytes. What is read here has the same form on every database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from auditcli import codec
from auditcli.dialects.base import MARK, Fragment
from auditcli.imagetext import SpellImages, in_halves, is_odd
from auditcli.model import Image, JsonValue
from auditcli.shape import ColumnShape, TableShape

SETTINGS = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmloption": "content",
}
"""Under these settings texts of values are exact, and the same whoever reads them."""

WRITING_SETTINGS = {
    "IntervalStyle": "postgres",
    "array_nulls": "on",
    "lc_monetary": "C",
    "xmloption": "content",
}
"""Under these settings the texts of values are read as they were written."""

_DEPENDS_ON: Mapping[str, tuple[str, ...]] = {
    "float": ("extra_float_digits",),
    "geometric": ("extra_float_digits",),
    "interval": ("IntervalStyle",),
    "money": ("lc_monetary",),
    "nested": tuple(SETTINGS),
    "other": tuple(SETTINGS),
}

_INTEGER = re.compile(r"-?[0-9]+")
_BYTES = re.compile(r"\\x[0-9a-f]*")

_PLAIN_NAME = re.compile(r"[^\"\\\x00-\x1f]+")
_READ_BY_TYPE = r'(?:-?[0-9][0-9.eE+-]*|"(?:NaN|-?Infinity|\\\\x[0-9a-f]*)")(?=[,}])'
"""JSON that stands for another value in a column of some types."""


class _Number(str):
    """A number as JSON spells it, which no float can spoil."""

    __slots__ = ()


_decoder = json.JSONDecoder(parse_float=_Number, parse_int=_Number)


def needed_settings(shape: TableShape) -> dict[str, str]:
    """The settings without which reading the table's values would not give what a trigger writes."""
    names = {name for column in shape.columns for name in _DEPENDS_ON.get(column.kind, ())}
    return {name: value for name, value in SETTINGS.items() if name in names}


def json_sql(column: ColumnShape, expression: str) -> str:
    """The JSON text that an image holds for a column's value."""
    if column.kind == "bytes":
        return f"CAST(to_json(E'\\\\x' || encode({expression}, 'hex')) AS text)"
    if column.kind == "moment":
        # In the words of a session whose time zone is UTC, whichever the session's is.
        utc = f"CAST(to_json({expression} AT TIME ZONE 'UTC') AS text)"
        # Backslashes are themselves in E'…' only, where a session may have no standard strings.
        zone = f"regexp_replace({utc}, '( BC)?\"$', E'+00:00\\\\1\"')"
        return f"CASE WHEN isfinite({expression}) THEN {zone} ELSE {utc} END"
    if column.kind == "nested":
        return f"CAST(to_json(CAST({expression} AS text)) AS text)"
    if column.kind == "reference":
        return f"CAST(to_json(CAST({expression} AS oid)) AS text)"
    return f"CAST(to_json({expression}) AS text)"


def read_value(column: ColumnShape | None, text: str | None) -> JsonValue:
    """The value that `json_sql` gave the text of."""
    return None if text is None else _value("" if column is None else column.kind, _decoder.decode(text))


def image_reader(shapes: Sequence[TableShape]) -> Callable[[str | None, str | None], tuple[Image | None, Image | None]]:
    """Reads records of a table that had the first of these shapes at the time; the others may know more columns."""
    kinds = {column.name: column.kind for shape in reversed(shapes) for column in shape.columns}

    def image(text: str | None) -> Image | None:
        if text is None:
            return None
        return {name: _value(kinds.get(name, ""), value) for name, value in _decoder.decode(text).items()}

    def read(before: str | None, after: str | None) -> tuple[Image | None, Image | None]:
        return codec.without_repeats(image(before), image(after), after)

    return read


def image_spelling(shapes: Sequence[TableShape]) -> SpellImages:
    """What `image_reader` is for images, for their texts."""
    kinds = {column.name: column.kind for shape in reversed(shapes) for column in shape.columns}
    if not all(_PLAIN_NAME.fullmatch(name) for name in kinds):
        return lambda texts: [text and None for text in texts]
    read_by_type = sorted(re.escape(name) for name, kind in kinds.items() if kind in ("decimal", "float", "bytes"))
    odd_number = r'"[^"\\]*":-?[0-9]+[.eE][^,}]*'
    values = re.compile("|".join([*(f'"{name}":{_READ_BY_TYPE}' for name in read_by_type), odd_number]))
    # Quick to look for: most tables have none of these.
    hint = re.compile("|".join([*(f'"{name}":' for name in read_by_type), '":-?[0-9]+[.eE]']))

    def spell(found: re.Match[str]) -> str:
        name, _, value = found[0][1:].partition('":')
        read = json.loads(value) if value.startswith('"') else _Number(value)
        return f'"{name}":{codec.dump(_value(kinds.get(name, ""), read))}'

    def spell_all(texts: Sequence[str]) -> Sequence[str | None]:
        joined = "\n".join(texts)
        if joined.count("\n") >= len(texts) or is_odd(joined) or '":{' in joined:
            return in_halves(spell_all, texts) if len(texts) > 1 else [None]
        return values.sub(spell, joined).split("\n") if hint.search(joined) else texts

    return spell_all


def bind(value: JsonValue, column: ColumnShape) -> Fragment:
    """An expression that is exactly the stored value."""
    text = None if value is None else value_text(value)
    return Fragment(f"CAST({MARK} AS {column.type})" if column.type else MARK, (text,))


def guard(column: ColumnShape, name: str, value: JsonValue) -> Fragment:
    """A condition: the column (`name` in SQL) has exactly this value."""
    if value is None:
        # IS NULL is true of a row without values too.
        return Fragment(f"{name} IS NOT DISTINCT FROM NULL")
    if column.kind == "float":
        bound = bind(value, column)
        # By their bytes: zero has two signs, which are equal.
        bytes_of = "float8send(CAST({} AS float8))".format
        return Fragment(f"{bytes_of(name)} = {bytes_of(bound.sql)}", bound.values)
    if column.kind in ("integer", "boolean", "bytes"):
        bound = bind(value, column)
        return Fragment(f"{name} = {bound.sql}", bound.values)
    expression = (
        f"CAST({name} AS text)" if column.kind == "decimal" else f"CAST({json_sql(column, name)} AS json) #>> '{{}}'"
    )
    return Fragment(f'{expression} = {MARK} COLLATE "C"', (value_text(value),))


def value_text(value: JsonValue) -> str:
    """A value as PostgreSQL reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        decoded = codec.decode(value)
        if isinstance(decoded, Decimal):
            return format(decoded, "f")
        return "\\x" + decoded.hex() if isinstance(decoded, bytes) else str(decoded)
    return repr(value) if isinstance(value, float) else str(value)


def _value(kind: str, read: Any) -> JsonValue:
    if read is None or isinstance(read, bool) or (isinstance(read, dict) and _is_tag(read)):
        return read
    reader = _READERS.get(kind)
    # Otherwise the column had another type at the time.
    if reader is not None and isinstance(read, str) and _is_spelled_as(kind, read):
        return reader(str(read))
    return _plain(read)


def _is_spelled_as(kind: str, read: str) -> bool:
    if kind == "bytes":
        return _BYTES.fullmatch(read) is not None
    if isinstance(read, _Number):
        return kind != "integer" or _INTEGER.fullmatch(read) is not None
    return kind != "integer" and read in ("NaN", "Infinity", "-Infinity")


def _plain(read: Any) -> JsonValue:
    """What the JSON alone tells."""
    if isinstance(read, _Number):
        return int(read) if _INTEGER.fullmatch(read) else {"$decimal": str(read)}
    return read if isinstance(read, str) else _text(read)


def _text(nested: Any) -> str:
    """JSON that was not written as a text, since nobody knew the type."""
    if isinstance(nested, dict):
        return "{" + ", ".join(f"{codec.dump(key)}: {_text(value)}" for key, value in nested.items()) + "}"
    if isinstance(nested, list):
        return "[" + ", ".join(map(_text, nested)) + "]"
    return str(nested) if isinstance(nested, _Number) else codec.dump(nested)


def _is_tag(read: Mapping[str, Any]) -> bool:
    return len(read) == 1 and next(iter(read)) in ("$masked", "$same")


def _float(text: str) -> JsonValue:
    return codec.encode(float(text))


_READERS: Mapping[str, Callable[[str], JsonValue]] = {
    "integer": int,
    "decimal": lambda text: {"$decimal": text},
    "float": _float,
    "bytes": lambda text: {"$hex": text[2:]},
}
