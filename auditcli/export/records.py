"""Records of the log as the texts of a file, without making changes of them.

A change is made only of a record whose images or keys have to be read to be written: its texts are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, String, type_coerce

from auditcli import codec
from auditcli.export.asked import Tally
from auditcli.export.form import Texts, json_text, texts_of, utc_text
from auditcli.imagetext import all_spelled, are_regular, columns_of, differing
from auditcli.log.images import SpellRecord
from auditcli.log.query import Criteria, read_pages
from auditcli.log.reader import Header, LogReader
from auditcli.log.records import table_of
from auditcli.model import Change, EventType, TableName

_PAGE = 2000
_NOTHING_TOLD = (None, "{}")
_SNAPSHOT = EventType.SNAPSHOT.value
_STEPS = frozenset(event.value for event in EventType) - {_SNAPSHOT}

Row = Sequence[Any]
Told = Mapping[str, tuple[str | None, str]]
"""Reason and context, as JSON, by transaction."""


class RecordTexts:
    """Writes records as lines; `tally` counts them."""

    def __init__(self, reader: LogReader, line: Callable[[Texts], str], tally: Tally) -> None:
        self._reader = reader
        self._line = line
        self._tally = tally
        self._spellings: dict[TableName, SpellRecord] = {}
        self._moment = type_coerce(reader.tables.changelog.c.timestamp, String)
        log = reader.tables.changelog.c
        # As the driver has them: no value is touched that can be written as it is.
        self._columns = (
            *(log.id, log.transaction_id, self._moment, log.actor, log.table_schema, log.table_name),
            *(log.row_id, log.old_row_id, log.event_type, log.source),
            *(type_coerce(log.before, String), type_coerce(log.after, String)),
        )

    def pages(self, criteria: Criteria, limit: int | None = None) -> Iterator[list[str]]:
        """The lines of the records that meet conditions, in id order."""
        reader = self._reader
        found = read_pages(
            reader.connection, reader.tables, self._columns, criteria, limit=limit, page=_PAGE, fetch=self._fetch
        )
        for rows in found:
            headers = reader.headers(row[1] for row in rows if row[1] is not None)
            self._tally.add(len(rows), rows[0][0], rows[-1][0], sum(row[3] is None for row in rows))
            yield self._lines(rows, {key: _told(header) for key, header in headers.items()})

    def _fetch(self, statement: Select[Any]) -> Sequence[Row]:
        """The rows as the driver returns them."""
        try:
            found: Sequence[Row] = self._reader.connection.execute(statement).cursor.fetchall()
            return found
        except Exception as error:
            if not self._reader.dialect.is_broken_text(error):
                raise
        columns = (self._moment if column.name == "timestamp" else column for column in self._reader.columns)
        return self._reader.execute(statement.with_only_columns(*columns)).all()

    def _lines(self, rows: Sequence[Row], told: Told) -> list[str]:
        before, after = (self._spelled(rows, at) for at in (10, 11))
        regular = are_regular(before) and are_regular(after)
        line = self._line
        lines: list[str] = []
        unread: list[int] = []
        for row, old, new in zip(rows, before, after, strict=True):
            at, by, moment, actor, schema, name, row_id, old_row_id, event, source, _, _ = row
            changed = differing(old, new, regular) if old and new and event in _STEPS else _changed(event, old, new)
            is_plain = old_row_id is None and (row_id is None or (row_id.isascii() and row_id[:5] != codec.LONG_KEY))
            if changed is None or not (is_plain or _is_whole(row_id, old_row_id)):
                unread.append(len(lines))
                lines.append("")
                continue
            if not is_plain:
                row_id, old_row_id = codec.valid_row_id(row_id), codec.valid_row_id(old_row_id)
            reason, context = told.get(by, _NOTHING_TOLD)
            # Times are with or without a fraction, where it is the driver that reads them.
            when = moment.replace(" ", "T") + "Z" if type(moment) is str else utc_text(moment.replace(tzinfo=UTC))
            when_and_who = (at, by, when, actor, schema, name, row_id, old_row_id)
            lines.append(line((*when_and_who, event, changed, old, new, source, reason, context)))
        for at, change in zip(unread, self._read([rows[at] for at in unread]), strict=True):
            lines[at] = line(texts_of(change))
        return lines

    def _spelled(self, rows: Sequence[Row], at: int) -> Sequence[str | None]:
        """The images in one column: empty for one that is not there, None for one that has to be read."""
        texts = [row[at] or "" for row in rows]
        if not self._reader.dialect.images_need_types:
            return all_spelled(texts)
        return [text and self._spelling(row)(row[0], text) for row, text in zip(rows, texts, strict=True)]

    def _spelling(self, row: Row) -> SpellRecord:
        table = table_of(row[5], row[4])
        known = self._spellings.get(table)
        if known is None:
            known = self._spellings[table] = self._reader.image_spelling(table)
        return known

    def _read(self, rows: Sequence[Row]) -> Iterator[Change]:
        """The changes that records are which have to be read."""
        moments = (row[2] if isinstance(row[2], datetime) else datetime.fromisoformat(row[2]) for row in rows)
        whole = [(*row[:2], when.replace(tzinfo=UTC), *row[3:]) for row, when in zip(rows, moments, strict=True)]
        return self._reader.changes_of(whole)


def _is_whole(*keys: str | None) -> bool:
    return not any(map(codec.is_shortened, keys))


def _changed(event: str, old: str | None, new: str | None) -> tuple[str, ...] | None:
    """The columns that a record changed which is no UPDATE; None where that is not sure."""
    if old is None or new is None:
        return None
    if event in _STEPS:
        return columns_of(old or new) if old or new else ()
    return () if event == _SNAPSHOT else None


def _told(header: Header) -> tuple[str | None, str]:
    return header.reason, json_text(dict(header.context or {}))
