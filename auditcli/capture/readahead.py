"""Which rows a session's flush is about to write, read once a table instead of once a statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state

from auditcli.capture.recorder import Recorder
from auditcli.capture.scene import Values
from auditcli.capture.statements import are_stored_as_sent, columns_named, raw_values, table_name
from auditcli.capture.writing import Flush


def flushed_rows(session: Session) -> dict[Mapper[Any], list[Values]]:
    """The identities of the rows that a flush will write, by mapper; new rows have none yet."""
    new, dirty, deleted = session.new, session.dirty, session.deleted
    if not (new or deleted or any(map(session.is_modified, dirty))):
        return {}
    found: dict[Mapper[Any], list[Values]] = {}
    for instances in (new, dirty, deleted):
        for instance in instances:
            state = instance_state(instance)
            identities = found.setdefault(state.mapper, [])
            if state.identity is not None:
                identities.append(state.identity)
    return found


def read_ahead(flush: Flush, recorder: Recorder, mapper: Mapper[Any], identities: Sequence[Values]) -> None:
    """Read the rows that a flush is about to write, once a table instead of once a statement."""
    scene, connection = recorder.scene, recorder.connection
    if not identities:
        return
    schema_map = connection.get_execution_options().get("schema_translate_map")
    for table in (table for table in mapper.tables if isinstance(table, Table)):
        name = table_name(table, schema_map, connection.dialect.default_schema_name)
        if name not in scene.shapes.tables or not scene.records(name):
            continue
        columns = columns_named(table, scene.shape(name).primary_key)
        if columns and are_stored_as_sent(columns) and (places := _identity_places(mapper, columns)) is not None:
            keys = [tuple([identity[place] for place in places]) for identity in identities]
            flush.unit.read(name, _in_order(raw_values(connection, columns, keys)))


def _in_order(keys: list[Values]) -> list[Values]:
    """The keys sorted, since a session's sets have another order each time."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=repr)


def _identity_places(mapper: Mapper[Any], columns: Sequence[Any]) -> list[int] | None:
    """Where the values of a table's key stand in the mapper's identity; None where that isn't plain."""
    identity = list(mapper.primary_key)
    if all(column in identity for column in columns):
        return [identity.index(column) for column in columns]
    return [0] if len(identity) == len(columns) == 1 else None
