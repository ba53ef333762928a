"""Profiles in the user's own config file: added, used, listed, removed; the rest of the file is left alone."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shop import Ran, Shop

Audit = Callable[..., Ran]

WRITTEN = """\
# my databases
profile = "test"  # the usual one

[profiles.test]   # at home
url = "test.db"

# production comes last
[profiles.prod]
url = "prod.db"
protected = true
"""


@pytest.fixture
def own() -> Path:
    """Where the user's own config file would be."""
    return Path(os.environ["XDG_CONFIG_HOME"]) / "auditcli" / "config.toml"


@pytest.fixture
def written(own: Path) -> Path:
    """The file with something in it already."""
    own.parent.mkdir(parents=True)
    own.write_text(WRITTEN)
    return own


def test_a_profile_is_added_and_used(run: Audit, shop: Shop, own: Path) -> None:
    added = run("profile", "add", "shop", "-u", str(shop.path), "--read-only")
    used = run("-P", "shop", "log", "-n", "1", "-o", "json")
    refused = run("-P", "shop", "mark", "here")

    assert (added.code, added.out) == (0, "")
    assert f"profile shop is in {own}" in added.err
    assert used.code == 0
    assert (refused.code, refused.error) == (8, f"profile shop is read-only (sqlite:///{shop.path})")


def test_only_its_owner_reads_the_file(run: Audit, written: Path) -> None:
    written.chmod(0o644)

    run("profile", "add", "new", "-u", "new.db")

    assert written.stat().st_mode & 0o777 == 0o600


def test_comments_and_order_stay(run: Audit, written: Path) -> None:
    run("profile", "add", "new", "-u", "/srv/new.db", "--protected")

    text = written.read_text()
    assert text.startswith(WRITTEN.rstrip("\n"))
    assert tomllib.loads(text)["profiles"]["new"] == {"url": "/srv/new.db", "protected": True}


def test_what_was_added_can_be_removed_without_a_trace(run: Audit, written: Path) -> None:
    run("profile", "add", "new", "-u", "/srv/new.db")

    removed = run("profile", "remove", "new")

    assert (removed.code, removed.err) == (0, f"profile new is gone from {written}\n")
    assert written.read_text().rstrip() == WRITTEN.rstrip()


def test_removing_one_keeps_the_others(run: Audit, written: Path) -> None:
    run("profile", "remove", "prod")

    assert list(tomllib.loads(written.read_text())["profiles"]) == ["test"]
    assert "# my databases" in written.read_text()
    assert "# at home" in written.read_text()


def test_a_table_in_one_line_takes_another_profile(run: Audit, written: Path) -> None:
    written.write_text('profiles = { a = { url = "a.db" } }\n')

    ran = run("profile", "add", "b", "-u", "/b.db")

    assert ran.code == 0, ran.err
    assert tomllib.loads(written.read_text())["profiles"] == {"a": {"url": "a.db"}, "b": {"url": "/b.db"}}


def test_a_link_to_the_file_stays_a_link(run: Audit, own: Path, tmp_path: Path) -> None:
    own.parent.mkdir(parents=True)
    (tmp_path / "dotfile").write_text(WRITTEN)
    own.symlink_to(tmp_path / "dotfile")

    run("profile", "add", "new", "-u", "/new.db")

    assert own.is_symlink()
    assert "new" in (tmp_path / "dotfile").read_text()


def test_a_file_is_found_from_any_folder(run: Audit, own: Path) -> None:
    run("profile", "add", "here", "-u", "shop.db")
    run("profile", "add", "there", "-u", "sqlite:///shop.db")

    profiles = tomllib.loads(own.read_text())["profiles"]
    assert {each["url"] for each in profiles.values()} == {str(Path.cwd() / "shop.db")}


def test_a_password_command_is_kept_as_words_and_run_only_from_here(run: Audit, shop: Shop, own: Path) -> None:
    run("profile", "add", "shop", "-u", str(shop.path), "--password-command", "pass show 'db prod'")

    assert tomllib.loads(own.read_text())["profiles"]["shop"]["password_command"] == ["pass", "show", "db prod"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("audit.toml", '[profiles.evil]\nurl = "postgresql://x@h/d"\npassword_command = ["touch", "ran"]\n'),
        ("audit.toml", 'url = "postgresql://x@h/d"\npassword_command = "touch ran"\n'),
        ("pyproject.toml", '[tool.auditcli]\nurl = "postgresql://x@h/d"\npassword_command = "touch ran"\n'),
    ],
)
def test_a_project_names_no_program_to_run(run: Audit, name: str, text: str) -> None:
    Path(name).write_text(text)

    ran = run("log")

    assert ran.code == 2
    assert "password_command" in ran.error
    assert ran.error.endswith("is not honoured: a project must not run programs")
    assert ran.hint == "put the profile into your own config file"
    assert not Path("ran").exists()


def test_a_password_is_never_printed(run: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)

    added = run("profile", "add", "prod", "-v", "-u", "postgresql://ann:geheim@db/shop")
    listed = run("profile", "list")
    refused = run("profile", "add", "prod", "-u", "postgresql://ann:geheim@db/shop")

    assert (added.code, refused.code) == (0, 2)
    assert "its password stands there too" in added.err
    assert "geheim" not in "".join(each.out + each.err for each in (added, listed, refused))


def test_a_file_that_can_not_be_written_is_left_alone(run: Audit, own: Path) -> None:
    own.parent.parent.mkdir(parents=True)
    own.parent.write_text("a file where the folder would be")

    ran = run("profile", "add", "new", "-u", "new.db")

    assert (ran.code, len(ran.err.splitlines())) == (2, 2)


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["add"], "profile add needs a name", "write `audit profile add NAME`"),
        (["add", "x"], "a profile needs a database", "write `audit profile add x --url URL`"),
        (["add", "a b", "-u", "x.db"], "'a b' can't name a profile", "letters, digits and - _ . @, like prod"),
        (
            ["add", "x", "-u", "oracle://x"],
            "no database is called 'oracle'",
            "known: sqlite, postgresql, mysql, mariadb",
        ),
        (["remove", "prd"], "no profile 'prd' in your config file", "did you mean prod?"),
        (["remove"], "profile remove needs a name", "write `audit profile remove NAME`"),
        (["list", "x"], "profile list takes no name", "use it with `audit -P x status`"),
        (["list", "--protected"], "profile list takes no settings", "to change a profile, remove it and add it again"),
        (["rename"], "no such action: profile rename", "one of add, list, remove"),
    ],
)
@pytest.mark.usefixtures("written")
def test_what_can_not_be_done_says_why(run: Audit, words: list[str], error: str, hint: str) -> None:
    ran = run("profile", *words)

    assert (ran.code, ran.error, ran.hint) == (2, error, hint)


def test_a_taken_name_is_refused(run: Audit, written: Path) -> None:
    ran = run("profile", "add", "prod", "-u", "x.db")

    assert (ran.code, ran.hint) == (2, "first remove it with `audit profile remove prod`")
    assert written.read_text() == WRITTEN


def test_a_profile_of_the_project_is_not_removed(run: Audit) -> None:
    Path("audit.toml").write_text('[profiles.shared]\nurl = "shared.db"\n')

    ran = run("profile", "remove", "shared")

    assert (ran.code, ran.hint) == (2, "that file is the project's: edit it")
