"""A few rows that many programs write at once, and those programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from tests.databases import scratch_url
from tests.db.hot_writers import HOT_ROWS, SLOW_ROW, TABLE

ROOT = Path(__file__).parents[2]
TABLES = log_tables()


@contextmanager
def hot_database(kind: str, folder: Path) -> Iterator[Engine]:
    """Rows of which triggers record every change."""
    with scratch_url(kind, folder) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            if kind == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.execute(text(TABLE))
            for key in (*HOT_ROWS, SLOW_ROW):
                connection.execute(text(f"INSERT INTO item VALUES ({key}, 0)"))
            connection.commit()
            prepare(connection, TABLES, dialect_named(engine.name), Wishes(triggers=True), now=utc_now())
        yield engine
        engine.dispose()


@contextmanager
def writing(
    engine: Engine, *, processes: int, writers: int, pace: float, seconds: float
) -> Iterator[Callable[[], bool]]:
    """Programs with so many writers each; gives a function that says whether they still write."""
    url = engine.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        words = [[url, str(seconds), str(writers), str(seed), str(pace)] for seed in range(processes)]
        running = [
            stack.enter_context(subprocess.Popen([sys.executable, "-m", "tests.db.hot_writers", *each], cwd=ROOT))
            for each in words
        ]
        yield lambda: any(process.poll() is None for process in running)
    assert [process.returncode for process in running] == [0] * processes
