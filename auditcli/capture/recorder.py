"""Recording what one database transaction changes, whoever makes the changes.

A unit of work is a flush, a statement or a step of an undo. The rows that it may change are read before it, under the
write lock, and again after it: what differs is recorded. So a unit needs to know a *superset* of its rows, and nothing
of what the statements do to them; defaults, rounding, cascades of the database and no-op updates come out right.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from auditcli.capture.context import Context, current_context
from auditcli.capture.handover import Handover
from auditcli.capture.origin import application, client
from auditcli.capture.rowrecords import RecordMaker
from auditcli.capture.scene import Scene, Values
from auditcli.capture.steps import Step, in_possible_order, with_replaced_rows
from auditcli.clock import Clock
from auditcli.driver import ValueReading, run
from auditcli.errors import CaptureError, UnrecordableWrite
from auditcli.log.tables import ACTOR_LENGTH
from auditcli.log.writer import LogWriter, Record, Stamp, TransactionHeader
from auditcli.model import TableName
from auditcli.shape import CHANGES_CHILD, ForeignKeyShape, TableShape

_Followed: TypeAlias = "dict[tuple[ForeignKeyShape, bool], set[Values]]"


@dataclass
class _TouchedRows:
    """The rows of one table that a unit may change.

    `before` has their values by locator, `moved` new locators by old ones, `expected` the values by which rows that
    the unit makes are found, by the names of the columns; `made` are the locators of such rows that were found.
    `changed` are the columns that the unit assigns in rows that stay, `removes` is true where it deletes rows.
    """

    shape: TableShape
    before: dict[Values, Values] = field(default_factory=dict)
    moved: dict[Values, Values] = field(default_factory=dict)
    confirmed: set[Values] = field(default_factory=set)
    expected: dict[tuple[str, ...], list[Values]] = field(default_factory=dict)
    made: set[Values] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    removes: bool = False


class Recorder:
    """Records the units of one database transaction; the caller is `quiet`.

    `transaction_id` is the one that an earlier recorder of the same transaction had.
    """

    def __init__(self, connection: Connection, scene: Scene, clock: Clock, transaction_id: str | None = None) -> None:
        self.connection = connection
        self.scene = scene
        self.clock = clock
        self.transaction_id = transaction_id or _adopted_transaction(connection, scene) or str(uuid.uuid4())
        self.scene_is_stale = False
        self.reading = ValueReading(connection, scene.dialect)
        self._handover = Handover(connection, self.transaction_id, clock)
        self._writer = LogWriter(scene.tables)
        self._header: Context | None = None
        self._savepoints: list[tuple[str, Context | None, frozenset[TableName]]] = []
        self._gaps: set[TableName] = set()

    def unit(self) -> Unit:
        """A new unit of work."""
        return Unit(self)

    def hand_over(self) -> None:
        """Tell capture triggers, where there are any, who writes now and why."""
        self._handover.send(self.scene, self._held(current_context()))

    def write_gap(self, gap_tables: Iterable[TableName], reason: str) -> None:
        """Record, once a transaction and table, that changes are let through unrecorded."""
        unknown = [table for table in gap_tables if table not in self._gaps]
        if not unknown:
            return
        self._gaps.update(unknown)
        last_id = self.connection.scalar(select(func.max(self.scene.tables.changelog.c.id)))
        self._writer.write_gap(
            self.connection,
            unknown,
            after_id=last_id or 0,
            now=self.clock(),
            actor=self._held(current_context()).actor,
            reason=self.scene.dialect.storable(reason),
        )

    def enter_savepoint(self, name: str) -> None:
        """Remember what was written before a savepoint."""
        self._savepoints.append((name, self._header, frozenset(self._gaps)))

    def leave_savepoint(self, name: str, *, rolled_back: bool) -> None:
        """Forget a savepoint; what was written inside a rolled-back one has to be written again."""
        while self._savepoints:
            entered, header, gaps = self._savepoints.pop()
            if rolled_back:
                self._header, self._gaps = header, set(gaps)
                self._handover.forget()
            if entered == name:
                break

    def write(self, records: Sequence[Record], context: Context) -> None:
        """Append one table's records, after the transaction's header."""
        self.write_header(context)
        stamp = Stamp(self.transaction_id, self.clock(), self._held(context).actor)
        self._writer.write_records(self.connection, records, stamp)

    def write_header(self, context: Context) -> None:
        """Say who and why once a transaction, and again when the context came to say more."""
        context = self._held(context)
        known = self._header
        if known is None:
            header = self._new_header(context)
            self._writer.write_header(self.connection, header, unless_there=bool(self.scene.triggered))
            self._header = context
        elif (context.reason, context.more) != (known.reason, known.more):
            merged = context.inside(known)
            self._writer.amend_header(self.connection, self.transaction_id, self.clock(), merged.reason, merged.more)
            self._header = merged

    def read_rows(self, shape: TableShape, names: Sequence[str], rows: Sequence[Values]) -> list[Values]:
        """Locator and stored values of the rows whose columns (or locator) `names` have one of these values."""
        dialect = self.scene.dialect
        found: list[Values] = []
        chunk = max(1, dialect.most_marks // len(names))
        columns = [dialect.quote(name) if shape.column(name) else name for name in names]
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            marks = [value for row in part for value in row]
            found += self._select(shape, dialect.in_list(columns, len(part)), marks)
        return found

    def forget_met(self) -> None:
        """An upsert is about to have the database note the rows that it meets."""
        run(self.connection, self.scene.dialect.forget_met_sql)

    def met_keys(self) -> list[str]:
        """The keys, as in `key_text`, of the rows that the upsert met, as often as it met them."""
        noted = run(self.connection, self.scene.dialect.met_sql).scalar()
        return noted.split("\n") if noted else []

    def read_referencing(self, key: ForeignKeyShape, parents: Sequence[Values]) -> list[Values]:
        """Locator and stored values of the rows that reference one of the rows with these locators."""
        dialect = self.scene.dialect
        child, parent = self.scene.shape(key.table), self.scene.shape(key.referred)
        found: list[Values] = []
        chunk = max(1, dialect.most_marks // len(parent.locator))
        for start in range(0, len(parents), chunk):
            part = parents[start : start + chunk]
            condition = dialect.referencing_sql(child, key, parent, len(part))
            found += self._select(child, condition, [value for row in part for value in row])
        return found

    def _select(self, shape: TableShape, condition: str, marks: Sequence[Any]) -> list[Values]:
        dialect = self.scene.dialect
        try:
            with self.reading.of(shape):
                return self._fetch(dialect.rows_sql(shape, condition, locking=True), marks)
        except DBAPIError as error:
            if not dialect.is_broken_text(error):
                raise
        width = len(shape.locator)
        rows = self._fetch(dialect.rows_sql(shape, condition, as_bytes=True, locking=True), marks)
        return [(*row[:width], *dialect.values_from_bytes(row[width:])) for row in rows]

    def _fetch(self, sql: str, marks: Sequence[Any]) -> list[Values]:
        # Rows as they are: they are only cut into pieces, which are tuples.
        return list(run(self.connection, sql, marks).fetchall())

    def _held(self, context: Context) -> Context:
        """The context as the log can hold it, so that no word in it fails a write."""
        held = self.scene.dialect.storable
        actor, reason = (None if word is None else held(word) for word in (context.actor, context.reason))
        limit = ACTOR_LENGTH if self.scene.dialect.limits_text else None
        return Context(None if actor is None else actor[:limit], reason, context.more)

    def _new_header(self, context: Context) -> TransactionHeader:
        return TransactionHeader(
            self.transaction_id, self.clock(), context.reason, context.more, None, client(), application()
        )


class Unit:
    """One unit of work: the rows that it may change, before and after."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._scene = recorder.scene
        self._touched: dict[TableName, _TouchedRows] = {}
        self._read_keys: dict[TableName, set[Values]] = {}

    def read(self, table: TableName, keys: Iterable[Values]) -> None:
        """Read the rows with these primary keys, except those that this unit read before."""
        known = self._read_keys.setdefault(table, set())
        unread = [key for key in dict.fromkeys(keys) if key not in known and None not in key]
        known.update(unread)
        shape = self._scene.shape(table)
        self.remember(table, self._recorder.read_rows(shape, shape.primary_key, unread))

    def remember(self, table: TableName, rows: Iterable[Values]) -> None:
        """Take rows (locator and values) as they are before the unit; rows that the unit itself made are none."""
        touched = self._touched_rows(table)
        width = len(touched.shape.locator)
        found = list(rows)
        if found:
            self._find_made(touched)
        arrived = set(touched.moved.values()) | touched.made
        for row in found:
            if row[:width] not in arrived:
                touched.before.setdefault(row[:width], row[width:])

    def note_changes(self, table: TableName, columns: Iterable[str]) -> None:
        """The unit assigns these columns in rows that stay."""
        self._touched_rows(table).changed.update(columns)

    def note_removal(self, table: TableName) -> None:
        """The unit deletes rows, so that another row may get the place of one."""
        self._touched_rows(table).removes = True

    def remember_children(self, table: TableName, parents: Sequence[Values], changed: Iterable[str] | None) -> None:
        """Read, level by level, the rows that the database will change by itself.

        `changed` are the columns of the parents that an UPDATE sets; None where the parents are deleted.
        """
        self._follow(table, parents, changed, {})

    def _follow(
        self, table: TableName, parents: Sequence[Values], changed: Iterable[str] | None, known: _Followed
    ) -> None:
        for key in self._scene.shapes.references_to.get(table, ()):
            action = key.on_delete if changed is None else key.on_update
            if action not in CHANGES_CHILD or (changed is not None and not set(changed) & set(key.referred_columns)):
                continue
            followed = known.setdefault((key, changed is None), set())
            width = len(self._scene.shape(table).locator)
            places = [row[:width] for row in parents if row[:width] not in followed]
            followed.update(places)
            children = self._recorder.read_referencing(key, places)
            self.remember(key.table, children)
            if children:
                is_gone = changed is None and action == "CASCADE"
                self._note_cascade(key, is_gone=is_gone)
                self._follow(key.table, children, None if is_gone else key.columns, known)

    def _note_cascade(self, key: ForeignKeyShape, *, is_gone: bool) -> None:
        if is_gone:
            self.note_removal(key.table)
            return
        self.note_changes(key.table, key.columns)
        if self._scene.records(key.table) and set(key.columns) & set(self._scene.shape(key.table).moved_by):
            raise UnrecordableWrite(
                f"the database would change the primary key of {key.table} along with its reference to {key.referred}, "
                "which listeners can't follow",
                hint=f"change or remove the rows of {key.table} first, or install capture triggers",
            )

    def expect(self, table: TableName, names: Sequence[str], rows: Iterable[Values]) -> None:
        """Rows that the unit makes, by the values of the columns (or locator) `names`."""
        self._touched_rows(table).expected.setdefault(tuple(names), []).extend(rows)

    def known(self, table: TableName) -> Set[Values]:
        """The locators of the rows that were read, or were found to be made by the unit."""
        touched = self._touched_rows(table)
        self._find_made(touched)
        return touched.before.keys() | touched.made | set(touched.moved.values())

    def refuse_strangers(self, table: TableName, names: Sequence[str], rows: Sequence[Values]) -> None:
        """Raise CaptureError where an upsert of these rows met one that was not there when they were looked up."""
        met = self._recorder.met_keys()
        if not met:
            return
        touched = self._touched_rows(table)
        known, width = self.known(table), len(touched.shape.locator)
        found = self._recorder.read_rows(touched.shape, names, list(dict.fromkeys(rows)))
        made = self._recorder.read_rows(touched.shape, touched.shape.locator, list(touched.made))
        there = {_key_text(touched.shape, row[width:]) for row in (*found, *made)}
        there |= {_key_text(touched.shape, values) for values in touched.before.values()}
        strangers = set(met) - there
        is_one_too_many = sum(row[:width] not in known for row in found) > len(rows) - len(met)
        if strangers or is_one_too_many:
            raise CaptureError(
                f"an upsert on {table} met a row that another transaction had just inserted",
                hint="run the transaction again, as after a failed serialization, or use capture triggers",
            )

    def expect_move(self, table: TableName, old: Values, new: Values) -> None:
        """A row whose locator the unit changes."""
        self._touched_rows(table).moved[old] = new

    def expect_moves(self, table: TableName, moves: Mapping[Values, Values]) -> None:
        """Rows whose locators one statement changes, as they were before this statement."""
        touched = self._touched_rows(table)
        self._find_made(touched)
        origins = {place: origin for origin, place in touched.moved.items()}
        made = {place for place in moves if place in touched.made}
        touched.made = (touched.made - made) | {moves[place] for place in made}
        touched.moved |= {origins.get(old, old): new for old, new in moves.items() if old not in made}

    def confirm_moves(self, table: TableName) -> None:
        """Raise CaptureError where a moved row is not at its new place, now that the statement ran."""
        touched = self._touched_rows(table)
        unseen = [place for place in touched.moved.values() if place not in touched.confirmed]
        rows = self._recorder.read_rows(touched.shape, touched.shape.locator, unseen)
        self._check_arrived(touched, {row[: len(touched.shape.locator)] for row in rows})
        touched.confirmed.update(unseen)

    def finish(self) -> int:
        """Read the rows again and record what differs; returns the number of records."""
        context = current_context()
        count = 0
        for touched in self._touched.values():
            records = self._records(touched) if self._scene.records(touched.shape.table) else []
            if records:
                self._recorder.write(records, context)
                count += len(records)
        self._touched.clear()
        self._read_keys.clear()
        return count

    def _find_made(self, touched: _TouchedRows) -> None:
        """Look for the rows that the unit made so far, before another statement touches some of them."""
        if not touched.expected:
            return
        width = len(touched.shape.locator)
        places = {row[:width] for row in self._expected_rows(touched)}
        touched.made |= places - (touched.before.keys() - touched.moved.keys()) - set(touched.moved.values())
        touched.expected.clear()

    def _expected_rows(self, touched: _TouchedRows) -> Iterator[Values]:
        for names, values in touched.expected.items():
            yield from self._recorder.read_rows(touched.shape, names, values)

    def _touched_rows(self, table: TableName) -> _TouchedRows:
        known = self._touched.get(table)
        if known is None:
            known = self._touched[table] = _TouchedRows(self._scene.shape(table))
        return known

    def _records(self, touched: _TouchedRows) -> list[Record]:
        after = self._rows_after(touched)
        arrived = set(touched.moved.values())
        steps: list[Step] = []
        for locator, old in touched.before.items():
            place = touched.moved.get(locator, locator)
            # A row that stayed, at a place where another one arrived, is gone.
            new = after.pop(place, None) if locator in touched.moved or place not in arrived else None
            if touched.removes and _is_another(touched, old, new):
                steps += [(old, None), (None, new)]
            else:
                steps.append((old, new))
        steps += [(None, new) for new in after.values()]
        if touched.removes:
            steps = with_replaced_rows(touched.shape, steps)
        if touched.shape.primary_key and (touched.moved or touched.changed & set(touched.shape.primary_key)):
            steps = in_possible_order(touched.shape, steps)
        maker = RecordMaker(self._scene.dialect, touched.shape, self._scene.masked(touched.shape.table))
        records = (maker.step(old, new) for old, new in steps)
        return [record for record in records if record is not None]

    def _rows_after(self, touched: _TouchedRows) -> dict[Values, Values]:
        shape = touched.shape
        width = len(shape.locator)
        places = list(dict.fromkeys([*touched.before, *touched.moved.values(), *touched.made]))
        rows = [*self._recorder.read_rows(shape, shape.locator, places), *self._expected_rows(touched)]
        after = {row[:width]: row[width:] for row in rows}
        self._check_arrived(touched, after.keys())
        return after

    def _check_arrived(self, touched: _TouchedRows, places: Set[Values]) -> None:
        if not places >= set(touched.moved.values()) - touched.confirmed:
            raise CaptureError(
                f"the new key of a row of {touched.shape.table} can't be followed",
                hint="give the new key as the database stores it, or use capture triggers",
            )


def _adopted_transaction(connection: Connection, scene: Scene) -> str | None:
    """The id that a trigger gave the running transaction before anybody told it one."""
    sql = scene.dialect.adopted_transaction_sql() if scene.triggered else None
    return run(connection, sql).scalar() if sql else None


def _key_text(shape: TableShape, values: Values) -> str:
    """A key as `note_met_sql` spells it."""
    return ",".join(values[place] for place in shape.key_places)


def _is_another(touched: _TouchedRows, old: Values, new: Values | None) -> bool:
    """Whether a new row stands at the place of one that is gone, not the same row with other values."""
    shape = touched.shape
    columns = shape.primary_key or shape.column_names
    places = [shape.column_names.index(column) for column in columns]
    return new is not None and any(
        old[place] != new[place] and shape.column_names[place] not in touched.changed for place in places
    )
