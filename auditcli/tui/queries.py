"""Reads of the log off the UI's thread: of each kind only the last one counts, and what it overtakes is ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import App
from textual.message import Message

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditcli.connect import Database
    from auditcli.errors import AuditError
    from auditcli.log.reader import LogReader

T = TypeVar("T")


class QueryFailed(Message):
    """The database could not answer; `retry` asks again what only reads, where that may go well later."""

    def __init__(self, kind: str, error: AuditError, retry: Callable[[], None] | None) -> None:
        super().__init__()
        self.kind = kind
        self.error = error
        self.retry = retry


class QueryAnswered(Message):
    """The database has answered."""


@dataclass
class _Running:
    """One question that is being answered, and over which connection."""

    kind: str
    is_endless: bool = False
    is_done: bool = False
    connection: Connection | None = None
    lock: Lock = field(default_factory=Lock)
    given_up: Event = field(default_factory=Event)

    @property
    def is_wanted(self) -> bool:
        """Whether nothing has overtaken it."""
        return not self.given_up.is_set()

    def interrupt(self) -> None:
        """End the statement that is running, if one is; some servers have to be asked, so never on the UI's thread."""
        from sqlalchemy.exc import DBAPIError

        from auditcli.driver import interrupt

        # While the lock is held the connection can't be given back and be used for another question.
        with self.lock:
            if self.connection is None:
                return
            # A server that has gone runs no statement any more.
            with suppress(DBAPIError, self.connection.dialect.loaded_dbapi.Error):
                interrupt(self.connection)

    def use(self, connection: Connection | None) -> None:
        """From now on statements run over this connection, or over none any more."""
        with self.lock:
            self.connection = connection


_answering: ContextVar[_Running] = ContextVar("_answering")
"""What a worker is at."""


class Queries:
    """Asks one database; opens it with the first question, so that the screen is there before the driver is."""

    def __init__(self, app: App[Any], open_database: Callable[[], Database]) -> None:
        self._app = app
        self._open_database = open_database
        self._opening = Lock()
        self._database: Database | None = None
        self._running: dict[str, _Running] = {}

    def ask(self, kind: str, question: Callable[[LogReader], T], answer: Callable[[T], None]) -> None:
        """Have a question answered; a later one of its kind overtakes it, and then its answer never comes."""

        def read(running: _Running) -> T:
            with self.database().log() as reader:
                running.use(reader.connection)
                try:
                    return question(reader)
                finally:
                    running.use(None)

        self._start(_Running(kind), read, answer, retry=lambda: self.ask(kind, question, answer))

    def ask_database(
        self, kind: str, question: Callable[[Database, Callable[[], bool]], T], answer: Callable[[T], None]
    ) -> None:
        """The same for what opens connections of its own, and asks whether it is still wanted."""
        self._start(_Running(kind), lambda running: question(self.database(), lambda: running.is_wanted), answer)

    def follow(self, kind: str, question: Callable[[Database, Event], None]) -> None:
        """The same for what goes on until the event is set; where it fails, it may be begun again."""

        def work(running: _Running) -> None:
            question(self.database(), running.given_up)

        self._start(_Running(kind, is_endless=True), work, _nothing, retry=lambda: self.follow(kind, question))

    def is_wanted(self) -> bool:
        """Whether the question that this worker answers is still wanted."""
        return _answering.get().is_wanted

    def is_busy(self, kind: str) -> bool:
        """Whether a question of a kind is being answered."""
        running = self._running.get(kind)
        return running is not None and not running.is_done

    @property
    def is_idle(self) -> bool:
        """Whether every question that has an end has its answer."""
        return all(running.is_done or running.is_endless for running in self._running.values())

    def give_up(self, kind: str) -> None:
        """End what is asked of a kind."""
        running = self._running.pop(kind, None)
        if running is None:
            return
        running.given_up.set()
        if running.connection is not None:
            self._app.run_worker(running.interrupt, group="interrupt", thread=True, exit_on_error=False)

    def database(self) -> Database:
        """The open database; to be called from a worker only."""
        with self._opening:
            if self._database is None:
                self._database = self._open_database()
            return self._database

    def close(self) -> None:
        """End everything and give the connections back."""
        for running in self._running.values():
            running.given_up.set()
            running.interrupt()
        self._running.clear()
        if self._database is not None:
            self._database.close()

    def _start(
        self,
        running: _Running,
        read: Callable[[_Running], T],
        answer: Callable[[T], None],
        retry: Callable[[], None] | None = None,
    ) -> None:
        self.give_up(running.kind)
        self._running[running.kind] = running
        work = partial(self._deliver, running, read, answer, retry)
        self._app.run_worker(work, group=running.kind, thread=True)

    def _deliver(
        self,
        running: _Running,
        read: Callable[[_Running], T],
        answer: Callable[[T], None],
        retry: Callable[[], None] | None,
    ) -> None:
        if not running.is_wanted:
            return
        _answering.set(running)
        try:
            found = read(running)
        except Exception as error:  # noqa: BLE001  # whatever it is, the screen stays and says it
            from auditcli.failure import explained

            again = partial(self._retry, running, retry) if retry is not None and self._is_passing(error) else None
            failed = QueryFailed(running.kind, explained(error), again)
            self._tell(running, lambda: self._app.post_message(failed))
        except KeyboardInterrupt:
            # So SQLite's statements end when something overtakes them: nobody waits for an answer.
            self._tell(running, lambda: None)
        else:
            self._tell(running, lambda: self._answered(answer, found))

    def _retry(self, failed: _Running, ask: Callable[[], None]) -> None:
        """Ask again, unless something else of the kind was asked, or given up, since."""
        if self._running.get(failed.kind) is failed:
            ask()

    def _is_passing(self, error: Exception) -> bool:
        from sqlalchemy.exc import DBAPIError

        from auditcli.follow import is_passing

        return isinstance(error, DBAPIError) and is_passing(error, self.database().dialect)

    def _answered(self, answer: Callable[[T], None], found: T) -> None:
        answer(found)
        self._app.post_message(QueryAnswered())

    def _tell(self, running: _Running, callback: Callable[[], object]) -> None:
        """Call back on the UI's thread, unless something else was asked since."""

        def call() -> None:
            running.is_done = True
            if running.is_wanted:
                callback()

        if running.is_wanted and self._app.is_running:
            self._app.call_from_thread(call)


def _nothing(_answer: object) -> None:
    """What has no end has no answer."""
