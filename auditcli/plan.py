"""An undo worked out before anything is written: steps, conflicts and what they amount to, as frozen values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from heapq import merge
from itertools import islice
from typing import Literal, TypeAlias, overload

from auditcli.fold import ABSENT, Value
from auditcli.model import Change, EventType, Image, JsonValue, RowKey, TableName

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Log ids as runs of consecutive ones, first and last."""

PlanKind: TypeAlias = Literal["undo", "redo"]

_ROWS_A_SECOND = 15_000
"""A careful guess; figures of past undos may replace it."""


class StepKind(StrEnum):
    """What a step does to its row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class ConflictKind(StrEnum):
    """Why a row or a cell can't be taken back as it was."""

    CHANGED = "CHANGED"
    MISSING = "MISSING"
    EXISTS = "EXISTS"
    DEPENDENT = "DEPENDENT"
    CONSTRAINT = "CONSTRAINT"
    LOSSY = "LOSSY"

    @property
    def phrase(self) -> str:
        """The kind in words, as they follow a number of rows."""
        return _PHRASES[self]


_PHRASES = {
    ConflictKind.CHANGED: "changed since",
    ConflictKind.MISSING: "gone",
    ConflictKind.EXISTS: "with their key taken",
    ConflictKind.DEPENDENT: "referenced by other rows",
    ConflictKind.CONSTRAINT: "refused by a constraint",
    ConflictKind.LOSSY: "not wholly in the log",
}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a plan treats conflicts, and which cells it is about; no `only` means all of them."""

    force: bool = False
    skip_conflicts: bool = False
    only: tuple[str, ...] = ()
    exact: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class CellStep:
    """One cell: it must be at `expected` and is then set to `target`; ABSENT where there is no row."""

    column: str
    expected: Value
    target: Value


@dataclass(frozen=True, slots=True)
class Step:
    """One row's way back.

    `key` are the values by which the live row is found: its key, or all of it in a table without one; for an INSERT
    those that it will have. `cells` are what an UPDATE sets, what a DELETE makes sure of, or the row that an INSERT
    writes. `bumps` are bookkeeping columns that an UPDATE moves on, `takes_back` the log ids behind the step.
    """

    kind: StepKind
    table: TableName
    row: RowKey | None
    key: Image
    cells: tuple[CellStep, ...]
    bumps: tuple[str, ...] = ()
    takes_back: tuple[int, ...] = ()
    forced: bool = False

    @property
    def key_after(self) -> Image:
        """Where the row stands afterwards."""
        set_to = {cell.column: cell.target for cell in self.cells if cell.target is not ABSENT}
        return {column: set_to.get(column, value) for column, value in self.key.items()}

    @property
    def set_columns(self) -> tuple[str, ...]:
        """The columns that it sets."""
        return tuple(cell.column for cell in self.cells) if self.kind is not StepKind.DELETE else ()

    def expected_value(self, column: str) -> Value:
        """What the column holds before the step, as far as the step knows."""
        found = next((cell.expected for cell in self.cells if cell.column == column), ABSENT)
        return self.key.get(column, ABSENT) if found is ABSENT and self.kind is not StepKind.INSERT else found

    def target_value(self, column: str) -> Value:
        """What the column holds after the step, as far as the step knows."""
        found = next((cell.target for cell in self.cells if cell.column == column), ABSENT)
        return self.key.get(column, ABSENT) if found is ABSENT and self.kind is not StepKind.DELETE else found


@dataclass(frozen=True, slots=True)
class Bulk:
    """Many steps of one kind on a table that one statement can do; updates are of the same columns.

    `undone_ids` are the records behind them, `is_single` says that each row has one; `example` is one of the steps.
    """

    table: TableName
    columns: tuple[str, ...]
    rows: int
    undone_ids: Runs
    is_single: bool
    example: Step


class Steps(Sequence[Step]):
    """The steps of a large plan: `single` ones, and those of `bulks`, which are read from the log when asked for.

    Reading them one by one takes no more memory than reading one; `read` gives those of a bulk, in the log's order.
    """

    def __init__(self, single: Iterable[Step], bulks: Iterable[Bulk], read: Callable[[Bulk], Iterator[Step]]) -> None:
        self.single = tuple(single)
        self.bulks = tuple(bulks)
        self._read = read

    def __len__(self) -> int:
        return len(self.single) + sum(bulk.rows for bulk in self.bulks)

    def __iter__(self) -> Iterator[Step]:
        yield from self.single
        for bulk in self.bulks:
            yield from self._read(bulk)

    @overload
    def __getitem__(self, place: int) -> Step: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Step]: ...
    def __getitem__(self, place: int | slice) -> Step | Sequence[Step]:
        if isinstance(place, slice) or place < 0:
            return tuple(self)[place]
        if place < len(self.single):
            return self.single[place]
        if place >= len(self):
            raise IndexError(place)
        return next(islice(self, place, None))


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why something is not taken back; `by` is the change that is in the way, where the log knows it."""

    kind: ConflictKind
    table: TableName
    row: RowKey | None
    column: str | None
    message: str
    by: Change | None = None

    @property
    def actor(self) -> str | None:
        """Who is in the way."""
        return self.by.actor if self.by is not None else None


@dataclass(frozen=True, slots=True)
class ConflictGroup:
    """So many rows with one kind of conflict, by one actor (None where that is unknown)."""

    kind: ConflictKind
    actor: str | None
    rows: int

    def __str__(self) -> str:
        return f"{self.rows:,} {self.kind.phrase}" + (f", by {self.actor}" if self.actor else "")


@dataclass(frozen=True, slots=True, order=True)
class Cascade:
    """A row outside the plan that the database will delete or change by itself, because `force` lets it."""

    table: TableName
    row: str
    action: str

    def __str__(self) -> str:
        return f"{self.row}: {self.action.lower()} by the database"


@dataclass(frozen=True, slots=True)
class Dependant:
    """A live row that refers, by these columns, to one that a refused step would take away."""

    table: TableName
    row_id: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Also:
    """A change that was not asked for and is taken back along with those that were; no `columns` means all of it."""

    log_id: int
    table: TableName
    row: RowKey | None
    event_type: EventType
    columns: tuple[str, ...]
    actor: str | None


@dataclass(frozen=True)
class Plan:
    """What an undo would do to `target`; nothing of it has been done."""

    kind: PlanKind
    target: str
    steps: Sequence[Step]
    conflicts: tuple[Conflict, ...] = ()
    already: int = 0
    notes: tuple[str, ...] = ()
    options: PlanOptions = field(default_factory=PlanOptions)
    undone_ids: Runs = ()
    selected: int = 0
    cascades: tuple[Cascade, ...] = ()
    also: tuple[Also, ...] = ()
    of_everything: bool = False
    """Whether a selection was meant, and came to all that the log has."""

    @property
    def bulks(self) -> tuple[Bulk, ...]:
        """Those of its steps that one statement each can do."""
        return self.steps.bulks if isinstance(self.steps, Steps) else ()

    @property
    def single_steps(self) -> Sequence[Step]:
        """Its other steps."""
        return self.steps.single if isinstance(self.steps, Steps) else self.steps

    @property
    def rows(self) -> int:
        """How many rows it writes."""
        return len(self.steps)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.steps

    @property
    def nothing_but_already(self) -> bool:
        """Whether all that was asked for is at its target already."""
        return not self.steps and not self.conflicts

    @property
    def refused(self) -> bool:
        """Whether its conflicts keep it from being applied."""
        return bool(self.conflicts) and not self.options.skip_conflicts

    @property
    def is_partial(self) -> bool:
        """Whether applying it leaves something out."""
        return bool(self.conflicts) and bool(self.steps)

    @cached_property
    def conflict_groups(self) -> tuple[ConflictGroup, ...]:
        """The conflicts by kind and actor, in rows, the most frequent first."""
        rows = {(conflict.kind, conflict.actor, _row_word(conflict, at)) for at, conflict in enumerate(self.conflicts)}
        counted = Counter((kind, actor) for kind, actor, _ in rows)
        return tuple(ConflictGroup(kind, actor, count) for (kind, actor), count in counted.most_common())

    @cached_property
    def counts(self) -> Mapping[TableName, Counter[StepKind]]:
        """How many rows of each table are inserted, updated and deleted."""
        found: dict[TableName, Counter[StepKind]] = {}
        for step in self.single_steps:
            found.setdefault(step.table, Counter())[step.kind] += 1
        for bulk in self.bulks:
            found.setdefault(bulk.table, Counter())[bulk.example.kind] += bulk.rows
        return found

    @cached_property
    def bookkeeping(self) -> Mapping[TableName, tuple[str, ...]]:
        """The bookkeeping columns that move on with the rows, by table."""
        found: dict[TableName, dict[str, None]] = {}
        for step in (*self.single_steps, *(bulk.example for bulk in self.bulks)):
            if step.bumps:
                found.setdefault(step.table, {}).update(dict.fromkeys(step.bumps))
        return {table: tuple(columns) for table, columns in found.items()}

    @property
    def seconds_expected(self) -> float:
        """About how long it will take to apply."""
        return self.rows / _ROWS_A_SECOND

    @property
    def summary(self) -> str:
        """One line: `39,871 clean, 129 changed since, by svc-web`."""
        parts = [f"{self.rows:,} clean", *map(str, self.conflict_groups)]
        if self.already:
            parts.append(f"{self.already:,} already as they were")
        return ", ".join(parts)


def as_runs(ids: Iterable[int]) -> Runs:
    """Log ids as runs of consecutive ones."""
    runs: list[tuple[int, int]] = []
    for log_id in sorted(set(ids)):
        if runs and runs[-1][1] == log_id - 1:
            runs[-1] = (runs[-1][0], log_id)
        else:
            runs.append((log_id, log_id))
    return tuple(runs)


def joined_runs(*parts: Runs) -> Runs:
    """Several runs as one, each id once."""
    joined: list[tuple[int, int]] = []
    for first, last in merge(*map(sorted, parts)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def shown(value: Value) -> str:
    """A value for a message: short, on one line, harmless on a terminal."""
    if value is ABSENT:
        return "no row"
    text = repr(value) if isinstance(value, str) else str(value) if not isinstance(value, dict) else _tagged(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _tagged(value: Mapping[str, JsonValue]) -> str:
    return " ".join(f"{name.removeprefix('$')}:{content!s}" for name, content in value.items())


def _row_word(conflict: Conflict, position: int) -> str:
    return str(conflict.row) if conflict.row is not None else f"#{position}"
