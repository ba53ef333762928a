"""Where changes come from: this process."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def client() -> str:
    """The host and the process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def application() -> str | None:
    """The program's name."""
    return Path(sys.argv[0]).name or None if sys.argv else None
