"""Doing a transaction again that the database ended in favour of another one: nothing of it was written.

Part of `apply.py` and of `replay.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from auditcli.dialects import Dialect

_Done = TypeVar("_Done")

TRIES = 4
"""How often a transaction is done before it is given up."""

_PAUSE = 0.05


def done_at_last(dialect: Dialect, act: Callable[[], _Done]) -> _Done:
    """What `act` returns, which does a whole transaction; raises its last error where it lost each time."""
    for lost in range(1, TRIES):
        try:
            return act()
        except DBAPIError as error:
            if not dialect.lost_race(error):
                raise
        time.sleep(_PAUSE * lost)
    return act()
