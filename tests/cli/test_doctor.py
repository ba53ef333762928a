"""`audit doctor`: what keeps a log from being complete is found, with its fix, and nothing else is."""

from __future__ import annotations

import json
import shlex
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
    return ran.code, [each for each in found if each[1] not in ("database", "growth", "tracked")]


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


def _fix(run: Audit, path: Path, code: str) -> str:
    """The one fix that doctor names for a finding."""
    found = json.loads(run("-u", str(path), "doctor", "-o", "json").out)
    [fix] = {str(each["fix"]) for each in found if each["code"] == code}
    return fix


def test_each_table_is_listed_with_how_and_since_when_it_is_recorded(run: Audit, healthy: Path) -> None:
    found = json.loads(run("-u", str(healthy), "doctor", "-o", "json").out)

    tracked = {each["table"]: each["message"] for each in found if each["code"] == "tracked"}
    assert tracked.keys() == {"item", "other"}
    assert all(message.startswith("recorded by triggers since 20") for message in tracked.values())


def test_a_missing_table_that_all_triggers_write_into_is_found_and_made_again(run: Audit, healthy: Path) -> None:
    _write(healthy, "DROP TABLE changelog_replaced")

    assert ("problem", "stale-triggers", None) in _codes(run, healthy)[1]
    run("-u", str(healthy), *_fix(run, healthy, "stale-triggers").split()[1:])

    assert _codes(run, healthy) == (0, [])
    _write(healthy, "INSERT INTO item VALUES (1, 'a')")


def test_a_trigger_that_somebody_wrote_anew_under_its_name_is_found_and_made_again(run: Audit, healthy: Path) -> None:
    name = "auditcli_capture_changelog_after_delete_item"
    _write(
        healthy,
        f'DROP TRIGGER "{name}"',
        f'CREATE TRIGGER "{name}" AFTER DELETE ON item BEGIN SELECT 1; END',
    )

    assert ("problem", "stale-triggers", "item") in _codes(run, healthy)[1]
    run("-u", str(healthy), "init")

    assert _codes(run, healthy) == (0, [])


def test_the_fix_for_an_untracked_table_keeps_the_others(run: Audit, healthy: Path) -> None:
    run("-u", str(healthy), "init", "--tables", "item")

    fix = _fix(run, healthy, "untracked")
    run("-u", str(healthy), *shlex.split(fix)[1:])

    assert fix == "audit init --tables item --tables other"
    assert _codes(run, healthy) == (0, [])


def test_the_fix_for_an_excluded_table_names_no_other_exclusion(run: Audit, healthy: Path) -> None:
    run("-u", str(healthy), "init", "--exclude", "other")

    fix = _fix(run, healthy, "untracked")
    run("-u", str(healthy), *shlex.split(fix)[1:])

    assert fix == "audit init --exclude ''"
    assert _codes(run, healthy) == (0, [])


def test_the_fixes_of_a_log_without_triggers_install_none(run: Audit, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
    run("-u", str(path), "init", "--listeners")
    _write(path, "ALTER TABLE item ADD COLUMN price")

    assert _fix(run, path, "columns-changed") == "audit init --listeners"


def test_columns_of_a_table_that_is_not_tracked_any_more_are_nobodys_business(run: Audit, healthy: Path) -> None:
    run("-u", str(healthy), "init", "--exclude", "other")
    _write(healthy, "ALTER TABLE other ADD COLUMN price")

    assert _codes(run, healthy) == (0, [("info", "untracked", "other")])


@pytest.mark.parametrize("option", ["--mask", "--exclude-column"])
def test_a_masked_column_that_has_another_name_now_is_found(run: Audit, tmp_path: Path, option: str) -> None:
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, secret TEXT)")
    run("-u", str(path), "init", option, "item.secret")
    run("-u", str(path), "init", "--remove")
    _write(path, "ALTER TABLE item RENAME COLUMN secret TO password")

    warned = run("-u", str(path), "init")
    code, found = _codes(run, path)

    assert "warning: item.secret, left out or masked, is gone" in warned.err
    assert (code, ("problem", "setting-gone", "item") in found) == (1, True)
