"""^C, SIGTERM, a time limit and a reader who has gone: what ends a command that goes on by itself."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from io import UnsupportedOperation
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 1.0
"""Seconds for which whoever asked waits for what is being printed or read, before it is broken off."""


class Interrupts:
    """While it is entered both signals end what goes on by a KeyboardInterrupt, between one transaction and the next.

    Raised anywhere, it would leave half a line, or be swallowed where a driver tidies up.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._is_waiting = False
        self._was_asked = False
        self._reader = _reader_of_stdout()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            alarm = (signal.SIGALRM,) if hasattr(signal, "SIGALRM") else ()
            self._before = {number: signal.signal(number, self._ask) for number in (*_SIGNALS, *alarm)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._set_alarm(0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if somebody has asked for it."""
        if self._was_asked:
            self._set_alarm(0)
            raise KeyboardInterrupt

    def is_set(self) -> bool:
        """Whether the time is over."""
        self.check()
        return self._deadline is not None and time.monotonic() >= self._deadline

    def wait(self, timeout: float) -> bool:
        """Sleep; raises BrokenPipeError as soon as nobody reads stdout any more."""
        left = timeout if self._deadline is None else min(timeout, max(0.0, self._deadline - time.monotonic()))
        self._is_waiting = True
        try:
            self.check()
            if self._reader is None:
                time.sleep(left)
            elif self._reader.poll(left * 1000):
                raise BrokenPipeError
        finally:
            self._is_waiting = False
        return self.is_set()

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_waiting or self._was_asked:
            raise KeyboardInterrupt
        self._was_asked = True
        self._set_alarm(_PATIENCE)

    @staticmethod
    def _set_alarm(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)


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
