"""`audit replay` and `audit verify --against`, killed in the middle too."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.cli.shop import Ran
from tests.databases import scratch_url

Audit = Callable[..., Ran]


@pytest.fixture
def recorded(run: Audit, tmp_path: Path) -> Path:
    """A database with triggers and three transactions."""
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO item VALUES (1, 'a'), (2, 'b')")
    run("-u", str(path), "init", "--baseline")
    _write(path, "UPDATE item SET name = 'c' WHERE id = 1")
    _write(path, "INSERT INTO item VALUES (3, 'd')")
    return path


def test_a_replay_says_what_it_did_and_where_it_is(run: Audit, recorded: Path, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")

    first = run("-u", str(recorded), "replay", "--to", copy, "--create-tables")
    again = run("-u", str(recorded), "replay", "--to", copy)
    compared = run("-u", str(recorded), "verify", "--against", copy)

    assert (first.code, first.out) == (0, "")
    assert f"target: sqlite:///{copy}" in first.err
    assert "began with 2 rows as they were at the start" in first.err
    assert "replayed 2 transactions, 2 changes: 2 rows written and read back" in first.err
    assert (again.code, "nothing to replay: the target has all up to change 4" in again.err) == (3, True)
    assert (compared.code, "nothing differs" in compared.err) == (0, True)


def test_verify_against_names_each_row_that_differs(run: Audit, recorded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("-u", str(recorded), "replay", "--to", str(copy), "--create-tables")
    _write(copy, "UPDATE item SET name = 'z' WHERE id = 1", "DELETE FROM item WHERE id = 2")
    _write(copy, "INSERT INTO item VALUES (9, 'stray')")

    ran = run("-u", str(recorded), "verify", "--against", str(copy), "-o", "json")

    assert ran.code == 1
    found = {(each["difference"], each["row"], each["column"]) for each in json.loads(ran.out)}
    assert found == {("changed", "item/1", "name"), ("missing", "item/2", None), ("extra", "item/9", None)}


def test_a_conflict_is_exit_5_and_skipping_it_exit_7(run: Audit, recorded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run("-u", str(recorded), "replay", "--to", str(copy), "--create-tables")
    _write(recorded, "UPDATE item SET name = 'e' WHERE id = 1", "INSERT INTO item VALUES (4, 'f')")
    _write(copy, "UPDATE item SET name = 'mine' WHERE id = 1")

    refused = run("-u", str(recorded), "replay", "--to", str(copy))
    skipped = run("-u", str(recorded), "replay", "--to", str(copy), "--skip-conflicts")

    assert (refused.code, "--skip-conflicts does the rest" in refused.err) == (5, True)
    assert "item/1" in refused.out
    assert (skipped.code, "1 conflict left as they are" in skipped.err) == (7, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--to", "copy.db"], 4, "--create-tables makes it"),
        (["--to", "copy.db", "--create-tables", "--speed", "fast"], 2, "for example --speed 10x"),
        (["--to", "copy.db", "--force", "--skip-conflicts"], 2, "contradict each other"),
        ([], 2, "--to"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Audit, recorded: Path, words: list[str], code: int, said: str) -> None:
    ran = run("-u", str(recorded), "replay", *words)

    assert ran.code == code
    assert said in ran.err


def test_a_rebuild_asks_first(run: Audit, recorded: Path, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    run("-u", str(recorded), "replay", "--to", copy, "--create-tables")

    asked = run("-u", str(recorded), "replay", "--to", copy, "--rebuild")
    done = run("-u", str(recorded), "replay", "--to", copy, "--rebuild", "--yes")

    assert (asked.code, "--yes answers it" in asked.err) == (6, True)
    assert (done.code, "began with 2 rows" in done.err) == (0, True)


def test_a_profile_is_a_target_with_what_it_forbids(
    run: Audit, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy.db"
    run("-u", str(recorded), "replay", "--to", str(copy), "--create-tables")
    _write(recorded, "INSERT INTO item VALUES (4, 'e')")
    (tmp_path / "audit.toml").write_text(
        '[profiles.live]\nurl = "copy.db"\nread_only = true\n[profiles.test]\nurl = "copy.db"\nprotected = true\n'
    )
    (tmp_path / "live").write_text("no database")
    replay = ("-u", str(recorded), "replay", "--to")

    forbidden = [run(*replay, "live", *more) for more in ((), ("--dry-run",), ("--rebuild", "--yes"))]
    unexplained, unconfirmed, misspelled, done = (
        run(*replay, "test", *more)
        for more in (
            ("--yes",),
            ("--yes", "-m", "drill"),
            ("--confirm", "tset", "-m", "drill"),
            ("--confirm", "test", "-m", "drill"),
        )
    )
    compared = run("-u", str(recorded), "verify", "--against", "live")
    unknown = run(*replay, "tets")

    assert [(ran.code, "profile live is read-only" in ran.err) for ran in forbidden] == [(8, True)] * 3
    assert (unexplained.code, "it wants to know why" in unexplained.err) == (2, True)
    assert (unconfirmed.code, "--confirm test answers it" in unconfirmed.err) == (6, True)
    assert misspelled.code == 6
    assert (done.code, "replayed 1 transaction" in done.err) == (0, True)
    assert compared.code == 0
    assert (unknown.code, "no such file: tets" in unknown.err) == (4, True)


@pytest.mark.thorough
def test_killed_at_any_moment_it_neither_loses_nor_repeats(run: Audit, recorded: Path, tmp_path: Path) -> None:
    _many_transactions(recorded, 400)
    copy = tmp_path / "copy.db"
    command = [sys.executable, "-m", "auditcli", "-u", str(recorded), "replay", "--to", str(copy), "--create-tables"]

    were_running = [_killed_at(command, copy, rows) for rows in (20, 60, 150)]
    run(*command[3:])

    compared = run("-u", str(recorded), "verify", "--against", str(copy))
    assert (compared.code, were_running) == (0, [True, True, True]), compared.err


def _killed_at(command: list[str], copy: Path, rows: int) -> bool:
    """Kill it when so many rows are there; whether it was still running."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_for_rows(copy, rows)
        was_running = process.poll() is None
        process.kill()
    return was_running


def test_following_ends_with_a_word_and_130(recorded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    command = [sys.executable, "-m", "auditcli", "-u", str(recorded), "replay", "--to", str(copy), "--create-tables"]
    with subprocess.Popen([*command, "--follow"], stderr=subprocess.PIPE, text=True) as process:
        _wait_for_rows(copy, 3)
        _write(recorded, "INSERT INTO item VALUES (7, 'live')")
        _wait_for_rows(copy, 4)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)

    assert process.returncode == 130
    assert "replayed 3 transactions" in said
    assert "the same command goes on from there" in said


def _wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(path)) as connection:
            is_there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'item'").fetchone()[0]
            if is_there and connection.execute("SELECT count(*) FROM item").fetchone()[0] >= count:
                return
        time.sleep(0.02)
    raise AssertionError(f"there are no {count} rows in {path}")


@pytest.mark.parametrize(("kind", "other"), [("postgresql", "mariadb"), ("mariadb", "postgresql")])
def test_servers_are_replayed_into_each_other(run: Audit, tmp_path: Path, kind: str, other: str) -> None:
    with scratch_url(kind, tmp_path) as url, scratch_url(other, tmp_path) as other_url:
        source, target = (each.render_as_string(hide_password=False) for each in (url, other_url))
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(20))"))
            connection.execute(text("INSERT INTO item VALUES (1, 'old')"))
        run("-u", source, "init")
        with engine.begin() as connection:
            connection.execute(text("UPDATE item SET name = 'new'"))
        engine.dispose()

        ran = run("-u", source, "replay", "--to", target, "--create-tables")
        compared = run("-u", source, "verify", "--against", target)

    assert (ran.code, "began with 1 row" in ran.err) == (0, True), ran.err
    assert (compared.code, "nothing differs" in compared.err) == (0, True), compared.err


def _many_transactions(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for number in range(count):
            connection.execute("INSERT INTO item VALUES (?, 'x')", (100 + number,))
            connection.execute("UPDATE item SET name = name || 'y' WHERE id = ?", (100 + number // 2,))
            if number % 7 == 0:
                connection.execute("DELETE FROM item WHERE id = ?", (100 + number // 3,))
            connection.commit()


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
