"""A small shop with a short history, written through a tracked session: what the commands are tried on."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

import auditcli
from tests.clock import SettableClock

SHIPPED, IMPORTED, MOVED, CANCELLED = 7, (8, 9, 10), 11, 12
"""The log ids of the history's changes, after the six of the opening."""

ROOT = Path(__file__).resolve().parent.parent.parent


class Base(DeclarativeBase):
    """The shop's tables."""


class Customer(Base):
    """Somebody who buys."""

    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    city: Mapped[str | None]


class Order(Base):
    """What they bought."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    status: Mapped[str]
    total: Mapped[int]


class Tag(Base):
    """A word on an order, with a key of two columns."""

    __tablename__ = "tag"
    order_id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(primary_key=True)


@dataclass(frozen=True)
class Ran:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.removesuffix("\n").split("\n") if self.out else []

    @property
    def error(self) -> str:
        """The one error line."""
        [line] = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line.removeprefix("error: ")

    @property
    def hint(self) -> str:
        """The one line with the way out."""
        [line] = [line for line in self.err.splitlines() if line.startswith("hint: ")]
        return line.removeprefix("hint: ")


class Shop:
    """The shop's database file and its application."""

    def __init__(self, path: Path, opening: datetime | None = None) -> None:
        self.path = path
        self.clock = SettableClock(opening or datetime.now(UTC) - timedelta(days=3))
        self.engine = create_engine(URL.create("sqlite", database=str(path)))
        self.sessions = sessionmaker(self.engine)
        auditcli.track(self.sessions, create=True, clock=self.clock)

    def write(self, actor: str | None, reason: str | None, act: Callable[[Session], object], **more: Any) -> None:
        """One transaction of the application, an hour after the one before."""
        self.clock.advance(3600)
        with auditcli.context(actor=actor, reason=reason, **more), self.sessions.begin() as session:
            act(session)

    def value(self, entity: type[Any], key: Any, column: str) -> Any:
        """What a cell holds now."""
        with self.sessions() as session:
            found = session.get(entity, key)
            return None if found is None else getattr(found, column)

    def close(self) -> None:
        """Let go of the file."""
        auditcli.untrack(self.sessions)
        self.engine.dispose()


def build_shop(path: Path, opening: datetime | None = None) -> None:
    """A shop with five transactions: an opening, a shipment, a bad import, a move, a cancellation."""
    shop = Shop(path, opening)
    Base.metadata.create_all(shop.engine)
    shop.write("alice", "opening", _open)
    shop.write("bob", "shipping", lambda session: _set(session.get(Order, 1), status="shipped"))
    shop.write("svc-import", "prices", _import, job="nightly")
    shop.write("carol", "ticket 7", lambda session: _set(session.get(Customer, 2), city="Graz"))
    shop.write("bob", None, lambda session: session.delete(session.get(Order, 3)))
    shop.close()


def open_shop(path: Path) -> Shop:
    """The shop in that file, a day after what happened so far."""
    shop = Shop(path)
    shop.clock.advance(86_400)
    return shop


def _open(session: Session) -> None:
    session.add_all([Customer(id=1, name="Ann Lee", city="Wien"), Customer(id=2, name="Bo", city=None)])
    session.flush()
    session.add_all(Order(id=number, customer_id=1, status="pending", total=number * 10) for number in (1, 2, 3))
    session.add(Tag(order_id=1, word="rush"))


def _import(session: Session) -> None:
    for order in session.scalars(select(Order).order_by(Order.id)):
        order.total = 0


def _set(row: object, **values: object) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def in_terminal(
    words: Sequence[str],
    *,
    answers: str = "",
    environment: Mapping[str, str] | None = None,
    columns: int = 100,
    interrupt_at: str | None = None,
) -> tuple[int, str]:
    """Run `audit` as a person does, on a terminal; returns its exit code and what the screen was sent.

    `interrupt_at` is the text at which that person presses ^C.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "auditcli", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        start_new_session=True,
    )
    os.close(slave)
    os.write(master, answers.encode())
    try:
        screen = all_sent(master, process, interrupt_at)
        return process.wait(timeout=30), screen
    finally:
        process.kill()
        os.close(master)


def all_sent(master: int, process: subprocess.Popen[bytes] | None = None, interrupt_at: str | None = None) -> str:
    """Everything until the other side of the terminal is closed."""
    sent = ""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            part = b""
        if not part:
            return sent.replace("\r\n", "\n")
        sent += part.decode("utf-8", "replace")
        if process is not None and interrupt_at is not None and interrupt_at in sent:
            process.send_signal(signal.SIGINT)
            interrupt_at = None


def locked(path: Path) -> closing[sqlite3.Connection]:
    """A connection that holds the write lock until it is closed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)
