"""Records of single rows, made of their stored values before and after."""

from __future__ import annotations

from collections.abc import Collection

from auditcli import codec
from auditcli.capture.scene import Values
from auditcli.dialects import Dialect
from auditcli.log.writer import Record
from auditcli.model import EventType, Source
from auditcli.shape import TableShape

_INSERT, _UPDATE, _DELETE = EventType.INSERT.value, EventType.UPDATE.value, EventType.DELETE.value
_SNAPSHOT = EventType.SNAPSHOT.value
_LISTENER = Source.LISTENER.value


class RecordMaker:
    """Makes the records of one table; of `masked` columns they tell only that something changed."""

    def __init__(self, dialect: Dialect, shape: TableShape, masked: Collection[str] = ()) -> None:
        self._shape = shape
        self._read = dialect.image_value
        self._write = dialect.image_writer(shape)
        self._masked = [at for at, name in enumerate(shape.column_names) if name in masked]

    def step(self, old: Values | None, new: Values | None) -> Record | None:
        """The record of one row's step; None where nothing changed."""
        before = None if old is None else self._write(old)
        after = None if new is None else self._write(new)
        if before == after:
            return None
        row_id, old_row_id = self._row_id(new), self._row_id(old)
        event = _UPDATE
        if new is None:
            row_id, old_row_id, event = old_row_id, None, _DELETE
        elif old is None:
            event = _INSERT
        elif after is not None and len(after) > codec.SAME_OVER:
            new = self._without_repeats(old, new)
            after = self._write(new)
        if self._masked:
            before = None if old is None else self._write(self._hidden(old))
            after = None if new is None else self._write(self._hidden(new))
        moved = None if old_row_id == row_id else old_row_id
        table = self._shape.table
        return table.schema, table.name, _held(row_id), _held(moved), event, before, after, _LISTENER

    def snapshot(self, values: Values) -> Record:
        """The record of a row as it is: no step, but a statement."""
        image = self._write(self._hidden(values))
        table = self._shape.table
        return table.schema, table.name, _held(self._row_id(values)), None, _SNAPSHOT, image, image, _LISTENER

    def _row_id(self, values: Values | None) -> str | None:
        shape = self._shape
        if values is None or not shape.primary_key:
            return None
        key = [values[place] for place in shape.key_places]
        if len(key) == 1 and type(key[0]) is int:
            return str(key[0])
        columns = [shape.columns[place] for place in shape.key_places]
        return codec.row_id([self._read(column, part) for column, part in zip(columns, key, strict=True)])

    def _without_repeats(self, old: Values, new: Values) -> Values:
        """The new values, those that are long and stayed replaced by what says so."""
        read = self._read
        return tuple(
            codec.REPEATED if codec.is_repeated(read(column, before), read(column, after)) else after
            for column, before, after in zip(self._shape.columns, old, new, strict=True)
        )

    def _hidden(self, values: Values) -> Values:
        if not self._masked:
            return values
        shown = list(values)
        for place in self._masked:
            shown[place] = codec.MASKED
        return tuple(shown)


def _held(row_id: str | None) -> str | None:
    """What the log holds of a key."""
    return None if row_id is None else codec.look_up_key(row_id)
