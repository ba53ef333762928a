"""What the capture tests share: a table with defaults, a reader of the log, and a proof that the log is complete."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from sqlalchemy import Engine, MetaData, Numeric, Table, Text, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import auditcli
from auditcli import codec

Image: TypeAlias = "dict[str, Any] | None"
Record: TypeAlias = tuple[str, str, Image, Image]
"""Event, row (`table/key`, with the old key before an arrow where it changed), before, after."""


class Base(DeclarativeBase):
    """The tables that most capture tests use."""


class Item(Base):
    """A row that the database fills up and that changes a little by itself with every update."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Any] = mapped_column(Numeric(10, 2), server_default=text("1.50"))
    state: Mapped[str | None] = mapped_column(Text, server_default="new")
    revision: Mapped[int] = mapped_column(server_default=text("0"), onupdate=text("item.revision + 1"))


ITEM = cast("Table", Item.__table__)


def item(key: int, name: str | None, revision: int = 0, **other: Any) -> dict[str, Any]:
    """The image of an item that was given nothing but a name."""
    return {"id": key, "name": name, "price": 1.5, "state": "new", "revision": revision, **other}


def inserted(key: int, name: str | None, **other: Any) -> Record:
    """The record of a new item."""
    return "INSERT", f"item/{key}", None, item(key, name, **other)


def updated(before: dict[str, Any], **changes: Any) -> Record:
    """The record of an item's update, its own `onupdate` included."""
    return "UPDATE", f"item/{before['id']}", before, {**before, "revision": before["revision"] + 1, **changes}


def deleted(before: dict[str, Any]) -> Record:
    """The record of an item that went."""
    return "DELETE", f"item/{before['id']}", before, None


class Store:
    """A SQLite database whose changes are recorded, and what its log says.

    `left_out` names columns by table that the log must not hold; a table without columns is left out whole.
    """

    def __init__(self, engine: Engine, path: str) -> None:
        self.engine = engine
        self.path = path
        self.factory = sessionmaker(engine)
        self.left_out: dict[str, tuple[str, ...]] = {}
        self._start: dict[str, list[dict[str, Any]]] = {}
        self._start_id = 0
        event.listen(engine, "connect", enforce_foreign_keys)

    def create(self, metadata: MetaData = Base.metadata) -> None:
        """Make tables."""
        metadata.create_all(self.engine)

    def track(self, target: Any = None, **options: Any) -> None:
        """Record what is written through the target, or the store's own factory, from now on."""
        auditcli.track(self.factory if target is None else target, create=True, **options)
        self.start_here()

    def start_here(self) -> None:
        """Take the rows as they are as the start that the log is folded onto."""
        self._start = self.rows()
        self._start_id = max((record[0] for record in self._log()), default=0)

    def add_items(self, *names: str) -> None:
        """Write items with the ids 1, 2, …; their records are no part of `records`."""
        with self.factory.begin() as session:
            session.add_all([Item(id=key, name=name) for key, name in enumerate(names, 1)])
        self.start_here()

    def records(self) -> list[Record]:
        """The log since `start_here`."""
        return [_record(*row) for row in self._log() if row[0] > self._start_id]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of all tables but the log's, as images; read without SQLAlchemy."""
        return {table: self._images(table) for table in self._tables()}

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database past SQLAlchemy."""
        connection = sqlite3.connect(self.path)
        connection.text_factory = _decoded
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def write(self, *statements: str) -> None:
        """Write past every listener, as another program would."""
        connection = sqlite3.connect(self.path)
        try:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def check(self) -> None:
        """Fail unless the log, folded onto the start, gives the rows that are there."""
        folded = _Fold(self._start, {table: self._key(table) for table in self._tables()})
        for log_id, *change in self._log():
            if log_id > self._start_id:
                folded.apply(*change)
        assert folded.rows() == {table: _sorted(images) for table, images in self.rows().items() if images}

    def _log(self) -> list[tuple[Any, ...]]:
        if not self.query("SELECT 1 FROM sqlite_master WHERE name = 'changelog'"):
            return []
        return [
            (*row[:-2], *codec.load_images(row[-2], row[-1]))
            for row in self.query(
                "SELECT id, table_name, row_id, old_row_id, event_type, before, after FROM changelog ORDER BY id"
            )
        ]

    def _tables(self) -> list[str]:
        names = self.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [
            name for (name,) in names if not name.startswith(("changelog", "sqlite_")) and self.left_out.get(name) != ()
        ]

    def _images(self, table: str) -> list[dict[str, Any]]:
        columns = [row[1] for row in self.query(f"PRAGMA table_xinfo({_quoted(table)})")]
        return [
            {
                column: codec.encode(value)
                for column, value in zip(columns, row, strict=True)
                if column not in self.left_out.get(table, ())
            }
            for row in self.query(f"SELECT * FROM {_quoted(table)}")
        ]

    def _key(self, table: str) -> list[str]:
        key = sorted((row[5], row[1]) for row in self.query(f"PRAGMA table_xinfo({_quoted(table)})") if row[5])
        return [name for _, name in key]


class _Fold:
    """Rows that records are applied to, one after the other; each must fit what is there."""

    def __init__(self, start: Mapping[str, list[dict[str, Any]]], keys: Mapping[str, list[str]]) -> None:
        self._keys = keys
        self._rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for table, images in start.items():
            for image in images:
                self._come(table, image)

    def apply(
        self, table: str, row_id: str | None, old_row_id: str | None, event_type: str, before: Image, after: Image
    ) -> None:
        assert event_type == ("UPDATE" if before and after else "INSERT" if after else "DELETE")
        assert row_id == _held(after or before or {}, self._keys[table])
        if before is not None:
            assert (old_row_id or row_id) == _held(before, self._keys[table])
            self._go(table, before)
        if after is not None:
            self._come(table, after)

    def rows(self) -> dict[str, list[str]]:
        folded = {table: [image for equal in rows.values() for image in equal] for table, rows in self._rows.items()}
        return {table: _sorted(images) for table, images in folded.items() if images}

    def _come(self, table: str, image: dict[str, Any]) -> None:
        same_place = self._rows.setdefault(table, {}).setdefault(self._place(table, image), [])
        assert not (same_place and self._keys[table]), f"{table} has {same_place} and gets {image}"
        same_place.append(image)

    def _go(self, table: str, image: dict[str, Any]) -> None:
        same_place = self._rows.get(table, {}).get(self._place(table, image), [])
        assert same_place, f"{table} has no {image}"
        assert codec.same_image(same_place.pop(), image)

    def _place(self, table: str, image: dict[str, Any]) -> str:
        return codec.row_id_of(image, self._keys[table]) or json.dumps(image)


def _held(image: dict[str, Any], key: list[str]) -> str | None:
    row_id = codec.row_id_of(image, key)
    return None if row_id is None else codec.look_up_key(row_id)


def _sorted(images: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(image) for image in images)


def _record(
    _: int, table: str, row_id: str | None, old_row_id: str | None, event_type: str, before: Image, after: Image
) -> Record:
    row = f"{table}/{row_id}" if old_row_id is None else f"{table}/{old_row_id}→{row_id}"
    return event_type, row, before, after


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _decoded(data: bytes) -> str | codec.BrokenText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return codec.BrokenText(data)


def enforce_foreign_keys(driver_connection: Any, _: Any) -> None:
    """What SQLite does for no connection by itself."""
    driver_connection.execute("PRAGMA foreign_keys = ON")
