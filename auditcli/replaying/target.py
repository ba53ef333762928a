"""The database that is replayed into: its tables, its place, and one transaction after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError, StatementError

from auditcli import codec
from auditcli.apply import PlanConflict, carry_steps, clear_tables, commit_carried, taking_any_value
from auditcli.applying.counters import advance_counters
from auditcli.applying.refusal import Refused
from auditcli.applying.retrying import done_at_last
from auditcli.capture.context import context
from auditcli.capture.scene import Scene, quiet
from auditcli.capture.scenes import Scenes
from auditcli.checks import Surroundings, check_cascades
from auditcli.clock import Clock
from auditcli.connect import Database, refuse_read_only
from auditcli.driver import run
from auditcli.errors import AuditError, ConnectionLost, LockTimeout, NotFound, UsageError
from auditcli.log.replay_place import KeptPlace, ReplayPlaces
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking
from auditcli.log.upgrade import find_log
from auditcli.model import Change, EventType, Image, RowKey, TableName
from auditcli.plan import Conflict, PlanOptions
from auditcli.replaying.planning import Draft, arrival, net_changes, plan_arrivals, without
from auditcli.replaying.tables import missing_tables, parents_first
from auditcli.rows import RowReader
from auditcli.shape import TableShape
from auditcli.transfer import Transfer, create_tables

_BATCH = 500
_NOTHING_RECORDED = Tracking(exclude_tables=("*",))


class HeldBack(Exception):
    """A foreign key refuses the transaction, for now; nothing of it was written. `reason` has the database's words."""

    def __init__(self, reason: str) -> None:
        super().__init__("a foreign key refuses it")
        self.reason = reason


@dataclass
class Written:
    """What one transaction came to."""

    rows: int = 0
    already: int = 0
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()

    def add(self, other: Written) -> None:
        """Count another one's in."""
        self.rows += other.rows
        self.already += other.already
        self.conflicts += other.conflicts
        self.notes += tuple(note for note in other.notes if note not in self.notes)


@dataclass
class ReplayTarget:
    """One connection to the target; `keys` and `shapes` are of the source's tables, by the source's names."""

    connection: Connection
    database: Database
    transfer: Transfer
    clock: Clock
    options: PlanOptions
    shapes: Mapping[TableName, TableShape]
    dry_run: bool = False
    by: str | None = None
    kept: str = "the place is kept"
    """What an error says of the target."""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A dry run writes too, before it rolls back.
        refuse_read_only(self.database.target)
        self.places = ReplayPlaces(self.database.tables)
        self._dialect = self.database.dialect
        self._rows = RowReader(self.connection, self._dialect)
        self._scenes = Scenes(self.database.tables, {}, create=False, clock=self.clock)
        self._plain: Scene | None = None
        self._entered: Scene | None = None
        self._depth = 0
        self._spoken_for: frozenset[RowKey] = frozenset()

    # Getting ready.

    def missing(self, tables: Iterable[TableName]) -> list[TableName]:
        """Those of the tables that are not there."""
        there = read_shapes(self.connection, self._dialect).tables
        return [table for table in sorted(tables, key=str) if self.transfer.table(table) not in there]

    def prepare(self, tables: Iterable[TableName], *, create: bool) -> None:
        """See that the tables are there and can hold what comes; raises NotFound and UsageError where they can't."""
        missing = self.to_create(tables, create=create)
        if missing and self.dry_run and not self._dialect.transactional_ddl:
            raise UsageError(
                "definitions can't be rehearsed on this database: they commit",
                hint="--create-tables --until 0 makes them first, with the rows as they were at the start",
            )
        with self.transaction():
            self.create(missing)
            if not self.dry_run:
                self.places.create(self.connection)

    def to_create(self, tables: Iterable[TableName], *, create: bool) -> list[TableName]:
        """The tables that are to be created; raises NotFound and UsageError where the others can't take what comes."""
        there = read_shapes(self.connection, self._dialect).tables
        self.connection.rollback()
        return missing_tables(tables, self.shapes, there, self.transfer, create=create)

    def create(self, tables: Sequence[TableName]) -> None:
        """Create tables in the running transaction."""
        if tables:
            shapes = [self.shapes[table] for table in tables]
            self.notes += create_tables(self.connection, shapes, self.transfer, self.shapes.values())
        self._plain = self._entered = None

    def with_rows(self, tables: Iterable[TableName]) -> list[TableName]:
        """Those of the tables that have rows."""
        there = read_shapes(self.connection, self._dialect).tables
        pairs = ((table, there.get(self.transfer.table(table))) for table in tables)
        found = [table for table, shape in pairs if shape is not None and self._rows.page(shape, None, 1)]
        self.connection.rollback()
        return found

    # Transactions.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; in a dry run a part of one transaction that is rolled back at the end."""
        with self._explaining(), self._whole():
            yield

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PendingRollbackError, self.connection.dialect.loaded_dbapi.Error) as error:
            raise self._explained(error) from error

    @contextmanager
    def _whole(self) -> Iterator[None]:
        dialect, connection = self._dialect, self.connection
        self._entered = None
        any_value = taking_any_value(connection, dialect, of_its_kind=self.transfer.is_exact)
        with quiet(connection):
            if self.dry_run:
                with self._part(), any_value:
                    yield
                return
            with connection.begin(), any_value:
                self._begin()
                yield
                commit_carried(connection, dialect)

    def _begin(self) -> None:
        dialect = self._dialect
        if dialect.begin_write_sql is not None:
            run(self.connection, dialect.begin_write_sql)
        if dialect.defer_constraints_sql is not None:
            run(self.connection, dialect.defer_constraints_sql)
        if dialect.writing_settings:
            settings = dialect.change_settings_sql(dialect.writing_settings)
            run(self.connection, settings.sql, settings.values)

    @contextmanager
    def _part(self) -> Iterator[None]:
        if not self.connection.in_transaction():
            self.connection.begin()
            self._begin()
        self.connection.exec_driver_sql("SAVEPOINT auditcli_rehearsal")
        try:
            yield
        except (AuditError, Refused, StatementError):
            self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT auditcli_rehearsal")
            raise
        self.connection.exec_driver_sql("RELEASE SAVEPOINT auditcli_rehearsal")

    def write(
        self,
        changes: Sequence[Change],
        before: KeptPlace | None,
        after: KeptPlace,
        waiting: Iterable[tuple[TableName, str]] = (),
    ) -> Written:
        """Do one transaction of the source and move the place; raises PlanConflict, or HeldBack, with nothing done.

        `waiting` are rows that transactions are about which are held back.
        """
        self._spoken_for = frozenset(RowKey(self.transfer.table(table), row_id) for table, row_id in waiting)
        first = changes[0]
        origin = {"replayed_from": after.log_uuid, "replayed_transaction": first.transaction_id, "replayed_by": self.by}

        def once() -> Written:
            with context(actor=first.actor, reason=first.reason, **origin), self._whole():
                written = self._do(changes)
                self.move(before, after)
            return written

        try:
            with self._explaining():
                return once() if self.dry_run else done_at_last(self._dialect, once)
        except Refused as refused:
            raise self._refusal(refused) from refused
        except PlanConflict as conflict:
            if conflict.__cause__ is not None and self._dialect.is_broken_reference(conflict.__cause__):
                raise HeldBack(conflict.reason) from conflict
            raise

    def move(self, before: KeptPlace | None, after: KeptPlace) -> None:
        """Move the place, in the running transaction; a dry run has none."""
        if not self.dry_run:
            self.places.move(self.connection, before, after, self.clock())

    def _do(self, changes: Sequence[Change]) -> Written:
        keys = {table: shape.primary_key for table, shape in self.shapes.items()}
        draft = self._draft(list(net_changes(changes, keys)))
        self._check_cascades(draft)
        try:
            return self._do_draft(draft)
        except Refused:
            refused = {(conflict.table, conflict.row) for conflict in draft.conflicts}
            left = [change for change in changes if (self.transfer.table(change.table), change.row) not in refused]
            written = self._do_singly(left)
            if written is None:
                raise
            written.conflicts += tuple(draft.conflicts)
            return written

    def _do_singly(self, changes: Sequence[Change]) -> Written | None:
        """One by one, as the source came there: what net steps are in each other's way of, single ones are not.

        What a constraint refuses waits for the others, and with it what comes later on the same row; None where some
        are refused to the end, and nothing is left of any then.
        """
        try:
            with self._inner():
                return self._do_passes([change for change in changes if change.before != change.after])
        except PlanConflict:
            return None

    def _do_passes(self, changes: Sequence[Change]) -> Written:
        written = Written()
        pending = changes
        while pending:
            left = self._do_pass(pending, written)
            if len(left) == len(pending):
                raise PlanConflict((), "a constraint refuses it")
            pending = left
        return written

    def _do_pass(self, changes: Sequence[Change], written: Written) -> list[Change]:
        left: list[Change] = []
        waiting: set[tuple[TableName, str | None]] = set()
        for change in changes:
            rows = {(change.table, change.row_id), (change.table, change.old_row_id or change.row_id)}
            if not rows & waiting:
                try:
                    with self._inner():
                        written.add(self._do_draft(self._draft([change])))
                    continue
                except Refused:
                    pass
            waiting |= rows
            left.append(change)
        return left

    def _draft(self, nets: Sequence[Change]) -> Draft:
        shapes = self._scene().shapes.tables
        arrivals = [arrival(change, self._shape(change.table), self.transfer) for change in nets]
        live = self._rows.of_steps([each.looking for each in arrivals], lambda table: shapes[table])
        return plan_arrivals(arrivals, live, self.transfer, self.options)

    def _check_cascades(self, draft: Draft) -> None:
        """Leave out what would take rows along of which the source says nothing."""
        around = Surroundings(self._rows, self._scene().shapes, lambda shape: shape, self._spoken_for)
        refused = check_cascades(draft.steps, around, self.options)
        left = without(draft, refused)
        draft.steps, draft.live, draft.conflicts = left.steps, left.live, left.conflicts

    def _do_draft(self, draft: Draft) -> Written:
        self._check(draft)
        draft = self._carry(self._scene(), draft)
        return Written(len(draft.steps), draft.already, tuple(draft.conflicts), self._count_on(draft))

    def _count_on(self, draft: Draft) -> tuple[str, ...]:
        """Move counters past the rows' numbers; in a dry run they stay, since no rollback would take them back."""
        if self.dry_run:
            return ()
        shape_of = self._scene().shapes.tables.__getitem__
        return tuple(advance_counters(self.connection, self._dialect, draft.steps, shape_of))

    def _check(self, draft: Draft) -> None:
        if draft.conflicts and not self.options.skip_conflicts:
            raise PlanConflict(draft.conflicts, "the target's rows are not as they were in the source")

    def _carry(self, scene: Scene, draft: Draft) -> Draft:
        """Do the steps; those that don't fit are left out where that was asked for, and the rest tried again."""
        while draft.steps:
            try:
                with self._inner():
                    carry_steps(self.connection, scene, draft.steps, draft.live, self.transfer, self.clock)
            except (PlanConflict, Refused) as conflict:
                left = without(draft, conflict.conflicts) if self.options.skip_conflicts else draft
                if isinstance(conflict, Refused) and self._is_held_back(conflict):
                    raise
                if len(left.steps) == len(draft.steps) and left.steps == draft.steps:
                    raise
                draft = left
            else:
                break
        return draft

    @contextmanager
    def _inner(self) -> Iterator[None]:
        """A part that leaves nothing where it fails; the name is its own, since one may hide another's of that name."""
        self._depth += 1
        name = f"auditcli_replay_{self._depth}"
        self.connection.exec_driver_sql(f"SAVEPOINT {name}")
        try:
            yield
        except (PlanConflict, Refused):
            if self._dialect.in_transaction(self.connection.connection.driver_connection):
                self.connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        finally:
            self._depth -= 1
        self.connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")

    def write_rows(
        self,
        rows_of: Callable[[TableName], Iterable[Image]],
        tables: Sequence[TableName],
        tell: Callable[[int], None] = lambda _rows: None,
    ) -> Written:
        """Bring in rows as they are, tables that are referred to first, in the transaction that the caller has open."""
        written = Written()
        waiting: list[Change] = []
        for table in self._ordered(tables):
            arriving = iter(rows_of(table))
            while batch := [self._as_change(table, image) for image in islice(arriving, _BATCH)]:
                self._begin_with(batch, written, waiting)
                tell(written.rows)
        while waiting:
            again: list[Change] = []
            self._begin_with(waiting, written, again)
            if len(again) == len(waiting):
                with self._inner():
                    self._do(waiting)
            waiting = again
        return written

    def _as_change(self, table: TableName, image: Image) -> Change:
        key = self.shapes[table].primary_key if table in self.shapes else ()
        return Change(0, self.clock(), table, codec.row_id_of(image, key), EventType.INSERT, None, image)

    def _begin_with(self, batch: Sequence[Change], written: Written, waiting: list[Change]) -> None:
        try:
            with self._inner():
                done = self._do(batch)
        except Refused as refused:
            if not self._is_held_back(refused):
                raise PlanConflict(refused.conflicts, "a constraint refuses it") from refused
            if len(batch) == 1:
                waiting.extend(batch)
                return
            middle = len(batch) // 2
            self._begin_with(batch[:middle], written, waiting)
            self._begin_with(batch[middle:], written, waiting)
            return
        written.add(done)

    def clear(self, tables: Sequence[TableName]) -> None:
        """Delete all rows of the tables, in the transaction that the caller has open."""
        if any(self._scene().records(self.transfer.table(table)) for table in tables):
            raise UsageError(
                "the target is recorded by listeners, which don't see its tables being emptied",
                hint="install triggers there (`audit init`), or rebuild another target",
            )
        clear_tables(self.connection, self._dialect, [self._shape(table) for table in reversed(self._ordered(tables))])

    def _ordered(self, tables: Sequence[TableName]) -> list[TableName]:
        """The tables, parents first by the target's own foreign keys."""
        by_name = {self.transfer.table(table): table for table in tables}
        references = {
            name: {key.referred for key in self._shape(table).foreign_keys} for name, table in by_name.items()
        }
        return [by_name[name] for name in parents_first(by_name, references)]

    def _refusal(self, refused: Refused) -> Exception:
        if self._is_held_back(refused):
            return HeldBack(str(refused.errors[0].orig))
        return PlanConflict(refused.conflicts, "a constraint refuses it")

    def _is_held_back(self, refused: Refused) -> bool:
        return all(map(self._dialect.is_broken_reference, refused.errors))

    def _scene(self) -> Scene:
        """What writing has to know in the running transaction; nothing is recorded where the target has no log."""
        self._entered = self._entered or self._plain or self._enter()
        return self._entered

    def _enter(self) -> Scene:
        if find_log(self.connection, self.database.tables) is not None:
            return self._scenes.enter(self.connection)
        shapes = read_shapes(self.connection, self._dialect)
        self._plain = Scene(self.database.tables, self._dialect, shapes, _NOTHING_RECORDED)
        return self._plain

    def _shape(self, table: TableName) -> TableShape:
        name = self.transfer.table(table)
        shape = self._scene().shapes.tables.get(name)
        if shape is None:
            raise NotFound(f"the target has no table {name}", hint="--create-tables makes what is missing")
        return shape

    def _explained(self, error: Exception) -> AuditError:
        if self._is_lost(error):
            return connection_lost("the target", error)
        if self._dialect.is_lock_timeout(error):
            return LockTimeout(
                f"the target is locked; {self.kept}, run it again", hint=self._dialect.lock_holder_hint()
            )
        reason = getattr(error, "orig", error)
        return AuditError(
            f"the target refuses it, {self.kept}: {reason}", hint="mend that, then run the same command again"
        )

    def _is_lost(self, error: Exception) -> bool:
        if isinstance(error, PendingRollbackError):
            return True
        if isinstance(error, DBAPIError):
            return error.connection_invalidated
        # What the commit met is the driver's own, of which the connection knows nothing.
        driver = self.connection.dialect.loaded_dbapi
        held = None if self.connection.invalidated else self.connection.connection.dbapi_connection
        return held is None or (
            isinstance(error, driver.Error) and self.connection.dialect.is_disconnect(error, held, None)
        )


def connection_lost(which: str, error: Exception) -> ConnectionLost:
    """What is raised where one of the databases has gone away in the middle of a replay."""
    reason = str(getattr(error, "orig", "")).strip().splitlines()
    return ConnectionLost(
        f"the connection to {which} was lost, the place is kept{f' ({reason[0]})' if reason else ''}",
        hint="run the same command again when it is back; --follow waits for it",
    )
