"""What stands above a transaction's changes: when, who and why, from where."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from auditcli.model import Change
from auditcli.present.spans import Line, Span, Style
from auditcli.present.text import LONGEST_VALUE, SHORT_ID, ago, shortened, time_text, value_text, visible

_TAKES_BACK = {"undo": "undoes", "redo": "takes back the undo", "part": "takes back a part of the undo"}
_TAKEN_BACK = {"undo": "undone by", "redo": "taken back by the redo", "part": "taken back in part by the redo"}


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


def took_back_line(kind: str, whose: Iterable[str | None]) -> Line:
    """Which transactions an undo, or a redo, took something back of; None are records that belong to none."""
    names = ", ".join("changes without a transaction id" if each is None else _short(each) for each in whose)
    return (Span(f"  {_TAKES_BACK[kind]} {names}", Style.DIM),)


def taken_back_line(kind: str, by: Iterable[str]) -> Line:
    """Which undos, or redos, took back some of a transaction."""
    return (Span(f"  {_TAKEN_BACK[kind]} {', '.join(map(_short, by))}", Style.DIM),)


def _short(transaction_id: str) -> str:
    return f"tx:{transaction_id[:SHORT_ID]}"
