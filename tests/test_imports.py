"""The audited application pays for nothing that it does not use: what an import loads, seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine

import auditcli

_ROOT = Path(__file__).resolve().parent.parent
_FRONT_END = {"rich", "textual", "typer"}
_NOT_FOR_READING = {
    "alembic",
    "asyncpg",
    "psycopg",
    "pydantic",
    "pymysql",
    "rich",
    "textual",
    "tomlkit",
    "sqlalchemy.orm",
}
_CAPABILITIES = {
    *(
        "against",
        "alembic",
        "apply",
        "asgi",
        "baseline",
        "diff",
        "doctor",
        "export",
        "feed",
        "history",
        "init",
        "names",
    ),
    *(
        "pause",
        "profiles",
        "recheck",
        "replay",
        "rows",
        "sample",
        "saved",
        "stats",
        "status",
        "transfer",
        "undo",
        "verify",
    ),
}


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one recorded row."""
    path = tmp_path_factory.mktemp("imports") / "small.db"
    engine = create_engine(f"sqlite:///{path}")
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True))
    table.create(engine)
    auditcli.track(engine, create=True)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1}])
    auditcli.untrack(engine)
    engine.dispose()
    return path


def test_importing_the_package_loads_no_dependency() -> None:
    loaded = _loaded_by("import auditcli")

    assert loaded & {*_FRONT_END, "sqlalchemy"} == set()


def test_recording_changes_loads_sqlalchemy_but_no_front_end() -> None:
    loaded = _loaded_by("import auditcli; auditcli.track; auditcli.context")

    assert "sqlalchemy" in loaded
    assert loaded & _FRONT_END == set()


def test_no_module_of_the_library_loads_a_front_end() -> None:
    modules = ", ".join(_library_modules())

    loaded = _loaded_by(f"import {modules}")

    assert loaded & _FRONT_END == set()


def test_every_public_name_resolves_to_the_thing_of_that_name() -> None:
    named = {getattr(getattr(auditcli, name), "__name__", name) for name in auditcli.__all__}

    assert named == set(auditcli.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'auditcli' has no attribute 'tracc'$"):
        auditcli.tracc  # noqa: B018


def test_the_version_is_told_without_loading_sqlalchemy_or_the_terminal_ui() -> None:
    loaded = _loaded_by("from auditcli.cli.app import main; assert main(['--version']) == 0")

    assert loaded & {"sqlalchemy", "textual"} == set()


def test_the_help_is_told_without_loading_sqlalchemy_or_the_terminal_ui() -> None:
    loaded = _loaded_by("from auditcli.cli.app import main; assert main(['--help']) == 0")

    assert loaded & {"sqlalchemy", "textual"} == set()


def test_a_command_that_reads_the_log_loads_no_terminal_ui() -> None:
    loaded = _loaded_by("from auditcli.cli.app import main; assert main(['-u', 'sqlite:///missing.db', 'log']) == 4")

    assert "sqlalchemy" in loaded
    assert "textual" not in loaded


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ("log -n 2", {"export"}),
        ("log --transactions", set()),
        ("show 1", {"export"}),
        ("stats", {"stats"}),
        ("status", {"status"}),
        ("row t/1", {"export", "history"}),
        ("blame t/1", {"history"}),
        ("diff --since 0", {"diff"}),
        ("doctor", {"doctor", "status"}),
        ("undo 1 --dry-run", {"rows", "undo"}),
        ("verify", {"feed", "rows", "verify"}),
        ("export", {"export"}),
        ("mark --list", set()),
    ],
)
def test_a_command_loads_its_own_capability_and_no_library_that_it_does_not_use(
    small_log: Path, words: str, own: set[str]
) -> None:
    modules = _modules_of(f"from auditcli.cli.app import main; main({['-u', str(small_log), *words.split()]!r})")

    capabilities = {name.split(".")[1] for name in modules if name.startswith("auditcli.")} & _CAPABILITIES
    assert capabilities <= own
    assert modules & _NOT_FOR_READING == set()


@pytest.mark.parametrize("words", ["--help", "log --help", "completion bash", "nonsense"])
def test_what_needs_no_database_loads_no_sqlalchemy(words: str) -> None:
    modules = _modules_of(f"from auditcli.cli.app import main; main({words.split()!r})")

    # Older Typers draw their help with Rich.
    not_wanted = {*_NOT_FOR_READING, "sqlalchemy"} - ({"rich"} if "--help" in words else set())
    assert modules & not_wanted == set()


def test_the_profiles_are_listed_without_what_changes_them() -> None:
    modules = _modules_of("from auditcli.cli.app import main; assert main(['profile', 'list']) == 0")

    assert modules & {*_NOT_FOR_READING, "auditcli.profiles"} == set()


def test_the_module_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "auditcli", "--version"], cwd=_ROOT, check=True, capture_output=True, text=True
    )

    assert auditcli.__version__ in told.stdout


def _loaded_by(code: str) -> set[str]:
    """The top-level modules that an interpreter of its own has loaded after it ran the code."""
    return {module.partition(".")[0] for module in _modules_of(code)}


def _modules_of(code: str) -> set[str]:
    """All modules that it has loaded."""
    program = f"{code}\nimport json, sys; print(); print(json.dumps([*sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=_ROOT, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


def _library_modules() -> list[str]:
    """Every module of the package that is no front end."""
    paths = (path.relative_to(_ROOT).with_suffix("") for path in (_ROOT / "auditcli").rglob("*.py"))
    modules = {path.parts[:-1] if path.name == "__init__" else path.parts for path in paths}
    front_ends = {("auditcli", "cli"), ("auditcli", "tui"), ("auditcli", "__main__")}
    return sorted(".".join(parts) for parts in modules if parts[:2] not in front_ends)
