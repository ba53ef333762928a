"""Which changes: filter words as a frozen value, read from a command line and written back to one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any, TypeVar

from auditcli.errors import NotFound, UsageError
from auditcli.filters.celltest import CellTest, ColumnWord, Operator, format_cell, parse_cell, parse_column
from auditcli.filters.filterword import (
    Alternatives,
    Gathered,
    TextTest,
    actor_matches,
    event_words,
    in_order,
    parse_events,
    parse_text_test,
    texts_of,
)
from auditcli.filters.rowword import (
    QUOTED,
    RowWord,
    did_you_mean,
    listed,
    parse_row,
    parse_row_word,
    parse_table,
    row_id_candidates,
    table_word,
)
from auditcli.model import Change, EventType, TableName
from auditcli.position import (
    Position,
    change_id_in,
    check_order,
    describe,
    format_position,
    parse_position,
    shown,
    transaction_prefix,
)

__all__ = [
    "Alternatives",
    "Selection",
    "SelectionOptions",
    "TextTest",
    "actor_matches",
    "format_selection",
    "matches",
    "parse_row",
    "parse_selection",
    "parse_table",
    "row_id_candidates",
]

T = TypeVar("T")

NOT = "not"
_PART = rf'{QUOTED}|[^"./:<>=!]+'
_PARTS = re.compile(_PART)
_COLUMN_PARTS = re.compile(rf'{QUOTED}|[^".]+')
_KEYED_WORD = re.compile(rf"((?:{_PART})(?:\.(?:{_PART}))*)(:|>=|<=|!=|>|<|=)(.*)", re.DOTALL)
_NULL_WORD = re.compile(rf"((?:{_PART})(?:\.(?:{_PART}))*)\.null", re.DOTALL | re.IGNORECASE)

_ANY: Alternatives[Any] = Alternatives()


@dataclass(frozen=True)
class Selection:
    """Which changes; different fields all have to agree. `since` and `until` are boundaries that the log resolves.

    An actor is a pattern in which `*` stands for anything, and an empty one means that nobody is named.
    """

    ids: Alternatives[int] = _ANY
    transactions: Alternatives[str] = _ANY
    tables: Alternatives[TableName] = _ANY
    rows: Alternatives[RowWord] = _ANY
    columns: Alternatives[ColumnWord] = _ANY
    events: Alternatives[EventType] = _ANY
    actors: Alternatives[str] = _ANY
    cells: Alternatives[CellTest] = _ANY
    texts: Alternatives[TextTest] = _ANY
    since: Position | None = None
    until: Position | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it selects every change (but no snapshots)."""
        return self == Selection()

    @property
    def names_changes_only(self) -> bool:
        """Whether it says nothing but ids and transactions, by name."""
        named = self.ids.any_of or self.transactions.any_of
        return bool(named) and replace(self, ids=Alternatives(), transactions=Alternatives()).is_empty

    @property
    def looks_at_images(self) -> bool:
        """Whether a change's columns and values decide, so that SQL alone can't tell."""
        return bool(self.columns or self.cells or self.texts)

    @cached_property
    def event_types(self) -> frozenset[EventType]:
        """The events that can pass; snapshots only where they are asked for."""
        asked = frozenset(self.events.any_of) or frozenset(EventType) - {EventType.SNAPSHOT}
        return asked - frozenset(self.events.none_of)

    @cached_property
    def wanted_cells(self) -> tuple[tuple[CellTest, ...], ...]:
        """Tests of cells in groups: a change has to pass one test of each group."""
        groups: dict[object, tuple[CellTest, ...]] = {}
        for test in self.cells.any_of:
            # That a value is neither this nor that can only be meant together.
            key = test if test.operator is Operator.NE else test.key
            groups[key] = (*groups.get(key, ()), test)
        return tuple(groups.values())


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """The options of a selection as they were given, each with all of its values."""

    table: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    column: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    tx: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    grep: tuple[str, ...] = ()


OPTION_NAMES = tuple(field.name for field in fields(SelectionOptions))
_SYNONYMS = {"op": "event", "text": "grep"}
KEYWORDS = frozenset((*OPTION_NAMES, *_SYNONYMS, NOT))
"""Keys of words that are never a column's name, unless in quotes."""


def parse_selection(
    words: Sequence[str],
    *,
    tables: Collection[TableName],
    now: datetime,
    zone: tzinfo | None = None,
    options: SelectionOptions | None = None,
) -> Selection:
    """The selection that options and positional words make together.

    Where `tables` maps tables to their primary keys, these decide how the keys of rows are read.
    """
    reader = _Reader(tables, now, zone)
    for name in OPTION_NAMES:
        for value in getattr(options or SelectionOptions(), name):
            reader.read_option(name, value, wanted=True)
    for word in words:
        reader.read_word(word)
    return reader.selection()


def matches(selection: Selection, change: Change) -> bool:
    """Whether a change is selected, as far as this needs no log: `since` and `until` are not looked at."""
    return (
        change.event_type in selection.event_types
        and selection.ids.passes(lambda change_id: change_id == change.id)
        and selection.transactions.passes((change.transaction_id or "").startswith)
        and selection.tables.passes(lambda table: table == change.table)
        and selection.rows.passes(lambda row: row.covers(change))
        and selection.actors.passes(lambda pattern: actor_matches(pattern, change.actor))
        and selection.columns.passes(lambda column: column.touched_by(change))
        and _cells_pass(selection, change)
        and _texts_pass(selection, change)
    )


def format_selection(selection: Selection) -> str:
    """The selection as canonical words to paste into a shell; it is quoted only where a shell needs it."""
    return " ".join(map(shlex.quote, _words(selection)))


def _cells_pass(selection: Selection, change: Change) -> bool:
    return all(any(test.passes(change) for test in group) for group in selection.wanted_cells) and not any(
        test.passes(change) for test in selection.cells.none_of
    )


def _texts_pass(selection: Selection, change: Change) -> bool:
    if not selection.texts:
        return True
    texts = texts_of(change)
    return selection.texts.passes(lambda test: any(map(test.found_in, texts)))


def _words(selection: Selection) -> Iterator[str]:
    yield from _negatable(selection.ids, str)
    yield from _negatable(selection.transactions, "tx:{}".format)
    yield from _negatable(selection.tables, lambda table: f"table:{table_word(table)}")
    yield from _negatable(selection.rows, str)
    yield from _negatable(selection.columns, "column:{}".format)
    yield from map("event:{}".format, event_words(selection.events.any_of))
    yield from map("not:event:{}".format, event_words(selection.events.none_of))
    yield from _negatable(selection.actors, "actor:{}".format)
    yield from _negatable(selection.cells, lambda test: format_cell(test, KEYWORDS))
    if selection.since is not None:
        yield f"since:{format_position(selection.since)}"
    if selection.until is not None:
        yield f"until:{format_position(selection.until)}"
    yield from _negatable(selection.texts, "grep:{}".format)


def _negatable(words: Alternatives[T], spell: Callable[[T], str]) -> Iterator[str]:
    yield from map(spell, words.any_of)
    yield from (f"{NOT}:{spell(word)}" for word in words.none_of)


class _Reader:
    """Reads words one by one."""

    def __init__(self, tables: Collection[TableName], now: datetime, zone: tzinfo | None) -> None:
        self._tables = tables
        self._now = now
        self._zone = zone
        self._ids = Gathered[int]()
        self._transactions = Gathered[str]()
        self._named_tables = Gathered[TableName]()
        self._rows = Gathered[RowWord]()
        self._columns = Gathered[ColumnWord]()
        self._events = Gathered[EventType]()
        self._actors = Gathered[str]()
        self._cells = Gathered[CellTest]()
        self._texts = Gathered[TextTest]()
        self._boundaries: dict[str, Position] = {}

    def selection(self) -> Selection:
        since, until = self._boundaries.get("since"), self._boundaries.get("until")
        check_order(since, until, self._zone)
        return Selection(
            self._ids.alternatives(),
            self._transactions.alternatives(),
            self._named_tables.alternatives(),
            self._rows.alternatives(),
            self._columns.alternatives(),
            in_order(self._events.alternatives()),
            self._actors.alternatives(),
            self._cells.alternatives(),
            self._texts.alternatives(),
            since,
            until,
        )

    def read_word(self, word: str) -> None:
        wanted = not word.startswith(f"{NOT}:")
        bare = word if wanted else word[len(NOT) + 1 :]
        keyed = _KEYED_WORD.fullmatch(bare)
        null = _NULL_WORD.fullmatch(bare)
        if keyed is not None:
            self._read_keyed(_PARTS.findall(keyed[1]), keyed[2], keyed[3], wanted)
        elif null is not None:
            self._cells.add(parse_cell([*_PARTS.findall(null[1]), Operator.NULL], ":", "", self._tables), wanted)
        else:
            self._read_bare(bare, wanted)

    def _read_keyed(self, parts: list[str], sign: str, value: str, wanted: bool) -> None:
        name = _SYNONYMS.get(parts[0], parts[0])
        if len(parts) > 1 or name not in (*OPTION_NAMES, NOT):
            self._cells.add(parse_cell(parts, sign, value, self._tables), wanted)
        elif name == NOT:
            raise UsageError(f"{shown(f'{NOT}{sign}{value}')} says not twice", hint=f"write {NOT}: once before a word")
        elif sign in (":", "="):
            self.read_option(name, value, wanted)
        elif sign == "!=":
            self.read_option(name, value, not wanted)
        else:
            raise UsageError(
                f"{name} can't be compared by {sign}",
                hint=f'write {name}:VALUE, or "{name}"{sign}VALUE for a column of that name',
            )

    def read_option(self, name: str, value: str, wanted: bool) -> None:
        if not value and name != "actor":
            raise UsageError(f"{name} has no value", hint=f"write {name}:VALUE")
        match name:
            case "table":
                self._named_tables.add(parse_table(value, self._tables), wanted)
            case "row":
                self._rows.add(parse_row_word(value, self._tables), wanted)
            case "column":
                self._columns.add(_column_word(value, self._tables), wanted)
            case "event":
                for event in parse_events(value):
                    self._events.add(event, wanted)
            case "actor":
                self._actors.add(value, wanted)
            case "tx":
                self._transactions.add(transaction_prefix(value), wanted)
            case "grep":
                self._texts.add(parse_text_test(value), wanted)
            case _:
                self._read_boundary(name, value, wanted)

    def _read_boundary(self, name: str, value: str, wanted: bool) -> None:
        if not wanted:
            raise UsageError(
                f"{name} can't be negated", hint="write since: for what is after, until: for what is before"
            )
        position = parse_position(value, now=self._now, zone=self._zone)
        earlier = self._boundaries.setdefault(name, position)
        if earlier != position:
            both = f"{describe(earlier, self._zone)} and {describe(position, self._zone)}"
            raise UsageError(f"{name} is given twice: {both}", hint=f"give {name} once")

    def _read_bare(self, word: str, wanted: bool) -> None:
        change_id = change_id_in(word)
        if change_id is not None:
            self._ids.add(change_id, wanted)
            return
        try:
            if "/" in word:
                self._rows.add(parse_row_word(word, self._tables), wanted)
            else:
                self._named_tables.add(parse_table(word, self._tables), wanted)
        except NotFound as error:
            if not self._tables:
                raise
            raise _unknown_word(word, self._tables) from error


def _unknown_word(word: str, tables: Collection[TableName]) -> UsageError:
    table, slash, _ = word.partition("/")
    tracked = {table_word(name): table_word(name) + ("/KEY" if slash else "") for name in tables}
    events = {event.lower(): f"event:{event.lower()}" for event in EventType}
    known = tracked if slash else {**{name: f"{name}:VALUE" for name in OPTION_NAMES}, **events, **tracked}
    return UsageError(
        f"{shown(word)} is neither a change id, a transaction, a tracked table nor a row of one",
        hint=f"{did_you_mean(table, known)}write 42, tx:ID, TABLE, TABLE/KEY, COLUMN:VALUE or KEYWORD:VALUE; "
        f"tracked tables: {listed(tables)}",
    )


def _column_word(text: str, tables: Collection[TableName]) -> ColumnWord:
    parts = _COLUMN_PARTS.findall(text)
    if ".".join(parts) != text:
        raise UsageError(f"{shown(text)} names no column", hint='write COLUMN or TABLE.COLUMN, an odd name in "quotes"')
    return parse_column(parts, tables)
