"""One database with one table, and what an application does to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, func, insert, inspect, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.shapes import TABLE, Shape

_WRITERS = 8
_WARMING = 20
"""Statements after which a server keeps a plan: PostgreSQL does after five."""


class Store:
    """A table of rows of one shape, written through a session factory that is tracked or not."""

    def __init__(self, engine: Engine, shape: Shape, model: type[Any]) -> None:
        model.metadata.create_all(engine)
        self.engine = engine
        self.model = model
        self.sessions: sessionmaker[Session] = sessionmaker(engine)
        self._shape = shape

    def fill(self, number: int) -> None:
        """Put rows with the keys 1, 2, … into the empty table, past every session."""
        table = inspect(self.model).local_table
        with self.engine.begin() as connection:
            connection.execute(insert(table), list(self._shape.rows(number)))
            assert connection.execute(select(func.count(), func.max(table.c.id))).one() == (number, number)

    def insert(self, number: int) -> None:
        """One flush of new rows."""
        with self.sessions.begin() as session:
            session.add_all(self.model(**row) for row in self._shape.rows(number))

    def update(self, number: int) -> None:
        """One flush that changes a column of many rows."""
        with self.sessions.begin() as session:
            for row in session.scalars(select(self.model).order_by(self.model.id).limit(number)):
                row.price += 1

    def delete(self, number: int) -> None:
        """One flush that deletes the newest rows."""
        with self.sessions.begin() as session:
            for row in session.scalars(select(self.model).order_by(self.model.id.desc()).limit(number)):
                session.delete(row)

    def one_row(self, number: int) -> None:
        """Transactions that change one row each."""
        for key in range(1, number + 1):
            self._change(key)

    def writers(self, number: int) -> None:
        """The same by several threads at once."""
        with ThreadPoolExecutor(_WRITERS) as threads:
            list(threads.map(self._change, range(1, number + 1)))

    def update_statement(self, number: int) -> None:
        """One `update()` of many rows."""
        with self.sessions.begin() as session:
            session.execute(update(self.model).where(self.model.id <= number).values(price=self.model.price + 1))

    def update_text(self, number: int) -> None:
        """The same as text, in which no library can know the table without reading it."""
        with self.sessions.begin() as session:
            session.execute(text(f"UPDATE {TABLE} SET price = price + 1 WHERE id <= {number}"))

    def connect_anew(self, _number: int = 0) -> None:
        """Drop the connections, so that the next one is new."""
        self.engine.dispose()

    def warm(self, _number: int) -> None:
        """Small changes on a new connection, which the pool gives out next as well."""
        self.connect_anew()
        for _ in range(_WARMING):
            self.update_statement(1)

    def _change(self, key: int) -> None:
        with self.sessions.begin() as session:
            session.get_one(self.model, key).price += 1
