"""What is made of measured times; that every part of the benchmark runs is shown where it is asked for."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.growth import Growth, climb, fitted_exponent
from benchmarks.parts import PARTS
from benchmarks.report import BY_HAND, Run, write_results
from benchmarks.rounds import Ratio, ratio_of

_ROOT = Path(__file__).parents[1]
_NOWHERE = {
    "AUDIT_TEST_POSTGRESQL_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
    "AUDIT_TEST_MARIADB_URL": "mysql+pymysql://nobody@127.0.0.1:1/nothing",
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_there(part: str) -> None:
    module = import_module(f"benchmarks.{PARTS[part].module}")

    assert callable(getattr(module, PARTS[part].function))


@pytest.mark.skipif(not os.environ.get("AUDIT_TEST_BENCHMARKS"), reason="AUDIT_TEST_BENCHMARKS is not set")
@pytest.mark.parametrize("part", sorted(PARTS.keys() - {"capture"}))
def test_every_part_runs_on_sqlite(part: str) -> None:
    assert f"-- {part}: " in _measured(part)


@pytest.mark.skipif(not os.environ.get("AUDIT_TEST_BENCHMARKS"), reason="AUDIT_TEST_BENCHMARKS is not set")
def test_capture_is_timed_while_it_records_everything() -> None:
    lines = [line for line in _measured("capture").splitlines() if "listeners " in line or "triggers " in line]

    recorded = [re.search(r"(\d+) of (\d+)", line) for line in lines]
    assert {found[1] == found[2] for found in recorded if found} == {True}


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_an_exponent_is_fitted(exponent: int) -> None:
    seconds = {size: 0.003 * size**exponent for size in (10, 100, 1000)}

    assert fitted_exponent(seconds) == pytest.approx(exponent)


def test_one_size_has_no_exponent() -> None:
    assert math.isnan(fitted_exponent({10: 1.0}))


def test_a_climb_ends_where_nothing_is_found() -> None:
    found: Iterator[float | None] = iter([1.0, 10.0, None])

    growth = climb("undo", (10, 100, 1000, 10_000), lambda _size: next(found))

    assert growth == Growth("undo", {10: 1.0, 100: 10.0})
    assert growth.figure == "n^1.00 (10 in 1 s, 100 in 10 s)"


def test_two_sizes_are_measured_however_long_the_first_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 50.0, 50.0, 600.0])
    monkeypatch.setattr("benchmarks.growth.time.perf_counter", lambda: next(clock))

    growth = climb("undo", (10, 100, 1000), float)

    assert growth == Growth("undo", {10: 10.0, 100: 100.0})


def test_a_ratio_is_taken_round_by_round() -> None:
    ratio = ratio_of("capture", [(1.0, 2.0), (2.0, 2.0), (1.0, 3.0)], bar=1.5)

    assert ratio.figure == "2.00 (1.00 to 3.00)"
    assert ratio.met is False


def test_new_figures_leave_what_was_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text(f"# Results\n\n| old | figures |\n\n{BY_HAND}\n\nIt rained.\n")
    inserts = Ratio("SQLite: 10 inserts, listeners", 1.5, 1.2, 2.5, 0.1, bar=2.0, recorded="10 of 10")
    run = Run("bench", rounds=3, machine=[("Python", "3.11")]).with_part("capture", [inserts], 60.0)

    write_results(run, page)

    text = page.read_text()
    assert text.endswith(f"{BY_HAND}\n\nIt rained.\n")
    assert "old" not in text
    assert "| SQLite: 10 inserts, listeners | <= 2 | 1.50 (1.20 to 2.50) | met |" in text
    assert "| 10 inserts | listeners | 10 of 10 | 1.50 (1.20 to 2.50) | 0.1000 |" in text


def _measured(part: str) -> str:
    environment = {**os.environ, **_NOWHERE, "AUDIT_BENCH_QUICK": "1"}
    # It measures the servers that are named, and takes their being there for granted.
    if part == "export":
        environment = {name: value for name, value in environment.items() if name not in _NOWHERE}
    words = [sys.executable, "-m", "benchmarks", part]
    return subprocess.run(words, cwd=_ROOT, env=environment, check=True, capture_output=True, text=True).stdout
