"""Replaying a log into another database: transaction by transaction in commit order, each exactly once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event

from sqlalchemy.exc import DBAPIError

from auditcli.apply import PlanConflict
from auditcli.asof import as_of
from auditcli.clock import Clock, utc_now
from auditcli.connect import Database, same_database
from auditcli.errors import AuditError, ConflictError, ConnectionLost, LockTimeout, LogError, NotFound, UsageError
from auditcli.feed import INTERVAL, Delivered, Feed, Place, place_after
from auditcli.log.reader import LogReader
from auditcli.log.replay_place import KeptPlace
from auditcli.model import TableName
from auditcli.plan import Conflict, ConflictKind, PlanOptions
from auditcli.replaying.target import HeldBack, ReplayTarget, Written, connection_lost
from auditcli.selection import Selection, matches
from auditcli.settled import settled_id
from auditcli.transfer import Transfer

_LONG_WAIT = 5.0
_RETURN = 0.5
"""Seconds between two tries to reach a database that has gone."""


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, and how.

    `since` and `until` are log ids; without `since` a replay begins with the rows as they were when the log began.
    `speed` is a factor of the original pace, None as fast as it goes. `words` are the selection's, kept with the place.
    """

    selection: Selection = field(default_factory=Selection)
    words: str = ""
    since: int | None = None
    until: int | None = None
    conflicts: PlanOptions = field(default_factory=PlanOptions)
    create_tables: bool = False
    rebuild: bool = False
    dry_run: bool = False
    follow: bool = False
    speed: float | None = None


@dataclass
class Progress:
    """How far a replay has come; `first_id` and `last_id` are what it is about, `place_id` where it is."""

    first_id: int = 0
    last_id: int = 0
    place_id: int = 0
    transactions: int = 0
    changes: int = 0
    rows: int = 0
    already: int = 0
    beginning_rows: int = 0
    held: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stage: str = ""
    """What is being done before, or waited for between, transactions; empty otherwise."""

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.transactions or self.beginning_rows)

    def part(self) -> float:
        """How much of it is done, from 0 to 1."""
        whole = self.last_id - self.first_id
        return 1.0 if whole <= 0 else min(1.0, max(0.0, (self.place_id - self.first_id) / whole))


class ReplayConflict(ConflictError):
    """A transaction that can't be replayed as it is; those before it are in, and the place is kept."""

    def __init__(
        self, conflicts: Sequence[Conflict], transaction: str, after_id: int, *, dry_run: bool, detail: str = ""
    ) -> None:
        first = f": {conflicts[0].message if conflicts else detail}" if conflicts or detail else ""
        more = f" (and {len(conflicts) - 1:,} more)" if len(conflicts) > 1 else ""
        done = "a dry run wrote nothing" if dry_run else f"all up to change {after_id} is in, nothing of it is"
        super().__init__(
            f"{transaction} can't be replayed; {done}{first}{more}",
            hint="--skip-conflicts does the rest, --force overwrites; or mend the target and run it again",
        )
        self.conflicts = tuple(conflicts)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A transaction that is held back, with the rows that nobody may touch before it."""

    delivered: Delivered
    rows: frozenset[tuple[TableName, str]]
    reason: str = "it follows one that is held back"


class Replay:
    """One run; `progress` is complete when `run` returns, and as far as it came when it raises."""

    def __init__(
        self,
        source: Database,
        target: Database,
        options: ReplayOptions,
        *,
        by: str | None = None,
        clock: Clock = utc_now,
        on_progress: Callable[[Progress], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> None:
        if same_database(source.target.url, target.target.url):
            raise UsageError(
                f"source and target are the same database: {target.target.masked_url}",
                hint="--to names another one",
            )
        self.progress = Progress()
        self._source = source
        self._options = options
        self._clock = clock
        self._by = by
        self._tell = on_progress or (lambda _progress: None)
        self._note = on_note or (lambda _note: None)
        self._stop = stop or Event()
        self._database = target
        self._transfer = Transfer(source.dialect, target.dialect)
        self._held: list[_Waiting] = []
        self._kept: KeptPlace | None = None
        self._until = options.until
        self._pace: tuple[float, float] | None = None
        self._has_begun = False
        self._is_away = False

    @property
    def has_begun(self) -> bool:
        """Whether there is a place in the target that it goes on from."""
        return self._has_begun

    def run(self) -> Progress:
        """Replay all that there is, or (`follow`) until `stop` is set; it then waits for a database that has gone.

        Raises ReplayConflict at the first transaction that can't be replayed, unless conflicts are skipped or forced;
        LogError where the place in the target is none of this log; NotFound and UsageError where tables don't fit.
        """
        while True:
            try:
                self._run_on()
                return self.progress
            except (DBAPIError, ConnectionLost, LockTimeout) as error:
                away = self._away(error)
                if away is None or not (self._options.follow and self._has_begun):
                    raise (away or error) from error
                self._wait_for_return(away)
            if self._stop.is_set():
                return self.progress

    def _away(self, error: DBAPIError | ConnectionLost | LockTimeout) -> AuditError | None:
        """The error in words, if it passes by itself."""
        if not isinstance(error, DBAPIError):
            return error
        # Without a statement it was connecting that failed.
        is_gone = error.connection_invalidated or (self._has_begun and error.statement is None)
        return connection_lost("a database", error) if is_gone else None

    def _wait_for_return(self, away: AuditError) -> None:
        if not self._is_away:
            self._note(f"{away.message}; trying again until it is back")
            self._is_away = True
        for engine in (self._source.engine, self._database.engine):
            engine.dispose()
        self._kept, self._held, self._pace = None, [], None
        self._stop.wait(_RETURN)

    def _run_on(self) -> None:
        """From the place that is kept in the target, over connections of its own."""
        with self._source.log() as reader:
            wanted = _tables(reader, self._options.selection)
            shapes = {table: shape for table in wanted if (shape := reader.table_shape(table)) is not None}
            known_from = {table: epochs[0][0] for table in wanted if (epochs := reader.epochs(table))}
            log_uuid = reader.log_uuid()
        with self._database.engine.connect() as connection:
            options = self._options
            target = ReplayTarget(
                connection,
                self._database,
                self._transfer,
                self._clock,
                options.conflicts,
                shapes,
                options.dry_run,
                self._by,
            )
            kept = target.places.read(connection, log_uuid)
            if kept is not None and kept.selection == options.words and options.create_tables and not options.rebuild:
                _refuse_lost(
                    kept, [table for table in target.missing(wanted) if known_from.get(table, 0) < kept.log_id]
                )
            target.prepare(wanted, create=options.create_tables)
            self._say(target.notes)
            self._begin(target, wanted, log_uuid)
            self._has_begun = True
            if self._is_away:
                self._note(f"connected again, going on after change {self._place.log_id}")
                self._is_away = False
            self._replay(target)
            connection.rollback()

    def _say(self, notes: Iterable[str]) -> None:
        """Say each of the notes once."""
        for note in notes:
            if note not in self.progress.notes:
                self.progress.notes.append(note)
                self._note(note)

    # Where it begins.

    def _begin(self, target: ReplayTarget, tables: Sequence[TableName], log_uuid: str) -> None:
        options = self._options
        # Once that is done, it goes on from there.
        rebuild = options.rebuild and not self._has_begun
        kept = target.places.read(target.connection, log_uuid)
        if kept is None and options.since is None and not rebuild:
            _refuse_others(target.places.others(target.connection, log_uuid))
        if not options.dry_run:
            target.connection.rollback()
        if kept is not None and not rebuild:
            if kept.selection != options.words:
                raise UsageError(
                    f"the target has a replay of another selection: {kept.selection or 'everything'}",
                    hint="give the same words, or begin again with --rebuild",
                )
            self._kept = kept
        if self._kept is None and options.since:
            self._settle(options.since)
        with self._source.log() as reader:
            if self._kept is None:
                start = place_after(reader, options.since or 0)
                after = KeptPlace(start.log_uuid, start.log_id, start.transaction_id, (), options.words)
                with_rows = options.rebuild or options.since is None
                self._write_beginning(target, reader, tables, kept, after, with_rows=with_rows)
            else:
                self._held = list(self._taken_up(reader, self._kept.held))
            last = reader.last_id()
        # Under writers that never pause there would be no end.
        self._until = last if options.until is None and not options.follow else options.until
        self.progress.last_id = last if options.until is None else options.until
        self.progress.first_id = self.progress.place_id = self._place.log_id

    def _settle(self, since: int) -> None:
        """Wait until nothing at or before the place can still be committed: a replay from there would not see it."""
        with self._source.engine.connect() as connection:
            reader = LogReader(connection, self._source.tables, dialect=self._source.dialect)
            settled_id(reader, since, seconds=math.inf, pause=self._stop.wait)

    def _write_beginning(
        self,
        target: ReplayTarget,
        reader: LogReader,
        tables: Sequence[TableName],
        kept: KeptPlace | None,
        after: KeptPlace,
        *,
        with_rows: bool,
    ) -> None:
        """Bring in the rows as they were, and keep the place, in one transaction."""
        rows = as_of(reader, after.log_id, wanted=tables if with_rows else (), tell=self._tell_of_beginning)
        try:
            with rows as past, target.transaction():
                if self._options.rebuild:
                    target.clear(tables)
                written = target.write_rows(past.whole_rows, tables)
                target.move(kept, after)
        except PlanConflict as conflict:
            raise self._conflict_of("what the log begins with", conflict, after.log_id) from conflict
        self._kept = after
        self.progress.stage = ""
        self.progress.beginning_rows = written.rows
        self.progress.already += written.already
        self.progress.conflicts += written.conflicts
        self._say(written.notes)

    def _tell_of_beginning(self, stage: str) -> None:
        self.progress.stage = f"looking for the rows to begin with, {stage}"
        self._tell(self.progress)

    def _taken_up(self, reader: LogReader, held: Sequence[int]) -> Iterator[_Waiting]:
        """The transactions that an earlier run held back, by the ids of their last records."""
        for log_id in held:
            exists, transaction_id = reader.transaction_at(log_id)
            if not exists:
                raise LogError(f"the log has no change {log_id}, which waits", hint=_MOVED_HINT)
            whole = [reader.change(log_id)] if transaction_id is None else reader.transaction_changes(transaction_id)
            chosen = tuple(change for change in whole if matches(self._options.selection, change))
            yield _waiting(Delivered(chosen, Place(self._place.log_uuid, log_id, transaction_id)))

    @property
    def _place(self) -> KeptPlace:
        assert self._kept is not None
        return self._kept

    # Transaction by transaction.

    def _replay(self, target: ReplayTarget) -> None:
        kept = self._place
        start = Place(kept.log_uuid, kept.log_id, kept.transaction_id)
        feed = Feed(self._source.engine, self._source.tables, self._source.dialect, start)
        waiting_since = time.monotonic()
        while not self._stop.is_set():
            delivered = _from_kept_place(feed, self._options.selection)
            within = [each for each in delivered if self._is_within(each)]
            for each in within:
                self._wait_for_pace(each)
                if self._stop.is_set():
                    return
                self._take(target, each)
            self._retry(target)
            if delivered:
                waiting_since = time.monotonic()
                self.progress.stage = ""
            has_all = feed.is_complete or (self._until is not None and feed.place.log_id >= self._until)
            if len(within) < len(delivered) or (not delivered and has_all):
                self._give_up_held(target)
                if not self._options.follow or len(within) < len(delivered):
                    return
            if not delivered:
                self._wait(feed, waiting_since)

    def _is_within(self, delivered: Delivered) -> bool:
        return self._until is None or delivered.place.log_id <= self._until

    def _wait(self, feed: Feed, since: float) -> None:
        if not feed.is_complete and time.monotonic() - since > _LONG_WAIT:
            hint = self._source.dialect.lock_holder_hint()
            self.progress.stage = f"waiting for a transaction of the source that is still open; {hint}"
            self._tell(self.progress)
        self._stop.wait(INTERVAL)

    def _take(self, target: ReplayTarget, delivered: Delivered) -> None:
        """Write one transaction, or hold it back."""
        waiting = _waiting(delivered)
        if any(waiting.rows & held.rows for held in self._held):
            self._held.append(waiting)
            return
        try:
            self._write(target, delivered, self._held)
        except HeldBack as held_back:
            self._held.append(replace(waiting, reason=held_back.reason))
        self.progress.held = len(self._held)
        self._tell(self.progress)

    def _retry(self, target: ReplayTarget) -> None:
        """Write what was held back, as far as that goes by now."""
        moved = True
        while moved and self._held:
            moved = False
            blocked: frozenset[tuple[TableName, str]] = frozenset()
            for waiting in list(self._held):
                if not waiting.rows & blocked:
                    others = [held for held in self._held if held is not waiting]
                    try:
                        self._write(target, waiting.delivered, others)
                    except HeldBack:
                        pass
                    else:
                        self._held, moved = others, True
                        continue
                blocked |= waiting.rows
        self.progress.held = len(self._held)

    def _write(self, target: ReplayTarget, delivered: Delivered, held: Sequence[_Waiting]) -> None:
        """Write one transaction with the place after it."""
        after = self._after(delivered, held)
        try:
            waiting = (row for each in held for row in each.rows)
            written = target.write(delivered.changes, self._place, after, waiting)
        except PlanConflict as conflict:
            raise self._conflict(delivered, conflict.conflicts) from conflict
        self._kept = after
        self._count(written)
        self.progress.transactions += 1
        self.progress.changes += len(delivered.changes)
        self.progress.place_id = after.log_id

    def _after(self, delivered: Delivered, held: Sequence[_Waiting]) -> KeptPlace:
        """The place when a transaction is in and these wait; what waits beyond the place will be read again."""
        at: KeptPlace | Place = self._place if delivered.place.log_id <= self._place.log_id else delivered.place
        waiting = tuple(each.delivered.place.log_id for each in held if each.delivered.place.log_id <= at.log_id)
        return replace(self._place, log_id=at.log_id, transaction_id=at.transaction_id, held=waiting)

    def _give_up_held(self, target: ReplayTarget) -> None:
        """Everything that could come is in, and a foreign key still refuses transactions: refuse or skip them."""
        for waiting in list(self._held):
            change = waiting.delivered.changes[-1]
            reason = f"a foreign key refuses it, and nothing that comes later mends that: {waiting.reason}"
            message = f"{change.row or change.table}: {reason}"
            found = Conflict(ConflictKind.CONSTRAINT, change.table, change.row, None, message)
            if not self._options.conflicts.skip_conflicts:
                raise self._conflict(waiting.delivered, [found])
            self._held.remove(waiting)
            after = self._after(waiting.delivered, self._held)
            with target.transaction():
                target.move(self._place, after)
            self._kept = after
            self.progress.conflicts.append(found)
        self.progress.held = 0

    def _conflict_of(self, name: str, conflict: PlanConflict, after_id: int) -> ReplayConflict:
        return ReplayConflict(conflict.conflicts, name, after_id, dry_run=self._options.dry_run, detail=conflict.reason)

    def _conflict(self, delivered: Delivered, conflicts: Sequence[Conflict]) -> ReplayConflict:
        word = delivered.changes[0].transaction_id
        name = f"transaction tx:{word}" if word else f"change #{delivered.place.log_id}"
        return ReplayConflict(conflicts, name, self._place.log_id, dry_run=self._options.dry_run)

    def _count(self, written: Written) -> None:
        self.progress.rows += written.rows
        self.progress.already += written.already
        self.progress.conflicts += written.conflicts
        self._say(written.notes)

    def _wait_for_pace(self, delivered: Delivered) -> None:
        """Keep the distance that the transactions had, made shorter by `speed`."""
        if self._options.speed is None:
            return
        stamped = delivered.changes[-1].timestamp.timestamp()
        began, first = self._pace = self._pace or (time.monotonic(), stamped)
        self._stop.wait(max(0.0, began + (stamped - first) / self._options.speed - time.monotonic()))


_MOVED_HINT = "a backup of the source or the target was restored; --rebuild begins again, or name another target"


def _refuse_lost(kept: KeptPlace, tables: Sequence[TableName]) -> None:
    """Raise NotFound where the target had tables at its place that it has no more: new ones would lack their rows."""
    if tables:
        raise NotFound(
            f"the target has lost table {', '.join(map(str, tables))}, with what was in it up to change {kept.log_id}",
            hint="--rebuild begins again; or bring the table back",
        )


def _refuse_others(others: Mapping[str, int]) -> None:
    """Raise UsageError where another log is replayed into the target: its rows are not those that this one began with.

    So it is when the source's log was made anew.
    """
    for log_uuid, log_id in others.items():
        raise UsageError(
            f"the target has a replay of another log ({log_uuid}, up to change {log_id})",
            hint="--rebuild empties this log's tables and begins with them, --since POSITION adds what came after it",
        )


def _from_kept_place(feed: Feed, selection: Selection) -> list[Delivered]:
    try:
        return feed.deliver(selection)
    except LogError as error:
        raise LogError(f"the place kept in the target does not fit: {error.message}", hint=_MOVED_HINT) from error


def _tables(reader: LogReader, selection: Selection) -> list[TableName]:
    """The tables that may come, of those that the log knows."""
    own = reader.tables.table_names
    words = selection.tables
    return [
        table
        for table in reader.tracked_tables()
        if table not in own and (not words.any_of or table in words.any_of) and table not in words.none_of
    ]


def _waiting(delivered: Delivered) -> _Waiting:
    rows = {
        (change.table, row_id)
        for change in delivered.changes
        for row_id in (change.row_id, change.old_row_id)
        if row_id is not None
    }
    return _Waiting(delivered, frozenset(rows))
