"""Two databases, one replayed into the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, text

from auditcli import codec
from auditcli.clock import utc_now
from auditcli.config import Target
from auditcli.connect import Database
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image
from auditcli.replay import Progress, Replay, ReplayOptions
from auditcli.rows import RowReader
from tests.databases import scratch_url
from tests.db.recorded import enforce_foreign_keys


@contextmanager
def empty(kind: str, folder: Path) -> Iterator[Engine]:
    """A new database that enforces foreign keys; `folder` is made for it."""
    folder.mkdir()
    with scratch_url(kind, folder) as url:
        engine = create_engine(url)
        if engine.name == "sqlite":
            event.listen(engine, "connect", enforce_foreign_keys)
        yield engine
        engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    """One transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement.replace(":", "\\:")))


def record(engine: Engine) -> None:
    """Have triggers record all tables from now on."""
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named(engine.name), Wishes(triggers=True), now=utc_now())


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
