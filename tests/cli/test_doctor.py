"""`audit doctor`: what keeps a log from being complete is found, with its fix, and nothing else is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.shop import Ran

Audit = Callable[..., Ran]


@pytest.fixture
def healthy(run: Audit, tmp_path: Path) -> Path:
    """A database whose triggers are complete."""
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)", "CREATE TABLE other (id INTEGER PRIMARY KEY)")
    run("-u", str(path), "init")
    return path


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _codes(run: Audit, path: Path) -> tuple[int, list[tuple[str, str, str | None]]]:
    ran = run("-u", str(path), "doctor", "-o", "json")
    found = [(each["level"], each["code"], each["table"]) for each in json.loads(ran.out)]
    return ran.code, [each for each in found if each[1] not in ("database", "growth")]


def test_a_complete_log_needs_nothing(run: Audit, healthy: Path) -> None:
    assert _codes(run, healthy) == (0, [])
    assert "nothing needs doing" in run("-u", str(healthy), "doctor").err


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ('DROP TRIGGER "auditcli_capture_changelog_after_delete_item"', ("problem", "stale-triggers", "item")),
        ("DROP TABLE other", ("info", "dropped", "other")),
        ("CREATE TABLE log_meta (name, value)", ("problem", "stale-triggers", "log_meta")),
    ],
)
def test_what_somebody_did_to_the_database_is_found(
    run: Audit, healthy: Path, statement: str, finding: tuple[str, str, str]
) -> None:
    _write(healthy, statement)

    code, found = _codes(run, healthy)

    assert finding in found
    assert code == (1 if finding[0] == "problem" else 0)


def test_a_new_column_makes_triggers_stale_until_init(run: Audit, healthy: Path) -> None:
    _write(healthy, "ALTER TABLE item ADD COLUMN fresh TEXT")

    before = _codes(run, healthy)
    run("-u", str(healthy), "init")

    assert before == (1, [("problem", "stale-triggers", "item"), ("problem", "columns-changed", "item")])
    assert _codes(run, healthy) == (0, [])


def test_a_paused_table_and_a_table_without_a_key_are_named(run: Audit, healthy: Path) -> None:
    _write(healthy, "CREATE TABLE loose (v)")
    run("-u", str(healthy), "init")
    run("-u", str(healthy), "pause", "item")

    code, found = _codes(run, healthy)

    assert code == 1
    assert found == [("problem", "paused", "item"), ("limit", "no-key", "loose")]


def test_a_second_log_is_found(run: Audit, healthy: Path) -> None:
    _write(healthy, "CREATE TABLE log2 (id INTEGER PRIMARY KEY)", "CREATE TABLE log2_meta (name, value)")

    assert ("problem", "two-logs", "log2") in _codes(run, healthy)[1]


def test_what_listeners_can_not_see_is_said(run: Audit, healthy: Path) -> None:
    _write(healthy, "CREATE TRIGGER own AFTER INSERT ON item BEGIN DELETE FROM other; END")
    run("-u", str(healthy), "init", "--listeners")

    code, found = _codes(run, healthy)

    assert code == 1
    assert found == [("limit", "listeners-only", None), ("problem", "own-triggers", "item")]


def test_findings_are_told_with_their_fix(run: Audit, healthy: Path) -> None:
    _write(healthy, "INSERT INTO item VALUES (1, 'a')", "ALTER TABLE item ADD COLUMN fresh TEXT")

    ran = run("-u", str(healthy), "doctor", "-o", "table")

    assert "problem  item: its columns changed since the log looked: fresh\n         -> audit init\n" in ran.out
    assert "MB of images a year" in ran.out
    assert "2 to do" in ran.err
