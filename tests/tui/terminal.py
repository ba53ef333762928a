"""A terminal with somebody in front of it: a program on a pseudo-terminal, and the screen that it draws."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parent.parent.parent

_PATIENCE = 60.0
_ENTER, _LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """What a program has drawn; `sent` is all that it sent."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], width: int, height: int) -> None:
        self.process = process
        self.sent = b""
        self._master = master
        self._screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def is_full_screen(self) -> bool:
        """Whether what was there before is hidden."""
        return self.sent.rfind(_ENTER) > self.sent.rfind(_LEAVE)

    @property
    def is_raw(self) -> bool:
        """Whether keys are sent one by one and are not shown."""
        return not termios.tcgetattr(self._master)[3] & (termios.ICANON | termios.ECHO)

    def press(self, keys: str) -> None:
        """Press keys, as the bytes that they send."""
        os.write(self._master, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self._screen.resize(height, width)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, seconds: float) -> bool:
        """Draw what comes within some time; False where the program has closed the terminal."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self._master, 65536)
        except OSError:
            part = b""
        self.sent += part
        # What a terminal without this mode ignores, pyte writes to the screen.
        self._stream.feed(part.replace(b"\x1b[>", b"\x1b[?"))
        return bool(part)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Draw until something is so."""
        deadline = time.monotonic() + _PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, f"{what} never came:\n{self.text}"
            self.read(0.05)

    def shows(self, text: str) -> None:
        """Draw until a text is on the screen."""
        self.until(lambda: text in self.text, repr(text))

    def ends(self) -> int:
        """Draw until the program has ended; returns its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self.read(0.1) and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=_PATIENCE)


@contextmanager
def terminal(
    *words: str,
    size: tuple[int, int] = (100, 30),
    environment: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "auditcli"),
) -> Iterator[Terminal]:
    """Run `audit` with these words, as its own job of a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    process = subprocess.Popen(
        [sys.executable, *program, *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})},
        start_new_session=True,
        # Only the terminal that controls a session tells its programs of another size of the window.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no thread of the test's runs here
    )
    os.close(slave)
    shown = Terminal(master, process, *size)
    try:
        yield shown
    finally:
        # It may be stopped, and then it takes no other signal.
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)
