"""How far a reader is behind those who write."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from auditcli.clock import utc_now
from auditcli.feed import Delivered, Feed
from auditcli.following.news import Behind, CaughtUp, News

_WITHOUT_A_WORD = 5_000
_PATIENCE = 2.0
_TELL_EVERY = 5.0


class Lag:
    """Looks after each poll at how much is left to read, and tells where that is much for a while."""

    def __init__(self, tell: Callable[[News], None]) -> None:
        self._tell = tell
        self._next_word: float | None = None
        self._has_told = False

    def look(self, feed: Feed, delivered: Sequence[Delivered]) -> None:
        """Tell how far behind the reader is, or that it no longer is; what nobody may read yet does not count."""
        now = time.monotonic()
        left = feed.mark - feed.place.log_id
        if left < _WITHOUT_A_WORD:
            if self._has_told:
                self._tell(CaughtUp())
            self._next_word, self._has_told = None, False
            return
        self._next_word = now + _PATIENCE if self._next_word is None else self._next_word
        if delivered and now >= self._next_word:
            age = utc_now() - delivered[-1].changes[-1].timestamp
            self._tell(Behind(left, age.total_seconds()))
            self._next_word, self._has_told = now + _TELL_EVERY, True
