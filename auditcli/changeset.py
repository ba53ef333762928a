"""The algebra of changes: net change, inverse, and which records belong to one row."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from auditcli import codec
from auditcli.model import Change, EventType, Image

_INVERSE = {
    EventType.INSERT: EventType.DELETE,
    EventType.DELETE: EventType.INSERT,
    EventType.TRUNCATE: EventType.INSERT,
    EventType.UPDATE: EventType.UPDATE,
    EventType.SNAPSHOT: EventType.SNAPSHOT,
}


def inverse(change: Change) -> Change:
    """The change that takes the row back; a snapshot is no step and stays what it is."""
    moved = change.old_row_id is not None
    return replace(
        change,
        event_type=_INVERSE[change.event_type],
        before=change.after,
        after=change.before,
        row_id=change.old_row_id if moved else change.row_id,
        old_row_id=change.row_id if moved else None,
    )


def touched_columns(change: Change) -> tuple[str, ...]:
    """The columns that the change wrote: all of them where the row came or went, none for a snapshot."""
    if change.event_type is EventType.SNAPSHOT:
        return ()
    return codec.differing_columns(change.before, change.after)


def net(run: Iterable[Change]) -> Change | None:
    """What an unbroken run of one row's changes amounts to; None where it amounts to nothing.

    It carries the identity (id, time, actor) of the last change.
    """
    steps = [change for change in run if change.event_type is not EventType.SNAPSHOT]
    if not steps or codec.same_image(steps[0].before, steps[-1].after):
        return None
    first, last = steps[0], steps[-1]
    start = first.row_id if first.old_row_id is None else first.old_row_id
    event_type = _event_between(first.before, last)
    moved = event_type is EventType.UPDATE and start != last.row_id
    return replace(
        last,
        event_type=event_type,
        before=first.before,
        row_id=start if event_type.removes else last.row_id,
        old_row_id=start if moved else None,
    )


def compose(first: Change, second: Change) -> Change | None:
    """Two changes of one row, the second right after the first, as one."""
    return net((first, second))


def threads(
    records: Iterable[Change],
    primary_key: Sequence[str] = (),
    undone_by: Mapping[int, Container[int]] | None = None,
) -> list[tuple[Change, ...]]:
    """The records of one table, in id order, as the stories of its rows.

    A row is followed through changes of its key, and a DELETE and a later INSERT at one key are one story. The key is
    what the images hold: the text 42 and the integer 42 share a `row_id` and are two rows. Without a key a row is its
    whole image, one of equals. `undone_by` gives, for records of an undo, the ids that it took back: a row that an undo
    brought back goes on with its own story, also where it had moved before it was deleted.
    """
    grouping = _Grouping(primary_key, undone_by or {})
    for record in records:
        grouping.add(record)
    return [tuple(story) for story in grouping.stories]


class _Grouping:
    """Who stands at which key while records are read; stories are told apart by their number."""

    def __init__(self, primary_key: Sequence[str], undone_by: Mapping[int, Container[int]]) -> None:
        self.stories: list[list[Change]] = []
        self._primary_key = primary_key
        self._undone_by = undone_by
        self._at: dict[str, list[int]] = {}
        self._stood: dict[str, list[int]] = {}
        self._place_of: list[str] = []

    def add(self, record: Change) -> None:
        place = self._place(record, record.before if record.before is not None else record.after, old=True)
        story = self._story_of(record, place)
        if story is None:
            story = len(self.stories)
            self.stories.append([])
            self._place_of.append(place)
            self._at.setdefault(place, []).append(story)
        self.stories[story].append(record)
        self._move(story, self._place(record, record.image, old=False))

    def _move(self, story: int, place: str) -> None:
        left = self._place_of[story]
        if place != left:
            self._at[left].remove(story)
            self._stood.setdefault(left, []).append(story)
            self._at.setdefault(place, []).append(story)
            self._place_of[story] = place

    def _place(self, record: Change, image: Image | None, *, old: bool) -> str:
        if record.row_id is None:
            return codec.dump(image or {})
        if image is not None and self._primary_key and all(column in image for column in self._primary_key):
            return codec.dump([image[column] for column in self._primary_key])
        return (record.old_row_id if old else None) or record.row_id

    def _story_of(self, record: Change, place: str) -> int | None:
        here = self._at.get(place, [])
        if record.before is None:
            return self._story_of_new(record, here, [*here, *self._stood.get(place, ())])
        fitting = [story for story in here if _continues(self._last(story), record)]
        if fitting:
            taken_back = self._undone_by.get(record.id, ())
            own = [story for story in fitting if self._has_one_of(story, taken_back)]
            back = [story for story in own if self._leads_back(story, taken_back, record.after)]
            return (back or own or fitting)[-1]
        if record.row_id is not None and here and not _just_moved_in(self._last(here[-1]), record):
            return here[-1]
        return None

    def _story_of_new(self, record: Change, here: Sequence[int], known: Sequence[int]) -> int | None:
        """The story that a row goes on with which is made at a key: its own, else that of a deleted one."""
        taken_back = self._undone_by.get(record.id, ())
        own = [story for story in known if self._is_gone(story) and self._leads_back(story, taken_back, record.after)]
        gone = [story for story in here if self._is_gone(story)]
        alike = [story for story in gone if codec.same_image(self._last(story).before, record.after)]
        last = here if record.row_id is not None else ()
        return next((choice[-1] for choice in (own, alike, gone, last) if choice), None)

    def _leads_back(self, story: int, taken_back: Container[int], image: Image | None) -> bool:
        """Whether taking back these records of the story makes its row look like this."""
        first = next((change for change in self.stories[story] if change.id in taken_back), None)
        return first is not None and codec.same_image(first.before, image)

    def _has_one_of(self, story: int, log_ids: Container[int]) -> bool:
        return any(change.id in log_ids for change in self.stories[story])

    def _is_gone(self, story: int) -> bool:
        return self._last(story).after is None

    def _last(self, story: int) -> Change:
        return self.stories[story][-1]


def _continues(last: Change, record: Change) -> bool:
    return codec.same_image(last.after, record.before)


def _just_moved_in(last: Change, record: Change) -> bool:
    """Whether `last` brought another row to this key by the statement that also moved this one on (`id = id + 1`)."""
    return last.old_row_id is not None and last.transaction_id == record.transaction_id


def _event_between(before: Image | None, last: Change) -> EventType:
    if before is None:
        return EventType.INSERT
    if last.after is not None:
        return EventType.UPDATE
    return last.event_type
