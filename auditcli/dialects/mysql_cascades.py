"""The rows that InnoDB changes by itself when a row that others refer to goes or gets another key.

Foreign keys fire no triggers there, so the parent's trigger records these rows, just before they change: for each table
one query that reads and locks them all, each row once, however many ways lead to it. Rows that go are found by common
table expressions, one a table, which may refer to each other and to themselves. Each part of a query locks for itself:
what it reads would be as old as the transaction's snapshot otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from auditcli.dialects.capture import CaptureTable
from auditcli.dialects.mysql_text import quoted
from auditcli.model import TableName
from auditcli.shape import ForeignKeyShape

Assigned = Mapping[str, str]
"""New values of columns, as SQL, by the columns' names."""

_DEEPEST = 15
"""InnoDB itself goes no deeper."""

_IN_ORDER = " STRAIGHT_JOIN "
"""From the rows that are known on: a small table would be read, and locked, whole instead."""

LOCK = "LOCK IN SHARE MODE"
"""A shared lock: an exclusive one is refused for tables that the statement itself writes to."""


@dataclass(frozen=True)
class CascadedRows:
    """Rows `t` of one table that the database is about to change, or to delete where nothing is assigned.

    `source` follows FROM, and `before` stands before SELECT. `assigned` gives new values with the condition under which
    a row gets them. `because_of` are the keys of the parent whose change leads to the rows, by their places.
    """

    table: CaptureTable
    source: str
    before: str = ""
    assigned: tuple[tuple[str, Assigned], ...] = ()
    because_of: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Way:
    """How an update of a parent leads, foreign key by foreign key, to rows whose columns get new values.

    `place` is that of the first key among those of the parent.
    """

    place: int
    path: tuple[ForeignKeyShape, ...]
    assigned: Assigned


class Cascades:
    """The foreign keys among the captured tables by which the database changes rows."""

    def __init__(self, tables: Mapping[TableName, CaptureTable]) -> None:
        self._tables = tables

    def of_delete(self, parent: TableName) -> Iterator[CascadedRows]:
        """What goes or changes with a row of the parent, whose columns stand in `old_variable`s: first what goes."""
        closure = _Closure(parent, self._keys_into, self._tables)
        for table in closure.tables:
            if self._is_recorded(table):
                yield closure.gone(table)
        for table, keys in self._nulled(closure).items():
            if self._is_recorded(table):
                yield closure.nulled(table, keys)

    def moving_keys(self, parent: TableName) -> list[ForeignKeyShape]:
        """The foreign keys whose columns follow a row of the parent; `because_of` counts them."""
        return [key for key in self._keys_into(parent) if key.on_update in ("CASCADE", "SET NULL")]

    def of_update(self, parent: TableName) -> Iterator[CascadedRows]:
        """What changes with the keys of a row of the parent, whose columns stand in `old_variable`s and in `NEW`.

        A `moved_variable` tells whether what a key refers to changes.
        """
        found: dict[TableName, list[_Way]] = {}
        for place, key in enumerate(self.moving_keys(parent)):
            values = {referred: f"NEW.{quoted(referred)}" for referred in key.referred_columns}
            for way in self._ways(_Way(place, (key,), _passed_on(key, values))):
                found.setdefault(way.path[-1].table, []).append(way)
        for table, ways in found.items():
            if self._is_recorded(table):
                yield _Following(self._tables[parent], self._tables[table], ways).rows()

    def _ways(self, way: _Way) -> Iterator[_Way]:
        """A way and those that go on from it."""
        yield way
        table = way.path[-1].table
        # InnoDB refuses to come back to a table, and to go deeper.
        if len(way.path) < _DEEPEST and table not in {step.referred for step in way.path}:
            for key in self._keys_into(table):
                assigned = _passed_on(key, way.assigned)
                if assigned:
                    yield from self._ways(_Way(way.place, (*way.path, key), assigned))

    def _nulled(self, closure: _Closure) -> dict[TableName, list[ForeignKeyShape]]:
        found: dict[TableName, list[ForeignKeyShape]] = {}
        for parent in (closure.parent, *closure.tables):
            for key in self._keys_into(parent):
                if key.on_delete == "SET NULL" and key not in found.get(key.table, []):
                    found.setdefault(key.table, []).append(key)
        return found

    def _is_recorded(self, table: TableName) -> bool:
        return table in self._tables and self._tables[table].is_recorded

    def _keys_into(self, table: TableName) -> Sequence[ForeignKeyShape]:
        known = self._tables.get(table)
        return () if known is None else [key for key in known.children if key.table in self._tables]


@dataclass(frozen=True)
class _Closure:
    """The tables whose rows go with a row of the parent, nearest first."""

    parent: TableName
    keys_into: Callable[[TableName], Sequence[ForeignKeyShape]]
    captured: Mapping[TableName, CaptureTable]

    @cached_property
    def tables(self) -> tuple[TableName, ...]:
        found: list[TableName] = []
        ahead = [self.parent]
        while ahead:
            for key in self.keys_into(ahead.pop(0)):
                if key.on_delete == "CASCADE" and key.table not in found:
                    found.append(key.table)
                    ahead.append(key.table)
        return tuple(found)

    def gone(self, table: TableName) -> CascadedRows:
        """The rows of a table that go, each once however many ways lead to it."""
        captured = self.captured[table]
        key = _telling(captured)
        same = " AND ".join(f"t.{quoted(name)} <=> k.{quoted(name)}" for name in key)
        own = "" if table != self.parent else f" WHERE NOT ({self._is_parent(key)})"
        going = quoted(self._name(table))
        if not captured.shape.primary_key:
            going = f"(SELECT DISTINCT {', '.join(map(quoted, key))} FROM {going})"
        source = f"{going} AS k{_IN_ORDER}{quoted(table.name)} AS t ON {same}{own}"
        return CascadedRows(captured, source, self._expressions())

    def nulled(self, table: TableName, keys: Sequence[ForeignKeyShape]) -> CascadedRows:
        """The rows of a table that stay and lose a reference."""
        captured = self.captured[table]
        names = _telling(captured)
        stays = []
        if table in self.tables:
            same = " AND ".join(f"t.{quoted(name)} <=> s.{quoted(name)}" for name in names)
            stays.append(f"NOT EXISTS (SELECT 1 FROM {quoted(self._name(table))} AS s WHERE {same} {LOCK})")
        if table == self.parent:
            stays.append(f"NOT ({self._is_parent(names)})")
        source = " AND ".join([_each_once(captured, [rows for key in keys for rows in self._losing(key)]), *stays])
        assigned = tuple((self._refers_to_gone(key), dict.fromkeys(key.columns, "NULL")) for key in keys)
        before = self._expressions() if self.tables else ""
        return CascadedRows(captured, source, before, assigned)

    def _losing(self, key: ForeignKeyShape) -> Iterator[str]:
        """The rows `t` that refer by a key to what goes, as they follow FROM."""
        if key.referred == self.parent:
            yield self._referring_to_parent(key)
        if key.referred in self.tables:
            yield _referring(key, f"{quoted(self._name(key.referred))} AS g", "g")

    def _referring_to_parent(self, key: ForeignKeyShape) -> str:
        return f"{quoted(key.table.name)} AS t WHERE {self._refers_to_parent(key)}"

    def _refers_to_gone(self, key: ForeignKeyShape) -> str:
        ways = []
        if key.referred == self.parent:
            ways.append(self._refers_to_parent(key))
        if key.referred in self.tables:
            joined = " AND ".join(_pairs(key, "t", "g"))
            ways.append(f"EXISTS (SELECT 1 FROM {quoted(self._name(key.referred))} AS g WHERE {joined} {LOCK})")
        return " OR ".join(ways)

    def _expressions(self) -> str:
        parts = [f"{quoted(self._name(table))} AS ({self._rows_of(table)})" for table in self.tables]
        return f"WITH RECURSIVE {', '.join(parts)} "

    def _rows_of(self, table: TableName) -> str:
        first, then = [], []
        for parent in (self.parent, *self.tables):
            for key in self.keys_into(parent):
                if key.table != table or key.on_delete != "CASCADE":
                    continue
                if parent == self.parent:
                    first.append(self._referring_to_parent(key))
                if parent in self.tables:
                    then.append(_referring(key, f"{quoted(self._name(parent))} AS p", "p"))
        columns = _columns(self._needed(table))
        return " UNION ".join(dict.fromkeys(f"(SELECT {columns} FROM {part} {LOCK})" for part in (*first, *then)))

    def _needed(self, table: TableName) -> list[str]:
        referred = [name for key in self.keys_into(table) for name in key.referred_columns]
        return list(dict.fromkeys([*_telling(self.captured[table]), *referred]))

    def _is_parent(self, names: Sequence[str]) -> str:
        return " AND ".join(f"t.{quoted(name)} <=> {self._old(name)}" for name in names)

    def _refers_to_parent(self, key: ForeignKeyShape) -> str:
        return _refers_to_old(key, "t", self.captured[self.parent])

    def _old(self, name: str) -> str:
        return _old(self.captured[self.parent], name)

    def _name(self, table: TableName) -> str:
        # Short and odd enough to be nobody's table.
        return f"gone_{self.tables.index(table)}"


@dataclass(frozen=True)
class _Following:
    """The rows `t` of a table whose columns follow a row of the parent, on one or more ways."""

    parent: CaptureTable
    table: CaptureTable
    ways: Sequence[_Way]

    def rows(self) -> CascadedRows:
        """Each row once, with all its new values."""
        places = tuple(dict.fromkeys(way.place for way in self.ways))
        source = _each_once(self.table, [f"{self._found(way)} AND {moved_variable(way.place)}" for way in self.ways])
        assigned = tuple((self._leads_there(way), way.assigned) for way in self.ways)
        return CascadedRows(self.table, source, assigned=assigned, because_of=places)

    def _found(self, way: _Way) -> str:
        """The rows at the end of a way, as they follow FROM."""
        return self._route(way, [*self._between(way), "t"])

    def _leads_there(self, way: _Way) -> str:
        """Whether a way leads to the row `t`."""
        between = self._between(way)
        if not between:
            arrives = _refers_to_old(way.path[0], "t", self.parent)
        else:
            joined = " AND ".join(_pairs(way.path[-1], "t", between[-1]))
            arrives = f"EXISTS (SELECT 1 FROM {self._route(way, between)} AND {joined} {LOCK})"
        return f"{moved_variable(way.place)} AND {arrives}"

    def _between(self, way: _Way) -> list[str]:
        """Names for the rows between the parent's and the last one."""
        return [f"q{at}" for at in range(1, len(way.path))]

    def _route(self, way: _Way, aliases: Sequence[str]) -> str:
        """The rows from the parent's on, as many as there are names for, as they follow FROM."""
        steps = [f"{quoted(way.path[0].table.name)} AS {aliases[0]}"]
        for key, parent, child in zip(way.path[1:], aliases, aliases[1:], strict=False):
            steps.append(f"{quoted(key.table.name)} AS {child} ON {' AND '.join(_pairs(key, child, parent))}")
        return f"{_IN_ORDER.join(steps)} WHERE {_refers_to_old(way.path[0], aliases[0], self.parent)}"


def moved_variable(place: int) -> str:
    """A variable that is true where the parent's columns that its foreign key at a place refers to change."""
    return f"_moved_{place}"


def old_variable(place: int) -> str:
    """A variable that has the value of the parent's column at a place: expressions can't see the row itself."""
    return f"_old_{place}"


def _passed_on(key: ForeignKeyShape, values: Assigned) -> Assigned:
    """What an update of columns that a foreign key refers to does to its own columns."""
    if key.on_update not in ("CASCADE", "SET NULL"):
        return {}
    pairs = zip(key.columns, key.referred_columns, strict=True)
    return {
        column: "NULL" if key.on_update == "SET NULL" else values[referred]
        for column, referred in pairs
        if referred in values
    }


def _each_once(table: CaptureTable, parts: Sequence[str]) -> str:
    """The rows `t` that are in any of the parts, which follow FROM and end in a condition; so does what is returned.

    Keys first, which an index has: for whole rows, or a condition with OR, all of a table might be read, and locked.
    """
    names = _telling(table)
    # Rows without a key may be equal, and each of them is found by what they have in common.
    select = "SELECT" if table.shape.primary_key else "SELECT DISTINCT"
    united = " UNION ".join(f"({select} {_columns(names)} FROM {part} {LOCK})" for part in dict.fromkeys(parts))
    same = " AND ".join(f"t.{quoted(name)} <=> k.{quoted(name)}" for name in names)
    return f"({united}) AS k{_IN_ORDER}{quoted(table.shape.table.name)} AS t WHERE {same}"


def _telling(table: CaptureTable) -> Sequence[str]:
    """The columns that tell rows apart."""
    return table.shape.primary_key or table.shape.column_names


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f"t.{quoted(name)}" for name in names)


def _refers_to_old(key: ForeignKeyShape, alias: str, parent: CaptureTable) -> str:
    pairs = zip(key.columns, key.referred_columns, strict=True)
    return " AND ".join(f"{alias}.{quoted(column)} = {_old(parent, referred)}" for column, referred in pairs)


def _referring(key: ForeignKeyShape, parents: str, alias: str) -> str:
    """The rows `t` that refer by a key to one of the parents, as they follow FROM."""
    return f"{parents}{_IN_ORDER}{quoted(key.table.name)} AS t ON {' AND '.join(_pairs(key, 't', alias))}"


def _old(parent: CaptureTable, name: str) -> str:
    return old_variable(parent.shape.column_names.index(name))


def _pairs(key: ForeignKeyShape, child: str, parent: str) -> list[str]:
    pairs = zip(key.columns, key.referred_columns, strict=True)
    return [f"{child}.{quoted(column)} = {parent}.{quoted(referred)}" for column, referred in pairs]
