"""The texts of images as exports write them, made from the texts that the log holds without reading these as JSON.

Most records are in the very words that `codec.dump` would choose, or differ from them in how numbers are spelled. What
may be otherwise is left to who reads the images: every function here gives None where it is not sure. Many texts are
looked at as one, since that costs little more than a single one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from auditcli.codec import INVALID, SCALE

SpellImage: TypeAlias = Callable[[str], "str | None"]
"""Makes of an image's text in the log the text that `codec.dump` gives of the image; None where it can't tell."""

_ODD = ("\\u", '\\"', '"$same"', SCALE, '": ', '":[')
"""Escapes, quotation marks in texts, marks for other values, spaces, lists: what takes reading."""

_AMBIGUOUS = (',",', ',"}', ',":', '"{')
"""A comma before the end of a text, or one that begins like a tag: columns can't be told by their commas alone."""

_MAY_BE_DOUBLE = re.compile(r'":-?[0-9]+[.e]')
_DOUBLE = re.compile(r'(?<=":)-?[0-9]+[.e][0-9.e+-]*')


def is_odd(text: str) -> bool:
    """Whether an image's text holds what takes reading it."""
    return any(word in text for word in _ODD) or not (text.isascii() or INVALID.search(text) is None)


def spelled(text: str) -> str | None:
    """The text with each double as Python spells it."""
    if is_odd(text):
        return None
    return _DOUBLE.sub(_respelled, text) if _MAY_BE_DOUBLE.search(text) else text


def all_spelled(texts: Sequence[str]) -> Sequence[str | None]:
    """The same for many texts, of which each is on one line, as JSON without spaces is."""
    joined = "\n".join(texts)
    if is_odd(joined):
        return [spelled(text) for text in texts]
    return _DOUBLE.sub(_respelled, joined).split("\n") if _MAY_BE_DOUBLE.search(joined) else texts


def are_regular(texts: Iterable[str | None]) -> bool:
    """Whether a quotation mark behind a comma always begins the name of the next column."""
    joined = "\n".join(text for text in texts if text is not None)
    return not any(word in joined for word in _AMBIGUOUS)


def columns_of(text: str) -> tuple[str, ...] | None:
    """The names of the columns of an image."""
    parts = text[2:-1].split(',"')
    if not _are_columns(text, parts):
        return None
    return _names(tuple([part.partition('":')[0] for part in parts]))


def differing(before: str, after: str, regular: bool = False) -> tuple[str, ...] | None:
    """The names of the columns in which two images of one form differ; `regular` says that both `are_regular`."""
    old, new = before[2:-1].split(',"'), after[2:-1].split(',"')
    if len(old) != len(new) or not (regular or (_are_columns(before, old) and _are_columns(after, new))):
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
    return text.count('":') - text.count('{"$') + text.startswith('{"$') == len(parts)


@lru_cache(maxsize=4096)
def _names(quoted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(json.loads(f'"{name}"') for name in quoted)


def _respelled(number: re.Match[str]) -> str:
    return repr(float(number[0]))
