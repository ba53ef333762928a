"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks.scratch import KINDS, scratch
from benchmarks.sides import PEERS

_DRIVERS = ("sqlalchemy", "psycopg", "pymysql", "apsw")


def machine_lines(now: datetime) -> Iterator[tuple[str, str]]:
    """Names and values: the machine, the servers, the libraries and the day."""
    yield "Date", f"{now:%Y-%m-%d}"
    yield "Processor", f"{os.cpu_count()} cores, {_of_file('/proc/cpuinfo', 'model name')}"
    yield "Memory", f"{int(_of_file('/proc/meminfo', 'MemTotal').split()[0]) / 1024**2:.1f} GB"
    yield "System", platform.system() + " " + platform.release()
    yield "Load before the first figure", f"{os.getloadavg()[0]:.1f}"
    yield "Python", platform.python_version()
    for kind in KINDS:
        if found := _server_version(kind):
            yield kind, found
    yield "Libraries", ", ".join(f"{name} {found}" for name in _DRIVERS if (found := _version(name)))
    yield "Peers", ", ".join(f"{side.distribution} {found}" for side in PEERS if (found := side.version()))
    if missing := [side.distribution or "" for side in PEERS if side.missing()]:
        yield "Peers that are not installed", ", ".join(missing)


def _of_file(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def _server_version(kind: str) -> str | None:
    if kind == "SQLite":
        return sqlite3.sqlite_version
    with scratch(kind) as url:
        if url is None:
            return None
        engine = create_engine(url)
        with engine.connect() as connection:
            found = str(connection.scalar(text("SELECT version()")))
        engine.dispose()
    return found.partition(" on ")[0].removeprefix("PostgreSQL ")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
