"""Where the database comes from, and what is said when nothing or nonsense names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditcli.config import Target, all_profiles, database_url, find_target
from auditcli.errors import CannotConnect, UsageError


def test_the_url_option_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", 'url = "project.db"')

    target = find_target("option.db", None, {"AUDIT_DATABASE_URL": "env.db"}, tmp_path)

    assert (target.url.database, target.origin) == ("option.db", "--url")


def test_the_profile_option_comes_before_the_environment(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.shop]\nurl = "shop.db"')

    target = find_target(None, "shop", {"AUDIT_DATABASE_URL": "env.db"}, tmp_path)

    assert (target.url.database, target.profile) == (str(tmp_path / "shop.db"), "shop")


def test_the_url_in_the_environment_comes_before_the_profile_there(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.shop]\nurl = "shop.db"')

    target = find_target(None, None, {"AUDIT_DATABASE_URL": "env.db", "AUDIT_PROFILE": "shop"}, tmp_path)

    assert (target.url.database, target.origin) == ("env.db", "$AUDIT_DATABASE_URL")


def test_the_profile_in_the_environment_comes_before_the_files(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", 'url = "project.db"\n[profiles.shop]\nurl = "shop.db"')

    target = find_target(None, None, {"AUDIT_PROFILE": "shop"}, tmp_path)

    assert target.url.database == str(tmp_path / "shop.db")
    assert target.origin.startswith("$AUDIT_PROFILE, profile shop of ")


def test_the_nearest_project_file_up_the_tree_comes_before_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "src" / "deep"
    folder.mkdir(parents=True)
    write(tmp_path / "project" / "pyproject.toml", '[tool.auditcli]\nurl = "project.db"')
    write(tmp_path / "project" / "src" / "pyproject.toml", '[project]\nname = "without our section"')
    own = write(tmp_path / "home" / "auditcli" / "config.toml", 'url = "own.db"')

    target = find_target(None, None, {"XDG_CONFIG_HOME": str(own.parent.parent)}, folder)

    assert target.url.database == str(tmp_path / "project" / "project.db")
    assert target.origin == str(tmp_path / "project" / "pyproject.toml")


def test_the_users_own_file_comes_last(tmp_path: Path) -> None:
    write(tmp_path / "home" / "auditcli" / "config.toml", 'profile = "main"\n[profiles.main]\nurl = "/data/own.db"')

    target = find_target(None, None, {"XDG_CONFIG_HOME": str(tmp_path / "home")}, tmp_path)

    assert (target.url.database, target.profile) == ("/data/own.db", "main")


def test_nothing_that_names_a_database_is_a_usage_error_with_every_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no database was named") as caught:
        find_target(None, None, {"HOME": str(tmp_path)}, tmp_path)

    assert all(way in str(caught.value.hint) for way in ("--url", "$AUDIT_DATABASE_URL", "audit.toml", "audit demo"))


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", 'url = "project.db"')

    target = find_target(None, None, {"AUDIT_DATABASE_URL": "", "AUDIT_PROFILE": ""}, tmp_path)

    assert target.url.database == str(tmp_path / "project.db")


def test_a_profile_beside_a_url_keeps_what_it_forbids(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.prod]\nurl = "prod.db"\nread_only = true\nprotected = true')

    target = find_target("copy.db", "prod", {}, tmp_path)

    assert target.url.database == "copy.db"
    assert (target.read_only, target.protected) == (True, True)


def test_a_profile_carries_its_settings(tmp_path: Path) -> None:
    write(
        tmp_path / "audit.toml",
        '[profiles.p]\nurl = "a.db"\nread_only = true\nprotected = true\nlog_table = "history"\nlog_schema = "aux"',
    )

    target = find_target(None, "p", {}, tmp_path)

    assert (target.read_only, target.protected) == (True, True)
    assert (target.log_table, target.log_schema) == ("history", "aux")


def test_an_unknown_profile_says_which_one_was_probably_meant(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.production]\nurl = "a.db"')

    with pytest.raises(UsageError, match="no profile 'prodution'") as caught:
        find_target(None, "prodution", {}, tmp_path)

    assert caught.value.hint == "did you mean production?"


def test_a_cloned_project_cannot_redirect_a_profile_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.prod]\nurl = "elsewhere.db"')
    write(tmp_path / "home" / "auditcli" / "config.toml", '[profiles.prod]\nurl = "/data/prod.db"\nprotected = true')

    target = find_target(None, "prod", {"XDG_CONFIG_HOME": str(tmp_path / "home")}, tmp_path)

    assert (target.url.database, target.protected) == ("/data/prod.db", True)


def test_a_cloned_project_cannot_run_a_password_command(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.prod]\nurl = "a.db"\npassword_command = ["touch", "ran"]')

    with pytest.raises(UsageError, match=r"profiles\.prod\.password_command in .*audit\.toml is not honoured"):
        find_target(None, "prod", {}, tmp_path)


def test_the_users_own_file_may_name_a_password_command(tmp_path: Path) -> None:
    write(
        tmp_path / "home" / "auditcli" / "config.toml",
        '[profiles.prod]\nurl = "a.db"\npassword_command = "pass show \'the shop\'"',
    )

    target = find_target(None, "prod", {"XDG_CONFIG_HOME": str(tmp_path / "home")}, tmp_path)

    assert target.password_command == ("pass", "show", "the shop")


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ('ulr = "a.db"', "unknown key ulr in ", "did you mean url?"),
        (
            '[profiles.p]\nurl = "a"\nreadonly = true',
            "unknown key profiles.p.readonly in ",
            "did you mean read_only?",
        ),
        ('[profiles.p]\nurl = "a.db"\nread_only = "yes"', "profiles.p.read_only in ", "write read_only = true"),
        ("url = 5", "url in ", 'write url = "…"'),
        ("url = ", "is not valid TOML", "correct that line"),
        ("profiles = 1", "profiles in ", "write [profiles.NAME] with a url"),
        ("[profiles]\np = 1", "profiles.p in ", "write [profiles.p] with a url"),
        ("[profiles.p]\nprotected = true", "a profile in ", 'add url = "…" to it'),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file_and_the_way_out(
    tmp_path: Path, content: str, message: str, hint: str
) -> None:
    write(tmp_path / "audit.toml", content)

    with pytest.raises(UsageError) as caught:
        find_target(None, "p", {}, tmp_path)

    assert message in caught.value.message
    assert "audit.toml" in caught.value.message
    assert caught.value.hint == hint


def test_all_profiles_come_by_name(tmp_path: Path) -> None:
    write(tmp_path / "audit.toml", '[profiles.b]\nurl = "b.db"\n[profiles.a]\nurl = "a.db"')

    profiles = all_profiles({"HOME": str(tmp_path)}, tmp_path)

    assert [(name, target.profile) for name, target in profiles.items()] == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize(
    "text", ["shop.db", "sqlite:///shop.db", "sqlite+pysqlite:///shop.db", "sqlite+aiosqlite:///shop.db"]
)
def test_a_sqlite_file_is_named_in_many_ways(text: str) -> None:
    url = database_url(text)

    assert (url.drivername, url.database) == ("sqlite", "shop.db")


def test_a_relative_file_in_a_config_file_is_relative_to_that_file(tmp_path: Path) -> None:
    plain, as_url = database_url("shop.db", tmp_path), database_url("sqlite:///shop.db", tmp_path)

    assert plain == as_url
    assert plain.database == str(tmp_path / "shop.db")


def test_a_file_name_with_odd_characters_stays_one_file_name() -> None:
    url = database_url("what? 100%.db")

    assert url.database == "what? 100%.db"


@pytest.mark.parametrize("text", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a database in memory has no log to read"):
        database_url(text)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the database URL is empty"):
        database_url(text)


def test_two_slashes_for_sqlite_are_explained() -> None:
    with pytest.raises(UsageError, match=r"'shop\.db' stands where SQLite has no host") as caught:
        database_url("sqlite://shop.db")

    assert "sqlite:///shop.db" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    ["postgres://ann:geheim@db/shop", "postgresql://ann:geheim@db/shop", "postgresql+asyncpg://ann:geheim@db/shop"],
)
def test_server_urls_are_mapped_to_an_installed_sync_driver(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda driver: driver == "psycopg2")

    url = database_url(text)

    assert url.drivername == "postgresql+psycopg2"


def test_an_installed_driver_that_was_named_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)

    url = database_url("postgresql+pg8000://db/shop")

    assert url.drivername == "postgresql+pg8000"


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ("postgresql://db/shop", "auditcli[postgresql]"),
        ("mysql+aiomysql://db/shop", "auditcli[mysql]"),
        ("mariadb://db/s", "auditcli[mysql]"),
    ],
)
def test_a_missing_driver_says_what_to_install(text: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: False)

    with pytest.raises(CannotConnect, match="no driver for") as caught:
        database_url(text)

    assert caught.value.hint == f"pip install '{extra}'"


def test_an_unknown_database_says_which_one_was_probably_meant() -> None:
    with pytest.raises(UsageError, match="no database is called 'sqlit'") as caught:
        database_url("sqlit:///shop.db")

    assert caught.value.hint == "did you mean sqlite?"


def test_an_unreadable_url_is_not_repeated_since_it_may_hold_a_password() -> None:
    with pytest.raises(UsageError) as caught:
        database_url("postgresql://ann:geheim@db:notaport/shop")

    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.config._is_installed", lambda _driver: True)
    url = database_url("postgresql://ann:geheim@db/shop?password=geheim2&sslmode=require&sslpassword=geheim3")

    target = Target(url, "--url")

    assert "geheim" not in target.masked_url
    assert "geheim" not in repr(target)
    assert "sslmode=require" in target.masked_url


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path
