"""What stands above a transaction's changes: when, who and why, from where."""

from __future__ import annotations

from datetime import datetime

from auditcli.model import Change
from auditcli.present.spans import Line, Span, Style
from auditcli.present.text import LONGEST_VALUE, SHORT_ID, ago, shortened, time_text, value_text, visible


def heading_of(change: Change, *, now: datetime, utc: bool = False) -> Line:
    """The heading of the transaction that a change belongs to."""
    return transaction_heading(change.transaction_id, change.timestamp, change.actor, change.reason, now=now, utc=utc)


def transaction_heading(
    transaction_id: str | None,
    timestamp: datetime,
    actor: str | None,
    reason: str | None,
    *,
    now: datetime,
    utc: bool = False,
) -> Line:
    """The line above a transaction's changes: when, who and why."""
    name = "no transaction id" if transaction_id is None else f"tx:{transaction_id[:SHORT_ID]}"
    spans = [
        Span(name, Style.IDENTITY),
        Span(f"  {time_text(timestamp, utc=utc)}"),
        Span(f" ({ago(timestamp, now)})", Style.DIM),
        Span(f"  {visible(actor)}" if actor else "  (nobody named)", Style.STRONG if actor else Style.DIM),
    ]
    if reason:
        spans.append(Span(f"  {shortened(visible(reason), LONGEST_VALUE)}"))
    return tuple(spans)


def context_lines(change: Change) -> list[Line]:
    """What else is known of a transaction."""
    return [
        (Span(f"  {visible(key)}: {value_text(value)}", Style.DIM),) for key, value in sorted(change.context.items())
    ]


def origin_lines(db_user: str | None, client: str | None, application: str | None) -> list[Line]:
    """Where a transaction came from, as far as the server knows."""
    known = (("db user", db_user), ("client", client), ("application", application))
    return [(Span(f"  {name}: {visible(value)}", Style.DIM),) for name, value in known if value]
