"""What a person names as the database, and what it can turn out to be; nothing is changed by looking."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from auditcli.config import Target, database_url
from auditcli.connect import open_database, url_with_password
from auditcli.errors import CannotConnect
from tests.cli.shop import Ran, Shop, locked

Audit = Callable[..., Ran]


def test_no_database_at_all_names_every_way_to_give_one(run: Audit) -> None:
    ran = run("log")

    assert (ran.code, ran.error) == (2, "no database was named")
    assert "--url URL" in ran.hint


@pytest.mark.parametrize("words", [["-u", ""], ["-P", ""], ["--url="]])
def test_an_empty_option_does_not_lead_to_another_database(
    run: Audit, shop: Shop, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("AUDIT_DATABASE_URL", str(shop.path))

    before, after = run(*words, "log"), run("log", *words)

    assert (before.code, after.code) == (2, 2)


def test_a_file_that_is_not_there_is_not_created(run: Audit, tmp_path: Path) -> None:
    ran = run("-u", str(tmp_path / "missing.db"), "log")

    assert (ran.code, ran.error) == (4, f"no such file: {tmp_path / 'missing.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_database(run: Audit, tmp_path: Path) -> None:
    ran = run("-u", str(tmp_path), "log")

    assert (ran.code, ran.error) == (4, f"{tmp_path} is a directory")


def test_a_file_that_is_no_database_is_left_as_it_is(run: Audit, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("just text, and enough of it to be looked at as a header")

    ran = run("-u", str(text), "init")

    assert (ran.code, ran.error) == (4, f"{text} is not a SQLite database")
    assert text.read_text().startswith("just text")


def test_a_damaged_database_is_said_to_be_one(run: Audit, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    ran = run("-u", str(damaged), "log")

    assert ran.code == 4
    assert "not a sound SQLite database" in ran.error


def test_a_pipe_is_not_waited_for(run: Audit, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    ran = run("-u", str(tmp_path / "pipe"), "log")

    assert (ran.code, ran.error) == (4, f"{tmp_path / 'pipe'} is no regular file")


def test_a_file_name_with_a_nul_is_two_lines(run: Audit) -> None:
    ran = run("-u", "a\0b.db", "log")

    assert ran.code == 4
    assert "\0" not in ran.err
    assert len(ran.err.splitlines()) == 2


def test_odd_characters_in_a_file_name_are_part_of_the_name(run: Audit, shop: Shop, tmp_path: Path) -> None:
    odd = tmp_path / "100% odd? #1 'name'.db"
    odd.write_bytes(shop.path.read_bytes())

    ran = run("-u", str(odd), "log", "-n", "1")

    assert ran.code == 0
    assert len(ran.lines) == 2


@pytest.mark.parametrize(
    ("url", "code", "error"),
    [
        ("oracle://db/shop", 2, "no database is called 'oracle'"),
        ("sqlit:///shop.db", 2, "no database is called 'sqlit'"),
        ("sqlite://", 2, "a database in memory has no log to read"),
        ("postgresql://ann:geheim@db:x/shop", 2, "the database URL can't be read"),
    ],
)
def test_a_url_that_means_nothing_is_a_usage_error(run: Audit, url: str, code: int, error: str) -> None:
    ran = run("-u", url, "log")

    assert (ran.code, ran.error) == (code, error)
    assert "geheim" not in ran.err


def test_a_url_without_a_driver_says_what_to_install(run: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: False)

    ran = run("-u", "postgresql://ann:geheim@db/shop", "log")

    assert (ran.code, ran.error) == (4, "no driver for postgresql is installed")
    assert ran.hint == "pip install 'auditcli[postgresql]'"
    assert "geheim" not in ran.err


def test_a_database_that_is_not_supported_is_named(run: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)

    ran = run("-u", "mssql://ann:geheim@db/shop", "log")

    assert (ran.code, ran.error) == (2, "no database is called 'mssql'")
    assert "geheim" not in ran.err


@pytest.mark.parametrize("command", ["log", "status", "diff --since 1h", "undo 1", "mark x", "tail"])
def test_a_database_without_a_log_says_how_to_get_one(run: Audit, tmp_path: Path, command: str) -> None:
    path = database(tmp_path, "CREATE TABLE customer (id INTEGER PRIMARY KEY)")

    ran = run("-u", str(path), *command.split())

    assert (ran.code, ran.error) == (8, "there is no change log changelog in this database")
    assert "audit init" in ran.hint


@pytest.mark.parametrize("command", ["log", "init"])
def test_a_changelog_table_of_another_program_is_left_alone(run: Audit, tmp_path: Path, command: str) -> None:
    path = database(tmp_path, "CREATE TABLE changelog (version TEXT)", "INSERT INTO changelog VALUES ('1.0')")
    before = path.read_bytes()

    ran = run("-u", str(path), command)

    assert (ran.code, ran.error) == (8, "the table changelog belongs to another program")
    assert path.read_bytes() == before


def test_a_log_whose_table_was_dropped_says_so(run: Audit, shop: Shop) -> None:
    execute(shop.path, "DROP TABLE changelog")

    ran = run("-u", str(shop.path), "log")

    assert ran.code == 8
    assert "is gone" in ran.error


@pytest.mark.parametrize("command", ["log", "init"])
def test_a_newer_log_is_refused(run: Audit, shop: Shop, command: str) -> None:
    execute(shop.path, "UPDATE changelog_meta SET value = '99' WHERE name = 'version'")

    ran = run("-u", str(shop.path), command)

    assert ran.code == 8
    assert "version 99" in ran.error
    assert "upgrade auditcli" in ran.hint


def test_an_older_log_is_read_without_being_upgraded(run: Audit, shop: Shop) -> None:
    execute(shop.path, "UPDATE changelog_meta SET value = '0' WHERE name = 'version'")

    ran = run("-u", str(shop.path), "log", "-n", "1", "-o", "json")

    assert ran.code == 0
    assert ask(shop.path, "SELECT value FROM changelog_meta WHERE name = 'version'") == [("0",)]


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["log"],
        ["log", "--transactions"],
        ["show", "1"],
        ["diff", "--since", "1d"],
        ["row", "orders/1"],
        ["blame", "orders/1"],
        ["undo", "11", "--dry-run"],
        ["export", "-o", "csv"],
        ["mark", "--list"],
        ["stats"],
    ],
)
def test_reading_commands_write_nothing(audit: Audit, shop: Shop, command: list[str]) -> None:
    shop.close()
    before = shop.path.read_bytes()

    ran = audit(*command)

    assert ran.code == 0, ran.err
    assert shop.path.read_bytes() == before


def test_a_read_only_file_is_read(run: Audit, shop: Shop) -> None:
    ran = run("-u", f"sqlite:///file:{shop.path}?mode=ro&uri=true", "log", "-n", "1")

    assert ran.code == 0
    assert len(ran.lines) == 2


def test_a_read_only_connection_is_not_written(run: Audit, shop: Shop) -> None:
    ran = run("-u", f"sqlite:///file:{shop.path}?mode=ro&uri=true", "mark", "here")

    assert ran.code == 8
    assert "can't be written" in ran.error


@pytest.mark.parametrize("command", [["mark", "here"], ["undo", "11", "--yes"], ["init"]])
def test_a_read_only_file_is_not_written(
    run: Audit, shop: Shop, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.path.chmod(stat.S_IRUSR)
    # The superuser may write to anything.
    monkeypatch.setattr("auditcli.connect.os.access", lambda path, mode: path != shop.path or mode != os.W_OK)

    ran = run("-u", str(shop.path), *command)

    assert (ran.code, ran.error) == (8, f"the file {shop.path} is read-only")


@pytest.mark.parametrize("command", [["mark", "here"], ["undo", "11", "--yes", "--lock-timeout", "0.1"]])
def test_a_locked_database_says_whom_to_look_for(
    audit: Audit, shop: Shop, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditcli.connect.LOCK_TIMEOUT", 0.1)

    with locked(shop.path):
        ran = audit(*command)

    assert ran.code == 8
    assert "locked" in ran.error
    assert "lsof" in ran.hint


def test_reading_goes_on_while_somebody_writes(audit: Audit, shop: Shop) -> None:
    with locked(shop.path):
        ran = audit("log", "-n", "1")

    assert ran.code == 0


def test_a_profile_names_the_database(run: Audit, shop: Shop, in_folder: Path) -> None:
    (in_folder / "audit.toml").write_text(f'[profiles.shop]\nurl = "{shop.path}"')

    ran = run("-P", "shop", "status", "-o", "json")

    assert ran.code == 0
    assert f"--profile, profile shop of {in_folder / 'audit.toml'}" in ran.out


def test_an_unknown_profile_is_exit_code_2(run: Audit, in_folder: Path) -> None:
    (in_folder / "audit.toml").write_text('[profiles.shop]\nurl = "shop.db"')

    ran = run("-P", "shpo", "status")

    assert (ran.code, ran.error, ran.hint) == (2, "no profile 'shpo'", "did you mean shop?")


def test_the_environment_names_the_database(run: Audit, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_DATABASE_URL", f"sqlite:///{shop.path}")

    ran = run("log", "-n", "1")

    assert ran.code == 0


@pytest.mark.parametrize(
    "command", [["undo", "11", "--yes"], ["redo", "--yes"], ["mark", "here"], ["mark", "--delete", "here"], ["init"]]
)
def test_a_read_only_profile_is_not_written(run: Audit, shop: Shop, in_folder: Path, command: list[str]) -> None:
    (in_folder / "audit.toml").write_text(f'[profiles.shop]\nurl = "{shop.path}"\nread_only = true')
    before = shop.path.read_bytes()

    ran = run("-P", "shop", *command)

    assert (ran.code, ran.error) == (8, f"profile shop is read-only (sqlite:///{shop.path})")
    assert shop.path.read_bytes() == before


def test_a_read_only_profile_may_plan(run: Audit, shop: Shop, in_folder: Path) -> None:
    (in_folder / "audit.toml").write_text(f'[profiles.shop]\nurl = "{shop.path}"\nread_only = true')

    ran = run("-P", "shop", "undo", "11", "--dry-run")

    assert ran.code == 0, ran.err


def test_profile_list_shows_no_password(run: Audit, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)
    (in_folder / "audit.toml").write_text('[profiles.prod]\nurl = "postgresql://ann:geheim@db/shop"\nprotected = true')

    ran = run("profile", "list")

    assert ran.lines[1].split("\t")[:4] == ["prod", "postgresql+psycopg://ann:***@db/shop", "false", "true"]
    assert "geheim" not in ran.out


def test_no_profiles_are_an_empty_list(run: Audit) -> None:
    ran = run("profile", "list")

    assert (ran.code, ran.out) == (0, "")


def test_another_name_for_the_log_is_honoured(run: Audit, tmp_path: Path, in_folder: Path) -> None:
    path = database(tmp_path, "CREATE TABLE customer (id INTEGER PRIMARY KEY)", "CREATE TABLE changelog (x)")
    (in_folder / "audit.toml").write_text(f'url = "{path}"\nlog_table = "history"')

    made, seen = run("init"), run("status", "-o", "json")

    assert (made.code, seen.code) == (0, 0), made.err
    assert ("history",) in ask(path, "SELECT name FROM sqlite_master")


def test_no_connection_lets_foreign_keys_be_broken(shop: Shop) -> None:
    database = open_database(Target(database_url(str(shop.path)), "a test"), writing=True)

    with database.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.exec_driver_sql("DELETE FROM customer WHERE id = 1")
    database.close()


def test_a_connection_for_reading_writes_nothing(shop: Shop) -> None:
    database = open_database(Target(database_url(str(shop.path)), "a test"))

    with database.engine.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.exec_driver_sql("UPDATE orders SET total = 5")
    database.close()


def test_a_password_command_gives_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)
    url = database_url("postgresql://ann@db/shop")

    asked = url_with_password(Target(url, "a test", password_command=(sys.executable, "-c", "print('geheim')")))

    assert asked.password == "geheim"
    assert "geheim" not in repr(asked)


@pytest.mark.parametrize("command", [("no-such-program",), (sys.executable, "-c", "raise SystemExit(3)")])
def test_a_password_command_that_fails_says_so(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)
    url = database_url("postgresql://ann@db/shop")

    with pytest.raises(CannotConnect, match="password_command") as caught:
        url_with_password(Target(url, "a test", password_command=command))

    assert caught.value.hint == "correct password_command in your config file"


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the command."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def database(folder: Path, *statements: str) -> Path:
    path = folder / "app.db"
    for statement in statements:
        execute(path, statement)
    return path


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found
