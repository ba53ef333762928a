"""What a person wants to know while a log is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from auditcli.holders import Holder


@dataclass(frozen=True, slots=True)
class Stalled:
    """So many committed changes wait for others that were begun earlier; `holders` is None where they can't be seen."""

    seconds: float
    waiting: int
    holders: Sequence[Holder] | None
    way_to_see: str = ""


@dataclass(frozen=True, slots=True)
class WentOn:
    """A stall has ended by itself."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """The reader went on past these ids, which may still be committed."""

    ids: tuple[range, ...]
    holders: Sequence[Holder] | None
    way_to_see: str = ""


@dataclass(frozen=True, slots=True)
class CameLate:
    """Selected changes that were gone past have been committed; the reader does not show them."""

    transaction_id: str | None
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The database can't be reached or read; it is tried again in so many seconds."""

    error: Exception
    seconds: float


@dataclass(frozen=True, slots=True)
class Back:
    """The database can be read again, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Behind:
    """The reader does not keep up: so many changes are still to be read, the last one read is so many seconds old."""

    changes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The reader was behind, and is no longer."""


News: TypeAlias = Stalled | WentOn | Skipped | CameLate | Lost | Back | Behind | CaughtUp
