"""Two databases, one replayed into the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine

from auditcli import codec
from auditcli.config import Target
from auditcli.connect import Database
from auditcli.dialects import dialect_named
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image
from auditcli.replay import Progress, Replay, ReplayOptions
from auditcli.rows import RowReader


def opened(engine: Engine, url: URL | None = None) -> Database:
    """A database as the library's functions take it; `url` where the engine's own does not tell it from others."""
    return Database(Target(url or engine.url, "test"), engine, dialect_named(engine.name), log_tables())


def replay(source: Database, target: Database, **options: Any) -> Progress:
    """Replay all there is."""
    return Replay(source, target, ReplayOptions(**options)).run()


def rows_of(engine: Engine, *, but: tuple[str, ...] = ("changelog",)) -> dict[str, list[Image]]:
    """The images of all rows by table, except of tables whose name begins so."""
    dialect = dialect_named(engine.name)
    with engine.connect() as connection:
        reader = RowReader(connection, dialect)
        shapes = read_shapes(connection, dialect).tables
        return {
            table.name: [row.image for row in reader.page(shape, None, 1_000_000)]
            for table, shape in shapes.items()
            if not table.name.startswith(but)
        }


def exactly(engine: Engine) -> dict[str, Counter[str]]:
    """The same, for comparing databases of one kind."""
    return {
        table: Counter(codec.dump({name: image[name] for name in sorted(image)}) for image in images)
        for table, images in rows_of(engine).items()
        if images
    }


class Killed(BaseException):
    """Ends a replay in the middle of what it does."""


@contextmanager
def killed_after(engine: Engine, statements: int) -> Iterator[None]:
    """The statement after so many ends whatever runs on this engine."""
    from sqlalchemy import event

    left = statements

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", count)
