"""Who is measured: the application alone, ours in its two ways, and each library that does something comparable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, configure_mappers

import auditcli
from auditcli.clock import utc_now
from auditcli.driver import dialect_of
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from benchmarks.scratch import KINDS
from benchmarks.shapes import TABLE, Shape
from benchmarks.store import Store

Build = Callable[[Engine, Shape, int], Store]


@dataclass(frozen=True)
class Side:
    """A way to record changes: how to make a store with so many rows that does it, and the table it records in."""

    name: str
    build: Build
    log: str | None = None
    kinds: tuple[str, ...] = KINDS
    distribution: str | None = None

    def missing(self) -> bool:
        """Whether its library isn't installed."""
        return self.distribution is not None and self.version() is None

    def version(self) -> str | None:
        """Its library's version, if there is one."""
        try:
            return version(self.distribution) if self.distribution else None
        except PackageNotFoundError:
            return None


def _base() -> Any:
    return type("Base", (DeclarativeBase,), {})


def _filled(engine: Engine, shape: Shape, rows: int, model: type[Any]) -> Store:
    store = Store(engine, shape, model)
    store.fill(rows)
    return store


def _untracked(engine: Engine, shape: Shape, rows: int) -> Store:
    return _filled(engine, shape, rows, shape.model(_base()))


def _listeners(engine: Engine, shape: Shape, rows: int) -> Store:
    store = _untracked(engine, shape, rows)
    auditcli.track(store.sessions, create=True)
    # The first write creates the log.
    store.one_row(1)
    return store


def _triggers(engine: Engine, shape: Shape, rows: int) -> Store:
    store = _untracked(engine, shape, rows)
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_of(connection), Wishes(triggers=True), now=utc_now())
    auditcli.track(store.sessions)
    return store


def _versioned(engine: Engine, shape: Shape, rows: int) -> Store:
    model = shape.model(_base(), __versioned__={})
    configure_mappers()
    return _filled(engine, shape, rows, model)


def _continuum(engine: Engine, shape: Shape, rows: int) -> Store:
    from sqlalchemy_continuum import make_versioned

    make_versioned(user_cls=None)
    return _versioned(engine, shape, rows)


def _history(engine: Engine, shape: Shape, rows: int) -> Store:
    from sqlalchemy_history import make_versioned

    make_versioned(user_cls=None)
    return _versioned(engine, shape, rows)


def _postgresql_audit(engine: Engine, shape: Shape, rows: int) -> Store:
    from postgresql_audit import VersioningManager

    base = _base()
    manager = VersioningManager()
    manager.init(base)
    model = shape.model(base, __versioned__={})
    configure_mappers()
    # Its function has to be there before the table that is to be audited.
    base.metadata.create_all(engine, tables=[manager.transaction_cls.__table__, manager.activity_cls.__table__])
    return _filled(engine, shape, rows, model)


def _crudcdc(engine: Engine, shape: Shape, rows: int) -> Store:
    from crudcdc import CDCBase, track

    base = _base()
    model = shape.model(base)
    track(base)
    CDCBase.metadata.create_all(engine)
    return _filled(engine, shape, rows, model)


def _audit_trail(engine: Engine, shape: Shape, rows: int) -> Store:
    from audit_trail import Audited, AuditTrail
    from audit_trail.migrations import create_audit_tables

    base = type("Base", (DeclarativeBase, Audited), {})
    store = _filled(engine, shape, rows, shape.model(base))
    # As with everyone else, a change that can't be recorded fails.
    audit = AuditTrail(engine, events=[], on_error="raise")
    audit.install(store.sessions)
    with engine.begin() as connection:
        create_audit_tables(connection, audit.tables, audit.severities)
    audit.maintenance.ensure_partitions()
    return store


UNTRACKED = Side("untracked", _untracked)
LISTENERS = Side("listeners", _listeners, "changelog")
TRIGGERS = Side("triggers", _triggers, "changelog")
CONTINUUM = Side("Continuum", _continuum, f"{TABLE}_version", distribution="sqlalchemy-continuum")
HISTORY = Side("History", _history, f"{TABLE}_version", distribution="sqlalchemy-history")
POSTGRESQL_AUDIT = Side(
    "postgresql-audit", _postgresql_audit, "activity", ("PostgreSQL",), distribution="postgresql-audit"
)
CRUDCDC = Side("crudcdc", _crudcdc, "crudcdc_changes", distribution="crudcdc")
AUDIT_TRAIL = Side(
    "audit-trail", _audit_trail, "audit.audit_activity", ("PostgreSQL",), distribution="sqlalchemy-audit-trail"
)

OURS = (UNTRACKED, LISTENERS, TRIGGERS)
PEERS = (CONTINUUM, HISTORY, POSTGRESQL_AUDIT, CRUDCDC, AUDIT_TRAIL)
SIDES = (*OURS, *PEERS)
