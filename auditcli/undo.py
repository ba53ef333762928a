"""Planning an undo or a redo: selected changes, the histories of their rows, the live rows; nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from auditcli.bulks import bulk_steps, bulk_tables, find_bulks, records_outside, takes_bulks
from auditcli.changeset import threads
from auditcli.checks import Surroundings, check_steps
from auditcli.driver import dialect_of
from auditcli.errors import NotFound, UsageError
from auditcli.fold import RowFold
from auditcli.log.query import ALL, Criteria, Window
from auditcli.log.reader import LogReader, UndoEntry
from auditcli.log.schema import read_shapes
from auditcli.log.settings import Tracking, read_tracking
from auditcli.log.tables import LogTables
from auditcli.model import Change, EventType, Image, TableName
from auditcli.plan import (
    Bulk,
    Conflict,
    Dependant,
    Plan,
    PlanKind,
    PlanOptions,
    Step,
    StepKind,
    Steps,
    as_runs,
    joined_runs,
)
from auditcli.planning.cascading import Cells, as_also, grown, later_writes, referring_write
from auditcli.planning.order import order_steps
from auditcli.planning.planner import RowPlan, TableRules, plan_row
from auditcli.rows import RowReader, Word, image_word, key_word
from auditcli.shape import DatabaseShape, TableShape
from auditcli.undoing.histories import Chosen, Histories

if TYPE_CHECKING:
    from auditcli.selection import Selection


def plan_undo(
    connection: Connection,
    tables: LogTables,
    *,
    ids: Iterable[int] | None = None,
    transaction: str | None = None,
    selection: Selection | None = None,
    window: Window = ALL,
    options: PlanOptions | None = None,
) -> Plan:
    """Plan to take back changes by id, a transaction (or a prefix of its id), or a selection within a window.

    Raises NotFound where there is nothing of the kind, and UsageError unless exactly one way to choose is used.
    """
    reader = LogReader(connection, tables)
    if [ids, transaction, selection].count(None) != 2:
        raise UsageError("undo takes change ids, a transaction or a selection", hint="give exactly one of them")
    planning = _Planning(reader, options or PlanOptions(), "undo")
    if ids is not None:
        return planning.plan(reader.change(log_id) for log_id in sorted(set(ids)))
    if transaction is not None:
        return planning.plan_all(reader.transaction_criteria(reader.find_transaction(transaction)))
    assert selection is not None
    criteria = reader.criteria(selection, window)
    return planning.plan_all(criteria) if criteria.exact else planning.plan(reader.changes(selection, window))


def plan_redo(
    connection: Connection,
    tables: LogTables,
    *,
    actor: str | None = None,
    transaction: str | None = None,
    options: PlanOptions | None = None,
) -> Plan:
    """Plan to take back an undo: the actor's last one that still stands, or the one named by its transaction."""
    reader = LogReader(connection, tables)
    undos = [(_named_undo(reader, transaction), False)] if transaction is not None else reader.standing_undos(actor)
    for entry, is_partly_redone in undos:
        criteria = reader.transaction_criteria(entry.transaction_id)
        plan = _Planning(reader, options or PlanOptions(), "redo").plan_all(criteria)
        # Redos of some columns may have left nothing; only the rows tell.
        if not (is_partly_redone and plan.nothing_but_already):
            return plan
    whose = f"no undo by {actor}" if actor else "no undo without an actor"
    raise NotFound(f"{whose} that still stands", hint="name one: `audit redo tx:ID`")


def _named_undo(reader: LogReader, transaction: str) -> UndoEntry:
    transaction_id = reader.find_transaction(transaction)
    entry = reader.undo_runs([transaction_id]).get(transaction_id)
    if entry is None:
        way_out = f"`audit undo tx:{transaction_id}` undoes it"
        raise NotFound(f"transaction tx:{transaction_id} is no undo", hint=way_out)
    return entry


@dataclass
class _Draft:
    """What has been worked out so far."""

    steps: list[Step] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    already: int = 0
    settled_ids: set[int] = field(default_factory=set)
    also: list[tuple[Change, Cells]] = field(default_factory=list)

    def add(self, planned: RowPlan, selected: Collection[int]) -> None:
        self.conflicts += planned.conflicts
        self.notes += planned.notes
        self.already += planned.already
        if planned.step is not None:
            self.steps.append(planned.step)
        if planned.already:
            self.settled_ids.update(selected)


class _Planning:
    """Works out one plan."""

    def __init__(self, reader: LogReader, options: PlanOptions, kind: PlanKind) -> None:
        self._reader = reader
        self._options = options
        self._kind: PlanKind = kind
        self._connection = reader.connection
        self._rows = RowReader(reader.connection, dialect_of(reader.connection))
        self._draft = _Draft()
        self._bulks: list[Bulk] = []
        self._asked: set[int] = set()
        self._also: dict[int, Change] = {}
        self._parts: dict[int, Cells] = {}
        self._histories = Histories(reader, self._parts)

    @cached_property
    def _shapes(self) -> DatabaseShape:
        return read_shapes(self._connection, self._rows.dialect)

    @cached_property
    def _tracking(self) -> Tracking:
        return read_tracking(self._connection, self._reader.tables)

    def plan_all(self, criteria: Criteria) -> Plan:
        """The plan for all records that meet these criteria, which need no further test."""
        if takes_bulks(self._reader, criteria, self._options):
            tables = bulk_tables(self._reader, criteria)
            rules = [self._rules(table) for table in tables]
            self._bulks = find_bulks(self._reader, criteria, rules, self._shapes) if rules else []
        if self._bulks:
            return self.plan(records_outside(self._reader, criteria, self._bulks))
        return self.plan(self._reader.records(criteria))

    def plan(self, changes: Iterable[Change]) -> Plan:
        chosen = self._choose(changes)
        self._check_only(chosen)
        self._asked = (
            {log_id for records in chosen.values() for log_id in records.ids} if self._options.cascade else set()
        )
        while True:
            plan, more = self._plan_chosen(chosen)
            if not self._take_along(chosen, more):
                return plan
            self._draft = _Draft()

    def _plan_chosen(self, chosen: Mapping[TableName, Chosen]) -> tuple[Plan, list[tuple[Change, Cells]]]:
        """The plan for these records, and what else a cascade would take back."""
        for table, records in chosen.items():
            self._plan_table(table, records)
        around = Surroundings(self._rows, self._shapes, self._tracking.recorded)
        checked = check_steps(self._draft.steps, around, self._options)
        taken_back = {log_id for step in checked.steps for log_id in step.takes_back}
        ordered = tuple(order_steps(checked.steps, self._shapes))
        also = (as_also(change, self._parts[log_id]) for log_id, change in sorted(self._also.items()))
        plan = Plan(
            kind=self._kind,
            target=self._connection.engine.url.render_as_string(hide_password=True),
            steps=Steps(ordered, self._bulks, self._read_steps) if self._bulks else ordered,
            conflicts=(*self._draft.conflicts, *checked.conflicts),
            already=self._draft.already,
            notes=(*self._draft.notes, *map(str, checked.cascades)),
            options=self._options,
            undone_ids=joined_runs(
                as_runs(taken_back | self._draft.settled_ids), *(bulk.undone_ids for bulk in self._bulks)
            ),
            selected=sum(len(records.ids) for records in chosen.values()) + sum(map(_size, self._bulks)),
            cascades=checked.cascades,
            also=tuple(each for each in also if each.log_id in taken_back),
        )
        more = [*self._draft.also, *self._referring(checked.dependants)] if self._options.cascade else []
        return plan, more

    def _read_steps(self, bulk: Bulk) -> Iterator[Step]:
        """The steps of a bulk, read anew: what the log holds of them never changes."""
        with self._connection.engine.connect() as connection:
            yield from bulk_steps(LogReader(connection, self._reader.tables), self._rules(bulk.table), bulk)

    def _take_along(self, chosen: dict[TableName, Chosen], more: Iterable[tuple[Change, Cells]]) -> bool:
        """Select more records, or more of their cells; False where all of it is selected already."""
        is_more = False
        for change, cells in more:
            known = grown(self._parts, change, cells)
            if change.id not in self._asked and known is not None:
                self._also[change.id] = change
                self._parts[change.id] = known
                chosen.setdefault(change.table, Chosen()).add(change)
                is_more = True
        return is_more

    def _referring(self, dependants: Iterable[Dependant]) -> Iterator[tuple[Change, Cells]]:
        """What made these rows refer to those that are to go, as far as the log knows."""
        by_table: dict[TableName, list[Dependant]] = {}
        for dependant in dependants:
            by_table.setdefault(dependant.table, []).append(dependant)
        for table, rows in by_table.items():
            records = self._histories.follow_keys(table, {dependant.row_id for dependant in rows}, 0)
            stories = threads(records, self._rules(table).primary_key, self._histories.undone_by(records))
            standing = {story[-1].row_id: story for story in stories if story[-1].after is not None}
            for dependant in rows:
                found = referring_write(standing.get(dependant.row_id, ()), dependant)
                if found is not None:
                    yield found

    def _choose(self, changes: Iterable[Change]) -> dict[TableName, Chosen]:
        chosen: dict[TableName, Chosen] = {}
        for change in changes:
            if change.event_type is not EventType.SNAPSHOT:
                chosen.setdefault(change.table, Chosen()).add(change)
        if not chosen and not self._bulks:
            raise NotFound(f"nothing to {self._kind}: no change is selected", hint="`audit log` lists what there is")
        return chosen

    def _check_only(self, chosen: Iterable[TableName]) -> None:
        known = {name for table in chosen if (shape := self._shapes.tables.get(table)) for name in shape.column_names}
        unknown = [column for column in self._options.only if column not in known]
        if unknown:
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"no column {unknown[0]!r} in the tables concerned", hint=f"columns: {listed}")

    def _plan_table(self, table: TableName, chosen: Chosen) -> None:
        rules = self._rules(table)
        held_back: list[RowFold] = []
        for batch in self._histories.folds(table, rules.primary_key, chosen):
            # Rows that are to come back wait until it is known which keys the others leave.
            held_back += [folded for folded in batch if folded.comes_back and not _stands(folded)]
            self._plan_rows(rules, [folded for folded in batch if not folded.comes_back or _stands(folded)])
        self._plan_rows(rules, held_back, left=self._keys_left(rules))

    def _rules(self, table: TableName) -> TableRules:
        whole = self._shapes.tables.get(table)
        word = str(table)
        return TableRules(
            table=table,
            shape=whole,
            bookkeeping=self._tracking.bookkeeping_of(table),
            masked=self._tracking.mask_columns.get(word, ()),
            excluded=self._tracking.exclude_columns.get(word, ()),
        )

    # Live rows.

    def _plan_rows(self, rules: TableRules, folds: Sequence[RowFold], left: Collection[Word] = ()) -> None:
        live = self._live(rules, folds)
        for folded, image in zip(folds, live, strict=True):
            leaves = image is not None and bool(left) and key_word(image, rules.primary_key) in left
            planned = plan_row(folded, None if leaves else image, rules, self._options)
            self._draft.add(planned, folded.selected)
            if self._options.cascade:
                self._draft.also += later_writes(folded, planned.conflicts)

    def _live(self, rules: TableRules, folds: Sequence[RowFold]) -> list[Image | None]:
        """For each row what stands at its place, None where there is nothing."""
        if rules.shape is None:
            return [None] * len(folds)
        shape = self._tracking.recorded(rules.shape)
        if not shape.primary_key:
            return self._live_without_key(shape, rules, folds)
        # Where the log says that the row is gone, whatever stands at its key is another one.
        asked = [folded for folded in folds if _stands(folded) or folded.comes_back]
        found = self._rows.at_keys(shape, [folded.place for folded in asked])
        rows = {id(folded): found.get(word) for folded in asked if (word := _place_word(folded, shape)) is not None}
        return [None if (row := rows.get(id(folded))) is None else row.image for folded in folds]

    def _live_without_key(self, shape: TableShape, rules: TableRules, folds: Sequence[RowFold]) -> list[Image | None]:
        places = [_comparable(folded.place, rules) if _stands(folded) else {} for folded in folds]
        found = self._rows.equal_to(shape, [place for place in places if place])
        return [rows.pop().image if place and (rows := found.get(image_word(place))) else None for place in places]

    def _keys_left(self, rules: TableRules) -> set[Word]:
        """The keys that rows leave by the steps so far."""
        if not rules.primary_key:
            return set()
        leaving = (
            step
            for step in self._draft.steps
            if step.table == rules.table
            and (step.kind is StepKind.DELETE or set(rules.primary_key) & set(step.set_columns))
        )
        return {key_word(step.key, rules.primary_key) for step in leaving}


def _size(bulk: Bulk) -> int:
    return sum(last - first + 1 for first, last in bulk.undone_ids)


def _stands(folded: RowFold) -> bool:
    return folded.exists_by_log


def _place_word(folded: RowFold, shape: TableShape) -> Word | None:
    place = folded.place
    return key_word(place, shape.primary_key) if all(column in place for column in shape.primary_key) else None


def _comparable(image: Image, rules: TableRules) -> Image:
    """What a row without a key is found by: all that the log knows of it and that nothing moves by itself."""
    left_out = {*rules.bookkeeping, *rules.masked}
    return {
        column: value
        for column, value in image.items()
        if column not in left_out and (shape := rules.column(column)) is not None and not shape.generated
    }
