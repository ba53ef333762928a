"""Handing the context to capture triggers, which record but can't know who is behind a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from auditcli.capture.context import Context
from auditcli.capture.origin import application, client
from auditcli.capture.scene import Scene
from auditcli.capture.triggers import log_names
from auditcli.clock import Clock
from auditcli.dialects import Dialect
from auditcli.dialects.capture import CaptureContext
from auditcli.driver import driver_sql, run
from auditcli.log.writer import LogWriter

_SENT = "auditcli_context_sent"
_watched: WeakSet[Engine] = WeakSet()


class Handover:
    """What the triggers of one database transaction know of its context."""

    def __init__(self, connection: Connection, transaction_id: str, clock: Clock) -> None:
        self._connection = connection
        self._transaction_id = transaction_id
        self._clock = clock
        self._known: Context | None = None

    def send(self, scene: Scene, context: Context) -> None:
        """Tell the triggers who and why, unless they know; harmless where there are none."""
        if not scene.triggered or context == self._known:
            return
        if self._known is not None:
            context = context.inside(Context(None, self._known.reason, self._known.more))
            self._amend_header(scene, context)
        sent = CaptureContext(
            self._transaction_id, context.actor, context.reason, _text(context.more), application(), client()
        )
        for fragment in scene.dialect.send_context(log_names(scene.tables), sent):
            run(self._connection, fragment.sql, fragment.values)
        self._known = context
        self._connection.info[_SENT] = True
        _watch_pool(self._connection.engine, scene.dialect)

    def forget(self) -> None:
        """A savepoint was rolled back, and with it perhaps what was sent."""
        self._known = None

    def _amend_header(self, scene: Scene, context: Context) -> None:
        writer = LogWriter(scene.tables)
        writer.amend_header(self._connection, self._transaction_id, self._clock(), context.reason, context.more)


def take_back(connection: Connection, dialect: Dialect) -> None:
    """Take from the triggers what they know, before the connection's next user writes."""
    if connection.info.pop(_SENT, False):
        for fragment in dialect.clear_context():
            run(connection, fragment.sql, fragment.values)


def take_back_after_failure(connection: Connection, dialect: Dialect) -> None:
    """The same before a rollback, which takes what was sent along unless the context belongs to the session."""
    if connection.invalidated:
        return
    if not dialect.context_outlives_transactions:
        connection.info.pop(_SENT, None)
        return
    try:
        take_back(connection, dialect)
    except DBAPIError as error:
        # A session that is lost has no context either.
        if not error.connection_invalidated:
            raise


def _watch_pool(engine: Engine, dialect: Dialect) -> None:
    """Take the context from connections that go back to their pool without a word."""
    if engine in _watched or not dialect.context_outlives_transactions:
        return
    _watched.add(engine)

    @event.listens_for(engine, "reset")
    def reset(driver_connection: Any, record: Any, _state: Any) -> None:
        if not record.info.pop(_SENT, False):
            return
        cursor = driver_connection.cursor()
        for fragment in dialect.clear_context():
            cursor.execute(driver_sql(fragment.sql, engine.dialect.paramstyle), fragment.values)
        cursor.close()


def _text(more: Mapping[str, Any]) -> str | None:
    return json.dumps(dict(more), ensure_ascii=False, separators=(",", ":")) if more else None
