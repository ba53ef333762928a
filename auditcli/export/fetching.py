"""Fetching the columns of records as text, in the way that is quickest with the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, String, func, select, type_coerce

from auditcli.log.reader import LogReader

Row = Sequence[Any]
"""A record by the columns of `log.records.record_columns`, each as the driver has it."""

_END = "\x1f"
_NULL = "\x1e"
"""What no text but a very odd one has in it: such ones are noticed, and fetched row by row."""

_NEVER_NULL = frozenset({0, 2, 5, 8, 9})


class RecordFetching:
    """Fetches pages of records."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        log = reader.tables.changelog.c
        self._moment: ColumnElement[Any] = type_coerce(log.timestamp, String)
        # As the driver has them: no value is touched that can be written as it is.
        self.columns: tuple[ColumnElement[Any], ...] = (
            *(log.id, log.transaction_id, self._moment, log.actor, log.table_schema, log.table_name),
            *(log.row_id, log.old_row_id, log.event_type, log.source),
            *(type_coerce(log.before, String), type_coerce(log.after, String)),
        )

    def fetch(self, statement: Select[Any]) -> Sequence[Row]:
        """The records that a statement for these columns selects, by ids."""
        gathered = None if self._reader.dialect.gathering_words is None else self._gathered(statement)
        return self._row_by_row(statement) if gathered is None else gathered

    def _row_by_row(self, statement: Select[Any]) -> Sequence[Row]:
        """The rows as the driver returns them."""
        try:
            found: Sequence[Row] = self._reader.connection.execute(statement).cursor.fetchall()
            return found
        except Exception as error:
            if not self._reader.dialect.is_broken_text(error):
                raise
        columns = (self._moment if column.name == "timestamp" else column for column in self._reader.columns)
        return self._reader.execute(statement.with_only_columns(*columns)).all()

    def _gathered(self, statement: Select[Any]) -> Sequence[Row] | None:
        """The same in one row, each column as one text; None where these can't be taken apart for sure."""
        inner = statement.subquery()
        nullable = [column for at, column in enumerate(inner.c) if at not in _NEVER_NULL]
        known = (each if at in _NEVER_NULL else func.coalesce(each, _NULL) for at, each in enumerate(inner.c))
        # Each ends in a sign of its own, so that it shows where the database has cut a text off.
        texts = (func.aggregate_strings(type_coerce(each, String) + _END, "") for each in known)
        gathering = select(func.count(), *map(func.count, nullable), *texts)
        words = self._reader.dialect.gathering_words or ""
        ((count, *counts_and_texts),) = self._reader.connection.execute(gathering.prefix_with(words)).cursor.fetchall()
        if not count:
            return []
        counts, found = counts_and_texts[: len(nullable)], counts_and_texts[len(nullable) :]
        columns = [text.removesuffix(_END).split(_END) for text in found]
        ends = [text.count(_END) for text in found]
        nulls = sum(text.count(_NULL) for text in found)
        if (
            ends != [count] * len(found)
            or not all(text.endswith(_END) for text in found)
            or nulls != len(nullable) * count - sum(counts)
        ):
            return None
        ids = list(map(int, columns[0]))
        rest = [
            [None if text == _NULL else text for text in column] if _NULL in column else column for column in columns
        ]
        return list(zip(ids, *rest[1:], strict=True)) if ids == sorted(ids) else None
