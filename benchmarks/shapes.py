"""The two widths of rows that capture is measured with, as models of any declarative base."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, String, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.orm import Mapped, mapped_column

TABLE = "track"

_COMPOSERS = (
    "Angus Young, Malcolm Young, Brian Johnson",
    "F. Baltes, S. Kaufman, U. Dirkscneider",
    "AC/DC",
    "Apocalyptica",
)
_WIDE_COLUMNS = 60
_LONG_TEXT = 100_000


@dataclass(frozen=True)
class Shape:
    """What a row looks like, and how many of them one flush has; every shape has an `id` and a `price`."""

    name: str
    flush: int
    columns: Callable[[], Mapping[str, Mapped[Any]]]
    row: Callable[[random.Random], dict[str, Any]]

    def rows(self, number: int) -> Iterator[dict[str, Any]]:
        """So many rows, the same ones each time."""
        chance = random.Random(1)
        return (self.row(chance) for _ in range(number))

    def model(self, base: type[Any], **attributes: Any) -> type[Any]:
        """A model of this shape, with what a library wants to find in it."""
        return type("Track", (base,), {"__tablename__": TABLE, **self.columns(), **attributes})


def _narrow_columns() -> Mapping[str, Mapped[Any]]:
    """The width of a usual business table."""
    return {
        "id": mapped_column(Integer, primary_key=True),
        "name": mapped_column(String(200)),
        "album_id": mapped_column(Integer),
        "media_type_id": mapped_column(Integer),
        "genre_id": mapped_column(Integer),
        "composer": mapped_column(String(220)),
        "milliseconds": mapped_column(Integer),
        "size": mapped_column(Integer),
        "price": mapped_column(Integer),
    }


def _narrow_row(chance: random.Random) -> dict[str, Any]:
    return {
        "name": f"Track number {chance.randrange(100_000)}",
        "album_id": chance.randrange(347),
        "media_type_id": 1,
        "genre_id": chance.randrange(25),
        "composer": chance.choice(_COMPOSERS),
        "milliseconds": 200_000 + chance.randrange(100_000),
        "size": 11_170_334 + chance.randrange(1_000_000),
        "price": 99,
    }


def _wide_columns() -> Mapping[str, Mapped[Any]]:
    """60 columns, one of them a text of 100 KB."""
    return {
        "id": mapped_column(Integer, primary_key=True),
        "price": mapped_column(Integer),
        # MariaDB's own TEXT ends at 64 KB, and its rows at 8 KB besides such texts.
        "body": mapped_column(Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
        **{name: mapped_column(String(24)) for name in _WIDE_NAMES},
    }


def _wide_row(chance: random.Random) -> dict[str, Any]:
    words = {name: f"{name} {chance.randrange(1_000_000)}" for name in _WIDE_NAMES}
    body = f"{chance.randrange(1_000_000):07} lorem ipsum " * (_LONG_TEXT // 20)
    return {"price": 99, "body": body, **words}


_WIDE_NAMES = tuple(f"column_{number}" for number in range(_WIDE_COLUMNS - 3))

NARROW = Shape("narrow rows", 1000, _narrow_columns, _narrow_row)
WIDE = Shape("rows of 60 columns and 100 KB", 50, _wide_columns, _wide_row)
