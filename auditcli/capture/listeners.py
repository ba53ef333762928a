"""Capture by SQLAlchemy events: `track` a session factory, session or engine, and its writes are recorded.

Everything that SQLAlchemy writes, the ORM's flushes included, goes through a connection as an INSERT, UPDATE or DELETE
construct; so that is the one place where rows are read before and after. A flush is only a bracket around many of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Delete, Engine, Insert, Update, event
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, SessionTransaction, UOWTransaction
from sqlalchemy.sql.elements import RollbackToSavepointClause

from auditcli.capture.context import untracked_reason
from auditcli.capture.destinations import recorded_target, written_by_text, written_tables_of
from auditcli.capture.handover import take_back, take_back_after_failure
from auditcli.capture.readahead import flushed_rows, read_ahead
from auditcli.capture.recorder import Recorder
from auditcli.capture.scene import Scene, is_quiet, quiet
from auditcli.capture.scenes import Scenes
from auditcli.capture.sqltext import defines, rolls_back, runs_code, sets, written_tables
from auditcli.capture.statements import Dml, Parameters, SchemaMap, emitted
from auditcli.capture.targets import open_savepoints, session_target, sync_engine
from auditcli.capture.touching import Touch, touch_rows
from auditcli.capture.writing import Flush, Writing
from auditcli.clock import Clock, utc_now
from auditcli.errors import UnrecordableWrite
from auditcli.log.settings import Tracking
from auditcli.log.tables import DEFAULT_NAME, log_tables
from auditcli.model import TableName
from auditcli.shape import CHANGES_CHILD

_KEY = "auditcli"
_SESSION_KEY = "auditcli_flushing"

_CONNECTION_EVENTS = (
    ("before_execute", True),
    ("after_execute", False),
    ("before_cursor_execute", False),
    ("savepoint", False),
    ("rollback_savepoint", False),
    ("release_savepoint", False),
    ("commit", False),
    ("rollback", False),
    ("prepare_twophase", False),
    ("commit_twophase", False),
    ("rollback_twophase", False),
)
_SESSION_EVENTS = ("after_begin", "before_flush", "after_flush")


def track(
    target: Any,
    *,
    tables: Sequence[str] | None = None,
    exclude_tables: Sequence[str] | None = None,
    exclude_columns: Mapping[str, Sequence[str]] | None = None,
    mask_columns: Mapping[str, Sequence[str]] | None = None,
    bookkeeping: Mapping[str, Sequence[str]] | None = None,
    create: bool = False,
    clock: Clock = utc_now,
    log_table: str = DEFAULT_NAME,
    log_schema: str | None = None,
) -> None:
    """Record every row change that is written through `target`, in the same transaction as the change.

    `target` is a `sessionmaker`, `async_sessionmaker`, `scoped_session`, session, session class, or an `Engine` or
    `AsyncEngine`. `tables` and `exclude_tables` are patterns such as `order*`; `exclude_columns`, `mask_columns` and
    `bookkeeping` give columns by table. They are kept in the log; what contradicts it is refused with UsageError at the
    first write.
    With `create` the log is created or upgraded at the first connection. `clock` returns aware datetimes.

    A write that can't be recorded exactly raises UnrecordableWrite before it runs, and one whose record can't be
    written fails with it. Tracking the same target twice changes nothing.
    """
    if target in _trackers:
        return
    wanted = _wanted_settings(
        tables, exclude_tables, exclude_columns=exclude_columns, mask_columns=mask_columns, bookkeeping=bookkeeping
    )
    tracker = Tracker(Scenes(log_tables(log_table, log_schema), wanted, create=create, clock=clock))
    tracker.attach(target)
    _trackers[target] = tracker


def untrack(target: Any) -> None:
    """Stop recording what is written through `target`; harmless where nothing was tracked."""
    tracker = _trackers.pop(target, None)
    if tracker is not None:
        tracker.detach(target)


class Tracker:
    """The event handlers of one tracked factory or engine; what they know belongs to a connection's transaction."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self._is_attached = True

    def attach(self, target: Any) -> None:
        """Listen; raises UsageError for something that has no events."""
        engine = sync_engine(target)
        if engine is not None:
            self._listen_to_connection(engine)
            return
        for name in _SESSION_EVENTS:
            event.listen(session_target(target), name, getattr(self, f"_{name}"))

    def detach(self, target: Any) -> None:
        """Stop listening, on connections that are in use as well."""
        self._is_attached = False
        engine = sync_engine(target)
        if engine is not None:
            for name, _ in _CONNECTION_EVENTS:
                event.remove(engine, name, getattr(self, f"_{name}"))
            event.remove(engine, "engine_connect", self._engine_connect)
            return
        for name in _SESSION_EVENTS:
            event.remove(session_target(target), name, getattr(self, f"_{name}"))

    def _listen_to_connection(self, connection: Engine | Connection) -> None:
        for name, replaces in _CONNECTION_EVENTS:
            handler = getattr(self, f"_{name}")
            if not event.contains(connection, name, handler):
                event.listen(connection, name, handler, **({"retval": True} if replaces else {}))
        if isinstance(connection, Engine):
            event.listen(connection, "engine_connect", self._engine_connect)

    def _engine_connect(self, connection: Connection) -> None:
        self._scenes.prepare(connection)

    def _after_begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        if _engine_tracker(connection.engine) is None:
            self._listen_to_connection(connection)
            if not connection.in_nested_transaction() and _KEY not in connection.__dict__:
                self._scenes.prepare(connection)

    def _before_execute(
        self,
        connection: Connection,
        statement: Any,
        multiparams: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        execution_options: Mapping[str, Any],
    ) -> tuple[Any, Any, Any]:
        unchanged = statement, multiparams, params
        if not self._is_attached or not isinstance(statement, Insert | Update | Delete) or is_quiet(connection):
            return unchanged
        schema_map = execution_options.get("schema_translate_map")
        with quiet(connection):
            writing = self._writing(connection)
            parameters = multiparams or [params or {}]
            touch = None if writing is None else self._touch(writing, statement, parameters, schema_map)
        return unchanged if touch is None else (touch.statement, multiparams, params)

    def _touch(self, writing: Writing, statement: Dml, parameters: Parameters, schema_map: SchemaMap) -> Touch | None:
        """Read what the statement may change, if that matters to the log."""
        connection = writing.recorder.connection
        own = emitted(statement)
        reason = untracked_reason()
        self._scene(writing)
        self._scenes.remember(connection)
        if reason is not None:
            scene = self._scene(writing)
            self._leave_gap(writing, written_tables_of(scene, connection, own, schema_map), reason)
            return None
        table = recorded_target(self._scene(writing), connection, own, schema_map)
        if table is None:
            writing.recorder.hand_over()
            return None
        touch = touch_rows(writing.recorder, writing.unit, table, own, parameters, schema_map)
        if touch.statement is own:
            touch.statement = statement
        writing.begin(touch)
        return touch

    def _after_execute(
        self,
        connection: Connection,
        statement: Any,
        multiparams: Any,
        params: Any,
        execution_options: Mapping[str, Any],
        result: CursorResult[Any],
    ) -> None:
        writing = self._current(connection)
        if writing is None or is_quiet(connection) or untracked_reason() is not None:
            return
        touch = writing.end(statement)
        if touch is None:
            return
        with writing.recording():
            touch.note_result(connection, result)
            if writing.flush is None:
                touch.unit.finish()

    def _before_cursor_execute(
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        if not self._is_attached or context is None or is_quiet(connection) or _was_looked_at(context):
            return
        dialect = self._scenes.dialect(connection)
        lexis = dialect.lexis(connection.connection.driver_connection)
        writing = self._current(connection)
        if writing is not None and rolls_back(sql, lexis) and not _is_savepoint(context):
            # In plain text it may take anything along; what comes next is recorded as a transaction of its own.
            self._rollback(connection)
        elif writing is not None and (defines(sql, lexis) or sets(sql, lexis)):
            writing.recorder.scene_is_stale = True
        names = written_tables(sql, lexis)
        if names or runs_code(sql, lexis, functions=dialect.functions_may_write):
            with quiet(connection):
                self._look_at_text(connection, names)

    def _look_at_text(self, connection: Connection, names: frozenset[str]) -> None:
        """Plain SQL that writes to recorded tables: a gap inside `untracked()`, else an error."""
        writing = self._writing(connection)
        if writing is None:
            return
        scene = self._scene(writing)
        if names:
            self._scenes.remember(connection)
        writing.recorder.hand_over()
        written = written_by_text(scene, connection, names)
        reason = untracked_reason()
        if written and reason is None:
            raise UnrecordableWrite(
                f"plain SQL that writes to {', '.join(map(str, written))} can't be recorded by listeners",
                hint="write it with insert(), update() or delete(), install capture triggers, "
                "or wrap it in `auditcli.untracked(reason)`, which leaves a recorded gap",
            )
        if written and reason is not None:
            self._leave_gap(writing, written, reason)

    def _leave_gap(self, writing: Writing, written: Sequence[TableName], reason: str) -> None:
        """Write down that these tables, and those that cascades reach from them, are changed unseen."""
        scene = self._scene(writing)
        reached = list(written)
        for table in reached:
            keys = scene.shapes.references_to.get(table, ())
            children = [key.table for key in keys if CHANGES_CHILD & {key.on_delete, key.on_update}]
            reached += [child for child in dict.fromkeys(children) if child not in reached]
        gaps = [table for table in reached if scene.records(table) or table not in scene.shapes.tables]
        if gaps:
            writing.recorder.write_gap(gaps, reason)

    def _savepoint(self, connection: Connection, name: str | None) -> None:
        needs_begin = self._scenes.dialect(connection).savepoint_needs_begin
        if needs_begin and not self._scenes.driver_in_transaction(connection):
            connection.exec_driver_sql("BEGIN")
        writing = self._current(connection)
        if writing is not None:
            writing.enter_savepoint()

    def _rollback_savepoint(self, connection: Connection, name: str, context: None) -> None:
        writing = self._current(connection)
        if writing is not None:
            writing.roll_back_savepoint(name)
            self._scenes.forget_uncommitted(connection)

    def _release_savepoint(self, connection: Connection, name: str, context: None) -> None:
        writing = self._current(connection)
        if writing is not None:
            writing.release_savepoint(name)

    def _commit(self, connection: Connection) -> None:
        try:
            self._complete(connection)
        except BaseException:
            # SQLAlchemy takes a transaction whose commit failed for ended, and would not roll it back.
            connection.connection.rollback()
            self._rollback(connection)
            raise
        self._committed(connection)

    def _prepare_twophase(self, connection: Connection, xid: Any) -> None:
        self._complete(connection)

    def _commit_twophase(self, connection: Connection, xid: Any, is_prepared: bool) -> None:
        if not is_prepared:
            self._complete(connection)
        self._committed(connection)

    def _rollback_twophase(self, connection: Connection, xid: Any, is_prepared: bool) -> None:
        self._rollback(connection)

    def _complete(self, connection: Connection) -> None:
        """Nothing more can be recorded in this transaction; raises CaptureError where something is missing."""
        writing = self._current(connection)
        if writing is not None:
            writing.check_complete()
            with quiet(connection):
                take_back(connection, self._scenes.dialect(connection))

    def _committed(self, connection: Connection) -> None:
        connection.__dict__.pop(_KEY, None)
        self._scenes.keep_uncommitted(connection)

    def _rollback(self, connection: Connection) -> None:
        connection.__dict__.pop(_KEY, None)
        take_back_after_failure(connection, self._scenes.dialect(connection))
        self._scenes.forget_uncommitted(connection)

    def _before_flush(self, session: Session, flush_context: UOWTransaction, instances: Any) -> None:
        bracket: dict[int, tuple[Writing, Flush]] = {}
        session.info[_SESSION_KEY] = bracket
        if not self._is_attached or untracked_reason() is not None:
            return
        for mapper, identities in sorted(flushed_rows(session).items(), key=lambda item: str(item[0])):
            connection = session.connection(bind_arguments={"mapper": mapper})
            tracker = _engine_tracker(connection.engine) or self
            with quiet(connection):
                writing = tracker._writing(connection)
                if writing is None:
                    continue
                if id(writing) not in bracket:
                    bracket[id(writing)] = writing, writing.begin_flush(session)
                read_ahead(bracket[id(writing)][1], writing.recorder, mapper, identities)

    def _after_flush(self, session: Session, flush_context: UOWTransaction) -> None:
        for writing, _ in session.info.pop(_SESSION_KEY, {}).values():
            writing.finish_flush()
            writing.flush = None

    def _current(self, connection: Connection) -> Writing | None:
        """What this tracker has recorded in the running transaction so far."""
        writing: Writing | None = connection.__dict__.get(_KEY)
        if writing is None or writing.owner is not self or writing.root is not connection.get_transaction():
            return None
        return writing

    def _writing(self, connection: Connection) -> Writing | None:
        """The recorder of the running transaction, a new one at its first write; None where another tracker records."""
        root = connection.get_transaction()
        known: Writing | None = connection.__dict__.get(_KEY)
        if (
            known is not None
            and root is not None
            and known.root is root
            and self._scenes.driver_in_transaction(connection)
        ):
            return known if known.owner is self else None
        scene = self._scenes.enter(connection, is_certain=False)
        recorder = Recorder(connection, scene, self._scenes.clock)
        # The lock above may have begun the transaction.
        writing = Writing(self, connection.get_transaction(), recorder)
        for depth, _ in enumerate(open_savepoints(connection)):
            recorder.enter_savepoint(str(depth))
        # On the connection itself: its `info` outlives it in the pool, and would keep an abandoned one alive.
        connection.__dict__[_KEY] = writing
        return writing

    def _scene(self, writing: Writing) -> Scene:
        """The transaction's scene, read again after a definition ran in it."""
        recorder = writing.recorder
        if recorder.scene_is_stale:
            writing.finish_flush()
            recorder.scene = self._scenes.refresh(recorder.connection)
            recorder.scene_is_stale = False
            if writing.flush is not None:
                writing.flush.unit = recorder.unit()
        return recorder.scene


_trackers: WeakKeyDictionary[Any, Tracker] = WeakKeyDictionary()


def _wanted_settings(
    tables: Sequence[str] | None,
    exclude_tables: Sequence[str] | None,
    **columns_by_table: Mapping[str, Sequence[str]] | None,
) -> dict[str, Any]:
    """Those settings of `Tracking` that the caller gave."""
    given: dict[str, Any] = {
        "tables": None if tables is None else tuple(tables),
        "exclude_tables": None if exclude_tables is None else tuple(exclude_tables),
    }
    for name, columns in columns_by_table.items():
        given[name] = None if columns is None else {table: tuple(names) for table, names in columns.items()}
    wanted = {name: value for name, value in given.items() if value is not None}
    Tracking(**wanted)
    return wanted


def _engine_tracker(engine: Engine) -> Tracker | None:
    """The tracker of the engine that a connection comes from, options of its own or not."""
    engines = (engine, getattr(engine, "_proxied", engine))
    return next((tracker for tracked, tracker in list(_trackers.items()) if sync_engine(tracked) in engines), None)


def _is_savepoint(context: Any) -> bool:
    """Whether SQLAlchemy itself rolls a savepoint back, which has an event."""
    return context.compiled is not None and isinstance(context.compiled.statement, RollbackToSavepointClause)


def _was_looked_at(context: Any) -> bool:
    """Whether the statement came by as an INSERT, UPDATE or DELETE before; a compiled one that is executed did not."""
    compiled = context.compiled
    if compiled is None or not isinstance(compiled.statement, Insert | Update | Delete):
        return False
    writes_more = any(isinstance(cte.element, Insert | Update | Delete) for cte in compiled.ctes or ())
    return context.invoked_statement is not None and not writes_more
