"""Numbers as bars, for whoever looks for the tall one."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def bar(number: float, most: float, width: int, *, plain: bool = False) -> str:
    """A bar of as much of the width as the number is of the most; none is shown only where there is nothing.

    `plain` is for where block characters can't be shown.
    """
    if number <= 0 or most <= 0 or width <= 0:
        return ""
    if plain:
        return "#" * max(1, round(width * number / most))
    full, eighths = divmod(max(1, round(8 * width * number / most)), 8)
    return _FULL * full + (_EIGHTHS[eighths] if eighths else "")
