"""Which transactions took back which records, as the log links them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """Which runs of log ids (both ends included) a transaction took back.

    `kind` is `undo` or `redo`, or `part`: a redo of some columns only.
    """

    transaction_id: str
    kind: str
    runs: tuple[tuple[int, int], ...]


def undo_entries(reader: LogReader, transaction_ids: Iterable[str]) -> Mapping[str, UndoEntry]:
    """The entries of those of the transactions that are an undo or a redo."""
    link = reader.tables.undo.c
    kinds: dict[str, str] = {}
    runs: dict[str, list[tuple[int, int]]] = {}
    for batch in reader.batches(sorted(set(transaction_ids))):
        statement = select(link.transaction_id, link.kind, link.first_id, link.last_id)
        for transaction_id, kind, first, last in reader.execute(
            statement.where(link.transaction_id.in_(batch)).order_by(link.first_id, link.id)
        ):
            kinds[transaction_id] = kind
            runs.setdefault(transaction_id, []).append((first, last))
    return {each: UndoEntry(each, kind, tuple(runs[each])) for each, kind in kinds.items()}


def standing_undos(reader: LogReader, actor: str | None) -> Iterator[tuple[UndoEntry, bool]]:
    """The undos of this actor that no later redo has taken back, newest first, and whether one did so in part."""
    for transaction_id, link_id in _undos_newest_first(reader):
        if _actor_of(reader, transaction_id) != actor:
            continue
        ids = _record_ids(reader, transaction_id)
        # One that wrote nothing has nothing to redo.
        if ids and not _all_covered(ids, _later_runs(reader, ids, link_id, "redo")):
            entry = undo_entries(reader, [transaction_id])[transaction_id]
            yield entry, bool(_later_runs(reader, ids, link_id, "part"))


def _undos_newest_first(reader: LogReader) -> Iterator[tuple[str, int]]:
    link = reader.tables.undo.c
    seen: set[str] = set()
    newest = select(link.transaction_id, link.id).where(link.kind == "undo").order_by(link.id.desc())
    for transaction_id, link_id in reader.execute(newest).all():
        if transaction_id not in seen:
            seen.add(transaction_id)
            yield transaction_id, link_id


def _actor_of(reader: LogReader, transaction_id: str) -> str | None:
    log = reader.tables.changelog.c
    newest = select(log.actor).where(log.transaction_id == transaction_id).order_by(log.id.desc()).limit(1)
    actor: str | None = reader.scalar(newest)
    return actor


def _record_ids(reader: LogReader, transaction_id: str) -> list[int]:
    log = reader.tables.changelog.c
    return list(reader.execute(select(log.id).where(log.transaction_id == transaction_id).order_by(log.id)).scalars())


def _later_runs(reader: LogReader, ids: Sequence[int], link_id: int, kind: str) -> list[tuple[int, int]]:
    """What later links of a kind took back near these records, in order."""
    link = reader.tables.undo.c
    later = select(link.first_id, link.last_id).where(
        link.kind == kind, link.id > link_id, link.last_id >= ids[0], link.first_id <= ids[-1]
    )
    return sorted((run.first_id, run.last_id) for run in reader.execute(later))


def _all_covered(ids: Iterable[int], runs: list[tuple[int, int]]) -> bool:
    position = 0
    for change_id in ids:
        while position < len(runs) and runs[position][1] < change_id:
            position += 1
        if position == len(runs) or runs[position][0] > change_id:
            return False
    return True


def whose_records(reader: LogReader, entry: UndoEntry) -> list[str | None]:
    """The transactions whose records were taken back, None for records that have none."""
    log = reader.tables.changelog.c
    found: dict[str | None, None] = {}
    for first, last in entry.runs:
        within = select(log.transaction_id).where(log.id.between(first, last)).distinct()
        found.update(dict.fromkeys(reader.execute(within).scalars()))
    return list(found)


def takers_back(reader: LogReader, change_ids: Collection[int]) -> list[UndoEntry]:
    """The undos and redos that took back some of these records, oldest first, with the runs that have some of them."""
    if not change_ids:
        return []
    known = sorted(change_ids)
    link = reader.tables.undo.c
    near = select(link.transaction_id, link.kind, link.first_id, link.last_id).where(
        link.last_id >= known[0], link.first_id <= known[-1]
    )
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for transaction_id, kind, first, last in reader.execute(near.order_by(link.id)):
        place = bisect_left(known, first)
        if place < len(known) and known[place] <= last:
            found.setdefault((transaction_id, kind), []).append((first, last))
    return [UndoEntry(transaction_id, kind, tuple(runs)) for (transaction_id, kind), runs in found.items()]
