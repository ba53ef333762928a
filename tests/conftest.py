"""What every test gets: a world without the developer's own settings, a database file, a clock, the servers."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import settings
from sqlalchemy import URL, Engine, create_engine, event

from tests.clock import SettableClock
from tests.databases import drop_emptied, scratch_url
from tests.db.recorded import enforce_foreign_keys
from tests.servers import MARIADB, POSTGRESQL, Server, ask
from tests.soak import is_soaking

_TEST_SETTINGS = ("AUDIT_TEST_", "AUDIT_REQUIRE_SERVERS")

# Run in the background, a shell's programs ignore ^C, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; and a change is judged by the same examples each time: `make soak` looks for others.
settings.register_profile("auditcli", parent=settings(), deadline=None, derandomize=not is_soaking())
settings.load_profile("auditcli")


def pytest_report_header() -> list[str]:
    """Name the versions that the tests run on."""
    libraries = f"SQLAlchemy {sqlalchemy.__version__}, SQLite {sqlite3.sqlite_version}"
    return [libraries, *(_heading(server) for server in (POSTGRESQL, MARIADB))]


def pytest_unconfigure() -> None:
    """Leave nothing on the servers."""
    drop_emptied()


def _heading(server: Server) -> str:
    answer = ask(server)
    return f"{server.name}: {answer.version or f'not found, {answer.problem}'}"


@pytest.fixture(autouse=True)
def _nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the developer's own configuration, working directory, colours and time zone."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AUDIT_")]:
            if not name.startswith(_TEST_SETTINGS):
                patch.delenv(name)
        for name in ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("TZ", "Europe/Vienna")
        patch.chdir(home)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database in a file."""
    engine = create_engine(URL.create("sqlite", database=str(tmp_path / "app.db")))
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind, with foreign keys enforced."""
    with scratch_url(request.param, tmp_path) as url:
        engine = create_engine(url)
        if engine.name == "sqlite":
            event.listen(engine, "connect", enforce_foreign_keys)
        yield engine
        engine.dispose()


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until the test moves it."""
    return SettableClock()
