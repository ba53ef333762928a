"""Records of the log as the texts of a file, many at a time, without making changes of them.

A change is made only of a record whose images or keys have to be read to be written: its texts are the same.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import String, select, type_coerce

from auditcli import codec
from auditcli.export.asked import Tally
from auditcli.export.fetching import RecordFetching, Row
from auditcli.export.form import Columns, Lines, json_text, texts_of
from auditcli.export.recordimages import RecordImages
from auditcli.log.query import Criteria, read_pages
from auditcli.log.reader import LogReader
from auditcli.model import Change

_LONGEST_PAGE = 5000
_SHORTEST_PAGE = 50
_PAGE_SIZE = 700_000
"""So many characters of images a page should have: of wide rows there are fewer on it."""

_NOTHING_TOLD = (None, "{}")


Told = Mapping["str | None", "tuple[str | None, str]"]
"""Reason and context, as JSON, by transaction."""


class RecordTexts:
    """Writes records as lines; `tally` counts them."""

    def __init__(self, reader: LogReader, lines: Lines, tally: Tally) -> None:
        self._reader = reader
        self._lines = lines
        self._tally = tally
        self._page = _SHORTEST_PAGE
        self._images = RecordImages(reader)
        self._fetching = RecordFetching(reader)

    def pages(self, criteria: Criteria, limit: int | None = None) -> Iterator[Iterable[str]]:
        """The lines of the records that meet conditions, in id order."""
        found = read_pages(
            *(self._reader.connection, self._reader.tables, self._fetching.columns, criteria),
            limit=limit,
            page=lambda: self._page,
            fetch=self._fetching.fetch,
        )
        while True:
            with _without_collecting():
                rows = next(found, None)
                if rows is None:
                    return
                lines = list(self._lines(self._texts(rows)))
            self._tally.add(len(rows), rows[0][0], rows[-1][0], sum(row[3] is None for row in rows))
            yield lines

    def _texts(self, rows: Sequence[Row]) -> Columns:
        """The columns of a file for some records."""
        found = list(zip(*rows, strict=True))
        ids, by, moments, actor, schema, table, row_id, old_row_id, event, source, old, new = found
        size = sum(map(len, filter(None, old))) + sum(map(len, filter(None, new)))
        self._page = max(_SHORTEST_PAGE, min(_LONGEST_PAGE, 2 * len(rows), len(rows) * _PAGE_SIZE // (size + 1)))
        before, after, changed = self._images.texts(found)
        told = self._told(set(by))
        reason, context = ([told[each][at] for each in by] for at in (0, 1))
        columns: list[Sequence[Any]] = [
            *(ids, by, _utc_texts(moments), actor, schema, table, row_id, old_row_id, event, changed),
            *(before, after, source, reason, context),
        ]
        unread = {at for at, names in enumerate(changed) if names is None} if None in changed else set()
        if not _are_plain_keys(row_id, old_row_id):
            keys = zip(row_id, old_row_id, strict=True)
            unread |= {at for at, both in enumerate(keys) if any(map(codec.is_shortened, both))}
            columns[6], columns[7] = ([codec.valid_row_id(key) for key in column] for column in (row_id, old_row_id))
        return self._with_read(columns, rows, sorted(unread)) if unread else columns

    def _with_read(self, columns: Columns, rows: Sequence[Row], unread: Sequence[int]) -> Columns:
        """The columns with the texts of the records that have to be read."""
        mended = [list(column) for column in columns]
        for at, change in zip(unread, self._read([rows[at] for at in unread]), strict=True):
            for column, text in zip(mended, texts_of(change), strict=True):
                column[at] = text
        return mended

    def _told(self, transactions: Set[str | None]) -> Told:
        """What is known of these transactions, as `LogReader.headers` would have it."""
        header = self._reader.tables.transaction.c
        columns = (header.transaction_id, header.reason, type_coerce(header.context, String))
        found: dict[str | None, tuple[str | None, str]] = dict.fromkeys(transactions, _NOTHING_TOLD)
        for batch in self._reader.batches(sorted(each for each in transactions if each is not None)):
            statement = select(*columns).where(header.transaction_id.in_(batch)).order_by(header.id)
            for transaction_id, reason, context in self._reader.connection.execute(statement).cursor.fetchall():
                earlier, said = found[transaction_id], context and _context_text(context)
                found[transaction_id] = (earlier[0] if reason is None else reason, said or earlier[1])
        return found

    def _read(self, rows: Sequence[Row]) -> Iterator[Change]:
        """The changes that records are which have to be read."""
        moments = (row[2] if isinstance(row[2], datetime) else datetime.fromisoformat(row[2]) for row in rows)
        whole = [(*row[:2], when.replace(tzinfo=UTC), *row[3:]) for row, when in zip(rows, moments, strict=True)]
        return self._reader.changes_of(whole)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Inside this block no garbage is looked for, over and over, among thousands of tuples of texts."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _utc_texts(moments: Sequence[Any]) -> Sequence[str]:
    """Times in UTC, as `utc_text` writes them, of what the driver makes of them."""
    if isinstance(moments[0], str):
        return [moment.replace(" ", "T") + "Z" for moment in moments]
    return [moment.isoformat("T", "microseconds") + "Z" for moment in moments]


def _are_plain_keys(keys: Sequence[str | None], old_keys: Sequence[str | None]) -> bool:
    joined = "\n".join(filter(None, keys))
    return joined.isascii() and codec.LONG_KEY not in joined and not any(old_keys)


@lru_cache(maxsize=4096)
def _context_text(stored: str) -> str | None:
    """A context's text without spaces; None where there is none."""
    context = json.loads(stored)
    return None if context is None else json_text(dict(context or {}))
