"""Where to begin with what comes: after the last id up to which nothing can be committed any more."""

from __future__ import annotations

from auditcli.connect import Database
from auditcli.feed import Place, place_after
from auditcli.log.reader import LogReader
from auditcli.settled import settled_id


def certain_place(database: Database) -> Place:
    """A place near the end of the log that nothing can be committed before.

    The last record is none where somebody writes: a transaction that is open may own lower ids.
    """
    with database.engine.connect() as connection:
        reader = LogReader(connection, database.tables, dialect=database.dialect)
        return place_after(reader, settled_id(reader, reader.last_id()))
