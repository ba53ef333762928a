"""Planning what one statement can take back: many clean changes of a table that are of one kind.

Updates of the same columns, none of which a key or a reference is made of; inserts into a table, or deletes from it,
around which nothing else is taken back. Little else has to be looked at for them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import DBAPIError

from auditcli.changeset import touched_columns
from auditcli.dialects.netting import Netting, has_plain_names
from auditcli.driver import ValueReading
from auditcli.fold import ABSENT
from auditcli.log.query import Criteria
from auditcli.log.reader import LogReader
from auditcli.model import Change, EventType, TableName
from auditcli.netrows import Asked, clean_rows
from auditcli.plan import Bulk, CellStep, PlanOptions, Runs, Step, StepKind
from auditcli.planning.planner import TableRules
from auditcli.shape import ColumnShape, DatabaseShape, TableShape

FEWEST = 1_000
"""So many rows of a kind are worth a look at what the database can do by itself."""

_SAMPLE = 50
_MOST_KINDS = 3
_RUNS_A_QUERY = 100
_IDS_A_QUERY = 500


def find_bulks(
    reader: LogReader, criteria: Criteria, rules_of: Sequence[TableRules], shapes: DatabaseShape
) -> list[Bulk]:
    """What of the records that meet the criteria can be taken back by one statement a kind."""
    finder = _Finder(reader, criteria, shapes)
    return [bulk for rules in rules_of for bulk in finder.of_table(rules)]


def takes_bulks(reader: LogReader, criteria: Criteria, options: PlanOptions) -> bool:
    """Whether it makes sense to look for them."""
    usual = PlanOptions(skip_conflicts=options.skip_conflicts)
    return reader.dialect.netting is not None and criteria.exact and options == usual


def bulk_tables(reader: LogReader, criteria: Criteria) -> list[TableName]:
    """The tables of which so much is selected that it is worth a look."""
    log = reader.tables.changelog.c
    statement = (
        select(log.table_name, log.table_schema)
        .where(criteria.where(), log.event_type.in_(("INSERT", "UPDATE", "DELETE")))
        .group_by(log.table_name, log.table_schema)
        .having(func.count() >= FEWEST)
    )
    return [TableName(name, schema) for name, schema in reader.execute(statement)]


def records_outside(reader: LogReader, criteria: Criteria, bulks: Sequence[Bulk]) -> Iterator[Change]:
    """The records that meet the criteria and are in none of the bulks."""
    log = reader.tables.changelog.c
    runs = sorted(run for bulk in bulks for run in bulk.undone_ids)
    found = reader.execute(select(log.id).where(criteria.where()).order_by(log.id).execution_options(yield_per=10_000))
    left = array("q", _outside((row[0] for row in found), runs))
    for start in range(0, len(left), _IDS_A_QUERY):
        yield from reader.records(Criteria((log.id.in_(left[start : start + _IDS_A_QUERY].tolist()),)))


def _outside(ids: Iterable[int], runs: Sequence[tuple[int, int]]) -> Iterator[int]:
    at = 0
    for log_id in ids:
        while at < len(runs) and runs[at][1] < log_id:
            at += 1
        if at == len(runs) or log_id < runs[at][0]:
            yield log_id


def bulk_steps(reader: LogReader, rules: TableRules, bulk: Bulk) -> Iterator[Step]:
    """The steps of a bulk; where rows have several records each, all of these are read first."""
    records = _records_of(reader, bulk)
    if bulk.is_single:
        yield from (_step(rules, bulk.example, [record]) for record in records)
        return
    stories: dict[str | None, list[Change]] = {}
    for record in records:
        stories.setdefault(record.row_id, []).append(record)
    yield from (_step(rules, bulk.example, story) for story in stories.values())


def _records_of(reader: LogReader, bulk: Bulk) -> Iterator[Change]:
    log_id = reader.tables.changelog.c.id
    for start in range(0, len(bulk.undone_ids), _RUNS_A_QUERY):
        part = bulk.undone_ids[start : start + _RUNS_A_QUERY]
        within = or_(*(and_(log_id >= first, log_id <= last) for first, last in part))
        yield from reader.records(Criteria((within,)))


def _step(rules: TableRules, like: Step, records: Sequence[Change]) -> Step:
    """The step that takes these records of a row back, in the kind and the columns of another one."""
    before, after = records[0].before, records[-1].after
    image = before if after is None else after
    return replace(
        like,
        row=rules.row_of(image or {}),
        key=rules.key_of(image or {}),
        cells=tuple(
            CellStep(
                cell.column,
                ABSENT if after is None else after[cell.column],
                ABSENT if before is None else before[cell.column],
            )
            for cell in like.cells
        ),
        takes_back=tuple(record.id for record in records),
    )


class _Finder:
    """Looks for the bulks among some records."""

    def __init__(self, reader: LogReader, criteria: Criteria, shapes: DatabaseShape) -> None:
        self._reader = reader
        self._criteria = criteria
        self._shapes = shapes
        self._has_undos = _has_undos(reader, criteria)

    def of_table(self, rules: TableRules) -> Iterator[Bulk]:
        if rules.shape is None or not self._is_fit(rules, rules.shape):
            return
        found = map(partial(self._bulk, rules), self._asked(rules, rules.shape))
        yield from (bulk for bulk in found if bulk is not None)

    def _asked(self, rules: TableRules, shape: TableShape) -> Iterator[Asked]:
        """The kinds of steps that may be many."""
        chosen = self._criteria.also(*self._reader.in_table(rules.table))
        if self._is_import(rules, shape, chosen):
            columns = [column.name for column in shape.columns if _is_compared(rules, column)]
            referring = tuple(self._shapes.references_to.get(shape.table, ()))
            yield Asked(StepKind.DELETE, shape, columns, (), referring)
            return
        if self._is_loss(rules, shape, chosen):
            yield Asked(StepKind.INSERT, shape, shape.writable)
            return
        updates = chosen.also(self._reader.tables.changelog.c.event_type == EventType.UPDATE.value)
        for names in self._kinds(rules, updates):
            if self._are_fit(rules, shape, names, self._first_id(updates)):
                yield Asked(StepKind.UPDATE, shape, names, _bumps(rules, shape))

    def _is_import(self, rules: TableRules, shape: TableShape, chosen: Criteria) -> bool:
        """Whether the selected records of the table are inserts, of rows that can be compared."""
        compared = [column for column in shape.columns if _is_compared(rules, column)]
        names = (*(column.name for column in compared), *shape.primary_key)
        return (
            has_plain_names(shape, names)
            and all(map(self._netting.compares, compared))
            and not set(shape.primary_key) & {*rules.masked, *rules.excluded}
            and self._are_alone(shape, chosen, EventType.INSERT)
            and self._kept_types(shape, names, self._first_id(chosen))
        )

    def _is_loss(self, rules: TableRules, shape: TableShape, chosen: Criteria) -> bool:
        """Whether the selected records of the table are deletes, of rows that only a key can be in the way of."""
        return (
            not (shape.unique_keys or shape.has_opaque_unique_index or shape.foreign_keys)
            and has_plain_names(shape, shape.column_names)
            and all(self._netting.takes(shape.known_column(name)) for name in shape.writable)
            and not (rules.masked or rules.excluded)
            and self._are_alone(shape, chosen, EventType.DELETE)
            and self._kept_types(shape, shape.column_names, self._first_id(chosen))
        )

    def _are_alone(self, shape: TableShape, chosen: Criteria, event_type: EventType) -> bool:
        """Whether all selected records of the table are of one type, and tables around it have none.

        Which rows have to go or to come first is known without a look at the others then.
        """
        others = chosen.also(
            self._reader.tables.changelog.c.event_type.not_in((event_type.value, EventType.SNAPSHOT.value))
        )
        around = {key.referred for key in shape.foreign_keys}
        around.update(key.table for key in self._shapes.references_to.get(shape.table, ()))
        return (
            shape.table not in around
            and not self._has_any(others)
            and not any(self._has_any(self._criteria.also(*self._reader.in_table(table))) for table in around)
            and self._has_any(chosen)
        )

    def _has_any(self, criteria: Criteria) -> bool:
        return (
            self._reader.scalar(select(self._reader.tables.changelog.c.id).where(criteria.where()).limit(1)) is not None
        )

    def _bulk(self, rules: TableRules, asked: Asked) -> Bulk | None:
        single = self._has_undos or asked.kind is not StepKind.UPDATE
        ids = array("q")
        rows = 0
        example: tuple[int, ...] = ()
        try:
            with self._reader.connection.begin_nested(), self._reading(asked.shape):
                of_kind = self._reader.tables.changelog.c.event_type == asked.event_type.value
                since = self._first_id(self._criteria.also(*self._reader.in_table(rules.table), of_kind))
                for found in clean_rows(self._reader, asked, self._criteria, since, single=single):
                    ids.extend(found)
                    rows += 1
                    example = example or found
        except DBAPIError:
            # What an image holds is not what the database takes for JSON: others read it.
            return None
        if rows < FEWEST:
            return None
        cells = tuple(CellStep(column, None, None) for column in asked.columns)
        like = Step(asked.kind, rules.table, None, {}, cells, bumps=tuple(asked.bumps))
        step = _step(rules, like, [self._reader.change(log_id) for log_id in example])
        return Bulk(rules.table, tuple(asked.columns), rows, _runs(ids), rows == len(ids), step)

    def _reading(self, shape: TableShape) -> AbstractContextManager[None]:
        return ValueReading(self._reader.connection, self._reader.dialect).of(shape)

    def _first_id(self, criteria: Criteria) -> int:
        return int(self._reader.scalar(select(func.min(self._reader.tables.changelog.c.id)).where(criteria.where())))

    def _kinds(self, rules: TableRules, criteria: Criteria) -> list[tuple[str, ...]]:
        """Which columns some of the records touched, bookkeeping aside, the most frequent kinds first."""
        counted: Counter[tuple[str, ...]] = Counter()
        for record in self._reader.records(criteria, limit=_SAMPLE):
            counted[tuple(name for name in touched_columns(record) if name not in rules.bookkeeping)] += 1
        return [columns for columns, _ in counted.most_common(_MOST_KINDS) if columns]

    def _is_fit(self, rules: TableRules, shape: TableShape) -> bool:
        """Whether rows of the table can be found, and SQL can move on what moves on with them."""
        keys = [shape.known_column(name) for name in shape.primary_key]
        moving = [shape.known_column(name) for name in _bumps(rules, shape)]
        return (
            bool(keys)
            and shape.is_transactional
            and all(map(self._netting.takes_key, keys))
            and all(not column.generated and self._netting.moves(column) for column in moving)
            and not {column.name for column in moving} & self._in_keys(shape)
        )

    def _are_fit(self, rules: TableRules, shape: TableShape, columns: Sequence[str], since_id: int) -> bool:
        """Whether values of the columns can be read in SQL, and be set without a look at anything else."""
        known = [shape.column(name) for name in columns]
        return (
            has_plain_names(shape, (*columns, *_bumps(rules, shape)))
            and all(column is not None and not column.generated and self._netting.takes(column) for column in known)
            and not set(columns) & {*self._in_keys(shape), *rules.masked, *rules.excluded}
            and self._kept_types(shape, (*columns, *shape.primary_key), since_id)
        )

    def _in_keys(self, shape: TableShape) -> set[str]:
        referred = (key.referred_columns for key in self._shapes.references_to.get(shape.table, ()))
        own = (key.columns for key in shape.foreign_keys)
        return {name for key in (shape.primary_key, *shape.unique_keys, *own, *referred) for name in key}

    def _kept_types(self, shape: TableShape, columns: Sequence[str], since_id: int) -> bool:
        """Whether the columns have the types by which the records were written."""
        epochs = self._reader.epochs(shape.table)
        at_first = max((after_id for after_id, _ in epochs if after_id < since_id), default=None)
        then = [known for after_id, known in epochs if at_first is None or after_id >= at_first]
        return bool(then) and all(known.column(name) == shape.column(name) for known in then for name in columns)

    @property
    def _netting(self) -> Netting:
        netting = self._reader.dialect.netting
        assert netting is not None
        return netting


def _is_compared(rules: TableRules, column: ColumnShape) -> bool:
    """Whether the column says if a row is still as it was inserted."""
    return not column.generated and column.name not in {*rules.bookkeeping, *rules.masked, *rules.excluded}


def _bumps(rules: TableRules, shape: TableShape) -> tuple[str, ...]:
    """The bookkeeping columns that an update moves on: those that are there, and in the log."""
    return tuple(name for name in rules.bookkeeping if shape.column(name) is not None and name not in rules.excluded)


def _has_undos(reader: LogReader, criteria: Criteria) -> bool:
    """Whether an undo or a redo is among the records: it may cancel with what else is selected of its rows."""
    log, link = reader.tables.changelog.c, reader.tables.undo.c
    chosen = select(log.transaction_id).where(criteria.where()).distinct()
    return reader.scalar(select(link.id).where(link.transaction_id.in_(chosen)).limit(1)) is not None


def _runs(ids: array[int]) -> Runs:
    runs: list[tuple[int, int]] = []
    for log_id in sorted(ids):
        if runs and runs[-1][1] == log_id - 1:
            runs[-1] = (runs[-1][0], log_id)
        else:
            runs.append((log_id, log_id))
    return tuple(runs)
