"""What differs from database to database: facts and SQL text, one file a database; nothing here executes anything."""

from __future__ import annotations

from auditcli.dialects.base import MARK, Dialect, Fragment
from auditcli.dialects.mysql import MySQL
from auditcli.dialects.postgresql import PostgreSQL
from auditcli.dialects.script import ScriptStep
from auditcli.dialects.sqlite import SQLite
from auditcli.errors import UsageError

__all__ = ["MARK", "Dialect", "Fragment", "ScriptStep", "dialect_named"]

_DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (SQLite(), PostgreSQL(), MySQL())}
_DIALECTS["mariadb"] = _DIALECTS["mysql"]


def dialect_named(name: str) -> Dialect:
    """The dialect for SQLAlchemy's name of a database; raises UsageError for one that is not supported."""
    if name not in _DIALECTS:
        raise UsageError(
            f"{name} databases are not supported", hint=f"supported databases: {', '.join(sorted(_DIALECTS))}"
        )
    return _DIALECTS[name]
