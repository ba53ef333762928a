"""Reading the images of one table: each by the shape that the table had when the record was written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from auditcli.dialects import Dialect
from auditcli.imagetext import SpellImages
from auditcli.model import Image
from auditcli.shape import TableShape

ReadImages: TypeAlias = Callable[[int, "str | None", "str | None"], tuple["Image | None", "Image | None"]]
"""Makes images of the texts in `before` and `after` of a record, given its id."""


SpellRecords: TypeAlias = Callable[[Sequence[int], Sequence[str]], Sequence["str | None"]]
"""Makes the texts that an export has of images' texts in records, given their ids; None for one to be read."""


def images_reader(dialect: Dialect, epochs: Sequence[tuple[int, TableShape]]) -> ReadImages:
    """A reader for a table whose shapes are given in order, each with the log id after which it was noticed."""
    if not dialect.images_need_types or not epochs:
        read_any = dialect.image_reader(())
        return lambda _change_id, before, after: read_any(before, after)
    begins = [after_id for after_id, _ in epochs]
    shapes = [shape for _, shape in epochs]

    @lru_cache
    def reader_of(epoch: int) -> Callable[[str | None, str | None], tuple[Image | None, Image | None]]:
        return dialect.image_reader(_nearest_first(shapes, epoch))

    def read(change_id: int, before: str | None, after: str | None) -> tuple[Image | None, Image | None]:
        return reader_of(_epoch(begins, change_id))(before, after)

    return read


def image_spelling(dialect: Dialect, epochs: Sequence[tuple[int, TableShape]]) -> SpellRecords:
    """What `images_reader` is for images, for their texts."""
    if not dialect.images_need_types or not epochs:
        spell_any = dialect.image_spelling(())
        return lambda _change_ids, texts: spell_any(texts)
    begins = [after_id for after_id, _ in epochs]
    shapes = [shape for _, shape in epochs]

    @lru_cache
    def spelling_of(epoch: int) -> SpellImages:
        return dialect.image_spelling(_nearest_first(shapes, epoch))

    def spell(change_ids: Sequence[int], texts: Sequence[str]) -> Sequence[str | None]:
        epochs = [_epoch(begins, end(change_ids)) for end in (min, max)]
        if epochs[0] == epochs[-1]:
            return spelling_of(epochs[0])(texts)
        return [spell((at,), (text,))[0] for at, text in zip(change_ids, texts, strict=True)]

    return spell


def _nearest_first(shapes: Sequence[TableShape], epoch: int) -> Sequence[TableShape]:
    # Triggers record a new column before anybody notices the new shape.
    return [shapes[epoch], *shapes[epoch + 1 :], *shapes[:epoch][::-1]]


def _epoch(begins: Sequence[int], change_id: int) -> int:
    return max(bisect_left(begins, change_id) - 1, 0)
