"""How fast the explorer is on a terminal, and how much memory it needs: `python -m benchmarks.explorer [CHANGES …]`."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from benchmarks.biglog import RARE_ACTOR, build_big_log
from benchmarks.rounds import NAME_WIDTH
from benchmarks.sizes import sized

SIZES = sized((10_000, 1_000_000, 10_000_000), (10_000,))

_QUIET = 0.08
"""Seconds without output after which a key has done all that it does at once."""

_BLINK = 250
"""A cursor that blinks makes fewer bytes."""

_PATIENCE = 60.0
_DEBOUNCE = 0.15
_PAGE_DOWN = b"\x1b[6~"
_BARS = {"first rows": 1.1, "j": 0.016, "page down": 0.035}
_MEMORY_BAR = 90


@dataclass(frozen=True)
class Least:
    """The least of some figures, in seconds or MB, since other programs only ever add to them."""

    name: str
    value: float
    bar: float | None

    @property
    def figure(self) -> str:
        """The value alone."""
        return f"{self.value:.3f}"

    @property
    def bar_text(self) -> str:
        """The bar, if there is one."""
        return "" if self.bar is None else f"<= {self.bar:g}"

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        return None if self.bar is None else self.value <= self.bar

    def row(self) -> str:
        """One line of a table with other columns."""
        missed = "missed" if self.met is False else ""
        return f"{self.name:<{NAME_WIDTH}} {self.figure:>9}  {self.bar_text}  {missed}".rstrip()


def explorer_rows(_rounds: int, sizes: Sequence[int] = SIZES) -> Iterator[Least]:
    """Measure logs of so many changes."""
    for changes in sizes:
        with TemporaryDirectory() as folder:
            database = Path(folder) / "big.db"
            build_big_log(URL.create("sqlite", database=str(database)), changes)
            for name, value, bar in _measured(database, changes):
                yield Least(f"{changes:,} changes: {name}", value, bar)


def _measured(database: Path, changes: int) -> Iterator[tuple[str, float, float | None]]:
    newest = f"{changes:,}".encode()
    starts, used = [], []
    for _ in range(sized(3, 1)):
        with _opened(database) as screen:
            starts.append(screen.until(newest))
            used.append(screen.processor())
    yield "first rows", min(starts), _BARS["first rows"]
    # What other programs on the machine can't lengthen.
    yield "first rows, processor", min(used), _BARS["first rows"]
    with _opened(database) as screen:
        screen.until(newest)
        screen.settle(1.0)
        for name, keys, rounds in (("j", b"j", 40), ("page down", _PAGE_DOWN, 25), ("G", b"G", 3), ("g", b"g", 3)):
            times = []
            for _ in range(sized(rounds, 1)):
                times.append(screen.press(keys))
                if keys == b"G":
                    screen.press(b"g")
            yield name, min(first for first, _ in times), _BARS.get(name)
            yield f"{name}, all panes", min(last for _, last in times), None
        yield "memory, MB", screen.memory(), _MEMORY_BAR
        for words in ("actor:bob", f"actor:{RARE_ACTOR}", "status:shipped")[sized(0, 2) :]:
            screen.send(b"\\")
            screen.settle(0.3)
            screen.press(b"/")
            yield f"filter {words}", screen.press(words.encode(), quiet=1.0, least=_BLINK)[1] - _DEBOUNCE, None
            screen.press(b"\x1b", quiet=0.3)
        screen.settle(0.3)
        yield "memory at the end, MB", screen.memory(), _MEMORY_BAR


class _Screen:
    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._process = process
        self._started = time.perf_counter()

    def until(self, text: bytes) -> float:
        """Seconds from the start to this text."""
        sent = b""
        while text not in sent:
            if time.perf_counter() - self._started > _PATIENCE:
                raise TimeoutError(f"{text!r} never came")
            sent += self._read(1.0)
        return time.perf_counter() - self._started

    def send(self, keys: bytes) -> None:
        """Press keys that may lead to nothing."""
        os.write(self._master, keys)

    def press(self, keys: bytes, quiet: float = _QUIET, least: int = 1) -> tuple[float, float]:
        """Seconds from a key to the first change of so many bytes on the screen, and to the last that it leads to."""
        began = time.perf_counter()
        came: list[float] = []
        self.send(keys)
        while not came or time.perf_counter() - began < came[-1] + quiet:
            if len(self._read(quiet)) >= least:
                came.append(time.perf_counter() - began)
            elif time.perf_counter() - began > _PATIENCE:
                raise TimeoutError(f"{keys!r} led to nothing")
        return came[0], came[-1]

    def settle(self, seconds: float) -> None:
        """Read until nothing has come for so long."""
        while self._read(seconds):
            pass

    def memory(self) -> float:
        """The most memory that it had so far, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def processor(self) -> float:
        """Seconds for which the processor worked for it so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read(self, seconds: float) -> bytes:
        return os.read(self._master, 65536) if select.select([self._master], [], [], seconds)[0] else b""


@contextmanager
def _opened(database: Path) -> Iterator[_Screen]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "auditcli", "-u", str(database), "tui"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    try:
        yield _Screen(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)


if __name__ == "__main__":
    for least in explorer_rows(1, [int(word) for word in sys.argv[1:]] or SIZES):
        print(least.row(), flush=True)
