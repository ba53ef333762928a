"""Reading the images of one table: each by the shape that the table had when the record was written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from auditcli.dialects import Dialect
from auditcli.model import Image
from auditcli.shape import TableShape

ReadImages: TypeAlias = Callable[[int, "str | None", "str | None"], tuple["Image | None", "Image | None"]]
"""Makes images of the texts in `before` and `after` of a record, given its id."""


def images_reader(dialect: Dialect, epochs: Sequence[tuple[int, TableShape]]) -> ReadImages:
    """A reader for a table whose shapes are given in order, each with the log id after which it was noticed."""
    if not dialect.images_need_types or not epochs:
        read_any = dialect.image_reader(())
        return lambda _change_id, before, after: read_any(before, after)
    begins = [after_id for after_id, _ in epochs]
    shapes = [shape for _, shape in epochs]

    @lru_cache
    def reader_of(epoch: int) -> Callable[[str | None, str | None], tuple[Image | None, Image | None]]:
        # Triggers record a new column before anybody notices the new shape.
        later, earlier = shapes[epoch + 1 :], shapes[:epoch][::-1]
        return dialect.image_reader([shapes[epoch], *later, *earlier])

    def read(change_id: int, before: str | None, after: str | None) -> tuple[Image | None, Image | None]:
        return reader_of(max(bisect_left(begins, change_id) - 1, 0))(before, after)

    return read
