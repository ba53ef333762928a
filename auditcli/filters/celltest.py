"""Tests of one column's value: `status:ship*`, `total.gt:100`, `orders.status:pending..shipped`, `note.null`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from auditcli import codec
from auditcli.errors import UsageError
from auditcli.filters.rowword import find_table, name_word, quoted, table_word, unquoted
from auditcli.model import Change, Image, JsonValue, TableName
from auditcli.position import shown

ARROW = "→"
DOTS = ".."


class Operator(StrEnum):
    """How a cell is tested; the values are the suffixes that a word writes after the column."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    IN = "in"
    NULL = "null"
    LIKE = "like"
    MOVED = "moved"


SUFFIXES = frozenset(Operator) - {Operator.LIKE, Operator.MOVED}
"""Operators that are written as a suffix; the other two show in the value."""

SIGNS = {
    ">=": Operator.GE,
    "<=": Operator.LE,
    "!=": Operator.NE,
    ">": Operator.GT,
    "<": Operator.LT,
    "=": Operator.EQ,
}

_ORDER: Mapping[Operator, Callable[[int], bool]] = {
    Operator.GT: lambda sign: sign > 0,
    Operator.GE: lambda sign: sign >= 0,
    Operator.LT: lambda sign: sign < 0,
    Operator.LE: lambda sign: sign <= 0,
}
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,6})?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE)
_DAY_AND_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d*]", re.ASCII)
_TRUTH = {True: ("true", "1"), False: ("false", "0")}


@dataclass(frozen=True, slots=True)
class ColumnWord:
    """A column, of one table or of whichever has it."""

    column: str
    table: TableName | None = None

    def __str__(self) -> str:
        return name_word(self.column) if self.table is None else f"{table_word(self.table)}.{name_word(self.column)}"

    def touched_by(self, change: Change) -> bool:
        """Whether the change wrote this column; INSERT and DELETE write all, a snapshot none."""
        return self.table in (None, change.table) and any(
            same_column(self.column, column) for column in codec.differing_columns(change.before, change.after)
        )


@dataclass(frozen=True, slots=True)
class CellTest:
    """What the value of a column has to be; MOVED has what it was and what it became, empty for anything."""

    column: str
    operator: Operator
    operands: tuple[str, ...] = ()
    table: TableName | None = None

    @property
    def key(self) -> tuple[TableName | None, str, Operator]:
        """Words of one key are alternatives: `status:a status:b`, but not `total.gt:1 total.lt:9`."""
        plain = self.operator in (Operator.LIKE, Operator.MOVED)
        return self.table, self.column, Operator.EQ if plain else self.operator

    def passes(self, change: Change) -> bool:
        """Whether the row passes as the change left it, or as it was where it is gone; never without such a column."""
        if self.table not in (None, change.table):
            return False
        if self.operator is Operator.MOVED:
            return self._moved(change)
        column = find_column(change.image, self.column)
        return column is not None and value_passes(change.image[column], self.operator, self.operands)

    def _moved(self, change: Change) -> bool:
        old, new = _cell(change.before, self.column), _cell(change.after, self.column)
        sides = zip((old, new), self.operands, strict=True)
        return not codec.same(old, new) and all(_side_passes(cell, pattern) for cell, pattern in sides)


def parse_cell(parts: list[str], sign: str, value: str, tables: Collection[TableName]) -> CellTest:
    """The test in `[table.]column[.operator]` (split into its parts), a sign and a value."""
    operator = SIGNS.get(sign)
    if len(parts) > 1 and parts[-1].lower() in SUFFIXES:
        if operator is not None:
            raise UsageError(
                f"{shown('.'.join(parts) + sign)} has two operators", hint=f"write COLUMN.{parts[-1]}:VALUE"
            )
        operator = Operator(parts[-1].lower())
        parts = parts[:-1]
    column = parse_column(parts, tables)
    operator, operands = _operator_and_operands(operator, value)
    return CellTest(column.column, operator, operands, column.table)


def parse_column(parts: list[str], tables: Collection[TableName]) -> ColumnWord:
    """The column in `[[schema.]table.]column`, split into its parts."""
    if not parts or not parts[-1]:
        raise UsageError("a column's name is missing", hint="write COLUMN or TABLE.COLUMN")
    table_parts = tuple(map(unquoted, parts[:-1]))
    table = find_table(table_parts, ".".join(parts[:-1]), tables) if table_parts else None
    return ColumnWord(unquoted(parts[-1]), table)


def format_cell(test: CellTest, keywords: Collection[str]) -> str:
    """The test as a word that `parse_cell` reads back; a column called like a keyword stands in quotes."""
    suffix = f".{test.operator}" if test.operator in SUFFIXES else ""
    value = ",".join(test.operands)
    if test.operator is Operator.MOVED:
        value = _moved_value(*test.operands)
    elif test.operator is Operator.EQ and not _has_meaning(value):
        suffix = ""
    bare_keyword = test.table is None and not suffix and test.column in keywords
    column = quoted(test.column) if bare_keyword or test.column.lower() in SUFFIXES else name_word(test.column)
    table = "" if test.table is None else table_word(test.table) + "."
    return f"{table}{column}{suffix}" + ("" if test.operator is Operator.NULL else f":{value}")


def find_column(image: Image, name: str) -> str | None:
    """The image's column of that name; case counts only where it tells two columns apart."""
    if name in image:
        return name
    return next((column for column in image if same_column(name, column)), None)


def same_column(left: str, right: str) -> bool:
    """Whether two names are one column's."""
    return left == right or left.casefold() == right.casefold()


def value_passes(value: JsonValue, operator: Operator, operands: tuple[str, ...]) -> bool:
    """Whether a stored value passes; NULL equals nothing and is neither more nor less than anything."""
    match operator:
        case Operator.NULL:
            return value is None
        case Operator.EQ | Operator.IN:
            return any(_equals(value, operand) for operand in operands)
        case Operator.NE:
            return not _equals(value, operands[0])
        case Operator.LIKE:
            text = value_text(value)
            return text is not None and glob_matches(_comparable(operands[0]), _comparable(text))
        case _:
            sign = _compared(value, operands[0])
            return sign is not None and _ORDER[operator](sign)


def glob_matches(pattern: str, text: str) -> bool:
    """Whether the text is the pattern's, in which `*` stands for any characters and nothing else is special."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def value_text(value: JsonValue) -> str | None:
    """A stored value as one reads it: bytes by their hex; None for NULL."""
    return None if value is None else ",".join(value_texts(value))


def value_texts(value: JsonValue) -> Iterator[str]:
    """The texts in a stored value: one, or those of its elements."""
    if isinstance(value, bool):
        yield _TRUTH[value][0]
    elif isinstance(value, dict):
        for tag, content in value.items():
            yield from [_broken_text(content)] if tag == "$text" else value_texts(content)
    elif isinstance(value, list):
        for element in value:
            yield from value_texts(element)
    elif value is not None:
        yield str(value)


def _operator_and_operands(operator: Operator | None, value: str) -> tuple[Operator, tuple[str, ...]]:
    if operator is Operator.NULL:
        if value:
            raise UsageError(f"null takes no value: {shown(value)}", hint="write COLUMN.null, or not:COLUMN.null")
        return operator, ()
    if operator is Operator.IN:
        return operator, tuple(value.split(","))
    if operator is not None:
        return operator, (value,)
    for sign in (ARROW, DOTS):
        old, found, new = value.partition(sign)
        if found:
            return Operator.MOVED, (old, new)
    return (Operator.LIKE if "*" in value else Operator.EQ), (value,)


def _has_meaning(value: str) -> bool:
    """Whether the value without a suffix would be more than itself."""
    return "*" in value or DOTS in value or ARROW in value


def _moved_value(old: str, new: str) -> str:
    sign = ARROW if DOTS in old or old.endswith(".") or ARROW in new else DOTS
    return f"{old}{sign}{new}"


def _cell(image: Image | None, name: str) -> JsonValue:
    """The cell as one value in which a missing row, a missing column and NULL are three different things."""
    column = None if image is None else find_column(image, name)
    return [] if image is None or column is None else [image[column]]


def _side_passes(cell: JsonValue, pattern: str) -> bool:
    if not pattern:
        return True
    if not isinstance(cell, list) or not cell:
        return False
    return value_passes(cell[0], Operator.LIKE if "*" in pattern else Operator.EQ, (pattern,))


def _equals(value: JsonValue, word: str) -> bool:
    if isinstance(value, bool):
        return word.lower() in _TRUTH[value]
    number = _stored_number(value)
    if number is not None:
        other = _number(word)
        return other is not None and (number == other or (number.is_nan() and other.is_nan()))
    text = value_text(value)
    return text is not None and _comparable(text) == _comparable(_as_stored(value, word))


def _compared(value: JsonValue, word: str) -> int | None:
    """-1, 0 or 1; None where the two have no order."""
    number = _stored_number(value)
    if number is not None:
        other = _number(word)
        if other is None or number.is_nan() or other.is_nan():
            return None
        return (number > other) - (number < other)
    text = None if isinstance(value, bool) else value_text(value)
    if text is None:
        return None
    left, right = _comparable(text), _comparable(_as_stored(value, word))
    return (left > right) - (left < right)


def _stored_number(value: JsonValue) -> Decimal | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # By its shortest decimal text, so that 0.1 equals the 0.1 that a person writes.
        return Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if isinstance(value, dict) and ("$decimal" in value or "$float" in value):
        return _number(str(next(iter(value.values()))))
    return None


@lru_cache(maxsize=1024)
def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _as_stored(value: JsonValue, word: str) -> str:
    return word.lower() if isinstance(value, dict) and "$hex" in value else word


def _comparable(text: str) -> str:
    """A time's text with a space before the clock, since a T there would sort after every space."""
    return f"{text[:10]} {text[11:]}" if _DAY_AND_TIME.match(text) else text


def _broken_text(content: JsonValue) -> str:
    return bytes.fromhex(str(content)).decode("utf-8", "backslashreplace")
