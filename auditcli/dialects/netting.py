"""What it takes to take many rows back by one statement: reading images in SQL, value by value.

A *member* is what an image holds for one column, in a form of the database's own. All of it errs on the safe side: what
SQL can't tell for sure counts as different, and rows are read back afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from auditcli.planning.stamps import EPOCH_SECONDS, UNITS_A_SECOND
from auditcli.shape import ColumnShape, TableShape


class Netting(ABC):
    """SQL text of one database; `image` and `member` are expressions, `name` is that of a column in SQL."""

    reads_lock: ClassVar[bool] = False
    """Whether filling a table from a query keeps others from writing near what the query reads."""

    fence: ClassVar[str] = ""
    """Ends a query whose columns are to be worked out once, however often they are mentioned outside it."""

    @abstractmethod
    def takes(self, column: ColumnShape) -> bool:
        """Whether members of the column's type can be written and compared."""

    def compares(self, column: ColumnShape) -> bool:
        """Whether members of the column's type can be compared with what is stored."""
        return self.takes(column)

    @abstractmethod
    def takes_key(self, column: ColumnShape) -> bool:
        """Whether rows can be found by members of the column's type, each by one."""

    @abstractmethod
    def member(self, image: str, column: ColumnShape) -> str:
        """The member, NULL for JSON's null."""

    @abstractmethod
    def is_plain(self, image: str, member: str, column: ColumnShape) -> str:
        """Whether the image has the column, with a value that this member holds exactly."""

    @abstractmethod
    def differ_only(self, before: str, after: str, columns: Sequence[tuple[str, str, str]]) -> str:
        """Whether two images are surely the same but for these columns, each given with its two members."""

    @abstractmethod
    def same(self, left: str, right: str) -> str:
        """Whether two members are surely one."""

    @abstractmethod
    def holds(self, column: ColumnShape, name: str, member: str) -> str:
        """Whether the stored value is exactly that of the member."""

    @abstractmethod
    def stored(self, column: ColumnShape, member: str) -> str:
        """The value that is stored for a member."""

    @abstractmethod
    def moves(self, column: ColumnShape) -> bool:
        """Whether `moved_on` knows what becomes of the column's values, as far as `can_move` allows."""

    @abstractmethod
    def moved_on(self, column: ColumnShape, name: str, now: datetime) -> str:
        """What a bookkeeping column holds once its row is written: a stamp `now` (UTC), a counter one up."""

    def can_move(self, column: ColumnShape, name: str) -> str:
        """Whether the stored value is of a form that `moved_on` knows."""
        return "1 = 1"

    def joined(self, target: str, source: str) -> str:
        """The rows `t` of a table, found by the rows `n` of another one: what is not found is not to be locked."""
        return f"{target} AS t JOIN {source} AS n"

    def keep(self, name: str, select: str) -> str:
        """Make a temporary table of a query's rows, in the running transaction."""
        return f"CREATE TEMPORARY TABLE {name} AS {select}"

    def measure(self, name: str) -> str | None:
        """Have the database look at a temporary table, so that it reads it the right way."""
        return None

    def drop(self, name: str) -> str:
        """Drop a temporary table, if it is there."""
        return f"DROP TABLE IF EXISTS {name}"

    @abstractmethod
    def update(self, words: str, target: str, source: str, assigned: Sequence[tuple[str, str]], where: str) -> str:
        """Set columns of a table, by their names, from the rows of another one."""

    @abstractmethod
    def delete(self, target: str, source: str, keys: Sequence[str], where: str) -> str:
        """Delete rows of a table by the rows of another one; `keys` are its key columns in SQL."""


def counted_on(name: str, now: datetime) -> str:
    """An integer one up; one that tells a time, in seconds or parts of them, tells `now` (UTC)."""
    times = (
        f"WHEN {name} BETWEEN {EPOCH_SECONDS.start * units} AND {EPOCH_SECONDS.stop * units - 1} "
        f"THEN {int(now.timestamp() * units)}"
        for units in UNITS_A_SECOND
    )
    return f"CASE {' '.join(times)} ELSE {name} + 1 END"


def has_plain_names(shape: TableShape, columns: Sequence[str]) -> bool:
    """Whether the columns' names stand in a path into JSON as they are."""
    return all(name.isascii() and name.isidentifier() for name in (*columns, *shape.primary_key))
