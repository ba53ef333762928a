"""One statement of a script that a person runs by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_UNSEEN = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """A statement about one row with its values written out; `word`, where there is one, names that row."""

    word: str
    sql: str


def plain_lines(steps: Iterable[ScriptStep]) -> Iterator[str]:
    """The statements as they are, each after its word."""
    for step in steps:
        if step.word:
            yield comment(step.word)
        yield f"{step.sql};"


def comment(text: str) -> str:
    """A text as a comment, whatever is in it."""
    return "-- " + _UNSEEN.sub(lambda found: found[0] if found[0].isprintable() else "?", text)
