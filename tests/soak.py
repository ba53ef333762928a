"""How many examples a property is tried on."""

from __future__ import annotations

import os


def soaking(examples: int) -> int:
    """So many, or those that `make soak` asks for."""
    return int(os.environ.get("AUDIT_TEST_EXAMPLES", examples))
