"""What happens while a log is followed, as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.following.news import Back, Behind, CameLate, CaughtUp, Lost, News, Skipped, Stalled, WentOn
from auditcli.holders import Holder
from auditcli.present.text import counted, shortened

_LISTED = 3
_LISTED_RANGES = 8
_LONGEST_QUERY = 100


def news_text(news: News) -> str:
    """One sentence, on one line."""
    match news:
        case Stalled() | WentOn() | Skipped() | CameLate():
            return _stall_text(news)
        case Lost(error, seconds):
            return f"the database does not answer ({_reason(error)}); trying again in {length_text(seconds)}"
        case Back(seconds):
            return f"the database answers again, after {length_text(seconds)}; nothing is lost"
        case Behind(changes, seconds):
            return f"behind: {counted(changes, 'change')} to go, the last one printed is {length_text(seconds)} old"
        case CaughtUp():
            return "no longer behind"


def _stall_text(news: Stalled | WentOn | Skipped | CameLate) -> str:
    match news:
        case Stalled(seconds, waiting, holders, way_to_see):
            wait = "waits" if waiting == 1 else "wait"
            return f"{counted(waiting, 'change')} {wait}, for {length_text(seconds)}: {_held(holders, way_to_see)}"
        case WentOn(seconds):
            return f"going on after {length_text(seconds)}"
        case Skipped(ids, holders, way_to_see):
            return f"went on past {_ids_text(ids)}, which may still be committed: {_held(holders, way_to_see)}"
        case CameLate(transaction_id, ids):
            word = ids[0] if transaction_id is None else f"tx:{transaction_id}"
            verb = "is" if len(ids) == 1 else "are"
            return f"{_ids_text(_ranges(ids))} came late and {verb} not shown: `audit show {word}`"


def length_text(seconds: float) -> str:
    """A length of time, as exact as one wants to know it."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _held(holders: Sequence[Holder] | None, way_to_see: str) -> str:
    if holders is None:
        return f"a transaction is open; to see whose: {way_to_see}"
    if not holders:
        return "whoever held them has just ended"
    more = f", and {len(holders) - _LISTED} more" if len(holders) > _LISTED else ""
    return f"held by {', by '.join(map(_holder_text, holders[:_LISTED]))}{more}"


def _holder_text(holder: Holder) -> str:
    who = " from ".join(each for each in (holder.user, holder.client) if each)
    age = None if holder.seconds is None else f"open for {length_text(holder.seconds)}"
    query = None if holder.query is None else f"its query: {shortened(' '.join(holder.query.split()), _LONGEST_QUERY)}"
    known = "; ".join(each for each in (who, age, holder.state, query) if each)
    return f"{holder.session} ({known})" if known else holder.session


def _ids_text(ids: Sequence[range]) -> str:
    listed = [f"{each.start}" if len(each) == 1 else f"{each.start} to {each[-1]}" for each in ids[:_LISTED_RANGES]]
    more = ", …" if len(ids) > _LISTED_RANGES else ""
    return f"{'change' if sum(map(len, ids)) == 1 else 'changes'} {', '.join(listed)}{more}"


def _ranges(ids: Sequence[int]) -> list[range]:
    found: list[range] = []
    for log_id in ids:
        if found and found[-1].stop == log_id:
            found[-1] = range(found[-1].start, log_id + 1)
        else:
            found.append(range(log_id, log_id + 1))
    return found


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
