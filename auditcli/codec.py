"""Values as images hold them: JSON that gives back, bit for bit, what the database stored.

A JSON null, boolean, number or string stands for itself. What JSON can't hold is an object with one key, a tag:

    {"$hex": "00ff"}          bytes
    {"$text": "c328"}         text that is not valid UTF-8, as its bytes
    {"$float": "NaN"}         NaN, Infinity and -Infinity
    {"$float": "1.5*2^-900"}  a double that a database can't print exactly otherwise; read as a plain number
    {"$decimal": "1.10"}      an exact number with its scale
    {"$masked": true}         a value that is kept out of the log, though its changes are not
    {"$same": true}           in `after` only: the value that `before` has (long values that an UPDATE left alone)

A database's own types are added as further tags with `register_tag`; `VECTORS` are what each encoder has to pass.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NoReturn

from auditcli.model import Image, JsonValue

SAME: JsonValue = {"$same": True}
SAME_OVER = 2048
"""A value whose JSON is longer than this (in characters) is not written twice by an UPDATE that left it alone."""

ROW_ID_LIMIT = 255
"""The longest key, in bytes of UTF-8, that the log holds whole."""

LONG_KEY = "long:"
"""What the log holds of a longer key begins so, and goes on with its first `LONG_KEY_START` characters."""

LONG_KEY_START = 250

SCALE = "*2^"
"""Between a number and the power of two that it has to be multiplied by."""

INVALID = re.compile("[\udc80-\udcff]")

_PLAIN = frozenset({type(None), bool, int, str})


@dataclass(frozen=True, slots=True)
class BrokenText:
    """Text in a database that is not valid UTF-8; SQLite stores such text as it comes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Tag:
    """How values of one Python type stand in JSON under `$name`."""

    name: str
    type: type
    dump: Callable[[Any], JsonValue]
    load: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Stands in `after` for the value that `before` has."""


@dataclass(frozen=True, slots=True)
class Masked:
    """Stands for a value that the log must not show."""


REPEATED = Repeated()
MASKED = Masked()

_TAGS_BY_TYPE: dict[type, Tag] = {}
_TAGS_BY_NAME: dict[str, Tag] = {}


def register_tag(tag: Tag) -> None:
    """Teach the codec a further type."""
    _TAGS_BY_TYPE[tag.type] = tag
    _TAGS_BY_NAME["$" + tag.name] = tag


for _tag in (
    Tag("hex", bytes, bytes.hex, bytes.fromhex),
    Tag("text", BrokenText, lambda text: text.data.hex(), lambda text: BrokenText(bytes.fromhex(text))),
    Tag("decimal", Decimal, str, Decimal),
    Tag("masked", Masked, lambda _: True, lambda _: MASKED),
    Tag("same", Repeated, lambda _: True, lambda _: REPEATED),
):
    register_tag(_tag)


def encode(value: object) -> JsonValue:
    """A stored value as JSON; raises TypeError for a type without a tag."""
    kind = type(value)
    if kind in _PLAIN:
        return value  # type: ignore[return-value]  # the set says so
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _float_name(value)}
    tag = _TAGS_BY_TYPE.get(kind)
    if tag is None:
        raise TypeError(f"no image form for a value of type {kind.__name__}")
    return {"$" + tag.name: tag.dump(value)}


def decode(value: JsonValue) -> Any:
    """The stored value that `encode` was given; raises ValueError for an unknown tag."""
    if not isinstance(value, dict):
        return value
    ((name, content),) = value.items()
    if name == "$float":
        return _double(str(content))
    tag = _TAGS_BY_NAME.get(name)
    if tag is None:
        raise ValueError(f"unknown value tag {name!r}")
    return tag.load(content)


def same(left: JsonValue, right: JsonValue) -> bool:
    """Whether two image values are the same stored value: 1, 1.0, True and "1" are four different ones."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind in _PLAIN:
        return left == right
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def same_image(left: Image | None, right: Image | None) -> bool:
    """Whether two images hold the same columns with the same values."""
    if left is None or right is None:
        return left is right
    # What Python takes for different is so; 1, 1.0 and True it takes for equal.
    return left == right and all(same(left[column], right[column]) for column in left)


def differing_columns(left: Image | None, right: Image | None) -> tuple[str, ...]:
    """The columns whose values differ, in the images' order; all of them where a row is missing."""
    if left is None or right is None:
        return tuple(left or right or ())
    columns = [*left, *(column for column in right if column not in left)]
    return tuple(
        column
        for column in columns
        if column not in left or column not in right or not same(left[column], right[column])
    )


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dump(value: JsonValue | Image) -> str:
    """JSON text without spaces, as the log holds it."""
    return _encoder.encode(value)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


parse = json.JSONDecoder(parse_constant=_no_number).decode
"""Reads JSON text; raises ValueError for what is none, `NaN` and `Infinity` included, which Python would take."""


def load_images(before: str | None, after: str | None) -> tuple[Image | None, Image | None]:
    """Both images of a record from their texts, each `$same` replaced by the value it stands for."""
    old = parse(before) if before is not None else None
    new = parse(after) if after is not None else None
    if _reads_as_it_is(before) and _reads_as_it_is(after):
        return without_repeats(old, new, after)
    old, new = without_repeats(old, new, after)
    old, new = _with_plain_numbers(before, old), _with_plain_numbers(after, new, before)
    return _with_valid_text(before, old), _with_valid_text(after, new, before)


def _reads_as_it_is(text: str | None) -> bool:
    """Whether no scaled number, and no text that is not valid, stands in an image's text."""
    return text is None or (SCALE not in text and (text.isascii() or INVALID.search(text) is None))


def without_repeats(old: Image | None, new: Image | None, after: str | None) -> tuple[Image | None, Image | None]:
    """Both images, each `$same` of the new one (read from the text `after`) replaced by the value it stands for."""
    if old is None or new is None or after is None or '"$same"' not in after:
        return old, new
    return old, {column: old.get(column) if value == SAME else value for column, value in new.items()}


def valid_row_id(text: str | None) -> str | None:
    """The look-up key of a text as a trigger wrote it, which may have bytes in it that are not valid."""
    return text if text is None or text.isascii() or not INVALID.search(text) else dump(_tagged(text))


def _with_valid_text(text: str | None, image: Image | None, *more: str | None) -> Image | None:
    """The image with each text in it tagged that is not valid UTF-8: its bytes stand in it as lone surrogates."""
    if image is None or not any(each and not each.isascii() and INVALID.search(each) for each in (text, *more)):
        return image
    return {
        column: _tagged(value) if isinstance(value, str) and INVALID.search(value) else value
        for column, value in image.items()
    }


def _with_plain_numbers(text: str | None, image: Image | None, *more: str | None) -> Image | None:
    """The image with each scaled number as the double that it is."""
    if image is None or not any(each and SCALE in each for each in (text, *more)):
        return image
    return {column: _unscaled(value) for column, value in image.items()}


def _unscaled(value: JsonValue) -> JsonValue:
    is_scaled = isinstance(value, dict) and SCALE in str(value.get("$float"))
    return decode(value) if is_scaled else value


def _double(content: str) -> float:
    number, _, power = content.partition(SCALE)
    return math.ldexp(float(number), int(power or 0))


def _tagged(text: str) -> JsonValue:
    return {"$text": text.encode("utf-8", "surrogateescape").hex()}


def is_repeated(before: JsonValue, after: JsonValue) -> bool:
    """Whether an UPDATE left a value alone that is too long to be written twice; `REPEATED` stands for it then."""
    return isinstance(after, str | dict | list) and same(before, after) and len(dump(after)) > SAME_OVER


def row_id(values: Sequence[JsonValue]) -> str:
    """A row's primary key as text, however long: the one text column itself, a JSON array for a composite key."""
    single = values[0] if len(values) == 1 else list(values)
    return single if isinstance(single, str) else dump(single)


def look_up_key(row_id: str) -> str:
    """What the log holds of a row's key: all of it, or the beginning of a long one, as every database can make it.

    Rows whose long keys begin alike share it; their images tell them apart.
    """
    if _is_short(row_id):
        return row_id
    # SQLite's own functions see no further than to a NUL.
    return LONG_KEY + row_id.partition("\0")[0][:LONG_KEY_START]


def is_shortened(look_up_key: str | None) -> bool:
    """Whether a record may hold only a part of its row's key."""
    return look_up_key is not None and look_up_key.startswith(LONG_KEY)


def _is_short(row_id: str) -> bool:
    length = len(row_id)
    return length * 4 <= ROW_ID_LIMIT or (
        length <= ROW_ID_LIMIT and len(row_id.encode("utf-8", "surrogatepass")) <= ROW_ID_LIMIT
    )


def row_id_of(image: Image, primary_key: Sequence[str]) -> str | None:
    """The key as text that an image's own values give; None without a key."""
    if not primary_key or any(column not in image for column in primary_key):
        return None
    return row_id([image[column] for column in primary_key])


def _template(columns: tuple[str, ...]) -> str:
    return "{" + ",".join(dump(column).replace("%", "%%") + ":%s" for column in columns) + "}"


@lru_cache(maxsize=4096)
def image_writer(columns: tuple[str, ...]) -> Callable[[Sequence[object]], str]:
    """A function that writes rows as the driver returned them as image texts: what `dump` does, but faster."""
    template = _template(columns)

    def write(values: Sequence[object]) -> str:
        return template % tuple([_WRITERS[type(value)](value) for value in values])

    return write


@lru_cache(maxsize=4096)
def json_joiner(columns: tuple[str, ...]) -> Callable[[Sequence[object]], str]:
    """The same for rows whose values are JSON already, in the words of a database; None is null."""
    template = _template(columns)

    def write(values: Sequence[object]) -> str:
        return template % tuple([_as_json(value) for value in values])

    return write


def _as_json(value: object) -> str:
    return value if isinstance(value, str) else dump(encode(value))


class _Writers(dict[type, Callable[[Any], str]]):
    """How values of a type are written; the codec knows those that are missing here."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        return _written


def _written(value: object) -> str:
    return dump(encode(value))


_WRITERS = _Writers({int: int.__repr__, str: encode_basestring, type(None): lambda _: "null"})


def _float_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


VECTORS: tuple[tuple[str, object, str], ...] = (
    ("null", None, "null"),
    ("zero", 0, "0"),
    ("largest 64-bit integer", 2**63 - 1, "9223372036854775807"),
    ("smallest 64-bit integer", -(2**63), "-9223372036854775808"),
    ("integer beyond doubles", 2**53 + 1, "9007199254740993"),
    ("integer beyond 64 bits", 2**80, "1208925819614629174706176"),
    ("true", True, "true"),
    ("real one", 1.0, "1.0"),
    ("a tenth", 0.1, "0.1"),
    ("seventeen digits", 0.1 + 0.2, "0.30000000000000004"),
    ("negative zero", -0.0, "-0.0"),
    ("smallest double", 5e-324, "5e-324"),
    ("largest double", 1.7976931348623157e308, "1.7976931348623157e+308"),
    ("infinity", math.inf, '{"$float":"Infinity"}'),
    ("minus infinity", -math.inf, '{"$float":"-Infinity"}'),
    ("empty text", "", '""'),
    ("text that looks like a number", "1", '"1"'),
    ("text that looks like a tag", '{"$hex": "00"}', '"{\\"$hex\\": \\"00\\"}"'),
    ("text with NUL", "a\0b", '"a\\u0000b"'),
    ("text with emoji", "caf\u00e9 \U0001f3b5", '"caf\u00e9 \U0001f3b5"'),
    ("JSON null as text", "null", '"null"'),
    ("broken text", BrokenText(b"\xc3\x28"), '{"$text":"c328"}'),
    ("no bytes", b"", '{"$hex":""}'),
    ("bytes", b"\x00\xff", '{"$hex":"00ff"}'),
    ("decimal with its scale", Decimal("1.10"), '{"$decimal":"1.10"}'),
    ("decimal beyond doubles", Decimal("12345678901234567890.123"), '{"$decimal":"12345678901234567890.123"}'),
)
"""Name, stored value, JSON text: every encoder, in Python or SQL, gives this text or one that reads equal."""
