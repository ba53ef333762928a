"""Databases that this release does not know yet: they are refused by name, by tests that really talk to them."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from auditcli.dialects import dialect_named
from auditcli.errors import UsageError


def test_mariadb_answers_and_is_refused_by_name(mariadb_url: str) -> None:
    name, version = _name_and_version(mariadb_url)

    with pytest.raises(UsageError, match=r"^mysql databases are not supported$") as refusal:
        dialect_named(name)

    assert "MariaDB" in version
    assert refusal.value.hint == "supported databases: postgresql, sqlite"


def _name_and_version(url: str) -> tuple[str, str]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            version = connection.exec_driver_sql("SELECT version()").scalar_one()
    finally:
        engine.dispose()
    return engine.dialect.name, version
