"""How far something long has got, on one line of stderr that is written again; nothing where nobody watches it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 0.5


class Progress:
    """One line, at first after half a second and then as often."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._begun = time.monotonic()
        self._next = self._begun + _PATIENCE
        self._is_dirty = False

    def tell(self, place: str, rows: int) -> None:
        """Say how many rows there were so far, and how many a second."""
        now = time.monotonic()
        if not self._is_shown or now < self._next:
            return
        from auditcli.present import visible

        rate = rows / (now - self._begun)
        sys.stderr.write(f"\r\x1b[K{visible(place)}: {rows:,} rows, {rate:,.0f} a second")
        sys.stderr.flush()
        self._next = now + _PATIENCE
        self._is_dirty = True

    def clear(self) -> None:
        """Leave the line as it was found."""
        if self._is_dirty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Progress that is gone when the block ends."""
    shown = Progress(is_shown=not quiet and sys.stderr.isatty())
    try:
        yield shown
    finally:
        shown.clear()
