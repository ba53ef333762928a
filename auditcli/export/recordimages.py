"""The images of many records as they stand in a file, and what these changed, without reading them as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from auditcli.imagetext import all_columns_of, all_differing, columns_of, differing
from auditcli.log.images import SpellRecords
from auditcli.log.reader import LogReader
from auditcli.log.records import table_of
from auditcli.model import EventType, TableName

_SNAPSHOT = EventType.SNAPSHOT.value
_STEPS = frozenset(event.value for event in EventType) - {_SNAPSHOT}
_FEW = 16
"""So many records are looked at one by one, where they can't be all at once."""

_KIND = (4, 5, 8)
"""Schema, table and event of a record: what images have the same form for."""

Images = Sequence["str | None"]
"""Images as exports write them: empty for one that is not there, None for one that has to be read."""

Names = Sequence["tuple[str, ...] | None"]
"""The columns that each of some records changed; None where it has to be read."""


class RecordImages:
    """Writes images of a log's records, given by their columns in the order of `log.records.record_columns`."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._spellings: dict[TableName, SpellRecords] = {}

    def texts(self, columns: Sequence[Sequence[Any]]) -> tuple[Images, Images, Names]:
        """Both images of the records, and the columns that these changed."""
        ids, before, after = columns[0], *([text or "" for text in columns[at]] for at in (10, 11))
        schema, name, event = (columns[at] for at in _KIND)
        if all(column.count(column[0]) == len(ids) for column in (schema, name, event)):
            return self._of_kind((schema[0], name[0], event[0]), ids, before, after)
        places: dict[Any, list[int]] = {}
        for at, kind in enumerate(zip(schema, name, event, strict=True)):
            places.setdefault(kind, []).append(at)
        found: list[Any] = [None] * len(ids)
        for kind, some in places.items():
            parts: list[list[Any]] = [[column[at] for at in some] for column in (ids, before, after)]
            for at, *texts in zip(some, *self._of_kind(kind, *parts), strict=True):
                found[at] = texts
        left, right, changed = zip(*found, strict=True)
        return left, right, changed

    def _of_kind(
        self, kind: tuple[str | None, str, str], ids: Sequence[int], before: Sequence[str], after: Sequence[str]
    ) -> tuple[Images, Images, Names]:
        schema, name, event = kind
        spell = self._spelling(table_of(name, schema))
        old, new = spell(ids, before), spell(ids, after)
        return old, new, list(_changed(event, old, new))

    def _spelling(self, table: TableName) -> SpellRecords:
        known = self._spellings.get(table)
        if known is None:
            known = self._spellings[table] = self._reader.image_spelling(table)
        return known


def _changed(event: str, before: Images, after: Images) -> Iterator[tuple[str, ...] | None]:
    """The columns that records of one table and event changed; None where that is not sure."""
    at_once = _changed_at_once(before, after) if event in _STEPS else None
    middle = len(before) // 2
    if at_once is not None:
        yield from at_once
    elif middle > _FEW and event in _STEPS:
        yield from _changed(event, before[:middle], after[:middle])
        yield from _changed(event, before[middle:], after[middle:])
    else:
        yield from (_changed_by(event, old, new) for old, new in zip(before, after, strict=True))


def _changed_at_once(before: Sequence[Any], after: Sequence[Any]) -> Names | None:
    if None in before or None in after:
        return None
    if all(before) and all(after):
        return all_differing(before, after)
    if any(before) and any(after):
        return None
    return all_columns_of(after if any(after) else before) if any(after) or any(before) else None


def _changed_by(event: str, old: str | None, new: str | None) -> tuple[str, ...] | None:
    """The columns that one record changed; None where that is not sure."""
    if old is None or new is None:
        return None
    if event in _STEPS:
        return differing(old, new) if old and new else columns_of(old or new) if old or new else ()
    return () if event == _SNAPSHOT else None
