"""What can stand in a filter, to be completed while one types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.suggester import Suggester

from auditcli.model import EventType
from auditcli.selection import OPTION_NAMES

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader

_RECENT_ACTORS = 2000
"""Of so many of the newest changes the actors are offered."""

_RELATIVE = ("15m", "1h", "24h", "7d", "yesterday", "today")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that make sense for one log."""

    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def after(self, key: str) -> Sequence[str]:
        """What can stand behind a key."""
        positions = (*(f"@{mark}" for mark in self.marks), *_RELATIVE)
        known: dict[str, Sequence[str]] = {
            "table": self.tables,
            "row": [f"{table}/" for table in self.tables],
            "column": self.columns,
            "actor": self.actors,
            "event": [event.lower() for event in EventType],
            "since": positions,
            "until": positions,
        }
        return known.get(key, ())

    def completed(self, text: str) -> str | None:
        """The text with its last word completed; None where nothing that is known begins so."""
        before, space, word = text.rpartition(" ")
        sign = "not:" if word.startswith("not:") else ""
        bare = word[len(sign) :]
        key, colon, value = bare.partition(":")
        if colon:
            found = _first(self.after(key), value)
            return None if found is None else f"{before}{space}{sign}{key}:{found}"
        keys = (*(f"{name}:" for name in (*OPTION_NAMES, "not")), *self.tables, *(f"{each}:" for each in self.columns))
        found = _first(keys, bare) if bare else None
        return None if found is None else f"{before}{space}{sign}{found}"


class WordSuggester(Suggester):
    """Completes the word that is being typed."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._vocabulary = vocabulary

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last word completed."""
        return self._vocabulary.completed(value)


def vocabulary_of(reader: LogReader) -> Vocabulary:
    """The tables and columns of the log, those who wrote lately, and the marks."""
    from auditcli.filters.rowword import name_word, table_word
    from auditcli.log.marks import list_marks

    shapes = [shape for table in reader.tracked_tables() if (shape := reader.table_shape(table)) is not None]
    recent = reader.changes(newest_first=True, limit=_RECENT_ACTORS)
    return Vocabulary(
        tables=tuple(table_word(shape.table) for shape in shapes),
        columns=_distinct(name_word(column.name) for shape in shapes for column in shape.columns),
        actors=_distinct(change.actor for change in recent if change.actor),
        marks=tuple(mark.name for mark in list_marks(reader.connection, reader.tables)),
    )


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _first(words: Iterable[str], begun: str) -> str | None:
    return next((word for word in words if word.startswith(begun) and word != begun), None)
