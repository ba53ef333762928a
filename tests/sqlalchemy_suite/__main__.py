"""Run the tests of the installed SQLAlchemy's ORM twice, plainly and with our listeners, and compare test by test.

    python -m tests.sqlalchemy_suite [--db URL] [--source FOLDER] [test/orm/test_versioning.py ...]

The tests come with SQLAlchemy's source distribution, which pip fetches unless FOLDER has it unpacked already.
A test that passes without listeners and not with them has to be among those of `differences.py`, with its reason.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import sqlalchemy

from tests.sqlalchemy_suite.differences import DIFFERENCES, Difference
from tests.sqlalchemy_suite.plugin import COUNT_FILE

_PLUGIN = ("-p", "tests.sqlalchemy_suite.plugin")
_QUIETLY = ("--quiet", "--tb=short", "-r", "N", "--maxfail=100000")
_PROJECT = Path(__file__).parents[2]

Outcomes = Mapping[str, str]
"""By test: an empty text if it passed, else why it did not. Tests that were skipped are not in it."""


def main() -> int:
    """Print how both runs ended; returns 1 if they differ where nothing explains it."""
    parser = argparse.ArgumentParser(prog="python -m tests.sqlalchemy_suite", description="SQLAlchemy's own ORM tests")
    parser.add_argument("--db", default="sqlite://", metavar="URL", help="an empty database, for these tests alone")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="SQLAlchemy's source distribution, unpacked")
    parser.add_argument("tests", nargs="*", default=["test/orm"], metavar="TEST", help="files or folders in it")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = wanted.source or _fetch(Path(scratch))
        without, _ = _run(source, wanted.db, wanted.tests, ())
        tracked, changes = _run(source, wanted.db, wanted.tests, _PLUGIN)
    return _compare(without, tracked, changes)


def _fetch(folder: Path) -> Path:
    version = sqlalchemy.__version__
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps")
    subprocess.run([*pip, "--no-binary", "sqlalchemy", "--dest", folder, f"sqlalchemy=={version}"], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def _run(source: Path, url: str, tests: Sequence[str], plugin: Sequence[str]) -> tuple[Outcomes, int]:
    """The tests' outcomes, and how many changes were recorded meanwhile."""
    with tempfile.TemporaryDirectory() as scratch:
        report, count = Path(scratch, "report.xml"), Path(scratch, "count")
        command = ("-m", "pytest", *plugin, *tests, "--dburi", url, "--numprocesses", str(os.cpu_count() or 1))
        subprocess.run(
            [sys.executable, *command, *_QUIETLY, f"--junitxml={report}"],
            cwd=source,
            env={**os.environ, COUNT_FILE: str(count), "PYTHONPATH": str(_PROJECT)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        changes = sum(map(int, count.read_text().split())) if count.exists() else 0
        return _outcomes(report), changes


def _outcomes(report: Path) -> Outcomes:
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        problems = [found for found in case if found.tag in ("failure", "error")]
        if problems or case.find("skipped") is None:
            name = f"{case.get('classname', '').removeprefix('test.')}.{case.get('name')}"
            outcomes[name] = "\n".join(filter(None, (found.text or found.get("message") for found in problems)))
    return outcomes


def _compare(without: Outcomes, tracked: Outcomes, changes: int) -> int:
    passed, passed_tracked = ({name for name, why in run.items() if not why} for run in (without, tracked))
    print(f"without listeners {len(passed)} of {len(without)} tests passed")
    print(f"with listeners    {len(passed_tracked)} of {len(tracked)} tests passed, {changes} changes were recorded")
    lost = sorted(passed - passed_tracked)
    unexplained = [name for name in lost if _explanation(tracked.get(name, "")) is None]
    for difference in DIFFERENCES:
        names = [name for name in lost if _explanation(tracked.get(name, "")) is difference]
        print(f"{len(names):5}  {difference.reason}")
    for name in unexplained:
        print(f"not explained: {name}\n{_end(tracked.get(name, 'it did not run'))}\n")
    return 1 if unexplained or not passed or not changes else 0


def _explanation(why: str) -> Difference | None:
    return next((difference for difference in DIFFERENCES if difference.explains(why)), None)


def _end(why: str) -> str:
    return "\n".join("    " + line for line in why.splitlines()[-12:])


if __name__ == "__main__":
    sys.exit(main())
