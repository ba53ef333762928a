"""Commands as programs of their own, and waiting for what they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.cli.shop import ROOT


def start(*words: str, **more: Any) -> subprocess.Popen[str]:
    """`audit` with these words, beside the test."""
    return subprocess.Popen(
        [sys.executable, "-m", "auditcli", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **more},
    )


@contextmanager
def running(*words: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """The same while the block lasts."""
    process = start(*words, **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds; fails where it takes too long."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
