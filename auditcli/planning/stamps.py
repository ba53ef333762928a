"""Bookkeeping columns: what a stamp or a version counter becomes when its row is written again."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from auditcli.model import JsonValue

_STAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)(?:(?P<separator>[ T])(?P<minute>\d\d:\d\d)(?P<second>:\d\d)?"
    r"(?P<fraction>[.,]\d{1,9})?(?P<space> ?)(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
EPOCH_SECONDS = range(500_000_000, 5_000_000_000)
"""Numbers of this size are seconds since 1970."""
UNITS_A_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
"""Other numbers that count from then on count parts of a second."""


def moved_on(value: JsonValue, now: datetime) -> JsonValue:
    """A stamp set to `now` in the form that it has, a counter one up; anything else stays as it is."""
    if isinstance(value, str):
        return _text_stamp(value, now)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        units = _epoch_units(value)
        return value + 1 if units is None else int(now.timestamp() * units)
    if isinstance(value, float) and int(abs(value)) in EPOCH_SECONDS:
        return now.timestamp()
    return value


def _epoch_units(value: int) -> int | None:
    return next((units for units in UNITS_A_SECOND if value // units in EPOCH_SECONDS), None)


def _text_stamp(value: str, now: datetime) -> str:
    form = _STAMP.fullmatch(value)
    if form is None:
        return value
    moment = now + _offset(form["zone"])
    text = f"{moment:%Y-%m-%d}"
    if form["separator"] is None:
        return text
    text += form["separator"] + f"{moment:%H:%M}"
    if form["second"] is not None:
        text += f"{moment:%S}".rjust(3, ":")
    if form["fraction"] is not None:
        digits = len(form["fraction"]) - 1
        text += form["fraction"][0] + f"{moment.microsecond:06}".ljust(digits, "0")[:digits]
    return text + form["space"] + (form["zone"] or "")


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return timedelta(minutes=-minutes if zone[0] == "-" else minutes)
