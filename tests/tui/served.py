"""`audit serve` as a program of its own, and what it printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    process: subprocess.Popen[str]
    address: str

    @property
    def base(self) -> str:
        """The address without the token."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        """What lets a browser in."""
        [token] = parse_qs(urlsplit(self.address).query)["token"]
        return token

    def end(self) -> tuple[int, str]:
        """Press ^C; returns the exit code and what was said until then."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def serving(*words: str, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Serve on a port that is free."""
    process = subprocess.Popen(
        [sys.executable, "-m", "auditcli", *words, "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT), **(environment or {})},
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, process.communicate(timeout=10)[1]
        yield Served(process, address)
    finally:
        process.terminate()
        process.communicate(timeout=30)
