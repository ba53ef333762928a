"""The rows that InnoDB changes by itself when a row that others refer to goes or gets another key.

Foreign keys fire no triggers there, so the parent's trigger records these rows, just before they change: for each table
one statement that reads and locks them all. Rows that go are found by common table expressions, one a table, which may
refer to each other and to themselves.
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


@dataclass(frozen=True)
class CascadedRows:
    """Rows `t` of one table that the database is about to change, or to delete where nothing is assigned.

    `source` follows FROM, and `before` stands before SELECT. `assigned` gives new values with the condition under which
    a row gets them.
    """

    table: CaptureTable
    source: str
    before: str = ""
    assigned: tuple[tuple[str, Assigned], ...] = ()


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

    def of_update(self, parent: TableName) -> Iterator[tuple[tuple[str, ...], CascadedRows]]:
        """What changes with the key of a row, `OLD` and `NEW`, of the parent, and the columns that have to change."""
        for key in self._keys_into(parent):
            values = {referred: f"NEW.{quoted(referred)}" for referred in key.referred_columns}
            for rows in self._changed((key,), values):
                yield key.referred_columns, rows

    def _changed(self, path: tuple[ForeignKeyShape, ...], values: Assigned) -> Iterator[CascadedRows]:
        """Rows at the end of a path of foreign keys whose columns follow the `values` of what they refer to."""
        key = path[-1]
        assigned = _passed_on(key, values)
        if not assigned:
            return
        if self._is_recorded(key.table):
            yield CascadedRows(self._tables[key.table], _chain(path), assigned=(("1", assigned),))
        # InnoDB refuses to come back to a table, and to go deeper.
        if len(path) < _DEEPEST and key.table not in {step.referred for step in path}:
            for next_key in self._keys_into(key.table):
                yield from self._changed((*path, next_key), assigned)

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
        key = captured.shape.primary_key or captured.shape.column_names
        same = " AND ".join(f"t.{quoted(name)} <=> k.{quoted(name)}" for name in key)
        own = "" if table != self.parent else f" WHERE NOT ({self._is_parent(key)})"
        source = f"{quoted(self._name(table))} AS k JOIN {quoted(table.name)} AS t ON {same}{own}"
        return CascadedRows(captured, source, self._expressions())

    def nulled(self, table: TableName, keys: Sequence[ForeignKeyShape]) -> CascadedRows:
        """The rows of a table that stay and lose a reference."""
        captured = self.captured[table]
        conditions = [(self._refers_to_gone(key), dict.fromkeys(key.columns, "NULL")) for key in keys]
        stays = []
        names = captured.shape.primary_key or captured.shape.column_names
        if table in self.tables:
            same = " AND ".join(f"t.{quoted(name)} <=> k.{quoted(name)}" for name in names)
            stays.append(f"NOT EXISTS (SELECT 1 FROM {quoted(self._name(table))} AS k WHERE {same})")
        if table == self.parent:
            stays.append(f"NOT ({self._is_parent(names)})")
        some = " OR ".join(f"({condition})" for condition, _ in conditions)
        where = " AND ".join([f"({some})", *stays])
        source = f"{quoted(table.name)} AS t WHERE {where}"
        before = self._expressions() if "EXISTS" in where else ""
        return CascadedRows(captured, source, before, tuple(conditions))

    def _refers_to_gone(self, key: ForeignKeyShape) -> str:
        ways = []
        if key.referred == self.parent:
            ways.append(self._refers_to_parent(key))
        if key.referred in self.tables:
            joined = " AND ".join(_pairs(key, "t", "g"))
            ways.append(f"EXISTS (SELECT 1 FROM {quoted(self._name(key.referred))} AS g WHERE {joined})")
        return " OR ".join(ways)

    def _expressions(self) -> str:
        parts = [f"{quoted(self._name(table))} AS ({self._rows_of(table)})" for table in self.tables]
        return f"WITH RECURSIVE {', '.join(parts)} "

    def _rows_of(self, table: TableName) -> str:
        columns = ", ".join(f"t.{quoted(name)}" for name in self._needed(table))
        start = f"SELECT {columns} FROM {quoted(table.name)} AS t"
        first, then = [], []
        for parent in (self.parent, *self.tables):
            for key in self.keys_into(parent):
                if key.table != table or key.on_delete != "CASCADE":
                    continue
                if parent == self.parent:
                    first.append(f"{start} WHERE {self._refers_to_parent(key)}")
                if parent in self.tables:
                    joined = " AND ".join(_pairs(key, "t", "p"))
                    then.append(f"{start} JOIN {quoted(self._name(parent))} AS p ON {joined}")
        return " UNION ".join(dict.fromkeys([*first, *then]))

    def _needed(self, table: TableName) -> list[str]:
        shape = self.captured[table].shape
        referred = [name for key in self.keys_into(table) for name in key.referred_columns]
        return list(dict.fromkeys([*(shape.primary_key or shape.column_names), *referred]))

    def _is_parent(self, names: Sequence[str]) -> str:
        return " AND ".join(f"t.{quoted(name)} <=> {self._old(name)}" for name in names)

    def _refers_to_parent(self, key: ForeignKeyShape) -> str:
        pairs = zip(key.columns, key.referred_columns, strict=True)
        return " AND ".join(f"t.{quoted(column)} = {self._old(referred)}" for column, referred in pairs)

    def _old(self, name: str) -> str:
        return old_variable(self.captured[self.parent].shape.column_names.index(name))

    def _name(self, table: TableName) -> str:
        # Short and odd enough to be nobody's table.
        return f"gone_{self.tables.index(table)}"


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


def _chain(path: Sequence[ForeignKeyShape]) -> str:
    """The rows `t` of the last key's table that lead, key by key, to the row `OLD`."""
    aliases = [*(f"q{at}" for at in range(1, len(path))), "t"]
    source = f"{quoted(path[-1].table.name)} AS t"
    for at in range(len(path) - 2, -1, -1):
        joined = " AND ".join(_pairs(path[at + 1], aliases[at + 1], aliases[at]))
        source += f" JOIN {quoted(path[at].table.name)} AS {aliases[at]} ON {joined}"
    return f"{source} WHERE {_refers_to_old(path[0], aliases[0])}"


def _refers_to_old(key: ForeignKeyShape, alias: str) -> str:
    pairs = zip(key.columns, key.referred_columns, strict=True)
    return " AND ".join(f"{alias}.{quoted(column)} = OLD.{quoted(referred)}" for column, referred in pairs)


def _pairs(key: ForeignKeyShape, child: str, parent: str) -> list[str]:
    pairs = zip(key.columns, key.referred_columns, strict=True)
    return [f"{child}.{quoted(column)} = {parent}.{quoted(referred)}" for column, referred in pairs]
