"""`audit verify`: the proof that nothing was missed, and the exit code that says so."""

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
def recorded(run: Audit, tmp_path: Path) -> Path:
    """A database with triggers, a baseline and a change."""
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO item VALUES (1, 'a'), (2, 'b')")
    run("-u", str(path), "init", "--baseline")
    _write(path, "UPDATE item SET name = 'c' WHERE id = 1")
    return path


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_complete_log_is_proved_with_exit_0(run: Audit, recorded: Path) -> None:
    ran = run("-u", str(recorded), "verify")

    assert (ran.code, ran.out) == (0, "")
    assert "compared 2 rows of 1 table with 3 changes" in ran.err
    assert "nothing was missed: every covered row is as the log says" in ran.err


def test_a_change_behind_the_log_is_named_with_exit_1(run: Audit, recorded: Path) -> None:
    _write(
        recorded,
        'DROP TRIGGER "auditcli_capture_changelog_after_update_item"',
        "UPDATE item SET name = 'z' WHERE id = 2",
    )

    ran = run("-u", str(recorded), "verify", "-o", "json")

    [found] = json.loads(ran.out)
    assert ran.code == 1
    assert (found["difference"], found["row"], found["column"]) == ("changed", "item/2", "name")
    assert (found["logged"], found["found"], found["last_change"]) == ("b", "z", 2)
    assert "changes are missing in the log" in ran.err


def test_the_outcome_is_kept_for_status_and_manifests(run: Audit, recorded: Path, tmp_path: Path) -> None:
    before = json.loads(run("-u", str(recorded), "status", "-o", "json").out)["last_verify"]
    never = run("-u", str(recorded), "status", "-o", "table").err
    run("-u", str(recorded), "verify")
    kept = json.loads(run("-u", str(recorded), "status", "-o", "json").out)["last_verify"]
    run("-u", str(recorded), "export", str(tmp_path / "all.csv"), "--manifest")
    manifest = json.loads((tmp_path / "all.csv.manifest.json").read_text())

    assert before is None
    assert "verified   never: `audit verify` proves" in never
    assert {**kept, "at": ""} == {"at": "", "until_id": 3, "differences": 0, "in_gaps": 0, "not_covered": 0}
    assert manifest["last_verify"] == kept
    assert "verified   #3 " in run("-u", str(recorded), "status", "-o", "table").err


def test_a_part_of_the_tables_or_another_database_is_no_outcome_of_the_log(
    run: Audit, recorded: Path, tmp_path: Path
) -> None:
    (copy := tmp_path / "copy.db").write_bytes(recorded.read_bytes())
    run("-u", str(recorded), "verify", "--table", "item")
    run("-u", str(recorded), "verify", "--against", str(copy))

    assert json.loads(run("-u", str(recorded), "status", "-o", "json").out)["last_verify"] is None


def test_a_database_that_takes_no_writes_is_verified_all_the_same(run: Audit, recorded: Path) -> None:
    recorded.chmod(0o400)
    ran = run("-u", f"sqlite:///{recorded}?mode=ro", "verify")

    assert ran.code == 0
    assert "nothing was missed" in ran.err
    assert "this outcome is not kept in the log: " in ran.err


def test_rows_that_nothing_speaks_of_are_counted_with_the_way_out(run: Audit, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY)", "INSERT INTO item VALUES (1), (2)")
    run("-u", str(path), "init")

    ran = run("-u", str(path), "verify")

    assert ran.code == 0
    assert "2 rows not covered" in ran.err
    assert "audit init --baseline" in ran.err


def test_a_table_that_is_not_tracked_is_not_found(run: Audit, recorded: Path) -> None:
    ran = run("-u", str(recorded), "verify", "--table", "itm")

    assert ran.code == 3
    assert "item" in ran.hint


def test_a_database_without_a_log_can_not_be_verified(run: Audit, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    _write(path, "CREATE TABLE item (id INTEGER PRIMARY KEY)")

    assert run("-u", str(path), "verify").code == 8


def test_a_checkpoint_is_gone_on_from(run: Audit, recorded: Path) -> None:
    checkpoint = recorded.with_name("app.checkpoint")
    first = run("-u", str(recorded), "verify", "--checkpoint", str(checkpoint))
    _write(recorded, "UPDATE item SET name = 'd' WHERE id = 1")

    second = run("-u", str(recorded), "verify", "--checkpoint", str(checkpoint))

    assert (first.code, second.code) == (0, 0)
    assert "the checkpoint now ends with change 3" in first.err
    assert "with 1 change after change 3, where the checkpoint ends" in second.err
    assert "the checkpoint now ends with change 4" in second.err


def test_a_checkpoint_of_some_tables_is_refused(run: Audit, recorded: Path) -> None:
    ran = run("-u", str(recorded), "verify", "--table", "item", "--checkpoint", "x")

    assert ran.code == 2
    assert ran.error == "a checkpoint is of all tables"
