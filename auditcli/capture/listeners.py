"""Capture by SQLAlchemy events: `track` a session factory, session or engine, and its writes are recorded.

Everything that SQLAlchemy writes, the ORM's flushes included, goes through a connection as an INSERT, UPDATE or DELETE
construct; so that is the one place where rows are read before and after. A flush is only a bracket around many of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Delete, Engine, Insert, Update, event, inspect
from sqlalchemy.engine import CursorResult, ExecutionContext, RootTransaction
from sqlalchemy.orm import Mapper, Session, SessionTransaction, UOWTransaction

from auditcli.capture.context import untracked_reason
from auditcli.capture.recorder import Recorder, Scene, Unit, Values, is_quiet, quiet
from auditcli.capture.scenes import Scenes
from auditcli.capture.sqltext import written_tables
from auditcli.capture.statements import Dml, Parameters, columns_named, raw_values, table_name, target
from auditcli.capture.targets import open_savepoints, session_target, sync_engine
from auditcli.capture.touching import Touch, touch_rows
from auditcli.clock import Clock, utc_now
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.log.settings import Tracking
from auditcli.log.tables import DEFAULT_NAME, log_tables
from auditcli.model import TableName

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
)
_SESSION_EVENTS = ("after_begin", "before_flush", "after_flush")


def track(
    target: Any,
    *,
    tables: Sequence[str] | None = None,
    exclude_tables: Sequence[str] | None = None,
    exclude_columns: Mapping[str, Sequence[str]] | None = None,
    bookkeeping: Mapping[str, Sequence[str]] | None = None,
    create: bool = False,
    clock: Clock = utc_now,
    log_table: str = DEFAULT_NAME,
    log_schema: str | None = None,
) -> None:
    """Record every row change that is written through `target`, in the same transaction as the change.

    `target` is a `sessionmaker`, `async_sessionmaker`, `scoped_session`, session, session class, or an `Engine` or
    `AsyncEngine`. `tables` and `exclude_tables` are patterns such as `order*`; `exclude_columns` and `bookkeeping` give
    columns by table. They are kept in the log; what contradicts it is refused with UsageError at the first write.
    With `create` the log is created or upgraded at the first connection. `clock` returns aware datetimes.

    A write that can't be recorded exactly raises UnrecordableWrite before it runs, and one whose record can't be
    written fails with it. Tracking the same target twice changes nothing.
    """
    if target in _trackers:
        return
    wanted = _wanted_settings(tables, exclude_tables, exclude_columns, bookkeeping)
    tracker = Tracker(Scenes(log_tables(log_table, log_schema), wanted, create=create, clock=clock))
    tracker.attach(target)
    _trackers[target] = tracker


def untrack(target: Any) -> None:
    """Stop recording what is written through `target`; harmless where nothing was tracked."""
    tracker = _trackers.pop(target, None)
    if tracker is not None:
        tracker.detach(target)


@dataclass
class _Writing:
    """The recorder of one transaction on one connection, and the statement that is running."""

    tracker: Tracker
    root: RootTransaction | None
    recorder: Recorder
    flush: Unit | None = None
    running: Touch | None = None
    open_savepoints: list[str] = field(default_factory=list)


class Tracker:
    """The event handlers of one tracked factory or engine; what they know belongs to a connection's transaction."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes

    def attach(self, target: Any) -> None:
        """Listen; raises UsageError for something that has no events."""
        engine = sync_engine(target)
        if engine is not None:
            self._listen_to_connection(engine)
            return
        for name in _SESSION_EVENTS:
            event.listen(session_target(target), name, getattr(self, f"_{name}"))

    def detach(self, target: Any) -> None:
        """Stop listening."""
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
        if not _is_tracked_by_engine(connection.engine):
            self._listen_to_connection(connection)
            if not connection.in_nested_transaction() and connection.info.get(_KEY) is None:
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
        if not isinstance(statement, Insert | Update | Delete) or is_quiet(connection):
            return unchanged
        with quiet(connection):
            writing = self._writing(connection)
            running = writing and self._touch(writing, statement, multiparams or [params or {}], execution_options)
        return unchanged if running is None else (running.statement, multiparams, params)

    def _touch(
        self, writing: _Writing, statement: Dml, parameters: Parameters, execution_options: Mapping[str, Any]
    ) -> Touch | None:
        """Read what the statement may change, if that matters to the log."""
        table = self._recorded_target(writing, statement, execution_options)
        reason = untracked_reason()
        if table is None or reason is not None:
            if table is not None and reason is not None:
                writing.recorder.write_gap([table], reason)
            return None
        unit = writing.flush or writing.recorder.unit()
        writing.running = touch_rows(writing.recorder, unit, table, statement, parameters)
        return writing.running

    def _after_execute(
        self,
        connection: Connection,
        statement: Any,
        multiparams: Any,
        params: Any,
        execution_options: Mapping[str, Any],
        result: CursorResult[Any],
    ) -> None:
        writing: _Writing | None = connection.info.get(_KEY)
        if writing is None or writing.running is None or writing.tracker is not self or is_quiet(connection):
            return
        running, writing.running = writing.running, None
        with quiet(connection):
            running.note_result(connection, result)
            if writing.flush is None:
                running.unit.finish()

    def _before_cursor_execute(
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: ExecutionContext | None,
        executemany: bool,
    ) -> None:
        if context is None or is_quiet(connection):
            return
        compiled: Any = context.compiled
        if compiled is not None and isinstance(compiled.statement, Insert | Update | Delete):
            return
        writing: _Writing | None = connection.info.get(_KEY)
        if writing is not None and _defines(sql):
            writing.recorder.scene_is_stale = True
        names = written_tables(sql)
        if names:
            with quiet(connection):
                self._refuse_text(connection, names)

    def _refuse_text(self, connection: Connection, names: frozenset[str]) -> None:
        """Plain SQL that writes to recorded tables: a gap inside `untracked()`, else an error."""
        writing = self._writing(connection)
        if writing is None:
            return
        scene = self._scene(writing)
        written = [table for table in scene.shapes.tables if table.name.lower() in names and scene.matters(table)]
        reason = untracked_reason()
        if written and reason is None:
            raise UnrecordableWrite(
                f"plain SQL that writes to {', '.join(map(str, written))} can't be recorded by listeners",
                hint="write it with insert(), update() or delete(), install capture triggers, "
                "or wrap it in `auditcli.untracked(reason)`, which leaves a recorded gap",
            )
        if written and reason is not None:
            writing.recorder.write_gap(written, reason)

    def _savepoint(self, connection: Connection, name: str) -> None:
        driver = connection.connection.driver_connection
        dialect = self._scenes.dialect(connection)
        if dialect.savepoint_needs_begin and not dialect.in_transaction(driver):
            connection.exec_driver_sql("BEGIN")
        writing: _Writing | None = self._current(connection)
        if writing is not None:
            writing.recorder.enter_savepoint(name)

    def _rollback_savepoint(self, connection: Connection, name: str, context: None) -> None:
        writing = self._current(connection)
        if writing is not None:
            writing.recorder.leave_savepoint(name, rolled_back=True)
            writing.flush = writing.running = None
            self._scenes.forget_uncommitted(connection)

    def _release_savepoint(self, connection: Connection, name: str, context: None) -> None:
        writing = self._current(connection)
        if writing is not None:
            writing.recorder.leave_savepoint(name, rolled_back=False)

    def _commit(self, connection: Connection) -> None:
        writing = self._current(connection)
        connection.info.pop(_KEY, None)
        self._scenes.keep_uncommitted(connection)
        if writing is not None and writing.flush is not None:
            raise CaptureError("a commit in the middle of a flush: its changes are not recorded yet")

    def _rollback(self, connection: Connection) -> None:
        connection.info.pop(_KEY, None)
        self._scenes.forget_uncommitted(connection)

    def _before_flush(self, session: Session, flush_context: UOWTransaction, instances: Any) -> None:
        bracket: list[_Writing] = []
        session.info[_SESSION_KEY] = bracket
        for mapper, identities in sorted(_flushed_rows(session).items(), key=lambda item: str(item[0])):
            connection = session.connection(bind_arguments={"mapper": mapper})
            with quiet(connection):
                writing = self._writing(connection)
                if writing is None or untracked_reason() is not None:
                    continue
                if writing.flush is None:
                    writing.flush = writing.recorder.unit()
                    bracket.append(writing)
                _read_ahead(writing, mapper, identities)

    def _after_flush(self, session: Session, flush_context: UOWTransaction) -> None:
        for writing in session.info.pop(_SESSION_KEY, ()):
            unit, writing.flush = writing.flush, None
            if unit is not None:
                with quiet(writing.recorder.connection):
                    unit.finish()

    def _current(self, connection: Connection) -> _Writing | None:
        """What this tracker has recorded in the running transaction so far."""
        writing: _Writing | None = connection.info.get(_KEY)
        if writing is None or writing.tracker is not self or writing.root is not connection.get_transaction():
            return None
        return writing

    def _writing(self, connection: Connection) -> _Writing | None:
        """The recorder of the running transaction, a new one at its first write; None where another tracker records."""
        root = connection.get_transaction()
        known: _Writing | None = connection.info.get(_KEY)
        if known is not None and root is not None and known.root is root:
            return known if known.tracker is self else None
        scene = self._scenes.enter(connection)
        recorder = Recorder(connection, scene, self._scenes.clock)
        # The lock above may have begun the transaction.
        writing = _Writing(self, connection.get_transaction(), recorder)
        for name in open_savepoints(connection):
            recorder.enter_savepoint(name)
        connection.info[_KEY] = writing
        return writing

    def _scene(self, writing: _Writing) -> Scene:
        """The transaction's scene, read again after a definition ran in it."""
        recorder = writing.recorder
        if recorder.scene_is_stale:
            recorder.scene = self._scenes.refresh(recorder.connection)
            recorder.scene_is_stale = False
        return recorder.scene

    def _recorded_target(
        self, writing: _Writing, statement: Insert | Update | Delete, options: Mapping[str, Any]
    ) -> TableName | None:
        """The table that a statement writes to, if that matters to the log."""
        table = target(statement)
        if table is None:
            raise UnrecordableWrite(
                f"a write to {statement.table}, which is no table, can't be recorded",
                hint="write to the table itself, or install capture triggers",
            )
        connection = writing.recorder.connection
        name = table_name(table, options.get("schema_translate_map"), connection.dialect.default_schema_name)
        scene = self._scene(writing)
        if name not in scene.shapes.tables:
            return self._unknown_target(writing, name)
        return name if scene.matters(name) else None

    def _unknown_target(self, writing: _Writing, name: TableName) -> TableName | None:
        """A name that is no table of the schema: temporary ones are nobody's history, views can't be followed."""
        recorder = writing.recorder
        sql = recorder.scene.dialect.relation_kind_sql()
        kinds = recorder.connection.exec_driver_sql(sql, (name.name,)).scalars()
        kind = next(iter(kinds.all()), None)
        known = next((table for table in recorder.scene.shapes.tables if str(table).lower() == str(name).lower()), None)
        if known is not None:
            return known if recorder.scene.matters(known) else None
        if kind in (None, "temporary") or not recorder.scene.tracking.covers(name):
            return None
        raise UnrecordableWrite(
            f"a write to the {kind} {name} can't be recorded by listeners",
            hint="write to its table, exclude it (`exclude_tables`), or wrap it in `auditcli.untracked(reason)`",
        )


_trackers: WeakKeyDictionary[Any, Tracker] = WeakKeyDictionary()


def _wanted_settings(
    tables: Sequence[str] | None,
    exclude_tables: Sequence[str] | None,
    exclude_columns: Mapping[str, Sequence[str]] | None,
    bookkeeping: Mapping[str, Sequence[str]] | None,
) -> dict[str, Any]:
    """Those settings of `Tracking` that the caller gave."""
    given: dict[str, Any] = {
        "tables": None if tables is None else tuple(tables),
        "exclude_tables": None if exclude_tables is None else tuple(exclude_tables),
    }
    for name, columns in (("exclude_columns", exclude_columns), ("bookkeeping", bookkeeping)):
        given[name] = None if columns is None else {table: tuple(names) for table, names in columns.items()}
    wanted = {name: value for name, value in given.items() if value is not None}
    Tracking(**wanted)
    return wanted


def _is_tracked_by_engine(engine: Engine) -> bool:
    return any(sync_engine(tracked) is engine for tracked in list(_trackers.keys()))


def _defines(sql: str) -> bool:
    return sql.lstrip()[:6].upper() in ("CREATE", "ALTER ", "DROP T", "DROP I", "DROP V")


def _flushed_rows(session: Session) -> dict[Mapper[Any], list[Values]]:
    """The identities of the rows that a flush will write, by mapper; new rows have none yet."""
    if not (session.new or session.deleted or any(map(session.is_modified, session.dirty))):
        return {}
    found: dict[Mapper[Any], list[Values]] = {}
    for instances in (session.new, session.dirty, session.deleted):
        for instance in instances:
            state = inspect(instance)
            identities = found.setdefault(state.mapper, [])
            if state.identity is not None:
                identities.append(state.identity)
    return found


def _read_ahead(writing: _Writing, mapper: Mapper[Any], identities: Sequence[Values]) -> None:
    """Read the rows that a flush is about to write, once a table instead of once a statement."""
    scene = writing.recorder.scene
    if not identities or writing.flush is None:
        return
    connection = writing.recorder.connection
    for table in mapper.tables:
        name = table_name(table, None, connection.dialect.default_schema_name)  # type: ignore[arg-type]  # mapped tables
        if name not in scene.shapes.tables or not scene.records(name):
            continue
        columns = columns_named(table, scene.shape(name).primary_key)  # type: ignore[arg-type]
        if columns and (places := _identity_places(mapper, columns)) is not None:
            keys = [tuple(identity[place] for place in places) for identity in identities]
            writing.flush.read(name, _in_order(raw_values(connection, columns, keys)))


def _in_order(keys: list[Values]) -> list[Values]:
    """The keys sorted, since a session's sets have another order each time."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=repr)


def _identity_places(mapper: Mapper[Any], columns: Sequence[Any]) -> list[int] | None:
    """Where the values of a table's key stand in the mapper's identity; None where that isn't plain."""
    identity = list(mapper.primary_key)
    if all(column in identity for column in columns):
        return [identity.index(column) for column in columns]
    return [0] if len(identity) == len(columns) == 1 else None
