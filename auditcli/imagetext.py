"""The texts of images as exports write them, made from the texts that the log holds without reading these as JSON.

Most records are in the very words that `codec.dump` would choose, or differ from them in how numbers are spelled. What
may be otherwise is left to who reads the images: every function here gives None where it is not sure. Many texts are
looked at as one, since that costs little more than a single one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import compress, repeat
from operator import ne
from typing import TypeAlias, TypeVar

from auditcli.codec import INVALID, SCALE

T = TypeVar("T")
U = TypeVar("U")

SpellImages: TypeAlias = Callable[[Sequence[str]], Sequence["str | None"]]
"""Makes of images' texts in the log the texts that `codec.dump` gives of the images; None where it can't tell.

The text of an image that is not there is empty, and stays so.
"""

_ODD = (("\\", "\\u"), ("\\", '\\"'), ("$", '"$same"'), ("^", SCALE), ("[", '":['), (":", '": '))
"""Escapes, quotation marks in texts, marks for other values, lists, spaces: what takes reading.

Before each stands a sign that it has in it: where that is missing, it is much quicker to look for.
"""

_MAY_BE_DOUBLE = re.compile(r'":-?[0-9]+[.e]')
_DOUBLE = re.compile(r'":(-?[0-9]+[.e][0-9.e+-]*)')


def is_odd(text: str) -> bool:
    """Whether an image's text holds what takes reading it."""
    return any(sign in text and word in text for sign, word in _ODD) or not (
        text.isascii() or INVALID.search(text) is None
    )


def spelled(text: str) -> str | None:
    """The text with each double as Python spells it."""
    return all_spelled((text,))[0]


def all_spelled(texts: Sequence[str]) -> Sequence[str | None]:
    """The same for many texts."""
    joined = "\n".join(texts)
    if joined.count("\n") >= len(texts) or is_odd(joined):
        return in_halves(all_spelled, texts) if len(texts) > 1 else [None]
    return _DOUBLE.sub(_respelled, joined).split("\n") if _MAY_BE_DOUBLE.search(joined) else texts


def in_halves(make: Callable[[Sequence[T]], Sequence[U]], things: Sequence[T]) -> Sequence[U]:
    """What is made of many things where some of them keep it from being made of all at once."""
    middle = len(things) // 2
    return [*make(things[:middle]), *make(things[middle:])]


def all_differing(before: Sequence[str], after: Sequence[str]) -> Sequence[tuple[str, ...]] | None:
    """What `differing` gives of each of many pairs whose images have the same columns; None where that is not sure."""
    old, new = _cells_of(before), _cells_of(after)
    if old is None or new is None or len(old) != len(new):
        return None
    names: list[str] = []
    differ: list[list[bool]] = []
    for left, right in zip(old, new, strict=True):
        if left != right:
            name = left[0].partition('":')[0]
            if not (_all_begin(left, name) and _all_begin(right, name)):
                return None
            names.append(name.removeprefix('{"'))
            differ.append(list(map(ne, left, right)))
    if not names:
        return [()] * len(before)
    patterns = list(zip(*differ, strict=True))
    known = {pattern: _names(tuple(compress(names, pattern))) for pattern in set(patterns)}
    return [known[pattern] for pattern in patterns]


def all_columns_of(texts: Sequence[str]) -> Sequence[tuple[str, ...]] | None:
    """What `columns_of` gives of each of many images that have the same columns; None where that is not sure."""
    cells = _cells_of(texts)
    if cells is None:
        return None
    names = [column[0].partition('":')[0] for column in cells]
    if not all(map(_all_begin, cells, names)):
        return None
    return [_names(tuple([name.removeprefix('{"') for name in names]))] * len(texts)


def _cells_of(texts: Sequence[str]) -> list[list[str]] | None:
    """The columns of images, each with its value, where all have as many; the first ones begin with a brace."""
    width = texts[0].count(',"') + 1
    joined = '\n,"'.join(texts)
    cells = joined.split(',"')
    columns = [cells[at::width] for at in range(width)]
    # Each image's last part ends with the line, which no other part has an end of.
    ends = len(texts) - 1
    if len(cells) != width * len(texts) or joined.count("\n") != ends or "".join(columns[-1]).count("\n") != ends:
        return None
    # There are never more names than parts, so if there are as many in all there are as many in each.
    return columns if _names_in(joined, columns[0]) == len(cells) else None


def _names_in(text: str, beginnings: Sequence[str]) -> int:
    """How many columns images have, given all as one and by their beginnings: tags have names of their own."""
    tags = text.count('{"$') - sum(each.startswith('{"$') for each in beginnings) if "$" in text else 0
    return text.count('":') - tags


def _all_begin(cells: Sequence[str], name: str) -> bool:
    return all(map(str.startswith, cells, repeat(f'{name}":')))


def columns_of(text: str) -> tuple[str, ...] | None:
    """The names of the columns of an image."""
    parts = text[2:-1].split(',"')
    if not _are_columns(text, parts):
        return None
    return _names(tuple([part.partition('":')[0] for part in parts]))


def differing(before: str, after: str) -> tuple[str, ...] | None:
    """The names of the columns in which two images of one form differ."""
    old, new = before[2:-1].split(',"'), after[2:-1].split(',"')
    if len(old) != len(new) or not (_are_columns(before, old) and _are_columns(after, new)):
        return None
    names = []
    for left, right in zip(old, new, strict=True):
        if left != right:
            name = left[: left.index('":')]
            if not right.startswith(f'{name}":'):
                return None
            names.append(name)
    return _names(tuple(names))


def _are_columns(text: str, parts: Sequence[str]) -> bool:
    """Whether these are the columns, each with its value, and not parts of them: their names are counted.

    Texts have no quotation marks in them, so a comma before one ends a column or else the text.
    """
    return _names_in(text, (text,)) == len(parts)


@lru_cache(maxsize=4096)
def _names(quoted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(json.loads(f'"{name}"') for name in quoted)


def _respelled(number: re.Match[str]) -> str:
    return f'":{float(number[1])!r}'
