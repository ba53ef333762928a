"""Time words, ids, transactions and marks become positions; everything else is refused by name."""

from __future__ import annotations

import shlex
import time as system_time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli.errors import AuditError, UsageError
from auditcli.position import (
    AtChange,
    AtLatest,
    AtMark,
    AtTime,
    AtTransaction,
    Position,
    change_id_in,
    check_order,
    describe,
    format_position,
    parse_position,
    shown,
    transaction_prefix,
    valid_mark_name,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 15, 30, tzinfo=BERLIN)  # a Wednesday
UUID = "1f3a9c12-4d5e-4f60-8a9b-0c1d2e3f4a5b"


def parsed(text: str, now: datetime = NOW) -> Position:
    return parse_position(text, now=now, zone=BERLIN)


def local(*parts: int) -> AtTime:
    return AtTime(datetime(*parts, tzinfo=BERLIN).astimezone(UTC))  # type: ignore[misc,arg-type]


def refusal(text: str, now: datetime = NOW) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parsed(text, now)
    return caught.value


@pytest.fixture
def new_york_as_system_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    system_time.tzset()
    yield
    monkeypatch.undo()
    system_time.tzset()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("2 hours ago", timedelta(hours=2)),
        ("2.hours.ago", timedelta(hours=2)),
        ("2 Hours 5 mins ago", timedelta(minutes=125)),
        ("2d", timedelta(days=2)),
        ("3 days ago", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
        ("0s", timedelta()),
    ],
)
def test_a_length_of_time_counts_back_from_now(text: str, length: timedelta) -> None:
    assert parsed(text) == AtTime((NOW - length).astimezone(UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", local(2026, 11, 25, 15, 30)),
        ("today", local(2026, 11, 25)),
        ("today 09:00", local(2026, 11, 25, 9)),
        ("yesterday", local(2026, 11, 24)),
        ("yesterday 14:00", local(2026, 11, 24, 14)),
        ("Yesterday.14:00:31", local(2026, 11, 24, 14, 0, 31)),
        ("monday", local(2026, 11, 23)),
        ("sun", local(2026, 11, 22)),
        ("wednesday", local(2026, 11, 25)),
        ("wednesday 14:00", local(2026, 11, 25, 14)),
        ("wednesday 16:00", local(2026, 11, 18, 16)),
        ("14:45", local(2026, 11, 25, 14, 45)),
        ("14:45:31", local(2026, 11, 25, 14, 45, 31)),
        ("14:45:31.25", local(2026, 11, 25, 14, 45, 31, 250_000)),
        ("2026-11-23", local(2026, 11, 23)),
        ("2026-11-23T14:00", local(2026, 11, 23, 14)),
        ("2026-11-23 9:05", local(2026, 11, 23, 9, 5)),
        ("20261123T140000", local(2026, 11, 23, 14)),
        (" 2026-11-23 14:00:31.123456789 ", local(2026, 11, 23, 14, 0, 31, 123_456)),
    ],
)
def test_a_time_without_a_zone_is_local(text: str, expected: AtTime) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T14:00Z",
        "2026-11-23t14:00z",
        "2026-11-23 14:00 UTC",
        "2026-11-23 15:00+01:00",
        "2026-11-23 15:00:00 +0100",
        "2026-11-23T09:00-05",
        "2026-11-23T19:30:00+05:30",
    ],
)
def test_a_zone_in_the_text_is_honoured(text: str) -> None:
    assert parsed(text) == AtTime(datetime(2026, 11, 23, 14, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12345", AtChange(12345)),
        ("#12345", AtChange(12345)),
        ("0", AtChange(0)),
        ("00042", AtChange(42)),
        (str(2**63 - 1), AtChange(2**63 - 1)),
        ("tx:1F3A9C", AtTransaction("1f3a9c")),
        (f"tx:{UUID}", AtTransaction(UUID)),
        ("@before-import", AtMark("before-import")),
        ("@1.2", AtMark("1.2")),
        ("@latest", AtLatest()),
        ("@Latest", AtLatest()),
    ],
)
def test_ids_transactions_and_marks_are_positions(text: str, expected: Position) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize("text", ["20261123", "1767225600"])
def test_a_bare_integer_is_a_change_id_and_neither_a_date_nor_an_epoch(text: str) -> None:
    assert parsed(text) == AtChange(int(text))


def test_days_keep_the_time_on_the_clock_and_hours_are_elapsed_time_across_dst() -> None:
    after_the_change = datetime(2026, 3, 29, 12, tzinfo=BERLIN)  # 02:00 became 03:00 that night

    assert parsed("1d", after_the_change) == AtTime(datetime(2026, 3, 28, 11, tzinfo=UTC))
    assert parsed("24h", after_the_change) == AtTime(datetime(2026, 3, 28, 10, tzinfo=UTC))


def test_midnight_before_a_dst_change_has_the_offset_of_that_night() -> None:
    after_the_change = datetime(2026, 10, 25, 12, tzinfo=BERLIN)

    assert parsed("today", after_the_change) == AtTime(datetime(2026, 10, 24, 22, tzinfo=UTC))


def test_of_a_local_time_that_happens_twice_the_earlier_one_is_meant() -> None:
    assert parsed("2026-10-25T02:30") == AtTime(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


def test_now_in_the_repeated_hour_is_not_moved_by_an_hour() -> None:
    second_half_past_two = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)

    assert parsed("15m", second_half_past_two) == AtTime(datetime(2026, 10, 25, 1, 15, tzinfo=UTC))


@pytest.mark.usefixtures("new_york_as_system_zone")
def test_without_a_zone_the_systems_own_is_used() -> None:
    summer = parse_position("2026-07-01 12:00", now=NOW)
    winter = parse_position("yesterday 12:00", now=NOW)

    assert summer == AtTime(datetime(2026, 7, 1, 16, tzinfo=UTC))
    assert winter == AtTime(datetime(2026, 11, 24, 17, tzinfo=UTC))
    assert describe(winter) == "2026-11-24 12:00:00-05:00"


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "soon", "ago", "15x", "2 fortnights ago", "1.5h", "-5m", "1h ago 2", "\x00", "\u0663d"),
        *("yesterday 25h", "noday 14:00", "2026-11", "2026-11-23T", "2026-11-23T14:00 Europe/Berlin"),
    ],
)
def test_nonsense_is_refused_by_name_with_the_valid_forms(text: str) -> None:
    error = refusal(text)

    assert error.message == f"{text.strip()!r} is neither a time nor another position"
    assert "15m, 2 hours ago, yesterday 14:00" in str(error.hint)


@pytest.mark.parametrize(
    "text",
    [
        *("25:00", "2026-02-30", "2026-11-23T24:61", "2026-11-23T14:00+99:00", "0000-01-01", "yesterday 14:99"),
        *("99999999999d", "999999999999999999w", "9999999999999h", "0001-01-01"),
    ],
)
def test_a_time_outside_the_calendar_is_refused_by_name(text: str) -> None:
    error = refusal(text)

    assert error.message == f"{text!r} is outside the calendar"


@pytest.mark.parametrize("text", ["2026-11-25T15:31", "2027-01-01", "16:00", "today 23:59", "9999-12-31T23:59-23:00"])
def test_a_time_in_the_future_is_refused(text: str) -> None:
    error = refusal(text)

    assert text in error.message


def test_the_refusal_of_the_future_says_how_the_word_was_understood() -> None:
    error = refusal("2027-01-01")

    assert error.message == (
        "'2027-01-01' is in the future: 2027-01-01 00:00:00+01:00, and it is 2026-11-25 15:30:00+01:00 now"
    )


@pytest.mark.parametrize("text", [str(2**63), "9" * 5000])
def test_an_id_beyond_64_bits_is_refused_and_a_long_word_is_cut(text: str) -> None:
    error = refusal(text)

    assert "is too large for a change id" in error.message
    assert len(error.message) < 150


@pytest.mark.parametrize("text", ["1f3a9", "", "xyzxyz", "1f3a-9c12", UUID + "0"])
def test_a_transaction_is_not_named_by_less_than_six_characters_or_by_what_no_id_holds(text: str) -> None:
    with pytest.raises(UsageError, match="no transaction id"):
        transaction_prefix(text)


@pytest.mark.parametrize("text", ["1f3a9c", "1f3a9c12-", "1f3a9c12-4", "1F3A9C124D", UUID, UUID.replace("-", "")])
def test_a_transaction_prefix_is_spelled_as_the_log_spells_ids(text: str) -> None:
    assert UUID.startswith(transaction_prefix(text))


@pytest.mark.parametrize("name", ["before-import", "v1.2", "2026-11-23", "_x", "größe", "a" * 100])
def test_a_plain_word_can_name_a_mark(name: str) -> None:
    assert valid_mark_name(name) == name


@pytest.mark.parametrize("name", ["", "latest", "LATEST", "-x", ".x", "a b", "a/b", "x\n", "\x1b[31m", "a" * 101])
def test_a_word_that_would_be_misread_or_obeyed_cannot_name_a_mark(name: str) -> None:
    with pytest.raises(UsageError, match="name of a mark"):
        valid_mark_name(name)


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (AtChange(123), "the change #123"),
        (AtTransaction("1f3a9c"), "the transaction tx:1f3a9c"),
        (AtTime(datetime(2026, 11, 23, 13, tzinfo=UTC)), "2026-11-23 14:00:00+01:00"),
        (AtTime(datetime(1, 1, 1, tzinfo=UTC)), "0001-01-01 00:53:28+00:53:28"),
        (AtTime(datetime.max.replace(tzinfo=UTC)), "9999-12-31 23:59:59.999999+00:00"),
        (AtMark("before-import"), "the mark @before-import"),
        (AtLatest(), "the latest transaction"),
    ],
)
def test_a_message_can_name_every_position(position: Position, words: str) -> None:
    assert describe(position, BERLIN) == words


@pytest.mark.parametrize(
    ("since", "until", "named"),
    [
        (AtChange(9), AtChange(5), ("#9", "#5")),
        (parsed("1h"), parsed("2h"), ("2026-11-25 14:30:00+01:00", "2026-11-25 13:30:00+01:00")),
    ],
)
def test_since_after_until_is_refused_with_both_values(
    since: Position, until: Position, named: tuple[str, str]
) -> None:
    with pytest.raises(UsageError) as caught:
        check_order(since, until, BERLIN)

    assert all(value in caught.value.message for value in named)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (AtChange(5), AtChange(5)),
        (AtChange(5), AtChange(9)),
        (parsed("2h"), parsed("1h")),
        (None, AtChange(1)),
        (AtChange(1), None),
        (AtChange(9), AtMark("x")),
    ],
)
def test_an_order_that_is_right_or_unknown_passes(since: Position | None, until: Position | None) -> None:
    before = (since, until)

    check_order(since, until, BERLIN)

    assert (since, until) == before


def test_a_change_id_is_read_only_from_ascii_digits() -> None:
    assert [change_id_in(text) for text in ("42", "#42", "4_2", "+42", "\u0664", "# 42")] == [42, 42] + [None] * 4


def test_a_quoted_word_is_escaped_and_cut() -> None:
    assert shown("\x1b[31m\x00") == "'\\x1b[31m\\x00'"
    assert shown("a" * 100, limit=5) == "'aaaa…'"


positions = st.one_of(
    st.integers(0, 2**63 - 1).map(AtChange),
    st.uuids()
    .map(str)
    .flatmap(lambda text: st.integers(6, 36).map(lambda size: text[:size].rstrip("-")))
    .filter(lambda prefix: len(prefix.replace("-", "")) >= 6)
    .map(AtTransaction),
    st.datetimes(max_value=datetime(2026, 11, 25), timezones=st.just(UTC)).map(AtTime),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
    .filter(lambda name: name != "latest")
    .map(AtMark),
    st.just(AtLatest()),
)


@given(positions)
def test_a_formatted_position_reads_back_and_needs_no_quoting(position: Position) -> None:
    text = format_position(position)

    assert parsed(text) == position
    assert shlex.quote(text) == text


WORDS = st.sampled_from(
    ["yesterday", "monday", "14:45", "2026-11-23", "T", " ", "ago", "1h", "tx:", "@", "#", "9" * 25, "+01:00", "."]
)


def position_or_none(text: str, zone: tzinfo | None) -> Position | None:
    try:
        return parse_position(text, now=NOW, zone=zone)
    except AuditError:
        return None


@given(st.one_of(st.text(), st.lists(WORDS, max_size=5).map("".join)), st.sampled_from([BERLIN, UTC, None]))
def test_no_word_raises_anything_but_our_own_errors(text: str, zone: tzinfo | None) -> None:
    position = position_or_none(text, zone)

    assert position is None or parse_position(format_position(position), now=NOW, zone=zone) == position
