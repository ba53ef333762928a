"""What the tests on real databases get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from tests.db.recorded import Store, enforce_foreign_keys


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


@pytest.fixture
def any_engine(engine: Engine) -> Engine:
    """An empty database with foreign keys enforced."""
    event.listen(engine, "connect", enforce_foreign_keys)
    return engine
