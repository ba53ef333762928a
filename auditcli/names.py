"""The names that a log knows, as one writes them: what a shell offers to complete."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from auditcli.chosen import columns_ever
from auditcli.filters.rowword import name_word, table_word
from auditcli.log.marks import list_marks
from auditcli.log.reader import LogReader

_RECENT = 1_000
"""So many of the newest records are asked for their actors and transactions."""


@dataclass(frozen=True, slots=True)
class Names:
    """Words for what is in a log; `columns` are without their tables, `cells` with them."""

    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def read_names(reader: LogReader) -> Names:
    """Read the names that can be had in a moment, whatever the log's size."""
    columns = columns_ever(reader)
    log = reader.tables.changelog.c
    recent = select(log.actor, log.transaction_id).order_by(log.id.desc()).limit(_RECENT)
    rows = reader.execute(recent).all()
    return Names(
        tables=tuple(map(table_word, reader.tracked_tables())),
        columns=tuple(sorted({name_word(name) for names in columns.values() for name in names})),
        cells=tuple(sorted(f"{table_word(table)}.{name_word(name)}" for table in columns for name in columns[table])),
        actors=tuple(sorted({actor for actor, _ in rows if actor})),
        # In the order in which they were met: the newest ones first.
        transactions=tuple(dict.fromkeys(transaction_id for _, transaction_id in rows if transaction_id)),
        marks=tuple(mark.name for mark in list_marks(reader.connection, reader.tables)),
    )
