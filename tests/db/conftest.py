"""What the tests on real databases get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event

from tests.databases import scratch_url
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


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind, with foreign keys enforced."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        if engine.name == "sqlite":
            event.listen(engine, "connect", enforce_foreign_keys)
        yield engine
        engine.dispose()
