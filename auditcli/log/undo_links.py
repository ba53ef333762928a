"""Which transactions took back which records, as the log links them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """Which runs of log ids (both ends included) a transaction took back; `kind` is `undo` or `redo`."""

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


def last_undo_of(reader: LogReader, actor: str | None) -> UndoEntry | None:
    """The newest undo of this actor that no later redo has taken back."""
    for transaction_id, link_id in _undos_newest_first(reader):
        if _actor_of(reader, transaction_id) == actor and not _is_redone(reader, transaction_id, link_id):
            return undo_entries(reader, [transaction_id])[transaction_id]
    return None


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


def _is_redone(reader: LogReader, transaction_id: str, link_id: int) -> bool:
    """Whether later redos cover every record that the undo wrote; one that wrote nothing has nothing to redo."""
    log = reader.tables.changelog.c
    own = select(log.id).where(log.transaction_id == transaction_id).order_by(log.id)
    ids = list(reader.execute(own).scalars())
    if not ids:
        return True
    link = reader.tables.undo.c
    later = select(link.first_id, link.last_id).where(
        link.kind == "redo", link.id > link_id, link.last_id >= ids[0], link.first_id <= ids[-1]
    )
    return _all_covered(ids, sorted((run.first_id, run.last_id) for run in reader.execute(later)))


def _all_covered(ids: Iterable[int], runs: list[tuple[int, int]]) -> bool:
    position = 0
    for change_id in ids:
        while position < len(runs) and runs[position][1] < change_id:
            position += 1
        if position == len(runs) or runs[position][0] > change_id:
            return False
    return True
