"""The top line: which database, what may be done to it, whether it is followed, how much of it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual.widgets import Static


@dataclass(frozen=True, slots=True)
class Standing:
    """What the top line says; counts are None while nobody knows them."""

    target: str
    profile: str | None
    read_only: bool
    protected: bool
    live: bool = False
    waiting: int = 0
    marked: int = 0
    matching: int | None = None
    total: int | None = None
    as_of: int | None = None
    trouble: str | None = None
    utc: bool = False


class Heading(Static):
    """One line, the most important first: what does not fit is cut off at its end."""

    DEFAULT_CSS = """
    Heading { height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    Heading.-trouble { background: $error; color: $text; }
    """

    def say(self, standing: Standing) -> None:
        """Show how things stand."""
        self.set_class(standing.trouble is not None, "-trouble")
        self.update(Text(" " + "  ".join(_parts(standing)), no_wrap=True, overflow="ellipsis"))


def _parts(standing: Standing) -> list[str]:
    parts = [standing.trouble] if standing.trouble else []
    parts.append(f"audit  {standing.profile or ''}".rstrip())
    if standing.read_only:
        parts.append("● read-only")
    if standing.protected:
        parts.append("▲ protected")
    if standing.waiting:
        parts.append(f"▮▮ {standing.waiting:,} new, f shows them")
    else:
        parts.append("▶ LIVE" if standing.live else "▮▮ not following")
    if standing.as_of is not None:
        parts.append(f"◆ as of #{standing.as_of:,}")
    if standing.marked:
        parts.append(f"● {standing.marked:,} marked")
    if standing.total is not None:
        matching = "…" if standing.matching is None else f"{standing.matching:,}"
        parts.append(f"{matching} of {standing.total:,}")
    parts.append("UTC" if standing.utc else "local time")
    parts.append(standing.target)
    return parts
