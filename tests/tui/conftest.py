"""The explorer as its users meet it, on a real database file."""

from __future__ import annotations

from tests.cli.conftest import audit, built_shop, run, shop

__all__ = ["audit", "built_shop", "run", "shop"]
