"""What can be tracked, and what SQLAlchemy's events attach to for it."""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from auditcli.errors import UsageError


def sync_engine(target: Any) -> Engine | None:
    """The engine that is tracked; None where the target is about sessions."""
    if isinstance(target, Engine):
        return target
    asynchronous = _asyncio()
    return target.sync_engine if asynchronous and isinstance(target, asynchronous.AsyncEngine) else None


def session_target(target: Any) -> Any:
    """What session events attach to; raises UsageError for something that has none."""
    asynchronous = _asyncio()
    if asynchronous is not None:
        if isinstance(target, asynchronous.async_sessionmaker):
            return _own_class(target)
        if isinstance(target, asynchronous.async_scoped_session):
            return session_target(target.session_factory)
        if isinstance(target, asynchronous.AsyncSession):
            return target.sync_session
        if isinstance(target, type) and issubclass(target, asynchronous.AsyncSession):
            inner: Any = target
            return inner.sync_session_class
    if isinstance(target, sessionmaker | scoped_session | Session):
        return target
    if isinstance(target, type) and issubclass(target, Session):
        return target
    raise UsageError(
        f"a {type(target).__name__} can't be tracked", hint="give a sessionmaker, a session, its class, or an engine"
    )


def open_savepoints(connection: Connection) -> list[str]:
    """The names of the savepoints that are open, outermost first."""
    names: list[str] = []
    nested: Any = connection.get_nested_transaction()
    while nested is not None:
        names.insert(0, nested._savepoint)
        nested = nested._previous_nested
    return names


def _asyncio() -> Any:
    """SQLAlchemy's asyncio module where the application uses it; importing it would demand greenlet."""
    return sys.modules.get("sqlalchemy.ext.asyncio")


def _own_class(factory: Any) -> type[Session]:
    """A session class of the factory's own, since all factories without one share `Session`."""
    shared: type[Session] = factory.kw.get("sync_session_class") or factory.class_.sync_session_class
    if getattr(shared, "_auditcli_factory", None) is factory:
        return shared
    own = type(shared.__name__, (shared,), {"_auditcli_factory": factory})
    factory.configure(sync_session_class=own)
    return own
