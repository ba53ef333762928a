"""What a user gets: the wheel and the source distribution, built from this tree without a network."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

import auditcli

_ROOT = Path(__file__).resolve().parent.parent

NEEDED = {"rich", "sqlalchemy", "textual", "tomlkit", "typer"}
"""What is installed with it."""


@dataclass(frozen=True)
class Distributions:
    """The two files that a release consists of."""

    source: Path
    wheel: Path


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The source distribution of this tree, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    built = _run("-m", "build", "--no-isolation", "--outdir", str(folder), str(_ROOT), cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    [source], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(source, wheel)


@pytest.fixture
def unpacked_wheel(distributions: Distributions, tmp_path: Path) -> Path:
    """The wheel's files as an installation lays them out."""
    folder = tmp_path / "site-packages"
    with ZipFile(distributions.wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_installs_one_top_level_package(distributions: Distributions) -> None:
    top_level = {name.partition("/")[0] for name in _wheel_names(distributions)}

    assert top_level == {"auditcli", f"auditcli-{auditcli.__version__}.dist-info"}


def test_the_wheel_has_the_types_marker_and_the_sample_database(distributions: Distributions) -> None:
    sample = {f"auditcli/sample_db/{path.relative_to(_ROOT / 'sample_db').as_posix()}" for path in _sample_files()}

    names = _wheel_names(distributions)

    assert "auditcli/py.typed" in names
    assert {name for name in names if name.startswith("auditcli/sample_db/")} == sample


def test_the_wheel_has_the_page_that_is_served(distributions: Distributions) -> None:
    pages = {"auditcli/tui/web/templates/explorer.html", "auditcli/tui/web/templates/explorer.js"}

    assert pages <= _wheel_names(distributions)


def test_the_wheel_installs_the_command(distributions: Distributions) -> None:
    metadata = f"auditcli-{auditcli.__version__}.dist-info"

    with ZipFile(distributions.wheel) as archive:
        entry_points = archive.read(f"{metadata}/entry_points.txt").decode()

    assert entry_points.split() == ["[console_scripts]", "audit", "=", "auditcli.cli.app:run"]


def test_the_wheel_says_what_it_needs(distributions: Distributions) -> None:
    with ZipFile(distributions.wheel) as archive:
        text = archive.read(f"auditcli-{auditcli.__version__}.dist-info/METADATA").decode()

    metadata = Parser().parsestr(text)

    needed = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert {need.partition(">")[0].partition("<")[0] for need in needed} == NEEDED


def test_the_sample_database_works_from_the_wheel(unpacked_wheel: Path) -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from auditcli.sample import sample_module
print(sample_module("build").__name__, sample_module("build").__file__)
"""

    told = _run("-P", "-c", program, str(unpacked_wheel), cwd=unpacked_wheel)

    build = unpacked_wheel / "auditcli" / "sample_db" / "build.py"
    assert told.stdout.split(maxsplit=1) == ["auditcli.sample_db.build", f"{build}\n"], told.stderr


def test_the_source_distribution_can_be_tested_and_measured(distributions: Distributions) -> None:
    folder = f"auditcli-{auditcli.__version__}"

    with tarfile.open(distributions.source) as archive:
        names = set(archive.getnames())

    wanted = ("Makefile", "LICENSE", "README.md", "CHANGELOG.md", "tests/conftest.py", "sample_db/LICENSE.chinook")
    assert {f"{folder}/{name}" for name in wanted} <= names
    assert any(name.startswith(f"{folder}/benchmarks/") for name in names)


def test_an_editable_installation_copies_nothing(tmp_path: Path) -> None:
    program = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"

    built = _run("-c", program, str(tmp_path), cwd=_ROOT)

    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        copied = [name for name in archive.namelist() if name.endswith((".py", ".csv"))]
    assert copied == [], built.stderr


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, check=False, capture_output=True, text=True)


def _wheel_names(distributions: Distributions) -> set[str]:
    with ZipFile(distributions.wheel) as archive:
        return set(archive.namelist())


def _sample_files() -> Iterator[Path]:
    for path in (_ROOT / "sample_db").rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".db"):
            yield path
