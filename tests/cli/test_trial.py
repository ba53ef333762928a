"""What trying to break the program found: each test is named after what it did wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.types import NullType

import auditcli
from auditcli.apply import PlanConflict, apply_plan
from auditcli.log.tables import log_tables
from auditcli.plan import PlanOptions
from auditcli.undo import plan_undo
from tests.cli.shop import MOVED, ROOT, Ran, Shop, in_terminal

Audit = Callable[..., Ran]


class Trial:
    """A database of one table `t`, made by some DDL and written by people with names."""

    def __init__(self, path: Path, ddl: str, *columns: str, **settings: Any) -> None:
        self.path = path
        self.engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
        self.table = sa.Table("t", sa.MetaData(), *(sa.Column(name, NullType()) for name in columns))
        self.behind(ddl)
        auditcli.track(self.engine, create=True, **settings)

    def behind(self, sql: str) -> None:
        """A statement that is not recorded."""
        with self.engine.connect() as connection:
            connection.connection.driver_connection.execute(sql)  # type: ignore[union-attr]
            connection.connection.commit()

    def write(self, actor: str, *statements: sa.Executable) -> None:
        """One transaction."""
        with auditcli.context(actor=actor), self.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def insert(self, **values: Any) -> sa.Executable:
        return sa.insert(self.table).values(values)

    def update(self, **values: Any) -> sa.Executable:
        return sa.update(self.table).values(values)

    def rows(self) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM t ORDER BY 1")]

    def events(self) -> list[str]:
        """The event types of the log, in order."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.text("SELECT event_type FROM changelog ORDER BY id")))


def equals(tmp_path: Path) -> Trial:
    """A table without a key, with three equal rows."""
    trial = Trial(tmp_path / "trial.db", "CREATE TABLE t (a, b)", "a", "b")
    trial.write("alice", *[trial.insert(a=1, b=2)] * 3)
    return trial


def test_one_of_equal_rows_was_deleted_and_another_one_looked_at_so_that_no_record_was_written(
    run: Audit, tmp_path: Path
) -> None:
    trial = equals(tmp_path)

    ran = run("-u", str(trial.path), "undo", "1", "--yes")

    assert ran.code == 0, ran.err
    assert (trial.rows(), trial.events()) == ([(1, 2)] * 2, ["INSERT"] * 3 + ["DELETE"])


def test_one_of_equal_rows_was_changed_and_another_one_looked_at_so_that_no_record_was_written(
    run: Audit, tmp_path: Path
) -> None:
    trial = equals(tmp_path)
    trial.write("bob", trial.update(b=3))

    ran = run("-u", str(trial.path), "undo", "4", "--yes")

    assert ran.code == 0, ran.err
    assert (sorted(trial.rows()), trial.events()[6:]) == ([(1, 2), (1, 3), (1, 3)], ["UPDATE"])


def test_undoing_one_of_equal_rows_twice_took_a_second_one(run: Audit, tmp_path: Path) -> None:
    trial = equals(tmp_path)
    run("-u", str(trial.path), "undo", "1", "--yes")

    again = run("-u", str(trial.path), "undo", "1", "--yes")

    assert (again.code, trial.rows()) == (0, [(1, 2)] * 2)
    assert "as it was already" in again.err


@pytest.mark.parametrize("ddl", ["CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)", "CREATE TABLE t (id, a, b)"])
def test_a_row_came_back_with_an_empty_cell_after_a_change_and_the_undo_of_its_row_were_taken_back(
    run: Audit, tmp_path: Path, ddl: str
) -> None:
    trial = Trial(tmp_path / "trial.db", ddl, "id", "a", "b")
    trial.write("alice", trial.insert(id=1, a=1, b=1))
    trial.write("bob", trial.update(b=2))
    run("-u", str(trial.path), "undo", "1", "2", "--yes")

    ran = run("-u", str(trial.path), "undo", "2", "3", "--yes")

    assert ran.code == 0, ran.err
    assert trial.rows() == [(1, 1, 1)]


def test_a_stamp_that_others_moved_in_between_kept_a_deleted_row_from_coming_back(run: Audit, tmp_path: Path) -> None:
    trial = stamped(tmp_path)
    trial.write("alice", sa.delete(trial.table))

    ran = run("-u", str(trial.path), "undo", "actor:alice", "--yes")

    assert ran.code == 0, ran.err
    assert [row[:2] for row in trial.rows()] == [(1, "x")]


def test_exact_called_a_counter_that_others_moved_in_between_a_conflict(run: Audit, tmp_path: Path) -> None:
    trial = stamped(tmp_path)
    trial.write("alice", trial.update(a="z", version=4))

    ran = run("-u", str(trial.path), "undo", "actor:alice", "--yes", "--exact")

    assert ran.code == 0, ran.err
    assert trial.rows() == [(1, "x", 5)]


def stamped(tmp_path: Path) -> Trial:
    """A table with a version counter: alice's change, then bob's of the counter only."""
    ddl = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, version INTEGER)"
    trial = Trial(tmp_path / "trial.db", ddl, "id", "a", "version", bookkeeping={"t": ["version"]})
    trial.write("zoe", trial.insert(id=1, a="x", version=1))
    trial.write("alice", trial.update(a="y", version=2))
    trial.write("bob", trial.update(version=3))
    return trial


@pytest.mark.parametrize("sql", ["DROP TABLE t", "ALTER TABLE t RENAME TO u"])
def test_a_table_that_went_between_plan_and_apply_was_an_unexpected_error(tmp_path: Path, sql: str) -> None:
    trial = Trial(tmp_path / "trial.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "id", "a")
    trial.write("alice", trial.insert(id=1, a=1))
    with trial.engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=[1], options=PlanOptions())
    trial.behind(sql)

    with pytest.raises(PlanConflict) as refused:
        apply_plan(trial.engine, plan)

    [conflict] = refused.value.conflicts
    assert conflict.message == "t/1: the table no longer exists"


def test_the_next_command_forgot_which_database_was_meant(audit: Audit, shop: Shop) -> None:
    planned = audit("undo", str(MOVED), "--dry-run")
    done = audit("undo", str(MOVED), "--yes")

    assert planned.err.endswith(f"to apply: audit undo {MOVED} --yes -u {shop.path}\n")
    assert done.err.endswith(f" -u {shop.path}\n")


def test_the_next_command_forgot_the_profile(
    run: Audit, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.toml").write_text(f"[profiles.prod]\nurl = '{shop.path}'\nprotected = true\n")
    monkeypatch.chdir(tmp_path)

    ran = run("-P", "prod", "undo", str(MOVED), "--dry-run")

    assert ran.err.endswith(f'to apply: audit undo {MOVED} -m "why" --confirm prod -P prod\n')


def test_a_missing_table_of_the_log_came_without_the_way_out(audit: Audit, shop: Shop) -> None:
    with shop.engine.connect() as connection:
        connection.connection.driver_connection.execute("DROP TABLE changelog_transaction")  # type: ignore[union-attr]

    ran = audit("log")

    assert (ran.code, ran.error) == (8, "the database lacks a table (no such table: changelog_transaction)")
    assert "`audit init`" in ran.hint


def test_an_unanswered_question_left_the_error_on_its_line(shop: Shop) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "undo", str(MOVED)], answers="\x04")

    assert code == 6
    assert "\nerror: declined; nothing was written" in screen


@pytest.mark.parametrize(("shut", "form", "code"), [(">&-", "csv", 0), ("2>&-", "xml", 2)])
def test_a_closed_stream_was_an_uncaught_error(shop: Shop, shut: str, form: str, code: int) -> None:
    script = f'exec "$0" -m auditcli "$@" {shut}'

    ran = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, "-u", str(shop.path), "log", "-o", form],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (ran.returncode, ran.stderr) == (code, "")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_cut_the_transaction_that_one_has_to_type(audit: Audit, shop: Shop, columns: int) -> None:
    ids = {line.split("\t")[1][:8] for line in audit("log", "-o", "tsv").lines[1:]}

    _, screen = in_terminal(["-u", str(shop.path), "--no-pager", "log", "--transactions"], columns=columns)

    assert all(f"tx:{each}" in screen for each in ids)


@pytest.mark.parametrize("damage", ["event_type = 'FOO'", "after = '{broken'"], ids=["unknown event", "broken image"])
def test_a_damaged_record_was_an_unexpected_error_that_named_no_change(run: Audit, tmp_path: Path, damage: str) -> None:
    trial = Trial(tmp_path / "trial.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "id", "a")
    trial.write("alice", trial.insert(id=1, a=1))
    trial.behind(f"UPDATE changelog SET {damage}")

    ran = run("-u", str(trial.path), "show", "1")

    assert ran.code == 8
    assert "change 1 of the log can't be read" in ran.err


def test_a_row_without_any_name_of_its_own_broke_the_application(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial.db", "CREATE TABLE t (rowid, _rowid_, oid)", "rowid", "_rowid_", "oid")

    with pytest.raises(auditcli.AuditError, match="can't be told apart"):
        trial.write("alice", trial.insert(rowid=1, _rowid_=1, oid=1))
