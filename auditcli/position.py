"""Points of the log as people name them: a change id, a transaction, a time, a mark; the log resolves them to an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TypeAlias

from auditcli.errors import UsageError

SHORTEST_PREFIX = 6
"""How many characters of a transaction's id a person has to give."""

LARGEST_ID = 2**63 - 1
"""The highest id that a log can hold."""

FORMS = (
    "write 15m, 2 hours ago, yesterday 14:00, monday, 14:45, 2026-11-23, 2026-11-23T14:00+01:00, "
    "a change id such as 12345, tx:ID, @mark or @latest"
)


@dataclass(frozen=True, slots=True)
class AtChange:
    """After the change of this id."""

    id: int


@dataclass(frozen=True, slots=True)
class AtTransaction:
    """After the transaction whose id begins so."""

    prefix: str


@dataclass(frozen=True, slots=True)
class AtTime:
    """After the last change stamped before this moment, which is in UTC."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class AtMark:
    """Where a person put this mark."""

    name: str


@dataclass(frozen=True, slots=True)
class AtLatest:
    """After the last transaction of the log."""


Position: TypeAlias = AtChange | AtTransaction | AtTime | AtMark | AtLatest

_LATEST = "latest"
_MARK_NAME = re.compile(r"\w[\w.-]{0,99}")
_CHANGE_ID = re.compile(r"#?(\d+)", re.ASCII)
_UUID_DIGITS = re.compile(r"[0-9a-f]{6,32}")
_UUID_GROUPS = (slice(0, 8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))

_TERM = re.compile(r"(\d{1,18})[\s.]*([a-z]+)[\s.]*", re.ASCII)
_TERMS = re.compile(rf"(?:{_TERM.pattern})+", re.ASCII)
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
}
_DAYS = {**dict.fromkeys(("d", "day", "days"), 1), **dict.fromkeys(("w", "week", "weeks"), 7)}

_LONGEST_DURATION = 100 * 365 * 86_400
_DURATIONS = "write 30s, 10m, 1h30m, 2 days; up to 100 years"

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FRACTION = r"(?:[.,](\d{1,9}))?"
_CLOCK = re.compile(rf"(\d{{1,2}}):(\d\d)(?::(\d\d){_FRACTION})?", re.ASCII)
_DAY = re.compile(r"([a-z]+)(?:[\s.]+([\d:.,]+))?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    rf"(?:[t\s]\s*(\d{{1,2}}):?(\d\d)(?::?(\d\d){_FRACTION})?\s?(z|utc|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def parse_position(text: str, *, now: datetime, zone: tzinfo | None = None, may_come: bool = False) -> Position:
    """The position that a word names; a time without a zone is in `zone`, or in the system's zone without one.

    A time in the future is refused, unless it is one that `may_come`.
    """
    word = text.strip()
    position = _named_position(word)
    return AtTime(_checked_moment(word, now, zone, may_come=may_come)) if position is None else position


def parse_duration(text: str) -> timedelta:
    """The length of time that a word such as `30s` or `1h30m` names; raises UsageError for none, or for no time."""
    word = text.strip().lower()
    terms = [(int(count), unit) for count, unit in _TERM.findall(word)]
    if _TERMS.fullmatch(word) is None or any(unit not in _SECONDS and unit not in _DAYS for _, unit in terms):
        raise UsageError(f"{shown(text)} is no length of time", hint=_DURATIONS)
    seconds = sum(count * (_SECONDS.get(unit) or 86_400 * _DAYS[unit]) for count, unit in terms)
    if not 0 < seconds <= _LONGEST_DURATION:
        problem = "too long" if seconds else "no time at all"
        raise UsageError(f"{shown(text)} is {problem}", hint=_DURATIONS)
    return timedelta(seconds=seconds)


def format_position(position: Position) -> str:
    """The position as one word that needs no quoting in a shell and that `parse_position` reads back."""
    match position:
        case AtChange(change_id):
            return str(change_id)
        case AtTransaction(prefix):
            return f"tx:{prefix}"
        case AtTime(moment):
            return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
        case AtMark(name):
            return f"@{name}"
        case AtLatest():
            return f"@{_LATEST}"


def describe(position: Position, zone: tzinfo | None = None) -> str:
    """The position as a message names it; times stand in `zone`, or in the system's zone without one."""
    match position:
        case AtChange(change_id):
            return f"the change #{change_id}"
        case AtTransaction(prefix):
            return f"the transaction tx:{prefix}"
        case AtTime(moment):
            return _shown_moment(moment, zone)
        case AtMark(name):
            return f"the mark @{name}"
        case AtLatest():
            return "the latest transaction"


def check_order(since: Position | None, until: Position | None, zone: tzinfo | None = None) -> None:
    """Raise UsageError where `since` is plainly after `until`; other kinds can be compared only in the log."""
    if since is None or until is None or not _is_after(since, until):
        return
    raise UsageError(
        f"since ({describe(since, zone)}) is after until ({describe(until, zone)})",
        hint="give the earlier of the two as since",
    )


def change_id_in(text: str) -> int | None:
    """The id in `12345` or `#12345`; None for any other text."""
    match = _CHANGE_ID.fullmatch(text)
    if match is None:
        return None
    digits = match[1].lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > LARGEST_ID:
        raise UsageError(f"{shown(text)} is too large for a change id", hint=f"the highest id is {LARGEST_ID}")
    return int(digits)


def transaction_prefix(text: str) -> str:
    """The beginning of a transaction's id as the log spells it; hyphens may be left out."""
    given = text.strip().lower().removesuffix("-")
    digits = given.replace("-", "")
    spelled = "-".join(digits[group] for group in _UUID_GROUPS if digits[group])
    if _UUID_DIGITS.fullmatch(digits) and given in (digits, spelled):
        return spelled
    raise UsageError(
        f"{shown(text)} is no transaction id",
        hint=f"give its first {SHORTEST_PREFIX} characters or more, as in tx:1f3a9c; "
        "`audit log --transactions` lists them",
    )


def valid_mark_name(name: str) -> str:
    """The name, if a mark may have it; raises UsageError otherwise."""
    if _MARK_NAME.fullmatch(name) and name.lower() != _LATEST:
        return name
    raise UsageError(
        f"{shown(name)} can't be the name of a mark",
        hint="a name has up to 100 letters, digits, _, - and ., begins with a letter, digit or _, and is not latest",
    )


def shown(word: str, limit: int = 80) -> str:
    """A word from outside as a message quotes it: escaped, and cut where it is long."""
    return repr(word if len(word) <= limit else word[: limit - 1] + "…")


def _is_after(first: Position, second: Position) -> bool:
    match first, second:
        case AtChange(first_id), AtChange(second_id):
            return first_id > second_id
        case AtTime(first_moment), AtTime(second_moment):
            return first_moment > second_moment
        case _:
            return False


def _named_position(word: str) -> Position | None:
    change_id = change_id_in(word)
    if change_id is not None:
        return AtChange(change_id)
    if word.lower() == f"@{_LATEST}":
        return AtLatest()
    if word.startswith("@"):
        return AtMark(valid_mark_name(word[1:]))
    if word.lower().startswith("tx:"):
        return AtTransaction(transaction_prefix(word[3:]))
    return None


def _checked_moment(word: str, now: datetime, zone: tzinfo | None, *, may_come: bool) -> datetime:
    try:
        moment = _moment(word.lower(), now, zone)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{shown(word)} is outside the calendar", hint=FORMS) from error
    if moment is None:
        raise UsageError(f"{shown(word)} is neither a time nor another position", hint=FORMS)
    if moment > now and not may_come:
        raise UsageError(
            f"{shown(word)} is in the future: {_shown_moment(moment, zone)}, and it is {_shown_moment(now, zone)} now",
            hint="name a time that has passed, such as yesterday 14:00",
        )
    return moment


def _moment(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    """The moment in UTC; None for what is no time, ValueError or OverflowError for one that does not exist."""
    if word == "now":
        return now.astimezone(UTC)
    for read in (_moment_ago, _moment_of_day, _moment_of_clock, _moment_of_iso):
        moment = read(word, now, zone)
        if moment is not None:
            return moment
    return None


def _moment_ago(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    """Seconds, minutes and hours are elapsed time; days and weeks keep the time on the clock, also across DST."""
    length = word.removesuffix("ago").rstrip(" .\t")
    if _TERMS.fullmatch(length) is None:
        return None
    terms = [(unit, int(count)) for count, unit in _TERM.findall(length)]
    if any(unit not in _SECONDS and unit not in _DAYS for unit, _ in terms):
        return None
    days = sum(count * _DAYS.get(unit, 0) for unit, count in terms)
    seconds = sum(count * _SECONDS.get(unit, 0) for unit, count in terms)
    start = _to_utc(_wall_clock(now, zone) - timedelta(days=days), zone) if days else now.astimezone(UTC)
    return start - timedelta(seconds=seconds)


def _moment_of_day(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    """`today`, `yesterday` or the last such weekday, at midnight or at the time that follows."""
    match = _DAY.fullmatch(word)
    if match is None:
        return None
    today = _wall_clock(now, zone).date()
    days_back = _days_back(match[1], today.weekday())
    clock = time() if match[2] is None else _clock_time(match[2])
    if days_back is None or clock is None:
        return None
    moment = _to_utc(datetime.combine(today - timedelta(days=days_back), clock), zone)
    if moment > now and days_back == 0 and match[1] != "today":
        return _to_utc(datetime.combine(today - timedelta(days=7), clock), zone)
    return moment


def _days_back(word: str, weekday: int) -> int | None:
    if word in ("today", "yesterday"):
        return int(word == "yesterday")
    for number, name in enumerate(_WEEKDAYS):
        if word in (name, name[:3]):
            return (weekday - number) % 7
    return None


def _moment_of_clock(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    clock = _clock_time(word)
    return None if clock is None else _to_utc(datetime.combine(_wall_clock(now, zone).date(), clock), zone)


def _moment_of_iso(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:  # noqa: ARG001  # one shape for all
    match = _ISO.fullmatch(word)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    clock = time(int(hour or 0), int(minute or 0), int(second or 0), _microseconds(fraction))
    naive = datetime.combine(date(int(year), int(month), int(day)), clock)
    if offset is None:
        return _to_utc(naive, zone)
    return naive.replace(tzinfo=UTC) - _offset(offset)


def _clock_time(text: str) -> time | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    return time(int(match[1]), int(match[2]), int(match[3] or 0), _microseconds(match[4]))


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "0")[:6].ljust(6, "0"))


def _offset(text: str) -> timedelta:
    if text in ("z", "utc"):
        return timedelta()
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"no such offset: {text}")
    size = timedelta(hours=hours, minutes=minutes)
    return -size if text[0] == "-" else size


def _wall_clock(moment: datetime, zone: tzinfo | None) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _to_utc(naive: datetime, zone: tzinfo | None) -> datetime:
    """A time on the zone's clock in UTC; of two such times the earlier one."""
    return (naive if zone is None else naive.replace(tzinfo=zone, fold=0)).astimezone(UTC)


def _shown_moment(moment: datetime, zone: tzinfo | None) -> str:
    try:
        return moment.astimezone(zone).isoformat(sep=" ")
    except (ValueError, OverflowError, OSError):
        # The first and last hours of the calendar exist in UTC only.
        return moment.isoformat(sep=" ")
