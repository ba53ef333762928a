"""How long the command line takes to answer, against the interpreter that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from auditcli.sample import build_sample
from benchmarks.rounds import Ratio, measure, process


def startup_rows(rounds: int) -> Iterator[Ratio]:
    """`--version`, `--help` and the log's newest lines, as whole processes; the bars are in seconds."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "sample.db"
        build_sample(database, end=datetime(2026, 1, 15, 12, tzinfo=UTC))
        nothing = process("-c", "pass")
        for words, seconds in (
            (["--version"], 0.120),
            (["--help"], 0.200),
            (["log", "-n", "20", "--url", str(database)], 0.500),
        ):
            name = f"audit {' '.join(words[:3])} / python -c pass"
            yield measure(name, process("-m", "auditcli", *words), nothing, rounds=rounds, seconds_bar=seconds)
