"""Listener capture against the same writes untracked, and against SQLAlchemy-Continuum, on SQLite files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column, sessionmaker

import auditcli
from benchmarks.rounds import Ratio, measure, measure_overhead

FLUSH = 1000
_TRANSACTIONS = 20


class Columns:
    """A row of the width of a usual business table."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    album_id: Mapped[int | None]
    media_type_id: Mapped[int]
    genre_id: Mapped[int | None]
    composer: Mapped[str | None] = mapped_column(String(220))
    milliseconds: Mapped[int]
    size: Mapped[int | None]
    price: Mapped[int]


class Store:
    """One database with its model and session factory."""

    def __init__(self, path: Path, model: type[Any]) -> None:
        engine = create_engine(f"sqlite:///{path}")
        model.metadata.create_all(engine)
        self.model = model
        self.sessions: sessionmaker[Session] = sessionmaker(engine)

    def insert(self) -> None:
        """One flush of new rows."""
        with self.sessions.begin() as session:
            session.add_all(self._rows())

    def update(self) -> None:
        """One flush that changes a column of many rows."""
        with self.sessions.begin() as session:
            for row in session.scalars(select(self.model).order_by(self.model.id).limit(FLUSH)):
                row.price += 1

    def delete(self) -> None:
        """One flush that deletes the newest rows, which are put back first."""
        with self.sessions.begin() as session:
            session.add_all(self._rows())
            session.flush()
            for row in session.scalars(select(self.model).order_by(self.model.id.desc()).limit(FLUSH)):
                session.delete(row)

    def one_row(self) -> None:
        """Transactions that change one row each."""
        for _ in range(_TRANSACTIONS):
            with self.sessions.begin() as session:
                session.get_one(self.model, 1).price += 1

    def _rows(self) -> list[Any]:
        composer = "Angus Young, Malcolm Young, Brian Johnson"
        return [
            self.model(
                name=f"Track number {number}",
                album_id=number % 347,
                media_type_id=1,
                genre_id=number % 25,
                composer=composer,
                milliseconds=200_000 + number,
                size=11_170_334 + number,
                price=99,
            )
            for number in range(FLUSH)
        ]


def capture_rows(rounds: int) -> Iterator[Ratio]:
    """Flushes of 1,000 rows and transactions of one, tracked against untracked; then against Continuum."""
    with TemporaryDirectory() as folder:
        plain, tracked = (Store(Path(folder) / f"{name}.db", new_model()) for name in ("plain", "tracked"))
        auditcli.track(tracked.sessions, create=True)
        for store in (plain, tracked):
            store.insert()
        for name, kind, bar in (
            (f"listeners: flush of {FLUSH} inserts / untracked", Store.insert, 2.0),
            (f"listeners: flush of {FLUSH} updates / untracked", Store.update, 2.0),
            (f"listeners: flushes of {FLUSH} inserts and deletes / untracked", Store.delete, 2.0),
            (f"listeners: {_TRANSACTIONS} transactions of one row / untracked", Store.one_row, None),
        ):
            yield measure(name, _run(kind, tracked), _run(kind, plain), rounds=rounds, bar=bar)
        if importlib.util.find_spec("sqlalchemy_continuum") is not None:
            yield from _continuum_rows(plain, tracked, Path(folder), rounds)


def _continuum_rows(plain: Store, tracked: Store, folder: Path, rounds: int) -> Iterator[Ratio]:
    from sqlalchemy_continuum import make_versioned

    make_versioned(user_cls=None)
    continuum = Store(folder / "continuum.db", new_model(__versioned__={}))
    continuum.insert()
    for name, kind in (("inserts", Store.insert), ("updates", Store.update)):
        yield measure_overhead(
            f"listeners: overhead of {FLUSH} {name} / Continuum's",
            _run(kind, tracked),
            _run(kind, continuum),
            _run(kind, plain),
            rounds=max(3, rounds // 3),
            bar=0.1,
        )


def new_model(**attributes: Any) -> type[Any]:
    """A model in a registry of its own."""
    base = type("Base", (DeclarativeBase,), {})
    model = type("Track", (Columns, base), {"__tablename__": "track", **attributes})
    configure_mappers()
    return model


def _run(kind: Callable[[Store], None], store: Store) -> Callable[[], None]:
    return lambda: kind(store)
