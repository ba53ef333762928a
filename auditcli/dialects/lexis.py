"""How databases read the text of statements: where names, texts and comments begin and end."""

from __future__ import annotations

from dataclasses import dataclass


def quoted_by(quote: str, *, escaping: bool = False) -> str:
    """The expression of what stands between quotes, which are doubled inside; one that never ends goes to the end."""
    inside = rf"[^{quote}\\]|\\." if escaping else rf"[^{quote}]"
    return rf"{quote}(?:{inside}|{quote}{quote})*+(?:{quote}|\Z)"


@dataclass(frozen=True, slots=True)
class Lexis:
    """The regular expressions of texts, quoted names and comments to the end of a line.

    `nests` says whether a comment may hold another one, `executed` begins one whose inside is run.
    """

    text: str = quoted_by("'")
    name: str = quoted_by('"')
    comment: str = r"--[^\n]*"
    nests: bool = False
    executed: str = r"(?!)"
