"""How much is measured: everything, or with `AUDIT_BENCH_QUICK=1` as little as still runs every part."""

from __future__ import annotations

import os
from typing import TypeVar

QUICK = bool(os.environ.get("AUDIT_BENCH_QUICK"))

_Size = TypeVar("_Size")


def sized(full: _Size, quick: _Size) -> _Size:
    """The one or the other, as was asked for."""
    return quick if QUICK else full
