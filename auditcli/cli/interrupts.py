"""^C, SIGTERM, a time limit and a reader who has gone: what ends a command that goes on by itself."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import UnsupportedOperation
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered both signals raise KeyboardInterrupt, but not inside what is printed `whole`."""

    def __init__(self, seconds: float | None = None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._is_printing = False
        self._was_asked = False
        self._reader = _reader_of_stdout()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        else:
            self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is printed inside is printed to its end; whoever asks twice does not want to wait for it."""
        self._is_printing = True
        try:
            yield
        finally:
            self._is_printing = False
        if self._was_asked:
            raise KeyboardInterrupt

    def is_set(self) -> bool:
        """Whether the time is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def wait(self, timeout: float) -> bool:
        """Sleep; raises BrokenPipeError as soon as nobody reads stdout any more."""
        left = timeout if self._deadline is None else min(timeout, max(0.0, self._deadline - time.monotonic()))
        if self._reader is None:
            time.sleep(left)
        elif self._reader.poll(left * 1000):
            raise BrokenPipeError
        return self.is_set()

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_printing and not self._was_asked:
            self._was_asked = True
        else:
            raise KeyboardInterrupt


def _reader_of_stdout() -> select.poll | None:
    """What tells when whoever reads stdout goes away; None where that can't be told."""
    if not hasattr(select, "poll"):
        return None
    try:
        descriptor = sys.stdout.fileno()
    except UnsupportedOperation:
        return None
    watched = select.poll()
    # Only what can't be left out is told: an error, or the other end closed.
    watched.register(descriptor, 0)
    return watched
