"""Opening a database: as careful about what it opens as about what it may do to it."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event

from auditcli.config import Target
from auditcli.dialects import Dialect, dialect_named
from auditcli.errors import CannotConnect, ReadOnly
from auditcli.log.reader import LogReader
from auditcli.log.tables import DEFAULT_NAME, LogTables, log_tables
from auditcli.log.upgrade import check_log

LOCK_TIMEOUT = 5.0
"""How many seconds a lock is waited for."""

# psycopg logs what it ignores after an error that is raised anyway; without a handler that would go to stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SQLITE_MAGIC = b"SQLite format 3\0"
_PASSWORD_SECONDS = 60
_STEPS_WITHOUT_LOOKING_UP = 200_000
"""Steps of SQLite's machine, some milliseconds long."""


@dataclass(frozen=True)
class Database:
    """An opened target: what every library function that the front ends call needs of it."""

    target: Target
    engine: Engine
    dialect: Dialect
    tables: LogTables

    @contextmanager
    def log(self) -> Iterator[LogReader]:
        """The log over a connection of its own; raises LogError where there is none."""
        with self.engine.connect() as connection:
            check_log(connection, self.tables)
            yield LogReader(connection, self.tables, dialect=self.dialect)

    def close(self) -> None:
        """Give back what is held."""
        self.engine.dispose()


def open_database(target: Target, *, writing: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> Database:
    """Open a target for reading, or for writing too; raises ReadOnly where that is not allowed."""
    if writing:
        refuse_read_only(target)
    dialect = dialect_named(target.url.get_backend_name())
    tables = log_tables(target.log_table or DEFAULT_NAME, target.log_schema)
    return Database(target, open_engine(target, writing=writing, lock_timeout=lock_timeout), dialect, tables)


def open_engine(target: Target, *, writing: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> Engine:
    """An engine that can't write unless it is asked for `writing`, and that never creates a database."""
    dialect = dialect_named(target.url.get_backend_name())
    path = sqlite_path(target.url)
    if path is None:
        engine = create_engine(url_with_password(target))
    else:
        engine = _sqlite_engine(target.url, path, lock_timeout)
    limits = (dialect.set_lock_timeout_sql(int(lock_timeout * 1000)), None if writing else dialect.read_only_sql)
    _prepare_connections(engine, [sql for sql in (dialect.enforce_foreign_keys_sql, *limits) if sql])
    return engine


def refuse_read_only(target: Target) -> None:
    """Raise ReadOnly where the profile or the file takes no writes."""
    if target.read_only:
        named = f"profile {target.profile}" if target.profile else target.origin
        hint = "remove read_only = true, or leave --read-only out, to write there"
        raise ReadOnly(f"{named} is read-only ({target.masked_url})", hint=hint)
    path = sqlite_path(target.url)
    if path is not None and path.is_file() and not os.access(path, os.W_OK):
        raise ReadOnly(f"the file {path} is read-only", hint="make it writable, or work on a copy")


def sqlite_path(url: URL) -> Path | None:
    """The file behind a SQLite URL; None for another database."""
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    name = url.database
    if name.startswith("file:"):
        return Path(unquote(name.removeprefix("file:").removeprefix("//").partition("?")[0]))
    return Path(name)


def same_database(url: URL, other: URL) -> bool:
    """Whether two URLs name one database, as far as they tell."""
    path, other_path = sqlite_path(url), sqlite_path(other)
    if path is not None and other_path is not None:
        both = path.exists() and other_path.exists()
        return path.samefile(other_path) if both else path.absolute() == other_path.absolute()
    return _place_of(url) == _place_of(other)


def _place_of(url: URL) -> tuple[object, ...]:
    host = "localhost" if url.host in (None, "127.0.0.1", "::1") else url.host
    return (dialect_named(url.get_backend_name()).name, host, url.port, url.database)


def create_sqlite_file(url: URL) -> None:
    """An empty SQLite database where a URL names a file that is not there; raises CannotConnect where it can't be."""
    path = sqlite_path(url)
    if path is None or path.exists():
        return
    try:
        path.touch()
    except OSError as error:
        raise CannotConnect(f"{path} can't be created: {error.strerror}", hint="check its folder") from error


def check_sqlite_file(path: Path) -> None:
    """Raise CannotConnect unless the file is there and is a SQLite database."""
    try:
        if path.is_dir():
            raise CannotConnect(f"{path} is a directory", hint="name the database file in it")
        if not path.exists():
            raise CannotConnect(f"no such file: {path}", hint="check the name; `audit demo` makes a sample to try")
        if not path.is_file():
            raise CannotConnect(f"{path} is no regular file", hint="name a SQLite database file")
        with path.open("rb") as file:
            start = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise CannotConnect(f"{path} can't be opened: {error.strerror}", hint="check its permissions") from error
    except ValueError as error:
        raise CannotConnect(f"{str(path)!r} can't be a file name: {error}", hint="check the name") from error
    if start and start != _SQLITE_MAGIC:
        raise CannotConnect(f"{path} is not a SQLite database", hint="name a database file, or the URL of a server")


def _sqlite_engine(url: URL, path: Path, lock_timeout: float) -> Engine:
    check_sqlite_file(path)
    asked = {name: value for name, value in url.query.items() if name != "uri"}
    # `mode=rw` opens a file that is there and never creates one; a read-only file is then opened for reading.
    safe = url.set(database=f"file:{quote(str(path.absolute()))}", query={"mode": "rw", **asked, "uri": "true"})
    engine = create_engine(safe, connect_args={"timeout": lock_timeout, "check_same_thread": False})
    _make_interruptible(engine)
    return engine


def _make_interruptible(engine: Engine) -> None:
    """Let ^C end a statement of SQLite, which would otherwise be noticed when the statement has ended by itself."""

    @event.listens_for(engine, "connect")
    def look_up(driver_connection: Any, _record: object) -> None:
        # Python raises KeyboardInterrupt as soon as it runs code of its own; the statement then ends "interrupted".
        driver_connection.set_progress_handler(lambda: 0, _STEPS_WITHOUT_LOOKING_UP)

    @event.listens_for(engine, "handle_error")
    def tell(context: ExceptionContext) -> None:
        if str(context.original_exception) == "interrupted":
            raise KeyboardInterrupt


def _prepare_connections(engine: Engine, statements: list[str]) -> None:
    @event.listens_for(engine, "connect")
    def prepare(driver_connection: Any, _record: object) -> None:
        cursor = driver_connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        # What a transaction set would go with its rollback when the connection is given back.
        driver_connection.commit()


def url_with_password(target: Target) -> URL:
    """The URL with what the program of the user's own config file prints, where one is named."""
    if not target.password_command:
        return target.url
    return target.url.set(password=_password(target.password_command))


def _password(command: tuple[str, ...]) -> str:
    hint = "correct password_command in your config file"
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=_PASSWORD_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotConnect(f"password_command {command[0]!r} can't be run: {error}", hint=hint) from error
    if finished.returncode != 0:
        raise CannotConnect(f"password_command {command[0]!r} ended with {finished.returncode}", hint=hint)
    return finished.stdout.rstrip("\r\n")
