"""Tables and rows as a person writes them: `orders`, `shop.orders`, `orders/57`, `PlaylistTrack/1,42`, `"a.b/c"/7`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from auditcli import codec
from auditcli.errors import AuditError, NotFound, UsageError
from auditcli.model import Change, JsonValue, RowKey, TableName
from auditcli.position import shown

QUOTED = r'"(?:[^"]|"")*"'
"""A name in quotes, as a pattern; a quote inside it is doubled."""

_LISTED = 12
_MOST_INTEGERS = 5
"""Up to so many parts that look like integers are read either way in every combination; each one doubles them."""

_TABLE_PART = re.compile(rf'{QUOTED}|[^"./]+')
_TABLE_AND_KEY = re.compile(rf"((?:{_TABLE_PART.pattern})(?:\.(?:{_TABLE_PART.pattern}))*)(?:/(.*))?", re.DOTALL)
_PLAIN_PART = re.compile(r"\w[\w-]*")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}")

TableIs = Callable[[TableName], bool]


@dataclass(frozen=True, slots=True)
class RowWord:
    """A row as it was asked for: the key as it was typed, and every look-up key that this can mean."""

    table: TableName
    key: str
    row_ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{table_word(self.table)}/{self.key}"

    def covers(self, change: Change) -> bool:
        """Whether the change is one of this row, by the key before it or after it."""
        return change.table == self.table and (change.row_id in self.row_ids or change.old_row_id in self.row_ids)


def parse_table(text: str, tables: Collection[TableName]) -> TableName:
    """The tracked table of that name; case and schema may be left out where one table is meant all the same."""
    match = _TABLE_AND_KEY.fullmatch(text)
    parts = () if match is None or match[2] is not None else unquoted_parts(match[1])
    return find_table(parts, text, tables)


def parse_row(text: str, tables: Mapping[TableName, tuple[str, ...]]) -> RowKey:
    """The row that `table/key` names; the mapping gives each table's primary key."""
    table, key = split_row(text, tables)
    return RowKey(table, _candidates(table, key, tables[table])[0])


def parse_row_word(text: str, tables: Collection[TableName]) -> RowWord:
    """The row with all readings of its key; where `tables` maps to primary keys these say how to read it."""
    table, key = split_row(text, tables)
    if isinstance(tables, Mapping):
        return RowWord(table, key, _candidates(table, key, tables[table]))
    return RowWord(table, key, _candidates_of_any_width(key))


def split_row(text: str, tables: Collection[TableName]) -> tuple[TableName, str]:
    """The tracked table and the key's text of a ROW word."""
    match = _TABLE_AND_KEY.fullmatch(text)
    if match is None or match[2] is None:
        raise UsageError(
            f"{shown(text)} names no row", hint='write TABLE/KEY, as in orders/57, PlaylistTrack/1,42 or "a.b/c"/7'
        )
    return find_table(unquoted_parts(match[1]), match[1], tables), match[2]


def row_id_candidates(key_text: str, key_width: int) -> tuple[str, ...]:
    """Every look-up key that a text can mean for a key of so many columns, the likeliest first.

    A part that looks like an integer is one, or else text; both are spelled alike only where the key is one column.
    """
    readings = [*_json_readings(key_text, key_width), *_plain_readings(key_text, key_width)]
    candidates = tuple(dict.fromkeys(map(codec.row_id, readings)))
    if not candidates:
        raise UsageError(
            f"{shown(key_text)} is no key of {key_width} columns",
            hint="separate the values by commas, or write a JSON array where a value has commas itself",
        )
    return candidates


def find_table(parts: tuple[str, ...], text: str, tables: Collection[TableName]) -> TableName:
    """The tracked table that these parts name; raises NotFound with those that there are."""
    for way in _ways_to_mean(parts) if parts else ():
        meant = list(filter(way, tables))
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(f"{shown(text)} can be more than one table", hint=f"write one of {listed(meant)}")
    raise unknown_table(text, tables)


def unknown_table(text: str, tables: Collection[TableName]) -> NotFound:
    """What to raise for a table that is not tracked."""
    if not tables:
        return NotFound(
            f"table {shown(text)} is not tracked",
            hint="nothing is tracked yet: run `audit init`, and call auditcli.track in the application",
        )
    guess = did_you_mean(text, {table_word(table): table_word(table) for table in tables})
    return NotFound(f"table {shown(text)} is not tracked", hint=f"{guess}tracked tables: {listed(tables)}")


def did_you_mean(word: str, known: Mapping[str, str]) -> str:
    """`did you mean x? ` with what stands beside the closest known spelling, or nothing where none is close."""
    meant = {spelling.lower(): suggestion for spelling, suggestion in known.items()}
    close = difflib.get_close_matches(word[:80].lower(), meant, n=1)
    return f"did you mean {meant[close[0]]}? " if close else ""


def listed(tables: Iterable[TableName]) -> str:
    """The first tables by name, and how many more there are."""
    names = sorted(map(table_word, tables))
    left = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {left} more" if left > 0 else "")


def table_word(table: TableName) -> str:
    """The table so spelled that `parse_table` reads it back, in quotes only where that takes them."""
    return ".".join(name_word(part) for part in (table.schema, table.name) if part is not None)


def name_word(name: str) -> str:
    """A name as it stands in a word."""
    return name if _PLAIN_PART.fullmatch(name) else quoted(name)


def quoted(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(part: str) -> str:
    """The name that a part of a word stands for."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def unquoted_parts(text: str) -> tuple[str, ...]:
    """The names in `schema.table`."""
    return tuple(unquoted(part) for part in _TABLE_PART.findall(text))


def _ways_to_mean(parts: tuple[str, ...]) -> Iterator[TableIs]:
    """How a table can be meant, the strictest way first."""
    dotted, name = ".".join(parts), parts[-1]
    yield lambda table: _parts(table) == parts
    yield lambda table: ".".join(_parts(table)) == dotted
    if len(parts) == 1:
        yield lambda table: table.name == name
    yield lambda table: ".".join(_parts(table)).casefold() == dotted.casefold()
    if len(parts) == 1:
        yield lambda table: table.name.casefold() == name.casefold()


def _parts(table: TableName) -> tuple[str, ...]:
    return (table.name,) if table.schema is None else (table.schema, table.name)


def _candidates(table: TableName, key: str, primary_key: tuple[str, ...]) -> tuple[str, ...]:
    if not primary_key:
        raise UsageError(
            f"table {table_word(table)} has no primary key, so none of its rows can be named",
            hint=f"select by its columns, as in table:{table_word(table)} COLUMN:VALUE",
        )
    try:
        return row_id_candidates(key, len(primary_key))
    except UsageError as error:
        columns = ",".join(map(name_word, primary_key))
        hint = f"write {table_word(table)}/{columns} with a value for each column, or a JSON array of them"
        raise UsageError(f"{shown(key)} is no key of {table_word(table)}", hint=hint) from error


def _candidates_of_any_width(key: str) -> tuple[str, ...]:
    array = _json_array(key)
    widths = {1, key.count(",") + 1, len(array) if array else 1}
    return tuple(dict.fromkeys(row_id for width in sorted(widths) for row_id in _candidates_or_none(key, width)))


def _candidates_or_none(key: str, width: int) -> tuple[str, ...]:
    try:
        return row_id_candidates(key, width)
    except AuditError:
        return ()


def _json_readings(key_text: str, key_width: int) -> list[list[JsonValue]]:
    array = _json_array(key_text)
    return [array] if array and len(array) == key_width else []


def _json_array(text: str) -> list[JsonValue] | None:
    if not text.startswith("["):
        return None
    try:
        array = json.loads(text)
        codec.dump(array)
    except (ValueError, RecursionError):
        return None
    return array if isinstance(array, list) and all(map(_is_key_value, array)) else None


def _is_key_value(value: JsonValue) -> bool:
    return not isinstance(value, list | dict) or (isinstance(value, dict) and len(value) == 1)


def _plain_readings(key_text: str, key_width: int) -> list[list[JsonValue]]:
    if key_width == 1:
        return [[key_text]]
    parts = key_text.split(",")
    if len(parts) != key_width:
        return []
    integers = sum(_INTEGER.fullmatch(part) is not None for part in parts)
    if integers > _MOST_INTEGERS:
        return [[_integer_or_text(part) for part in parts], list(parts)]
    return [list(reading) for reading in product(*map(_part_readings, parts))]


def _integer_or_text(part: str) -> int | str:
    return int(part) if _INTEGER.fullmatch(part) else part


def _part_readings(part: str) -> tuple[int | str, ...]:
    return (int(part), part) if _INTEGER.fullmatch(part) else (part,)
