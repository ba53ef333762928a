"""What is to be exported, and what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from auditcli.export.formats import ExportFormat
from auditcli.log.reader import ALL, Window
from auditcli.model import Change
from auditcli.selection import Selection

_EVERYTHING = Selection()


@dataclass(frozen=True)
class Asked:
    """Which changes, and as what; `words` select the same ones again.

    `inverted` is for SQL: the statements take the changes back. `already` are ids that a file has from before.
    """

    format: ExportFormat
    selection: Selection = _EVERYTHING
    window: Window = ALL
    words: str = ""
    limit: int | None = None
    cells: bool = False
    inverted: bool = False
    already: frozenset[int] = frozenset()

    @property
    def grows(self) -> bool:
        """Whether a file of it can be gone on with: it has no end of its own."""
        return self.format in (ExportFormat.CSV, ExportFormat.TSV, ExportFormat.JSONL)


@dataclass
class Tally:
    """What went out so far: how many changes, their lowest and highest ids, and how many of them name no actor."""

    count: int = 0
    first_id: int | None = None
    last_id: int | None = None
    null_actors: int = 0

    def seen(self, changes: Iterable[Change]) -> Iterator[Change]:
        """The changes as they come, each counted."""
        for change in changes:
            self.add(1, change.id, change.id, int(change.actor is None))
            yield change

    def join(self, later: Tally) -> None:
        """Count what went out later."""
        if later.first_id is not None and later.last_id is not None:
            self.add(later.count, later.first_id, later.last_id, later.null_actors)

    def add(self, count: int, lowest: int, highest: int, null_actors: int) -> None:
        """Count some changes."""
        self.count += count
        self.first_id = lowest if self.first_id is None else min(self.first_id, lowest)
        self.last_id = highest if self.last_id is None else max(self.last_id, highest)
        self.null_actors += null_actors
