"""How many examples a property is tried on, and which."""

from __future__ import annotations

import os

_EXAMPLES = "AUDIT_TEST_EXAMPLES"


def is_soaking() -> bool:
    """Whether other examples are wanted each time."""
    return _EXAMPLES in os.environ


def soaking(examples: int) -> int:
    """So many, or those that `make soak` asks for."""
    return int(os.environ.get(_EXAMPLES, examples))
