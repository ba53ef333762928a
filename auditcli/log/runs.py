"""What the records of each row amount to by their ends: the database finds the first and the last one of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select, String, func, select, type_coerce
from sqlalchemy.types import TypeEngine

from auditcli import codec
from auditcli.log.query import Condition
from auditcli.log.tables import StoredText
from auditcli.model import Image, TableName

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader

_PAGE = 500
_LONGEST_PAGE = 4000
_PAGE_SIZE = 2_000_000
"""So many characters of images a page should have: of wide rows there are fewer on it."""

_END = "\x1f"
_NOBODY = "\x1e"
"""What no name but a very odd one has in it."""


class Run(NamedTuple):
    """All records of a row in the window, by what matters of the first and of the last."""

    row_id: str
    first_id: int
    last_id: int
    records: int
    named: int
    actors: str
    before_text: str | None
    after_text: str | None
    first_event: str
    last_event: str
    actor: str | None
    timestamp: datetime | str
    transaction_id: str | None
    source: str


class Runs:
    """The runs of one table's rows with a key among the records that meet conditions."""

    def __init__(self, reader: LogReader, table: TableName, conditions: Sequence[Condition]) -> None:
        self._reader = reader
        self._log = reader.tables.changelog.c
        self._conditions = tuple(conditions)
        self._read_images = reader.images_of(table)
        self._spell = reader.image_spelling(table)
        self._page = _PAGE

    def pages(self) -> Iterator[Sequence[Run]]:
        """Each row's first `before` and last `after`, in the order of the index, a page at a time."""
        log = self._log
        ends = self._ends_of_runs()
        page = ends
        while True:
            runs = [Run(*row) for row in self._fetch(page.limit(self._page))]
            is_last = len(runs) < self._page
            size = sum(len(run.before_text or "") + len(run.after_text or "") for run in runs)
            self._page = max(_PAGE, min(_LONGEST_PAGE, len(runs) * _PAGE_SIZE // (size + 1)))
            yield runs
            if is_last:
                return
            page = ends.where(log.row_id > runs[-1].row_id)

    def _fetch(self, page: Select[Any]) -> Sequence[Sequence[Any]]:
        """The runs as the driver returns them: no value is touched that need not be."""
        try:
            found: Sequence[Sequence[Any]] = self._reader.connection.execute(
                self._joined(page, String)
            ).cursor.fetchall()
            return found
        except Exception as error:
            if not self._reader.dialect.is_broken_text(error):
                raise
        return self._reader.execute(self._joined(page, StoredText)).all()

    def _ends_of_runs(self) -> Select[Any]:
        log = self._log
        # Each ends in a sign of its own, so that it shows where the database has cut the text off.
        actors = func.aggregate_strings(func.coalesce(log.actor, _NOBODY) + _END, "")
        return (
            select(
                log.row_id,
                func.min(log.id).label("first_id"),
                func.max(log.id).label("last_id"),
                func.count().label("records"),
                func.count(log.actor).label("named"),
                actors.label("actors"),
            )
            .where(*self._conditions, log.row_id.is_not(None))
            .group_by(log.row_id)
            .order_by(log.row_id)
        )

    def _joined(self, ends: Select[Any], text: type[TypeEngine[str]] | type[StoredText]) -> Select[Any]:
        run = ends.subquery()
        first, last = (self._reader.tables.changelog.alias(name) for name in ("first", "last"))
        columns = (
            *run.c,
            type_coerce(first.c.before, text).label("before_text"),
            type_coerce(last.c.after, text).label("after_text"),
            *(first.c.event_type.label("first_event"), last.c.event_type.label("last_event")),
            *(last.c.actor, last.c.timestamp, last.c.transaction_id, last.c.source),
        )
        joined = run.join(first, first.c.id == run.c.first_id).join(last, last.c.id == run.c.last_id)
        # Of a new log, or one brought back from a backup, there are no statistics that are true.
        as_written = self._reader.dialect.joins_as_written
        return select(*columns).prefix_with(as_written).select_from(joined).order_by(run.c.row_id)

    def images(self, runs: Sequence[Run]) -> tuple[list[Image | None], list[Image | None]]:
        """The first `before` and the last `after` of each run; those that can be read as they are, all at once."""
        if not runs:
            return [], []
        old = self._spell([run.first_id for run in runs], [run.before_text or "" for run in runs])
        new = self._spell([run.last_id for run in runs], [run.after_text or "" for run in runs])
        try:
            before, after = (codec.parse(f"[{','.join([text or 'null' for text in each])}]") for each in (old, new))
        except ValueError:
            # One is damaged: read alone it can be named.
            before, after, old, new = ([None] * len(runs) for _ in range(4))
        for at, (run, left, right) in enumerate(zip(runs, old, new, strict=True)):
            if left is None:
                before[at] = self._read_before(run)
            if right is None:
                after[at] = self._read_after(run)
        return before, after

    def _read_before(self, run: Run) -> Image | None:
        try:
            return self._read_images(run.first_id, run.before_text, None)[0]
        except ValueError:
            return self._reader.change(run.first_id).before

    def _read_after(self, run: Run) -> Image | None:
        if run.after_text is not None and '"$same"' in run.after_text:
            return self._reader.change(run.last_id).after
        try:
            return self._read_images(run.last_id, None, run.after_text)[1]
        except ValueError:
            return self._reader.change(run.last_id).after

    def actors(self, runs: Iterable[Run]) -> Mapping[str, frozenset[str | None]]:
        """Whose changes each run holds, by its key; names that can't be taken apart for sure are looked up."""
        found: dict[str, frozenset[str | None]] = {}
        unsure: dict[str, set[str | None]] = {}
        for run in runs:
            if _is_taken_apart(run):
                found[run.row_id] = _actors_of(run.actors)
            else:
                unsure[run.row_id] = set()
        log = self._log
        for batch in self._reader.batches(list(unsure)):
            statement = select(log.row_id, log.actor).where(*self._conditions, log.row_id.in_(batch)).distinct()
            for row_id, actor in self._reader.execute(statement).all():
                unsure[row_id].add(actor)
        return found | {row_id: frozenset(actors) for row_id, actors in unsure.items()}


def _is_taken_apart(run: Run) -> bool:
    text = run.actors
    return text.count(_END) == run.records and text.endswith(_END) and text.count(_NOBODY) == run.records - run.named


@lru_cache(maxsize=4096)
def _actors_of(joined: str) -> frozenset[str | None]:
    return frozenset(None if actor == _NOBODY else actor for actor in joined[:-1].split(_END))
