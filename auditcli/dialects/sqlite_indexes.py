"""The terms of SQLite's unique indexes, cut out of the statements that made them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"""
      --[^\n]* | /\*.*?(?:\*/|\Z)
    | '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
    | \w+ | \s+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_ORDER = re.compile(r"\s+(?:ASC|DESC)\s*\Z", re.IGNORECASE)


def index_terms(sql: str) -> tuple[tuple[str, ...], str | None]:
    """The indexed expressions of a CREATE INDEX statement, and the condition of a partial index."""
    tokens = list(_tokens(sql))
    opening = next(at for at, part in enumerate(tokens) if part == "(")
    terms, closing = _terms(tokens, opening)
    rest = "".join(tokens[closing + 1 :]).strip()
    condition = rest[len("where") :].strip() if rest.lower().startswith("where") else None
    return tuple(_ORDER.sub("", term).strip() for term in terms), condition


def _terms(tokens: Sequence[str], opening: int) -> tuple[list[str], int]:
    """The parts between the brackets that open here, cut at their commas, and where these brackets close."""
    depth = 0
    terms = [""]
    for at in range(opening, len(tokens)):
        part = tokens[at]
        depth += (part == "(") - (part == ")")
        if depth == 0:
            return terms, at
        if part == "," and depth == 1:
            terms.append("")
        elif at != opening:
            terms[-1] += part
    return terms, len(tokens)


def _tokens(sql: str) -> Iterator[str]:
    for found in _TOKEN.finditer(sql):
        token = found[0]
        yield " " if token.startswith(("--", "/*")) else token
