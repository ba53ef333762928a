"""Random histories: what plain clients do to the tables of a schema, transaction by transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.db.schemas import Column, Flavour, Schema, Table

Statements = tuple[str, ...]
KEPT, RELEASED, TAKEN_BACK = "", "RELEASE SAVEPOINT part", "ROLLBACK TO SAVEPOINT part"


@dataclass(frozen=True)
class Part:
    """Statements in a savepoint that is released or taken back; in none where `end` is empty."""

    statements: Statements
    end: str = KEPT


@dataclass(frozen=True)
class Transaction:
    """What one client does at once."""

    parts: tuple[Part, ...]
    commits: bool = True


History = list[Transaction]


def histories(schema: Schema, most: int = 5) -> st.SearchStrategy[History]:
    """Some transactions, most of which commit."""
    parts = st.builds(Part, _several(schema), st.sampled_from([KEPT, KEPT, RELEASED, TAKEN_BACK]))
    transactions = st.builds(
        Transaction,
        st.lists(parts, min_size=1, max_size=3).map(tuple),
        st.sampled_from([True, True, True, True, False]),
    )
    return st.lists(transactions, min_size=1, max_size=most)


def beginning(schema: Schema) -> History:
    """Rows to begin with, which refer to each other as far as their order allows."""
    empty = [_insert(table, _nth_row(table, 2, schema.flavour, empty=True)) for table in schema.tables]
    full = [
        _insert(table, _nth_row(table, at, schema.flavour, empty=False))
        for at in range(2)
        for table in (*schema.tables, *schema.tables)
    ]
    return [Transaction((Part((*empty, *full)),))]


def _nth_row(table: Table, at: int, flavour: Flavour, *, empty: bool) -> dict[str, str]:
    """A row of the values at a place, so that references find each other, or of as few as may be."""
    literals = {column.name: flavour.kinds[column.kind].literals for column in table.written}
    return {
        column.name: "NULL" if empty and column.nullable else literals[column.name][at % len(literals[column.name])]
        for column in table.written
    }


def _several(schema: Schema) -> st.SearchStrategy[Statements]:
    """The statements of a part, some of which belong together."""
    groups = st.lists(
        st.sampled_from(schema.tables).flatmap(lambda table: _group(table, schema)), min_size=1, max_size=3
    )
    return groups.map(lambda found: tuple(statement for group in found for statement in group))


def _group(table: Table, schema: Schema) -> st.SearchStrategy[Statements]:
    ways: list[Callable[[Table, Flavour], st.SearchStrategy[Statements]]] = [
        _inserts,
        _inserts,
        _updates,
        _updates,
        _deletes,
        _deletes,
        _shifts,
        _swaps,
        _swaps_by_a_third,
        _upserts,
    ]
    return st.sampled_from(ways).flatmap(lambda way: way(table, schema.flavour))


# Values.


def _value(column: Column, flavour: Flavour) -> st.SearchStrategy[str]:
    literals = st.sampled_from(flavour.kinds[column.kind].literals)
    return literals if not column.nullable else st.one_of(literals, literals, literals, st.just("NULL"))


def _rows(table: Table, flavour: Flavour) -> st.SearchStrategy[dict[str, str]]:
    """A row, at times without what the database can give."""
    needed = {column.name: _value(column, flavour) for column in table.written if not column.is_given}
    other = {column.name: _value(column, flavour) for column in table.written if column.is_given}
    return st.one_of(
        st.fixed_dictionaries({**needed, **other}),
        st.fixed_dictionaries({**needed, **other}),
        st.fixed_dictionaries(needed, optional=other),
    )


def _keyed(table: Table, flavour: Flavour) -> list[Column]:
    """The columns by which rows are looked for; without any, all rows are meant."""
    return [column for column in table.written if flavour.kinds[column.kind].is_key]


def _condition(table: Table, flavour: Flavour) -> st.SearchStrategy[str]:
    keyed = _keyed(table, flavour)
    everything = st.just("1 = 1")
    if not keyed:
        return everything
    equal = st.sampled_from(keyed).flatmap(
        lambda column: st.sampled_from(flavour.kinds[column.kind].literals).map(
            lambda value: f"{column.name} = {value}"
        )
    )
    return st.one_of(equal, equal, equal, equal, equal, everything)


# Statements.


def _insert(table: Table, *rows: dict[str, str]) -> str:
    names = list(rows[0])
    values = ", ".join(f"({', '.join(row[name] for name in names)})" for row in rows)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {values}"


def _inserts(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    rows = _rows(table, flavour).filter(bool)
    pairs = rows.flatmap(
        lambda first: st.fixed_dictionaries({name: _value(table.column(name), flavour) for name in first}).map(
            lambda second: (_insert(table, first, second),)
        )
    )
    return st.one_of(rows.map(lambda row: (_insert(table, row),)), pairs)


def _updates(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    return st.tuples(_settings(table, flavour), _condition(table, flavour)).map(
        lambda drawn: (f"UPDATE {table.name} SET {drawn[0]} WHERE {drawn[1]}",)
    )


def _settings(table: Table, flavour: Flavour) -> st.SearchStrategy[str]:
    some = st.lists(st.sampled_from(table.written), min_size=1, max_size=2, unique=True)
    return some.flatmap(
        lambda columns: st.tuples(*(_value(column, flavour) for column in columns)).map(
            lambda values: ", ".join(f"{column.name} = {value}" for column, value in zip(columns, values, strict=True))
        )
    )


def _deletes(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    return _condition(table, flavour).map(lambda condition: (f"DELETE FROM {table.name} WHERE {condition}",))


def _shifts(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    """All numbers of a column go up or down at once."""
    numbers = [column.name for column in table.written if column.kind == "number"]
    if not numbers:
        return _updates(table, flavour)
    drawn = st.tuples(st.sampled_from(numbers), st.sampled_from(["+ 1", "- 1", "+ 10"]), _condition(table, flavour))
    return drawn.map(lambda way: (f"UPDATE {table.name} SET {way[0]} = {way[0]} {way[1]} WHERE {way[2]}",))


def _pairs(table: Table, flavour: Flavour) -> st.SearchStrategy[tuple[str, str, str]]:
    """A column and two of its values."""
    return st.sampled_from(_keyed(table, flavour)).flatmap(
        lambda column: st.permutations(flavour.kinds[column.kind].literals).map(
            lambda values: (column.name, values[0], values[1])
        )
    )


def _swaps(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    """Two values of a column change places in one statement."""
    if not _keyed(table, flavour):
        return _updates(table, flavour)
    swap = "UPDATE {table} SET {0} = CASE WHEN {0} = {1} THEN {2} ELSE {1} END WHERE {0} IN ({1}, {2})"
    return _pairs(table, flavour).map(lambda pair: (swap.format(*pair, table=table.name),))


def _swaps_by_a_third(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    """The same by way of a value that nobody has."""
    if not _keyed(table, flavour):
        return _updates(table, flavour)

    def statements(pair: tuple[str, str, str]) -> Statements:
        column, first, second = pair
        third = "99" if table.column(column).kind == "number" else "'third'"
        moves = ((third, first), (first, second), (second, third))
        return tuple(f"UPDATE {table.name} SET {column} = {new} WHERE {column} = {old}" for new, old in moves)

    return _pairs(table, flavour).map(statements)


def _upserts(table: Table, flavour: Flavour) -> st.SearchStrategy[Statements]:
    """Rows that take the place of those that are in their way, or change them."""
    key = ", ".join(table.primary_key)
    forms = {
        "sqlite": (
            "INSERT OR REPLACE INTO {into}",
            "INSERT INTO {into} ON CONFLICT DO UPDATE SET {set}",
            "INSERT OR IGNORE INTO {into}",
        ),
        "postgresql": (
            *((f"INSERT INTO {{into}} ON CONFLICT ({key}) DO UPDATE SET {{set}}",) if key else ()),
            "INSERT INTO {into} ON CONFLICT DO NOTHING",
        ),
        "mariadb": ("REPLACE INTO {into}", "INSERT INTO {into} ON DUPLICATE KEY UPDATE {set}"),
    }[flavour.name]
    drawn = st.tuples(st.sampled_from(forms), _rows(table, flavour).filter(bool), _settings(table, flavour))
    return drawn.map(lambda way: (way[0].format(into=_insert(table, way[1]).removeprefix("INSERT INTO "), set=way[2]),))
