"""`audit tail` beside many writers: interrupted, its sessions ended under it, and taken up again; each change once."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.dialects import dialect_named
from auditcli.feed import Feed
from auditcli.log.tables import log_tables
from tests.db.hot import ROOT, hot_database, writing
from tests.sessions import end_sessions, other_sessions

pytestmark = pytest.mark.thorough

WRITERS = 4


@pytest.fixture(params=["postgresql", "mariadb"])
def hot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with hot_database(request.param, tmp_path) as engine:
        yield engine


def test_what_is_printed_goes_on_without_a_gap_though_sessions_end_and_the_tail_is_interrupted(
    hot: Engine, tmp_path: Path
) -> None:
    printed = tmp_path / "printed.jsonl"
    with writing(hot, processes=1, writers=WRITERS, pace=0.004, seconds=12):
        others = _sessions_of_writers(hot)
        with _tail(hot, printed, "-n", "5") as first:
            for count in (1, 30, 60):
                _wait_for_lines(printed, count)
                end_sessions(hot, other_sessions(hot) - others)
            _wait_for_lines(printed, 90)
            first.send_signal(signal.SIGINT)
            _, talk = first.communicate(timeout=30)
    in_order = _fed(hot)
    since = shlex.split(talk.splitlines()[-1])[-1]
    with _tail(hot, printed, "--since", since, "--until", str(max(in_order))) as second:
        second.communicate(timeout=30)

    ids = [json.loads(line)["id"] for line in printed.read_text().splitlines()]
    assert "the database answers again" in talk
    assert ids[5:] == in_order[-len(ids[5:]) :]
    assert set(ids[:5]) <= set(in_order[: -len(ids[5:])])


@contextmanager
def _tail(engine: Engine, output: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A tail that appends to a file."""
    url = engine.url.render_as_string(hide_password=False)
    with output.open("a") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "auditcli", "-u", url, "tail", "-o", "jsonl", *words],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_lines(file: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _fed(engine: Engine) -> list[int]:
    """All ids of the log, in the order of the feed."""
    feed = Feed(engine, log_tables(), dialect_named(engine.name))
    found: list[int] = []
    while (committed := feed.poll()) or not feed.is_complete:
        found += [change.id for changes in committed for change in changes]
    return found


def _sessions_of_writers(engine: Engine) -> set[int]:
    while len(found := other_sessions(engine)) < WRITERS:
        time.sleep(0.1)
    return found
