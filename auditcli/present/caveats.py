"""What can't be known of tables as they were, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from auditcli.present.text import counted, time_text, visible, wrapped_names
from auditcli.rewinding.caveats import Caveat, Doubt

if TYPE_CHECKING:
    from auditcli.log.records import Gap

_SENTENCES = {
    Doubt.GAP: "{tables}: not recorded {gap}; rows that changed meanwhile may have been other than shown",
    Doubt.LATER: "{tables}: recorded only since {since}; what did not change since then is shown as it was then",
    Doubt.UNRECORDED: "{tables}: changes are not recorded; shown as it is now",
    Doubt.DROPPED: "{tables}: gone since; shown as the log knows it, without rows that were never recorded",
    Doubt.ADDED: "{tables}: columns that came later are left out: {columns}",
    Doubt.LOST: "{tables}: columns that are gone since, unknown for {rows}: {columns}",
    Doubt.RETYPED: "{tables}: columns that had another type, shown as now where unchanged since: {columns}",
    Doubt.HIDDEN: "{tables}: columns that are masked or not in the log are left out: {columns}",
}


def caveat_texts(caveats: Iterable[Caveat], *, utc: bool = False) -> list[str]:
    """A sentence for each doubt; tables of which the same is to be said share one."""
    groups: dict[tuple[object, ...], list[Caveat]] = {}
    for caveat in caveats:
        # Doubts about columns, and pauses with a reason of their own, are of one table.
        alone = caveat.table if caveat.columns or caveat.gap else None
        groups.setdefault((caveat.doubt, caveat.since, alone, caveat.gap), []).append(caveat)
    return [_sentence(group, utc=utc) for group in groups.values()]


def _sentence(group: Sequence[Caveat], *, utc: bool) -> str:
    first = group[0]
    return _SENTENCES[first.doubt].format(
        tables=wrapped_names(caveat.table for caveat in group),
        columns=wrapped_names(first.columns),
        rows=counted(first.rows, "row"),
        since="" if first.since is None else time_text(first.since, utc=utc),
        gap="" if first.gap is None else _pause(first.gap, utc=utc),
    )


def _pause(gap: Gap, *, utc: bool) -> str:
    since = time_text(gap.timestamp, utc=utc)
    until = (
        f"from {since} on" if gap.until_timestamp is None else f"{since} to {time_text(gap.until_timestamp, utc=utc)}"
    )
    who = "" if gap.actor is None else f" by {visible(gap.actor)}"
    why = "" if gap.reason is None else f" ({visible(gap.reason)})"
    return f"{until}{who}{why}"
