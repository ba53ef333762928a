"""Two values as one line: what stayed, what went and what came, each with its sign."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from auditcli.fold import Value
from auditcli.present.spans import Line, Span, Style
from auditcli.present.text import LONGEST_VALUE, shortened, value_text, visible

_LONGEST_TEXT = 40_000
_MOST_PAIRS = 20_000
"""So many pairs of equal words are looked through in a moment; ten times as many took seconds."""

_LEAST_ALIKE = 0.35
_KEPT_AROUND = 24
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


def word_diff(before: str, after: str) -> Line:
    """Two texts as one: what both have, `[-removed-]` and `{+added+}` words."""
    if max(len(before), len(after)) > _LONGEST_TEXT:
        return _replaced(before, after)
    old, new = _WORD.findall(before), _WORD.findall(after)
    steps = _steps(old, new)
    alike = sum(len(went) for is_equal, went, _ in steps if is_equal)
    if 2 * alike < _LEAST_ALIKE * (len(old) + len(new)):
        return _replaced(before, after)
    spans: list[Span] = []
    for is_equal, went, came in steps:
        if is_equal:
            spans.append(Span(_context_of("".join(went))))
        else:
            spans += _replaced("".join(went), "".join(came), quote=False)
    return tuple(spans)


def _steps(old: Sequence[str], new: Sequence[str]) -> list[tuple[bool, Sequence[str], Sequence[str]]]:
    """The way from old words to new ones: whether these stayed, which went, which came."""
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    went, came = old[start : len(old) - end], new[start : len(new) - end]
    counts = Counter(came)
    if sum(counts[word] for word in went) > _MOST_PAIRS:
        between = [(False, went, came)]
    else:
        codes = SequenceMatcher(None, went, came, autojunk=False).get_opcodes()
        between = [(code == "equal", went[a:b], came[c:d]) for code, a, b, c, d in codes]
    around = ((True, old[:start], new[:start]), *between, (True, old[len(old) - end :], new[len(new) - end :]))
    joined: list[tuple[bool, Sequence[str], Sequence[str]]] = []
    for step in around:
        if joined and joined[-1][0] and step[0]:
            joined[-1] = (True, [*joined[-1][1], *step[1]], [*joined[-1][2], *step[2]])
        elif step[1] or step[2]:
            joined.append(step)
    return joined


def _common(words: Sequence[str], others: Sequence[str]) -> int:
    """How many words both begin with."""
    pairs = enumerate(zip(words, others, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(words), len(others)))


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
