"""One statement of a script that a person runs by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNSEEN = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """A statement with its values written out, which has to change exactly one row; `word` names that row."""

    word: str
    sql: str


def comment(text: str) -> str:
    """A text as a comment, whatever is in it."""
    return "-- " + _UNSEEN.sub(lambda found: found[0] if found[0].isprintable() else "?", text)
