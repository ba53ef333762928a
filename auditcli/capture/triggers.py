"""Installing capture triggers: what is missing or stale is made anew, what is not wanted goes, the rest is left alone.

The log keeps two hashes of each object that was installed: of the text that was sent, so that one which a later version
would write otherwise, or whose table has other columns by now, is found; and of the text that the database then had, so
that one which somebody else defined anew is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli.dialects import Dialect
from auditcli.dialects.capture import CaptureObject, CaptureTable, LogNames
from auditcli.driver import define, run
from auditcli.errors import AuditError, LockTimeout
from auditcli.log.meta import read_meta, write_meta
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking
from auditcli.log.tables import DEFAULT_NAME, LogTables
from auditcli.model import TableName
from auditcli.shape import CHANGES_CHILD, DatabaseShape

_META_NAME = "capture"
NO_TEXTS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Installed:
    """An object that is there; `text` is the database's own of its definition."""

    kind: str
    name: str
    table: TableName | None
    is_enabled: bool
    text: str

    @property
    def digest(self) -> str:
        """What tells whether somebody defined it anew."""
        return _digest(self.text)


@dataclass(frozen=True)
class CaptureWork:
    """What has to be done so that triggers capture what is tracked, and nothing else."""

    log: LogNames
    create: tuple[CaptureObject, ...]
    drop: tuple[Installed, ...]
    unchanged: tuple[CaptureObject, ...]
    hashes: Mapping[str, str]
    replaced: frozenset[str] = frozenset()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.create or self.drop)

    @property
    def refreshed(self) -> frozenset[TableName]:
        """The tables that have triggers, but not all of them as they should be."""
        there = {each.table for each in self.unchanged} | {each.table for each in self.drop}
        there |= {each.table for each in self.create if _word(each.kind, each.name, each.table) in self.replaced}
        changed = {each.table for each in self.create} | {each.table for each in self.drop}
        return frozenset(table for table in there & changed if table is not None)

    def tables(self) -> list[TableName]:
        """The tables that the work is about."""
        named = [*(each.table for each in self.create), *(each.table for each in self.drop)]
        return sorted({table for table in named if table is not None}, key=str)

    def statements(self, dialect: Dialect) -> list[str]:
        """The work as SQL, in order."""
        dropped = [dialect.drop_capture_sql(self.log, each.kind, each.name, each.table) for each in self.drop]
        return [*dropped, *(statement for each in self.create for statement in each.create)]


NOTHING_TO_DO = CaptureWork(LogNames(TableName(DEFAULT_NAME), TableName(DEFAULT_NAME)), (), (), (), {})


def plan_capture(
    connection: Connection, tables: LogTables, dialect: Dialect, tracking: Tracking, *, is_new: bool = False
) -> CaptureWork:
    """Compare what is installed with what should be; `is_new` says that the log itself is not there yet."""
    shapes = read_shapes(connection, dialect)
    wanted = (
        dialect.capture_objects(log_names(tables), _captured(tracking, shapes, tables, dialect))
        if tracking.triggers
        else []
    )
    there = _installed(connection, tables, dialect)
    known = {} if is_new else _stored_hashes(connection, tables)
    named = {_word(each.kind, each.name, each.table): each for each in wanted}
    hashes = {word: _hash(each) for word, each in named.items()}
    good = {
        word
        for word, hash_ in hashes.items()
        if word in there and there[word].is_enabled and known.get(word) in (hash_, f"{hash_} {there[word].digest}")
    }
    return CaptureWork(
        log=log_names(tables),
        create=tuple(each for word, each in named.items() if word not in good),
        drop=tuple(each for word, each in there.items() if word not in named),
        unchanged=tuple(each for word, each in named.items() if word in good),
        hashes=hashes,
        replaced=frozenset(there).intersection(named) - good,
    )


def carry_out(connection: Connection, tables: LogTables, dialect: Dialect, work: CaptureWork) -> None:
    """Do the work; broken off where definitions can't be rolled back, it is gone on with by planning anew."""
    drop_unwanted(connection, dialect, work)
    done = {_word(each.kind, each.name, each.table) for each in work.unchanged}
    for each in work.create:
        _define(connection, dialect, each, each.create)
        done.add(_word(each.kind, each.name, each.table))
        if not dialect.transactional_ddl:
            _store_hashes(connection, tables, work, done)
    texts = {word: each.digest for word, each in _installed(connection, tables, dialect).items()}
    _store_hashes(connection, tables, work, done, texts)


def drop_unwanted(connection: Connection, dialect: Dialect, work: CaptureWork) -> None:
    """Do the part of the work that needs no log."""
    for gone in work.drop:
        _define(connection, dialect, gone, [dialect.drop_capture_sql(work.log, gone.kind, gone.name, gone.table)])


@contextmanager
def waiting_at_most(connection: Connection, dialect: Dialect, seconds: float) -> Iterator[None]:
    """Wait so long for locks inside the block: behind one that waits for a table, all its writers queue."""
    wanted = dialect.set_lock_timeout_sql(int(seconds * 1000))
    if wanted is None or dialect.lock_timeout_sql is None:
        yield
        return
    before = run(connection, dialect.lock_timeout_sql).scalar_one()
    run(connection, wanted)
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            run(connection, dialect.set_lock_timeout_sql(int(before)) or wanted)
            connection.commit()


def refresh_triggers(connection: Connection, tables: LogTables, dialect: Dialect, tracking: Tracking) -> CaptureWork:
    """Plan and do the work."""
    work = plan_capture(connection, tables, dialect, tracking)
    if work.is_needed:
        carry_out(connection, tables, dialect, work)
    return work


def log_names(tables: LogTables) -> LogNames:
    """The tables of a log that triggers write."""
    return LogNames(tables.changelog_name, TableName(tables.transaction.name, tables.schema))


def _define(
    connection: Connection, dialect: Dialect, each: CaptureObject | Installed, statements: Sequence[str]
) -> None:
    try:
        for statement in statements:
            define(connection, statement)
    except DBAPIError as error:
        raise _refused(dialect, each, error) from error


def _refused(dialect: Dialect, each: CaptureObject | Installed, error: DBAPIError) -> AuditError:
    left = "nothing was changed" if dialect.transactional_ddl else "`audit init` goes on from there"
    if dialect.is_lock_timeout(error):
        hint = f"try again, or wait longer with --lock-timeout SECONDS; {dialect.lock_holder_hint()}"
        return LockTimeout(f"{each.table or 'the database'} is locked; {left}", hint=hint)
    if dialect.is_full(error):
        return AuditError(
            f"no space for the {each.kind} {each.name!r}; {left}: {error.orig}", hint="free some, try again"
        )
    place = "" if each.table is None else f" on {each.table}"
    said = str(error.orig).partition("\n")[0]
    return AuditError(
        f"the {each.kind} {each.name!r}{place} can't be defined; {left}. The database says: {said}",
        hint=f"{dialect.trigger_right}; if the table is gone, init again",
    )


def _captured(tracking: Tracking, shapes: DatabaseShape, tables: LogTables, dialect: Dialect) -> list[CaptureTable]:
    users = {name: shape for name, shape in shapes.tables.items() if name not in tables.table_names}
    recorded = {name for name in users if tracking.captures(name)}
    needed = recorded if dialect.cascades_fire_triggers else recorded | _parents(recorded, shapes)
    return [
        CaptureTable(
            shape=users[name],
            excluded=frozenset(tracking.exclude_columns.get(str(name), ())),
            masked=frozenset(tracking.mask_columns.get(str(name), ())),
            children=tuple(
                key
                for key in shapes.references_to.get(name, ())
                if CHANGES_CHILD & {key.on_delete, key.on_update} and key.table in needed
            ),
            is_recorded=name in recorded,
        )
        for name in sorted(needed, key=str)
    ]


def _parents(names: Collection[TableName], shapes: DatabaseShape) -> set[TableName]:
    """The tables from which a change reaches these, over whatever others."""
    found: set[TableName] = set()
    ahead = list(names)
    while ahead:
        for key in shapes.tables[ahead.pop()].foreign_keys:
            if CHANGES_CHILD & {key.on_delete, key.on_update} and key.referred in shapes.tables:
                if key.referred not in found:
                    ahead.append(key.referred)
                found.add(key.referred)
    return found


def _installed(connection: Connection, tables: LogTables, dialect: Dialect) -> dict[str, Installed]:
    rows = run(connection, dialect.installed_capture_sql(log_names(tables))).fetchall()
    found = [
        Installed(kind, name, None if table is None else TableName(table, schema), bool(is_enabled), str(text))
        for kind, schema, table, name, is_enabled, text in rows
    ]
    return {_word(each.kind, each.name, each.table): each for each in found}


def _stored_hashes(connection: Connection, tables: LogTables) -> Mapping[str, str]:
    text = read_meta(connection, tables, _META_NAME)
    found: Mapping[str, str] = {} if text is None else json.loads(text)
    return found


def _store_hashes(
    connection: Connection,
    tables: LogTables,
    work: CaptureWork,
    done: Collection[str],
    texts: Mapping[str, str] = NO_TEXTS,
) -> None:
    """Remember what was to be defined and, once it is there, what the database made of it."""
    kept = {
        word: f"{hash_} {texts[word]}" if word in texts else hash_
        for word, hash_ in work.hashes.items()
        if word in done
    }
    write_meta(connection, tables, {_META_NAME: json.dumps(kept, sort_keys=True)})


def _word(kind: str, name: str, table: TableName | None) -> str:
    return f"{kind} {name}" if table is None else f"{kind} {name} on {table}"


def _hash(each: CaptureObject) -> str:
    return _digest("\n".join(each.create))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
