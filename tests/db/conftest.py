"""What the tests on real databases get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.db.recorded import Store


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """An empty database; when the test is over its log must be complete."""
    store = Store(engine, str(engine.url.database))
    yield store
    store.check()


@pytest.fixture
def items(store: Store) -> Store:
    """A database with the table `item` and a tracked session factory."""
    store.create()
    store.track()
    return store
