"""Values, times, counts and names as text that no terminal obeys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from auditcli import codec
from auditcli.fold import ABSENT, Value
from auditcli.model import JsonValue, RowKey, TableName, Transaction

LONGEST_VALUE = 80
"""How many characters of a value a line shows."""

SHORT_ID = 8
"""How many characters of a transaction's id are shown where the whole one would only fill the line."""

_BYTES_SHOWN = 12
_NUMBER_LIKE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_READS_OTHERWISE = frozenset({"", "NULL", "true", "false", "NaN", "Infinity", "-Infinity"})
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_JOINER = "\u200d"


def visible(text: str) -> str:
    """Text that a terminal can't be made to obey: control, bidirectional and invisible characters stand escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _is_hidden(character) else character for character in text)


def value_text(value: Value, limit: int | None = LONGEST_VALUE) -> str:
    """An image's value in one line; text is quoted only where it would read as something else."""
    if value is ABSENT:
        return "(no row)"
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted_if_unclear(value, limit)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _tagged_text(value, limit)
    return shortened(visible(codec.dump(value)), limit)


def shortened(text: str, limit: int | None) -> str:
    """Text cut to a length, saying that it was and how long it is."""
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} characters)"


def text_width(text: str) -> int:
    """How many columns of a terminal a text fills."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def time_text(moment: datetime, *, utc: bool = False) -> str:
    """A moment in local time with its offset, or in UTC."""
    if utc:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    local = moment.astimezone()
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago a moment was, in its largest unit."""
    passed = now - moment
    if passed < timedelta(0):
        return "in the future"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed.total_seconds() >= length:
            return f"{int(passed.total_seconds() // length):,} {unit} ago"
    return f"{int(passed.total_seconds())} s ago"


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 row`, `2 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def wrapped_names(names: Iterable[object], most: int = 4) -> str:
    """Some names, saying how many more there are."""
    words = [visible(str(name)) for name in names]
    more = f", … {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def row_word(table: TableName, row_id: str | None) -> str:
    """A row as one would type it; a table without a key has no word for its rows."""
    return visible(str(RowKey(table, row_id)) if row_id is not None else f"{table} (no key)")


def rows_by_event(transaction: Transaction) -> str:
    """How many rows came, changed and went, each with its sign."""
    counts = (("+", transaction.inserts), ("~", transaction.updates), ("-", transaction.deletes))
    return " ".join(f"{sign}{count:,}" for sign, count in counts if count) or "0"


def column_counts(counts: Mapping[str, int]) -> str:
    """Columns with how many rows differ in each, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{visible(column)} {count:,}" for column, count in ranked)


def _width(character: str) -> int:
    if unicodedata.combining(character) or character == _JOINER:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES and character != _JOINER


def _escaped(character: str) -> str:
    short = _SHORT_ESCAPES.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _quoted_if_unclear(text: str, limit: int | None) -> str:
    shown = shortened(visible(text), limit)
    unclear = text in _READS_OTHERWISE or text != text.strip() or _NUMBER_LIKE.fullmatch(text)
    return f"'{shown}'" if unclear else shown


def _tagged_text(value: Mapping[str, JsonValue], limit: int | None) -> str:
    ((tag, content),) = value.items() if len(value) == 1 else (("", None),)
    if tag in ("$hex", "$text"):
        return _bytes_text(str(content), "" if tag == "$hex" else ", broken text")
    if tag in ("$decimal", "$float"):
        return visible(str(content))
    return shortened(visible(codec.dump(value)), limit)


def _bytes_text(digits: str, more: str) -> str:
    size = len(digits) // 2
    shown = digits[: _BYTES_SHOWN * 2] + ("…" if size > _BYTES_SHOWN else "")
    return f"x'{shown}' ({counted(size, 'byte')}{more})"
