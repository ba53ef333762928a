"""Along the log in stretches of ids, each so long that a statement about it takes a moment.

What no index serves has to look at every record. In one statement that is silent until it ends, can't be interrupted on
every database, and shows nothing of what it has found; in stretches it is none of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, func, select

Watch: TypeAlias = Callable[[int, int], None]
"""Is told how many ids have been looked through so far, and of how many."""

_FIRST = 20_000
_LONGEST = 320_000
_SHORTEST = 5_000
_MOMENT = 0.2
_TOO_LONG = 1.0
"""Seconds that a stretch should take, and that the next one should not."""


def nobody_watches(_done: int, _whole: int) -> None:
    """The watch of those who don't want to know."""


@dataclass(frozen=True, slots=True)
class Span:
    """The ids after `after_id`, up to and including `until_id`; None stands for the end of the log."""

    after_id: int = 0
    until_id: int | None = None

    def narrowed(self, after_id: int | None, until_id: int | None) -> Span:
        """The ids that are between these bounds too."""
        ends = [end for end in (self.until_id, until_id) if end is not None]
        return Span(max(self.after_id, after_id or 0), min(ends, default=None))


class Walk:
    """A walk through a span, from either end."""

    def __init__(
        self,
        connection: Connection,
        log_id: ColumnElement[int],
        span: Span,
        *,
        newest_first: bool = False,
        watch: Watch = nobody_watches,
    ) -> None:
        self._connection = connection
        self._log_id = log_id
        self._newest_first = newest_first
        self._watch = watch
        inside = [log_id > span.after_id, *([] if span.until_id is None else [log_id <= span.until_id])]
        # One by one: only so both are read from the ends of the index everywhere.
        first, last = (connection.scalar(select(end(log_id)).where(*inside)) for end in (func.min, func.max))
        self._first: int = 1 if first is None else first
        self._last: int = 0 if last is None else last
        self._whole = self._last - self._first + 1
        self._length = _FIRST

    @property
    def is_over(self) -> bool:
        """Whether everything has been looked at."""
        return self._first > self._last

    def stretch(self) -> tuple[int, int]:
        """The first and the last id of what is next."""
        if self._newest_first:
            return max(self._first, self._last - self._length + 1), self._last
        return self._first, min(self._last, self._first + self._length - 1)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Takes the time of a statement about the next stretch."""
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        if took < _MOMENT:
            self._length = min(2 * self._length, _LONGEST)
        elif took > _TOO_LONG:
            self._length = max(self._length // 2, _SHORTEST)

    def reached(self, log_id: int) -> None:
        """Go on behind this id."""
        if self._newest_first:
            self._last = log_id - 1
        else:
            self._first = log_id + 1
        self._watch(self._whole - max(0, self._last - self._first + 1), self._whole)

    def skip_gap(self) -> None:
        """Go on at the next id that is there: ids may be missing by the million."""
        if self.is_over:
            return
        there = select(func.max(self._log_id) if self._newest_first else func.min(self._log_id))
        found = self._connection.scalar(there.where(self._log_id.between(self._first, self._last)))
        if found is None:
            self._first = self._last + 1
        elif self._newest_first:
            self._last = found
        else:
            self._first = found
