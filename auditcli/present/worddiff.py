"""Two values as one line: what stayed, what went and what came, each with its sign."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from auditcli.fold import Value
from auditcli.present.spans import Line, Span, Style
from auditcli.present.text import LONGEST_VALUE, shortened, value_text, visible

_LONGEST_WORD_DIFF = 2_000
_LEAST_ALIKE = 0.35
_KEPT_AROUND = 24
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


def word_diff(before: str, after: str) -> Line:
    """Two texts as one: what both have, `[-removed-]` and `{+added+}` words."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > _LONGEST_WORD_DIFF:
        return _replaced(before, after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < _LEAST_ALIKE:
        return _replaced(before, after)
    spans: list[Span] = []
    for operation, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if operation == "equal":
            spans.append(Span(_context_of("".join(old[old_from:old_to]))))
        else:
            spans += _replaced("".join(old[old_from:old_to]), "".join(new[new_from:new_to]), quote=False)
    return tuple(spans)


def cell_diff(before: Value, after: Value) -> Line:
    """One cell's old and new value, each with its sign."""
    if isinstance(before, str) and isinstance(after, str) and _has_words(before) and _has_words(after):
        return word_diff(before, after)
    return (*removed(value_text(before)), *added(value_text(after)))


def removed(text: str) -> Line:
    """What went, with its sign."""
    return (Span(f"[-{text}-]", Style.REMOVED),)


def added(text: str) -> Line:
    """What came, with its sign."""
    return (Span(f"{{+{text}+}}", Style.ADDED),)


def _has_words(text: str) -> bool:
    return len(text.split()) > 1


def _context_of(text: str) -> str:
    """Words that did not change: only what stands next to a change is worth a place."""
    if len(text) > 2 * _KEPT_AROUND + 1:
        text = f"{text[:_KEPT_AROUND]}…{text[-_KEPT_AROUND:]}"
    return visible(text)


def _replaced(before: str, after: str, *, quote: bool = True) -> Line:
    shown = value_text if quote else _plain_words
    return (
        *(removed(shown(before)) if before or quote else ()),
        *(added(shown(after)) if after or quote else ()),
    )


def _plain_words(text: str) -> str:
    return shortened(visible(text), LONGEST_VALUE)
