"""`audit init` and `audit demo`: databases are made ready, and never overwritten."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.shop import ROOT, Order, Ran, Shop, in_terminal

Audit = Callable[..., Ran]

TABLES = (
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, password TEXT, updated_at TEXT)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, version INTEGER)",
    "CREATE TABLE order_cache (id INTEGER PRIMARY KEY)",
)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A database without a log."""
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    for statement in TABLES:
        connection.execute(statement)
    connection.close()
    return path


def test_init_installs_triggers_that_record_what_any_program_writes(run: Audit, empty: Path) -> None:
    ran = run("-u", str(empty), "init")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id) VALUES (99)")
        connection.commit()

    assert ran.code == 0
    assert "installed" in ran.err
    assert "what any program changes is recorded from now on" in ran.err.splitlines()[-1]
    assert "\tcustomer\t99\t" in run("-u", str(empty), "log").out


def test_init_again_leaves_what_is_installed_alone(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")
    before = _triggers(empty)

    ran = run("-u", str(empty), "init")

    assert f"triggers: {len(before)} up to date" in ran.err
    assert "installed" not in ran.err
    assert _triggers(empty) == before


def test_init_again_refreshes_only_what_a_new_column_made_stale(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN fresh TEXT")
        connection.commit()
    before = _triggers(empty)

    run("-u", str(empty), "init")

    changed = {name for name, sql in _triggers(empty).items() if before.get(name) != sql}
    assert changed
    assert all(name.endswith("_orders") for name in changed)


def test_a_trigger_that_somebody_dropped_comes_back(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")
    before = _triggers(empty)
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute('DROP TRIGGER "auditcli_capture_changelog_after_delete_orders"')

    run("-u", str(empty), "init")

    assert _triggers(empty) == before


def test_init_remove_takes_the_triggers_away_and_leaves_the_log(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id) VALUES (99)")
        connection.commit()

    installed = len(_triggers(empty))

    ran = run("-u", str(empty), "init", "--remove")

    assert f"triggers: {installed} removed" in ran.err
    assert _triggers(empty) == {}
    assert "\tcustomer\t99\t" in run("-u", str(empty), "log").out


@pytest.mark.parametrize("kept", [(), ("changelog_transaction", "changelog_replaced")])
def test_init_remove_takes_triggers_away_whose_log_is_gone(run: Audit, empty: Path, kept: tuple[str, ...]) -> None:
    run("-u", str(empty), "init")
    with closing(sqlite3.connect(empty)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'changelog%' AND type = 'table'")
        for (name,) in tables.fetchall():
            if name not in kept:
                connection.execute(f'DROP TABLE "{name}"')

    would = run("-u", str(empty), "init", "--remove", "--dry-run")
    removed = run("-u", str(empty), "init", "--remove")
    again = run("-u", str(empty), "init", "--remove")

    assert (would.code, "DROP TRIGGER" in would.out) == (0, True)
    assert (removed.code, again.code) == (0, 8)
    assert "the log changelog is gone" in removed.err
    assert _triggers(empty) == {}
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id) VALUES (99)")


def test_init_waits_for_a_lock_no_longer_than_it_is_told(run: Audit, empty: Path) -> None:
    with closing(sqlite3.connect(empty, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")

        ran = run("-u", str(empty), "init", "--lock-timeout", "0.1")

    assert ran.code == 8
    assert ran.error == "the database is locked; nothing was changed"
    assert "--lock-timeout" in ran.hint


def test_init_dry_run_prints_the_triggers_and_writes_nothing(run: Audit, empty: Path) -> None:
    before = empty.read_bytes()

    ran = run("-u", str(empty), "init", "--dry-run")

    assert "CREATE TRIGGER" in ran.out
    assert "would be installed" in ran.err
    assert empty.read_bytes() == before


def test_a_masked_column_is_recorded_without_its_value(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init", "--mask", "customer.password")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id, password) VALUES (99, 'secret')")
        connection.execute("UPDATE customer SET password = 'better' WHERE id = 99")
        connection.commit()
        kept = connection.execute("SELECT after FROM changelog ORDER BY id").fetchall()

    assert len(kept) == 2
    assert "secret" not in str(kept)
    assert "better" not in str(kept)


def test_pause_leaves_a_gap_and_resume_closes_it(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")

    paused = run("-u", str(empty), "pause", "customer", "-m", "import", "--as", "alice")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id) VALUES (98)")
        connection.commit()
    again = run("-u", str(empty), "pause", "customer")
    resumed = run("-u", str(empty), "resume", "customer", "--baseline")
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("INSERT INTO customer (id) VALUES (99)")
        connection.commit()
        gaps = connection.execute("SELECT table_name, until_id, actor, reason FROM changelog_gap").fetchall()
        inserted = connection.execute("SELECT row_id FROM changelog WHERE event_type = 'INSERT'").fetchall()

    assert (paused.code, again.code, resumed.code) == (0, 0, 0)
    assert "nothing to do, paused already: customer" in again.err
    assert gaps == [("customer", 0, "alice", "import")]
    assert inserted == [("99",)]


@pytest.fixture
def full(empty: Path) -> Path:
    """A database with so many rows that recording them takes a while."""
    with closing(sqlite3.connect(empty)) as connection:
        connection.executemany("INSERT INTO orders (id) VALUES (?)", ((key,) for key in range(40_000)))
        connection.commit()
    return empty


def test_a_baseline_that_was_broken_off_says_that_it_goes_on(run: Audit, full: Path) -> None:
    run("-u", str(full), "init")
    with closing(sqlite3.connect(full)) as connection:
        connection.execute('INSERT INTO changelog_meta VALUES (\'baseline\', \'{"customer":"done","orders":[39989]}\')')
        connection.commit()

    ran = run("-u", str(full), "init", "--baseline")

    assert "baseline: going on where an earlier run stopped" in ran.err
    assert "baseline: 10 rows recorded as they are" in ran.err


def test_pausing_a_table_that_is_not_tracked_is_refused(run: Audit, empty: Path) -> None:
    run("-u", str(empty), "init")

    ran = run("-u", str(empty), "pause", "custmer")

    assert ran.code == 3
    assert "customer" in ran.hint


def _triggers(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall())


def test_init_with_listeners_says_that_nothing_records_yet(run: Audit, empty: Path) -> None:
    ran = run("-u", str(empty), "init", "--listeners")

    assert ran.code == 0
    assert ran.err.splitlines()[0] == f"target: sqlite:///{empty}"
    assert "nothing is recorded until the application calls auditcli.track" in ran.err.splitlines()[-1]
    assert run("-u", str(empty), "log").code == 0


def test_init_proposes_bookkeeping_columns_and_says_so(run: Audit, empty: Path) -> None:
    ran = run("-u", str(empty), "init")

    assert "bookkeeping: customer.updated_at (proposed by name; --bookkeeping says otherwise)" in ran.err


def test_init_settles_what_is_tracked(run: Audit, empty: Path) -> None:
    words = ["--tables", "order*", "--exclude", "order_cache", "--bookkeeping", "orders.version"]

    ran = run("-u", str(empty), "init", *words)

    tables = [line.split("\t")[0] for line in run("-u", str(empty), "status").lines[1:]]
    assert (ran.code, tables) == (0, ["orders"])


def test_a_second_init_changes_nothing(run: Audit, shop: Shop) -> None:
    before = run("-u", str(shop.path), "log", "-o", "jsonl").out

    ran = run("-u", str(shop.path), "init")

    assert ran.code == 0
    assert "brought up to date" in ran.err
    assert run("-u", str(shop.path), "log", "-o", "jsonl").out == before


def test_init_upgrades_an_older_log_in_place(run: Audit, shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE changelog_meta SET value = '0' WHERE name = 'version'")
        connection.exec_driver_sql("DROP TABLE changelog_gap")
    before = run("-u", str(shop.path), "log", "-o", "jsonl").out

    ran = run("-u", str(shop.path), "init")

    assert ran.code == 0, ran.err
    assert run("-u", str(shop.path), "log", "-o", "jsonl").out == before
    assert '"log_version": 1' in run("-u", str(shop.path), "status", "-o", "json").out


def test_a_dry_run_of_init_prints_sql_and_writes_nothing(run: Audit, empty: Path) -> None:
    before = empty.read_bytes()

    ran = run("-u", str(empty), "init", "--dry-run")

    assert ran.code == 0
    assert ran.out.startswith("CREATE TABLE changelog")
    assert empty.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--tables", "ordres"], 3),
        (["--exclude", "ordres"], 3),
        (["--exclude-column", "customer.pasword"], 2),
        (["--exclude-column", "customr.password"], 2),
        (["--exclude-column", "password"], 2),
        (["--exclude-column", "customer.id"], 2),
        (["--bookkeeping", "orders.vresion"], 2),
        (["--remove"], 8),
        (["--remove", "--listeners"], 2),
        (["--remove", "--baseline"], 2),
        (["--mask", "customer.id"], 2),
    ],
)
def test_an_init_that_can_not_be_meant_writes_nothing(run: Audit, empty: Path, words: list[str], code: int) -> None:
    before = empty.read_bytes()

    ran = run("-u", str(empty), "init", *words)

    assert (ran.code, len(ran.error) > 0, len(ran.hint) > 0) == (code, True, True)
    assert empty.read_bytes() == before


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A demo that has been run, with its database."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    command = [sys.executable, "-m", "auditcli", "demo", str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return path, Ran(ran.returncode, ran.stdout, ran.stderr)


def test_the_demo_tells_its_story_and_takes_the_bad_import_back(told: tuple[Path, Ran]) -> None:
    ran = told[1]

    commands = [line for line in ran.lines if line.startswith("$ audit -u ")]
    assert ran.code == 0
    assert [command.split()[4] for command in commands] == ["log", "diff", "diff", "undo", "undo"]
    assert "import-job" in ran.out
    assert "rows written and read back" in ran.err
    assert len([line for line in ran.lines if line.startswith("  audit -u ")]) == 5


def test_the_commands_that_the_demo_proposes_work(told: tuple[Path, Ran], run: Audit) -> None:
    proposed = [line.split()[1:] for line in told[1].lines if line.startswith("  audit -u ")]

    assert [run(*words).code for words in proposed] == [0] * 5


def test_the_demo_overwrites_nothing(run: Audit, shop: Shop) -> None:
    before = shop.path.read_bytes()

    ran = run("demo", str(shop.path))

    assert (ran.code, ran.error) == (2, f"{shop.path} exists already")
    assert shop.path.read_bytes() == before


def test_the_demo_replaces_only_a_sample_of_its_own(run: Audit, empty: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.db"
    text.write_text("my notes")

    other, notes = run("demo", str(empty), "--fresh"), run("demo", str(text), "--fresh")

    assert (other.code, notes.code) == (2, 4)
    assert text.read_text() == "my notes"


@pytest.mark.thorough
def test_the_demo_can_be_made_afresh_in_its_folder(told: tuple[Path, Ran], run: Audit, tmp_path: Path) -> None:
    shutil.copy(told[0], tmp_path / "audit-demo.db")

    ran = run("demo", str(tmp_path), "--fresh")

    assert ran.code == 0
    assert f"{tmp_path / 'audit-demo.db'}" in ran.err


def test_a_shop_of_ones_own_is_no_sample_even_with_a_log(run: Audit, shop: Shop) -> None:
    ran = run("demo", str(shop.path), "--fresh")

    assert ran.code == 2
    assert shop.value(Order, 1, "status") == "shipped"


def test_the_demo_on_a_terminal_never_stops_for_a_pager(tmp_path: Path) -> None:
    code, screen = in_terminal(["demo", str(tmp_path / "demo.db")], environment={"AUDIT_PAGER": "false"})

    assert code == 0
    assert "\x1b[" in screen


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A database with a table that takes a moment to read."""
    path = tmp_path / "many.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute(
            "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 60000) "
            "INSERT INTO item SELECT k, 'name ' || k FROM n"
        )
        connection.commit()
    return path


@pytest.mark.thorough
def test_a_baseline_and_its_proof_tell_a_person_how_far_they_have_come(many: Path) -> None:
    code, screen = in_terminal(["-u", str(many), "init", "--baseline"])
    verified, proof = in_terminal(["-u", str(many), "verify"])

    assert (code, verified) == (0, 0)
    assert "baseline: item, " in screen
    assert " rows, " in screen
    assert " a second" in screen
    assert "verify: item, " in proof


@pytest.mark.thorough
def test_nothing_tells_a_pipe_how_far_a_baseline_has_come(run: Audit, many: Path) -> None:
    ran = run("-u", str(many), "init", "--baseline")

    assert "a second" not in ran.err
    assert "baseline: 60,000 rows recorded as they are" in ran.err
