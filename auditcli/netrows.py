"""Rows whose way back one statement can do: each has a net change that the database itself reads from the log.

Such a row was only updated since the first selected record, by selected records alone, and holds what the last of them
left in the columns that they touched. The log and the rows are joined in SQL; what SQL can't tell is left to others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, String, Subquery, case, cast, func, literal_column, select

from auditcli.dialects.netting import Netting
from auditcli.log.query import Criteria, unindexed
from auditcli.log.reader import LogReader
from auditcli.model import EventType
from auditcli.plan import Bulk, StepKind
from auditcli.shape import ColumnShape, DatabaseShape, ForeignKeyShape, TableShape

_RUNS, _NETS = "auditcli_runs", "auditcli_nets"
"""Temporary tables: the ids that are taken back, and the rows with what they hold and what they get."""

_PAGE = 10_000
_ID_LENGTH = 20


_TAKES_BACK = {
    StepKind.UPDATE: EventType.UPDATE,
    StepKind.DELETE: EventType.INSERT,
    StepKind.INSERT: EventType.DELETE,
}


@dataclass(frozen=True)
class Asked:
    """A kind of steps: they set some columns of a table, or delete rows that have to hold these.

    `bumps` are the columns that move on with any update, `referring` the keys by which other rows may need the row.
    """

    kind: StepKind
    shape: TableShape
    columns: Sequence[str]
    bumps: Sequence[str] = ()
    referring: Sequence[ForeignKeyShape] = ()

    @property
    def event_type(self) -> EventType:
        """What such a step takes back."""
        return _TAKES_BACK[self.kind]


def asked_by(bulk: Bulk, shapes: DatabaseShape) -> Asked:
    """The kind of the steps of a bulk."""
    kind = bulk.example.kind
    referring = shapes.references_to.get(bulk.table, ()) if kind is StepKind.DELETE else ()
    return Asked(kind, shapes.tables[bulk.table], bulk.columns, bulk.example.bumps, tuple(referring))


def clean_rows(
    reader: LogReader, asked: Asked, criteria: Criteria, since_id: int, *, single: bool
) -> Iterator[tuple[int, ...]]:
    """The rows that are as this kind of steps wants them: the ids of each one's records from a place on.

    All of these meet the criteria. `single` is for rows with one such record only.
    """
    log = reader.tables.changelog
    sql = _RowSQL(reader, asked)
    own = _records(reader, asked, criteria, since_id, single=single)
    first, last = log.alias("f"), log.alias("l")
    members = (
        select(own.c.ids, own.c.records, *(literal_column(part).label(name) for name, part in sql.members.items()))
        .select_from(own.join(first, first.c.id == own.c.first_id).join(last, last.c.id == own.c.last_id))
        # A fence: no image is to be taken apart once for every mention of what it holds.
        .offset(0)
        .subquery("r")
    )
    live = f"SELECT 1 FROM {reader.dialect.table_sql(asked.shape.table)} AS t WHERE {sql.is_held}"
    word = "NOT EXISTS" if asked.kind is StepKind.INSERT else "EXISTS"
    statement = select(members.c.ids, members.c.records).where(
        literal_column(sql.is_touched, Boolean), literal_column(f"{word} ({live})", Boolean)
    )
    for ids, count in reader.execute(statement.execution_options(yield_per=_PAGE)):
        found = tuple(sorted(map(int, str(ids).split(","))))
        # Some databases cut long lists short.
        if len(found) == count:
            yield found


def _records(reader: LogReader, asked: Asked, criteria: Criteria, since_id: int, *, single: bool) -> Subquery:
    log, name = reader.tables.changelog.c, asked.shape.table
    in_table = (unindexed(log.table_name) == name.name, log.table_schema.is_not_distinct_from(name.schema))
    is_plain = (log.event_type == asked.event_type.value) & log.old_row_id.is_(None)
    count = func.count()
    grouped = (
        select(
            func.min(log.id).label("first_id"),
            func.max(log.id).label("last_id"),
            count.label("records"),
            func.aggregate_strings(cast(log.id, String(_ID_LENGTH)), ",").label("ids"),
        )
        .where(log.id >= since_id, *in_table, log.event_type != EventType.SNAPSHOT.value, log.row_id.is_not(None))
        .group_by(log.row_id)
        .having(func.sum(case((criteria.where() & is_plain, 1), else_=0)) == count)
    )
    return (grouped.having(count == 1) if single else grouped).subquery("own")


class _RowSQL:
    """What is asked of records `f` and `l`, a row's first and last, of what these hold (`r`), and of the row `t`."""

    def __init__(self, reader: LogReader, asked: Asked) -> None:
        quote = reader.dialect.quote
        netting = reader.dialect.netting
        assert netting is not None
        self._quote = quote
        self._netting: Netting = netting
        self._columns = [asked.shape.known_column(name) for name in asked.columns]
        self._held = self._columns if asked.kind is not StepKind.INSERT else []
        self._set = self._columns if asked.kind is not StepKind.DELETE else []
        self._bumps = [asked.shape.known_column(name) for name in asked.bumps]
        self._referring = asked.referring
        self._table_sql = reader.dialect.table_sql
        self._key = [asked.shape.known_column(name) for name in asked.shape.primary_key]
        self._before, self._after = f"f.{quote('before')}", f"l.{quote('after')}"
        self._image = self._before if asked.kind is StepKind.INSERT else self._after

    @property
    def members(self) -> dict[str, str]:
        """The images, and of them the key (`m0`), what the columns hold (`x0`) and what they get (`y0`).

        What moved on with them was at first `u0`, and then `v0`.
        """
        member = self._netting.member
        return {
            "b": self._before,
            "a": self._after,
            **self._values,
            **{f"u{at}": member(self._before, column) for at, column in enumerate(self._bumps)},
            **{f"v{at}": member(self._after, column) for at, column in enumerate(self._bumps)},
        }

    @property
    def _values(self) -> dict[str, str]:
        member = self._netting.member
        return {
            **{f"m{at}": member(self._image, column) for at, column in enumerate(self._key)},
            **{f"x{at}": member(self._after, column) for at, column in enumerate(self._held)},
            **{f"y{at}": member(self._before, column) for at, column in enumerate(self._set)},
        }

    @property
    def is_touched(self) -> str:
        """Whether images of an update differ in each of the columns, and nowhere else but in bookkeeping."""
        return " AND ".join(self._touching())

    def _touching(self) -> Iterator[str]:
        netting = self._netting
        for at, column in enumerate(self._held):
            yield netting.is_plain("r.a", f"r.x{at}", column)
        for at, column in enumerate(self._set):
            yield netting.is_plain("r.b", f"r.y{at}", column)
        if not (self._held and self._set):
            return
        for at in range(len(self._columns)):
            yield f"NOT ({netting.same(f'r.y{at}', f'r.x{at}')})"
        set_ones = [(column.name, f"r.y{at}", f"r.x{at}") for at, column in enumerate(self._columns)]
        moved_ones = [(column.name, f"r.u{at}", f"r.v{at}") for at, column in enumerate(self._bumps)]
        yield netting.differ_only("r.b", "r.a", [*set_ones, *moved_ones])

    @property
    def is_held(self) -> str:
        """Whether a row stands where the key says, holds what the last record left, and may go if it is to."""
        keys = [(column, f"r.m{at}") for at, column in enumerate(self._key)]
        found = [f"{self._name(column)} = {self._netting.stored(column, member)}" for column, member in keys]
        if not self._held:
            return " AND ".join(found)
        held = [*keys, *((column, f"r.x{at}") for at, column in enumerate(self._held))]
        holds = (self._netting.holds(column, self._name(column), member) for column, member in held)
        return " AND ".join([*found, *holds, *self.without_dependants])

    @property
    def without_dependants(self) -> list[str]:
        """Conditions: no row refers to it."""
        return [
            f"NOT EXISTS (SELECT 1 FROM {self._table_sql(key.table)} AS c WHERE {' AND '.join(self._pairs(key))})"
            for key in self._referring
        ]

    def _pairs(self, key: ForeignKeyShape) -> Iterator[str]:
        for own, referred in zip(key.columns, key.referred_columns, strict=True):
            yield f"c.{self._quote(own)} = t.{self._quote(referred)}"

    def kept(self, source: str) -> str:
        """A query of what has to be known of each row of a source: its key's values (`k0`), and its members."""
        inner = ", ".join(f"{part} AS {name}" for name, part in self._values.items())
        keys = ", ".join(f"{self._netting.stored(c, f'r.m{at}')} AS k{at}" for at, c in enumerate(self._key))
        fence = self._netting.fence
        return f"SELECT {keys}, r.* FROM (SELECT {inner} FROM {source} {fence}) AS r"

    def _name(self, column: ColumnShape) -> str:
        return f"t.{self._quote(column.name)}"


class NetStatements:
    """The statements that do a bulk of rows, in one transaction; each gives or changes as many rows as the bulk has."""

    def __init__(self, reader: LogReader, bulk: Bulk, shapes: DatabaseShape, number: int, now: datetime) -> None:
        dialect = reader.dialect
        netting = dialect.netting
        assert netting is not None
        self._netting: Netting = netting
        self._dialect = dialect
        self._log = dialect.table_sql(reader.tables.changelog_name)
        asked = asked_by(bulk, shapes)
        self._shape = shape = asked.shape
        self._table = dialect.table_sql(shape.table)
        self._bulk = bulk
        self._nets = f"{_NETS}_{number}"
        self.reads_lock = netting.reads_lock
        self.forget = netting.drop(self._nets)
        self.forget_runs = netting.drop(_RUNS)
        self.empty_runs = f"DELETE FROM {_RUNS}"
        self.put_runs = f"INSERT INTO {_RUNS} VALUES ({dialect.marks(2)})"
        self.measure = netting.measure(self._nets)
        self.measure_runs = netting.measure(_RUNS)
        self._now = now
        self._kind = asked.kind
        self._sql = _RowSQL(reader, asked)
        self._bumps = [shape.known_column(name) for name in asked.bumps]
        self._columns = [shape.known_column(name) for name in bulk.columns]
        self._key = [shape.known_column(name) for name in shape.primary_key]

    @property
    def keep_runs(self) -> tuple[str, ...]:
        """Make an empty table for the runs of ids."""
        none = f"SELECT id AS first_id, id AS last_id FROM {self._log} WHERE 1 = 0"
        return (self.forget_runs, self.forget, self._netting.keep(_RUNS, none))

    @property
    def keep(self) -> str:
        """Keep the rows."""
        return self._netting.keep(self._nets, self.read)

    @property
    def keep_none(self) -> str:
        """Make an empty table for the rows."""
        return self._netting.keep(self._nets, f"SELECT * FROM ({self.read}) AS none WHERE 1 = 0")

    def put(self, width: int) -> str:
        """Put one row of so many values there."""
        return f"INSERT INTO {self._nets} VALUES ({self._dialect.marks(width)})"

    @property
    def read(self) -> str:
        """The rows, from the log, once the runs of ids are kept."""
        join = self._dialect.ordered_join
        if self._bulk.is_single:
            both = f"{_RUNS} AS r0 {join} {self._log} AS l ON l.id BETWEEN r0.first_id AND r0.last_id"
            return self._sql.kept(f"{both} {join} {self._log} AS f ON f.id = l.id")
        within = f"{_RUNS} AS r0 {join} {self._log} AS c ON c.id BETWEEN r0.first_id AND r0.last_id"
        ends = f"SELECT MIN(c.id) AS first_id, MAX(c.id) AS last_id FROM {within} GROUP BY c.row_id"
        return self._sql.kept(
            f"({ends}) AS o {join} {self._log} AS f ON f.id = o.first_id {join} {self._log} AS l ON l.id = o.last_id"
        )

    @property
    def lock(self) -> str:
        """Lock the rows that hold what they should, in the order of their keys, and count them, or the new ones."""
        if self._kind is StepKind.INSERT:
            return f"SELECT COUNT(*) FROM {self._nets}"
        names = ", ".join(map(self._name, self._key))
        joined = f"SELECT {names} FROM {self._netting.joined(self._table, self._nets)} ON {self._found}"
        moving = [self._netting.can_move(column, self._name(column)) for column in self._bumps]
        held = " AND ".join([self._holds("x"), *moving, *self._sql.without_dependants])
        locked = f"{joined} WHERE {held} ORDER BY {names} {self._dialect.row_lock_sql}"
        return f"SELECT COUNT(*) FROM ({locked}) AS locked"

    @property
    def write(self) -> str:
        """Do the steps, as far as the rows still are as they should be."""
        if self._kind is StepKind.INSERT:
            return self._insert
        return self._delete if self._kind is StepKind.DELETE else self._update

    @property
    def _insert(self) -> str:
        names = ", ".join(self._dialect.quote(column.name) for column in self._columns)
        values = ", ".join(self._netting.stored(column, f"n.y{at}") for at, column in enumerate(self._columns))
        dialect, shape = self._dialect, self._shape
        words = f"{dialect.insert_words(shape)} {self._table} ({names}) {dialect.values_words(shape)}"
        return f"{words.removesuffix('VALUES')} SELECT {values} FROM {self._nets} AS n"

    @property
    def _delete(self) -> str:
        # Once more: somebody may have come to refer to a row while it was waited for.
        where = " AND ".join([self._found, self._holds("x"), *self._sql.without_dependants])
        keys = [self._dialect.quote(column.name) for column in self._key]
        return self._netting.delete(self._table, self._nets, keys, where)

    @property
    def _update(self) -> str:
        """Set the columns, and move on what moves with them, where the rows still hold what they should."""
        netting = self._netting
        assigned = [(column.name, netting.stored(column, f"n.y{at}")) for at, column in enumerate(self._columns)]
        assigned += [(column.name, netting.moved_on(column, self._name(column), self._now)) for column in self._bumps]
        where = f"{self._found} AND {self._holds('x')}"
        return netting.update(self._dialect.update_words(self._shape), self._table, self._nets, assigned, where)

    @property
    def count(self) -> str:
        """How many rows hold what they should have now, or are gone."""
        if self._kind is StepKind.DELETE:
            stands = f"SELECT 1 FROM {self._table} AS t WHERE {self._found}"
            return f"SELECT COUNT(*) FROM {self._nets} AS n WHERE NOT EXISTS ({stands})"
        joined = f"{self._netting.joined(self._table, self._nets)} ON {self._found}"
        return f"SELECT COUNT(*) FROM {joined} WHERE {self._holds('y')}"

    @property
    def _found(self) -> str:
        return " AND ".join(f"{self._name(column)} = n.k{at}" for at, column in enumerate(self._key))

    def _name(self, column: ColumnShape) -> str:
        return f"t.{self._dialect.quote(column.name)}"

    def _holds(self, member: str) -> str:
        """Whether a row is the very one, and has these members."""
        sides = [(column, f"n.m{at}") for at, column in enumerate(self._key)]
        sides += [(column, f"n.{member}{at}") for at, column in enumerate(self._columns)]
        return " AND ".join(self._netting.holds(column, self._name(column), side) for column, side in sides)
