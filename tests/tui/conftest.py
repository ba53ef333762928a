"""The explorer as its users meet it, on a real database file."""

from __future__ import annotations

from tests.cli.conftest import built_shop, shop

__all__ = ["built_shop", "shop"]
