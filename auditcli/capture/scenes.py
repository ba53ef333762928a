"""What writing transactions have to know of the log and the schema, read once and again whenever it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from auditcli.capture.scene import Scene, quiet
from auditcli.clock import Clock
from auditcli.dialects import Dialect
from auditcli.driver import dialect_of, run
from auditcli.errors import CaptureError, LogError, UsageError
from auditcli.log.schema import read_shapes, remember_shapes
from auditcli.log.settings import Tracking, check_columns, check_keys, write_tracking
from auditcli.log.tables import LogTables
from auditcli.log.upgrade import check_log, creation_lock, find_log, init_log
from auditcli.model import TableName

_UNCOMMITTED = "auditcli_uncommitted"


@dataclass(frozen=True)
class _Facts:
    """One answer to the dialect's `scene_sql`."""

    shapes: str
    tracking: str | None
    triggered: frozenset[TableName]


class Scenes:
    """The scenes of one tracked target, by engine."""

    def __init__(self, tables: LogTables, wanted: Mapping[str, Any], *, create: bool, clock: Clock) -> None:
        self.clock = clock
        self._tables = tables
        self._wanted = wanted
        self._create = create
        self._known: WeakKeyDictionary[Engine, tuple[_Facts, Scene]] = WeakKeyDictionary()
        self._triggered: WeakKeyDictionary[Engine, tuple[_Facts, float]] = WeakKeyDictionary()
        self._unremembered: WeakKeyDictionary[Engine, Scene] = WeakKeyDictionary()
        self._prepared: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()

    def dialect(self, connection: Connection) -> Dialect:
        """The facts of the connection's database."""
        return dialect_of(connection)

    def prepare(self, connection: Connection) -> None:
        """At the first connection: create or upgrade the log, where that was asked for."""
        if not self._create or connection.engine in self._prepared:
            return
        # No lock of our own: coroutines share a thread. The database's write lock lets one of them create the log.
        with quiet(connection):
            if not connection.in_transaction():
                with connection.begin():
                    self._create_log(connection)
            elif not self.driver_in_transaction(connection):
                self._create_log(connection)
                # The session's transaction has sent nothing yet, so this commits the log and nothing else.
                connection.connection.commit()
            else:
                return
            self._prepared[connection.engine] = True

    def enter(self, connection: Connection, *, is_certain: bool = True) -> Scene:
        """Take the write lock and return what the transaction has to know.

        Where it is not certain that anything will be written, since a query may call what writes, nothing is yet.

        Raises LogError where there is no log, and CaptureError in AUTOCOMMIT unless triggers record everything.
        """
        dialect = self.dialect(connection)
        lock = dialect.lock_sql(self._tables.changelog_name)
        if lock is not None:
            self._lock_log(connection, lock)
        elif connection.engine not in self._known:
            self._find_log(connection)
        scene = self.refresh(connection)
        if dialect.tell_driver_sql is not None:
            run(connection, dialect.tell_driver_sql)
        # Asked after the first statement, with which some drivers begin the transaction.
        if not self.driver_in_transaction(connection) and scene.is_recording:
            raise CaptureError(
                "this engine is in AUTOCOMMIT: a change and its record could not be one transaction",
                hint="write through a transaction, or install capture triggers",
            )
        if is_certain:
            self.remember(connection)
        return scene

    def refresh(self, connection: Connection) -> Scene:
        """The scene as it is now."""
        facts = self._facts(connection)
        known = self._known.get(connection.engine)
        if known is not None and known[0] == facts:
            return known[1]
        scene = self._new_scene(connection, facts)
        self._known[connection.engine] = (self._facts(connection), scene)
        connection.info[_UNCOMMITTED] = True
        return scene

    def remember(self, connection: Connection) -> None:
        """Something is written for certain: let the log remember the tables' shapes, if it does not know them yet."""
        scene = self._unremembered.pop(connection.engine, None)
        if scene is not None:
            remember_shapes(connection, self._tables, scene.tracked_shapes(), self.clock())
            connection.info[_UNCOMMITTED] = True

    def keep_uncommitted(self, connection: Connection) -> None:
        """A transaction committed: what it put into the log stays."""
        connection.info.pop(_UNCOMMITTED, None)

    def forget_uncommitted(self, connection: Connection) -> None:
        """A transaction or savepoint was rolled back: what it put into the log is gone."""
        # A connection that was lost doesn't say any more what it had written.
        if connection.invalidated or connection.info.pop(_UNCOMMITTED, None):
            self._known.pop(connection.engine, None)

    def _lock_log(self, connection: Connection, lock: str) -> None:
        try:
            run(connection, lock)
        except DBAPIError:
            if find_log(connection, self._tables) is not None:
                raise
            self._find_log(connection)
            run(connection, lock)

    def _find_log(self, connection: Connection) -> None:
        """Create the log where there is none and that was asked for; raises LogError where it was not."""
        if find_log(connection, self._tables) is not None:
            return
        if not self._create:
            check_log(connection, self._tables)
        try:
            self._create_log(connection)
        except DBAPIError as error:
            raise LogError(
                f"the log {self._tables.changelog_name} can't be created here: {error.orig}", hint="run `audit init`"
            ) from error
        connection.info[_UNCOMMITTED] = True

    def _create_log(self, connection: Connection) -> None:
        """Create or upgrade the log under the write lock, so that two programs don't do it at once."""
        begin = self.dialect(connection).begin_write_sql
        if begin is not None and not self.driver_in_transaction(connection):
            run(connection, begin)
        with creation_lock(connection, self.dialect(connection)):
            init_log(connection, self._tables)
        if not self.dialect(connection).transactional_ddl:
            # The tables stay whatever becomes of the transaction, so what makes them a log has to stay as well.
            connection.connection.commit()

    def driver_in_transaction(self, connection: Connection) -> bool:
        """Whether a transaction is open in the database too, which may roll one back by itself."""
        return self.dialect(connection).in_transaction(connection.connection.driver_connection)

    def _facts(self, connection: Connection) -> _Facts:
        dialect, meta = self.dialect(connection), TableName(self._tables.meta.name, self._tables.schema)
        rows = run(connection, dialect.scene_sql(meta)).fetchall()
        facts = _Facts(
            next(text for kind, _, text in rows if kind == "shapes"),
            next((text for kind, name, text in rows if (kind, name) == ("setting", "tracking")), None),
            _triggered(rows),
        )
        asking = dialect.triggered_sql(meta)
        return facts if asking is None else self._with_triggered(connection, facts, asking)

    def _with_triggered(self, connection: Connection, facts: _Facts, asking: str) -> _Facts:
        """The facts with the tables that have triggers, which are asked for as seldom as that is safe."""
        known, looked_at = self._triggered.get(connection.engine, (None, 0.0))
        now = monotonic()
        is_old = now - looked_at >= self.dialect(connection).triggered_age
        if known is None or is_old or replace(known, triggered=facts.triggered) != facts:
            known = replace(facts, triggered=_triggered(run(connection, asking).fetchall()))
            self._triggered[connection.engine] = known, now
        return known

    def _new_scene(self, connection: Connection, facts: _Facts) -> Scene:
        info = check_log(connection, self._tables)
        if info.is_older:
            if not self._create:
                raise LogError(
                    f"the log {self._tables.changelog_name} has the older version {info.version}",
                    hint="`audit init` upgrades it in place, as does `auditcli.track(…, create=True)`",
                )
            init_log(connection, self._tables)
        shapes = read_shapes(connection, self.dialect(connection))
        tracking = self._settle(connection, facts)
        # What the log says may be about tables that are gone by now.
        check = check_columns if facts.tracking is None else check_keys
        check(tracking, shapes)
        scene = Scene(self._tables, self.dialect(connection), shapes, tracking, facts.triggered)
        self._unremembered[connection.engine] = scene
        return scene

    def _settle(self, connection: Connection, facts: _Facts) -> Tracking:
        """The log's settings, those of this program where it has none; raises UsageError where they contradict."""
        if facts.tracking is None:
            tracking = Tracking(**self._wanted)
            write_tracking(connection, self._tables, tracking)
            return tracking
        stored = Tracking.from_json(facts.tracking)
        for name, value in self._wanted.items():
            if getattr(stored, name) != value:
                raise UsageError(
                    f"track({name}={value!r}) contradicts the log, which says {getattr(stored, name)!r}",
                    hint=f"change the log's word with `audit init`, or leave {name} out of track()",
                )
        return stored


def _triggered(rows: Iterable[Sequence[Any]]) -> frozenset[TableName]:
    return frozenset(TableName(text, schema) for kind, schema, text in rows if kind == "triggered")
