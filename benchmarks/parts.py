"""The parts of the benchmark: each yields figures, and is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from benchmarks.rounds import Figure


@dataclass(frozen=True)
class Part:
    """What it measures, and the function that does: of the number of rounds, in a module of `benchmarks`."""

    title: str
    module: str
    function: str

    def figures(self, rounds: int) -> Iterator[Figure]:
        """Measure it."""
        measure = getattr(import_module(f"benchmarks.{self.module}"), self.function)
        yield from measure(rounds)


PARTS: Mapping[str, Part] = {
    "capture": Part("Capture, against the same writes untracked", "capture", "capture_rows"),
    "startup": Part("Start-up, against an interpreter that does nothing", "startup", "startup_rows"),
    "export": Part("Exports and diffs, against the database's own client", "export", "export_rows"),
    "tail": Part("Tail", "tail", "tail_rows"),
    "undo": Part("Undo, against the same by hand", "undo", "undo_rows"),
    "replay": Part("Replay, against the same by hand", "replay", "replay_rows"),
    "oldlog": Part("Capture with a big log, against an empty one", "oldlog", "old_log_rows"),
    "growth": Part("Growth by size", "growing", "growth_rows"),
    "explorer": Part("The explorer on a terminal, in seconds and MB", "explorer", "explorer_rows"),
    "reading": Part("Questions to the log, against an interpreter that does nothing", "reading", "reading_rows"),
}
