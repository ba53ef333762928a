"""What `audit replay` can't do: it says what, of which table, and the way out, and loses neither rows nor its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.cli.shop import Ran
from tests.db.replayed import empty, record
from tests.db.replayed import run as write

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]
ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(40), price NUMERIC(10, 2))"
WORD = "CREATE TABLE word (id INTEGER PRIMARY KEY, item_id INTEGER, word VARCHAR(40))"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database with two recorded tables and two transactions."""
    path = tmp_path / "source.db"
    engine = create_engine(f"sqlite:///{path}")
    write(engine, ITEM, WORD)
    record(engine)
    write(engine, "INSERT INTO item VALUES (1, 'tea', 2.5)")
    write(engine, "INSERT INTO word VALUES (1, 1, 'green')")
    engine.dispose()
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty database."""
    path = tmp_path / "target.db"
    path.touch()
    return path


def test_a_target_without_the_tables_names_them(run: Audit, source: Path, target: Path) -> None:
    ran = run("-u", str(source), "replay", "--to", str(target))

    assert ran.code == 3
    assert "the target has no table item, word" in ran.err
    assert "--create-tables makes what is missing" in ran.err
    assert _rows(target, "SELECT name FROM sqlite_master") == []


def test_a_target_with_other_columns_names_them(run: Audit, source: Path, target: Path) -> None:
    _write(target, "CREATE TABLE item (id INTEGER PRIMARY KEY, title TEXT)", WORD)

    ran = run("-u", str(source), "replay", "--to", str(target))

    assert (ran.code, "item in the target has no column name, price" in ran.err) == (2, True)
    assert "not:table:item" in ran.err
    assert _rows(target, "SELECT count(*) FROM word") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("postgresql", "name INTEGER, price NUMERIC(10, 2)"),
        ("mariadb", "name DATE, price NUMERIC(10, 2)"),
        ("mariadb", "name VARCHAR(2), price NUMERIC(10, 2)"),
        ("sqlite", "name INTEGER, price REAL) STRICT --"),
    ],
)
def test_a_target_with_other_types_names_the_cell(
    run: Audit, source: Path, tmp_path: Path, kind: str, columns: str
) -> None:
    with empty(kind, tmp_path / "other") as engine:
        write(engine, f"CREATE TABLE item (id INTEGER PRIMARY KEY, {columns})", WORD)

        ran = run("-u", str(source), "replay", "--to", engine.url.render_as_string(hide_password=False))

        assert ran.code == 5, ran.err
        assert "item/1" in ran.out
        assert "name" in ran.out
        with engine.connect() as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM item")).scalar() == 0


def test_the_source_itself_is_refused(run: Audit, source: Path) -> None:
    ran = run("-u", str(source), "replay", "--to", f"sqlite:///{source.parent}/./{source.name}", "--rebuild", "--yes")

    assert (ran.code, "source and target are the same database" in ran.err) == (2, True)
    assert _rows(source, "SELECT count(*) FROM item") == [(1,)]


@pytest.mark.parametrize("words", [["table:item", "event:delete"], ["actor:nobody"]])
def test_a_selection_of_nothing_is_exit_3(run: Audit, source: Path, target: Path, words: list[str]) -> None:
    ran = run("-u", str(source), "replay", "--to", str(target), "--create-tables", *words)

    assert (ran.code, "nothing to replay" in ran.err) == (3, True)


def test_a_table_that_is_unknown_is_exit_2_or_3_and_creates_no_file(run: Audit, source: Path, tmp_path: Path) -> None:
    ran = run("-u", str(source), "replay", "--to", str(tmp_path / "new.db"), "--create-tables", "table:itme")

    assert (ran.code, "item" in ran.err) in ((2, True), (3, True))
    assert not (tmp_path / "new.db").exists()


def test_a_file_that_takes_no_writes_is_refused_with_the_place_kept(
    run: Audit, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    _write(source, "INSERT INTO item VALUES (2, 'salt', 1)")
    before = target.read_bytes()
    # The tests may run as a user who may write everywhere.
    monkeypatch.setattr("auditcli.connect.os.access", lambda *_: False)

    ran = run("-u", str(source), "replay", "--to", str(target))

    assert (ran.code, "is read-only" in ran.err) == (8, True)
    assert target.read_bytes() == before


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_that_takes_no_writes_is_refused(run: Audit, source: Path, tmp_path: Path, kind: str) -> None:
    with empty(kind, tmp_path / "other") as engine:
        write(engine, ITEM, WORD)
        options = {
            "postgresql": {"options": "-c default_transaction_read_only=on"},
            "mariadb": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
        }
        url = engine.url.update_query_dict(options[kind]).render_as_string(hide_password=False)

        ran = run("-u", str(source), "replay", "--to", url)

        assert (ran.code, "read-only" in ran.err.lower() or "READ ONLY" in ran.err) == (8, True), ran.err
        with engine.connect() as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM item")).scalar() == 0


def test_a_full_target_says_so_and_goes_on_when_there_is_room(
    run: Audit, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    _write(source, "INSERT INTO item VALUES (2, 'salt', 1)", f"INSERT INTO item VALUES (3, '{'x' * 200_000}', 1)")
    with monkeypatch.context() as patched:
        patched.setattr("auditcli.dialects.sqlite.SQLite.enforce_foreign_keys_sql", "PRAGMA max_page_count = 30")

        full = run("-u", str(source), "replay", "--to", str(target))

    kept = _rows(target, "SELECT id FROM item ORDER BY id")
    again = run("-u", str(source), "replay", "--to", str(target))
    assert (full.code, "the place is kept" in full.err, "full" in full.err) == (8, True, True), full.err
    assert kept == [(1,), (2,)]
    assert (again.code, _rows(target, "SELECT id FROM item ORDER BY id")) == (0, [(1,), (2,), (3,)])


def test_a_table_that_the_target_has_lost_is_not_made_anew_without_its_rows(
    run: Audit, source: Path, target: Path
) -> None:
    run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    _write(source, "INSERT INTO word VALUES (2, 1, 'black')")
    _write(target, "DROP TABLE word")

    missing = run("-u", str(source), "replay", "--to", str(target))
    lost = run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    rebuilt = run("-u", str(source), "replay", "--to", str(target), "--create-tables", "--rebuild", "--yes")

    assert (missing.code, "the target has no table word" in missing.err) == (3, True)
    assert (lost.code, "the target has lost table word" in lost.err) == (3, True)
    assert (rebuilt.code, _rows(target, "SELECT id FROM word")) == (0, [(1,), (2,)])


def test_a_table_that_the_source_has_no_more_is_replayed_to_its_end(run: Audit, source: Path, target: Path) -> None:
    run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    _write(source, "INSERT INTO word VALUES (2, 1, 'black')")
    _write(source, "DROP TABLE word")

    ran = run("-u", str(source), "replay", "--to", str(target))

    assert (ran.code, _rows(target, "SELECT id FROM word")) == (0, [(1,), (2,)])


def test_a_table_that_is_new_to_the_log_is_made(run: Audit, source: Path, target: Path) -> None:
    run("-u", str(source), "replay", "--to", str(target), "--create-tables")
    _write(source, "CREATE TABLE later (id INTEGER PRIMARY KEY)")
    run("-u", str(source), "init")
    _write(source, "INSERT INTO later VALUES (1)")

    ran = run("-u", str(source), "replay", "--to", str(target), "--create-tables")

    assert (ran.code, _rows(target, "SELECT id FROM later")) == (0, [(1,)])


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
            connection.commit()


def _rows(path: Path, sql: str) -> Sequence[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()
