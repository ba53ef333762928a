"""Writers that never pause, and beside them two tails, undos, exports and proofs: the log holds all, each once."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from auditcli.errors import ExitCode
from tests.cli.programs import running, wait_for
from tests.db.hot import hot_database, writing

pytestmark = pytest.mark.thorough

SECONDS = float(os.environ.get("AUDIT_TEST_SECONDS", "3"))

WRITERS = {"sqlite": (4, 1), "postgresql": (2, 8), "mariadb": (2, 8)}
"""Programs, and how many writers are in each of them."""


@pytest.mark.parametrize("kind", WRITERS)
def test_what_everybody_does_at_once_is_recorded_read_and_proved(kind: str, tmp_path: Path) -> None:
    processes, writers = WRITERS[kind]
    with hot_database(kind, tmp_path) as engine, ExitStack() as stack:
        url = engine.url.render_as_string(hide_password=False)
        tails = [stack.enter_context(_tail(url, tmp_path / f"tail{number}.jsonl")) for number in (1, 2)]
        undone, exported, proved = (list[tuple[int, str]]() for _ in range(3))
        with writing(engine, processes=processes, writers=writers, pace=0.002, seconds=SECONDS) as is_going_on:
            wait_for(lambda: _last_id(engine) > 0)
            while is_going_on():
                undone.append(_ended(url, "undo", str(_last_id(engine)), "--yes", "--skip-conflicts"))
                file = tmp_path / f"{len(exported)}.jsonl"
                exported.append(_ended(url, "export", str(file)))
                proved.append(_ended(url, "verify"))
        ids = _ids(engine)
        wait_for(lambda: all(file.read_text().count("\n") >= len(ids) for file, _ in tails))

        assert {code for code, _ in undone} <= {ExitCode.DONE, ExitCode.CONFLICT, ExitCode.PARTLY_APPLIED}, undone
        assert [talk for code, talk in exported + proved if code != 0] == []
        for file, _ in tails:
            assert Counter(_printed(file)) == Counter(ids)
        for number in range(len(exported)):
            part = _printed(tmp_path / f"{number}.jsonl")
            assert sorted(part) == part == sorted(set(part))
        assert _ended(url, "verify")[0] == 0


@contextmanager
def _tail(url: str, file: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    with file.open("w") as stream, running("-u", url, "tail", "--since", "0", "-o", "jsonl", stdout=stream) as process:
        yield file, process


def _ended(url: str, *words: str) -> tuple[int, str]:
    """What a command that ran to its end came to, and said."""
    with running("-u", url, *words) as process:
        _, talk = process.communicate(timeout=60)
        return process.returncode, talk


def _last_id(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT max(id) FROM changelog")) or 0


def _ids(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT id FROM changelog ORDER BY id")))


def _printed(file: Path) -> list[int]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]
