"""What people are shown: values, word diffs, changes and plans as lines that no terminal obeys."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli.fold import ABSENT
from auditcli.model import Change, EventType, Image, JsonValue, RowKey, TableName, Transaction
from auditcli.plan import CellStep, Conflict, ConflictKind, Plan, Step, StepKind
from auditcli.present import (
    Line,
    Style,
    ago,
    cell_diff,
    cells_summary,
    change_heading,
    change_lines,
    change_summary,
    changes_summary,
    conflict_lines,
    counted,
    full_lines,
    grouped_lines,
    net_heading,
    plain,
    plan_lines,
    plan_summary,
    row_word,
    rows_by_event,
    shortened,
    steps_summary,
    text_width,
    time_text,
    transaction_heading,
    value_text,
    visible,
    word_diff,
    wrapped_names,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TRACK = TableName("Track")


def change(
    before: Image | None,
    after: Image | None,
    *,
    number: int = 42,
    row_id: str | None = "7",
    transaction_id: str | None = "1f3a9c00-0000-4000-8000-000000000000",
    old_row_id: str | None = None,
) -> Change:
    event = EventType.INSERT if before is None else EventType.DELETE if after is None else EventType.UPDATE
    return Change(
        id=number,
        timestamp=NOW,
        table=TRACK,
        row_id=row_id,
        event_type=event,
        before=before,
        after=after,
        transaction_id=transaction_id,
        actor="alice",
        old_row_id=old_row_id,
    )


def texts(lines: list[Line]) -> list[str]:
    return [plain(line) for line in lines]


# Text that a terminal can't be made to obey.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("café 🎵 日本", "café 🎵 日本"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd\0e", "a\\nb\\tc\\rd\\0e"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("\u2028\u200b\ufeff\U000e0041", "\\u2028\\u200b\\ufeff\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_shown_text_has_no_control_character_and_no_hidden_one(text: str) -> None:
    hidden = [each for each in visible(text) if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")]

    assert set(hidden) <= {"\u200d"}


@given(st.text(), st.text())
def test_a_diff_of_any_two_texts_is_harmless(before: str, after: str) -> None:
    shown = plain(cell_diff(before, after))

    assert visible(shown) == shown


# Values.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        (True, "true"),
        (0, "0"),
        (0.1, "0.1"),
        ("abc", "abc"),
        ("", "''"),
        (" padded ", "' padded '"),
        ("NULL", "'NULL'"),
        ("42", "'42'"),
        ("-1.5e3", "'-1.5e3'"),
        ("true", "'true'"),
        ({"$hex": "00ff"}, "x'00ff' (2 bytes)"),
        ({"$hex": "ab" * 20}, "x'abababababababababababab…' (20 bytes)"),
        ({"$text": "c328"}, "x'c328' (2 bytes, broken text)"),
        ({"$float": "NaN"}, "NaN"),
        ({"$decimal": "1.10"}, "1.10"),
        ({"$later": [1, 2]}, '{"$later":[1,2]}'),
        ([1, "a"], '[1,"a"]'),
    ],
)
def test_values_read_as_what_they_are(value: JsonValue, shown: str) -> None:
    assert value_text(value) == shown


def test_no_row_is_not_null() -> None:
    assert value_text(ABSENT) == "(no row)"


def test_a_long_value_says_that_it_is_shortened_and_how_long_it_is() -> None:
    assert value_text("x" * 1234, limit=10) == "xxxxxxxxxx… (1,234 characters)"
    assert shortened("x" * 10, 10) == "x" * 10


# Word diffs.


def test_a_word_diff_marks_only_the_words_that_differ() -> None:
    line = word_diff("the quick brown fox", "the slow brown fox")

    assert plain(line) == "the [-quick-]{+slow+} brown fox"
    assert [span.style for span in line] == [Style.PLAIN, Style.REMOVED, Style.ADDED, Style.PLAIN]


def test_words_that_were_only_added_leave_no_empty_mark() -> None:
    assert plain(word_diff("one two", "one two three")) == "one two{+ three+}"


def test_texts_that_have_little_in_common_are_replaced_whole() -> None:
    assert plain(word_diff("alpha beta gamma", "one two three four")) == "[-alpha beta gamma-]{+one two three four+}"


def test_long_stretches_that_stayed_are_left_out() -> None:
    before = "start " + "same words again " * 20 + "end"

    shown = plain(word_diff(before, before.replace("end", "finish")))

    assert shown.endswith("[-end-]{+finish+}")
    assert len(shown) < 90


def test_huge_texts_are_not_compared_word_by_word() -> None:
    shown = plain(word_diff("a b " * 20_000, "a b " * 20_000 + "c"))

    assert "(80,000 characters)" in shown
    assert len(shown) < 300


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (0.99, 1.29, "[-0.99-]{+1.29+}"),
        (None, "Graz", "[-NULL-]{+Graz+}"),
        ("pending", "shipped", "[-pending-]{+shipped+}"),
        (1, "1", "[-1-]{+'1'+}"),
        ("Ann Lee", "Ann Low", "Ann [-Lee-]{+Low+}"),
    ],
)
def test_a_cell_shows_both_values_with_a_sign_each(before: JsonValue, after: JsonValue, shown: str) -> None:
    assert plain(cell_diff(before, after)) == shown


# Changes.


def test_an_update_shows_the_touched_columns_and_the_others_on_request() -> None:
    update = change({"Id": 7, "Price": 1}, {"Id": 7, "Price": 2})

    assert texts(change_lines(update)) == ["  Price  [-1-]{+2+}"]
    assert texts(change_lines(update, unchanged=True)) == ["  Id     7", "  Price  [-1-]{+2+}"]


def test_an_insert_adds_and_a_delete_removes_every_column() -> None:
    assert texts(change_lines(change(None, {"Id": 7, "Name": None}))) == ["  Id    {+7+}", "  Name  {+NULL+}"]
    assert texts(change_lines(change({"Id": 7}, None))) == ["  Id  [-7-]"]


def test_a_column_that_came_with_a_migration_is_shown_as_new() -> None:
    update = change({"Id": 7}, {"Id": 7, "Genre": "Jazz"})

    assert texts(change_lines(update)) == ["  Genre  {+Jazz+}"]


def test_headings_have_a_sign_beside_the_colour() -> None:
    insert, update, delete = change(None, {}), change({"a": 1}, {"a": 2}), change({}, None)

    assert [plain(change_heading(each)) for each in (insert, update, delete)] == [
        "#42 + INSERT Track/7",
        "#42 ~ UPDATE Track/7",
        "#42 - DELETE Track/7",
    ]


def test_a_changed_key_names_the_old_one() -> None:
    moved = change({"Id": 6}, {"Id": 7}, old_row_id="6")

    assert plain(change_heading(moved)) == "#42 ~ UPDATE Track/7  (was 6)"


def test_a_net_change_says_whose_changes_it_sums_up() -> None:
    update = change({"a": 1}, {"a": 2})

    assert plain(net_heading(update, 3, ("bob", None))) == "~ UPDATE Track/7  (3 changes by bob, nobody named)"


def test_a_summary_shows_the_first_cells_and_counts_the_rest() -> None:
    insert = change(None, {"a": 1, "b": 2, "c": 3, "d": 4})

    assert plain(cells_summary(insert)) == "a 1, b 2, c 3, … 1 more"
    assert plain(change_summary(insert)) == "  #42 + INSERT Track/7  a 1, b 2, c 3, … 1 more"


def test_changes_are_grouped_by_transaction_and_without_one_by_time() -> None:
    later = NOW + timedelta(seconds=1)
    first, second = change(None, {"a": 1}, number=1), change(None, {"a": 2}, number=2)
    loose = [change(None, {"a": 3}, number=number, transaction_id=None) for number in (3, 4)]
    other = Change(5, later, TRACK, "9", EventType.DELETE, {"a": 3}, None)

    lines = list(grouped_lines([first, second, *loose, other], now=later))

    headings = [plain(line) for line in lines if not plain(line).startswith("  ")]
    assert len(lines) == 8
    assert [heading.partition("  ")[0] for heading in headings] == [
        "tx:1f3a9c00",
        "no transaction id",
        "no transaction id",
    ]


def test_a_change_in_full_has_its_context() -> None:
    with_context = Change(
        1, NOW, TRACK, "7", EventType.INSERT, None, {"a": 1}, "1f3a9c", "bob", reason="why", context={"job": "n\x1b"}
    )

    lines = texts(list(full_lines([with_context], now=NOW, utc=True)))

    assert lines == [
        "tx:1f3a9c  2026-03-02 12:00:00Z (0 s ago)  bob  why",
        "  job: n\\x1b",
        "#1 + INSERT Track/7",
        "  a  {+1+}",
    ]


def test_many_changes_are_summed_up_by_column_with_an_example() -> None:
    updates = [change({"p": n, "q": 0}, {"p": n + 1, "q": 0}, number=n, row_id=str(n)) for n in range(1, 41)]

    lines = texts(changes_summary([*updates, change({"p": 1}, None)]))

    assert lines == [
        "- DELETE Track: 1 row",
        "~ UPDATE Track: 40 rows",
        "    Track.p: 40 rows, e.g. Track/1 [-1-]{+2+}",
    ]


def test_a_transaction_says_when_who_and_why() -> None:
    named = transaction_heading("1f3a9c00-aaaa", NOW, "bob", "ticket\n42", now=NOW + timedelta(hours=2), utc=True)
    nobody = transaction_heading(None, NOW, None, None, now=NOW, utc=True)

    assert plain(named) == "tx:1f3a9c00  2026-03-02 12:00:00Z (2 h ago)  bob  ticket\\n42"
    assert plain(nobody) == "no transaction id  2026-03-02 12:00:00Z (0 s ago)  (nobody named)"


def test_rows_are_counted_with_their_signs() -> None:
    transaction = Transaction("t", 9, 1, NOW, None, (TRACK,), inserts=1, updates=1327, deletes=0)

    assert rows_by_event(transaction) == "+1 ~1,327"


# Plans.


def step(kind: StepKind, row_id: str, *cells: CellStep, forced: bool = False) -> Step:
    return Step(kind, TRACK, RowKey(TRACK, row_id), {"Id": row_id}, cells, forced=forced)


def test_a_small_plan_is_shown_row_by_row() -> None:
    plan = Plan(
        "undo",
        "here",
        (
            step(StepKind.UPDATE, "1", CellStep("Price", 2, 1), forced=True),
            step(StepKind.INSERT, "2", CellStep("Id", ABSENT, 2)),
            step(StepKind.DELETE, "3"),
        ),
        notes=("watch\x1bout",),
    )

    assert texts(plan_lines(plan)) == [
        "~ UPDATE Track/1  (forced)",
        "  Price  [-2-]{+1+}",
        "+ INSERT Track/2",
        "  Id  {+2+}",
        "- DELETE Track/3",
        "note: watch\\x1bout",
    ]
    assert plain(plan_summary(plan)) == "undo: 3 clean (Track: 1 DELETE, 1 INSERT, 1 UPDATE)"


def test_a_large_plan_is_summed_up() -> None:
    steps = [step(StepKind.UPDATE, str(number), CellStep("Price", number, 0)) for number in range(1, 31)]

    lines = texts(plan_lines(Plan("undo", "here", tuple(steps))))

    assert lines == ["~ UPDATE Track: 30 rows", "    Track.Price: 30 rows, e.g. Track/1 [-1-]{+0+}"]
    assert texts(steps_summary(steps)) == lines


def test_conflicts_are_grouped_by_kind_and_by_who_is_in_the_way() -> None:
    by_bob = Change(9, NOW, TRACK, "7", EventType.UPDATE, {}, {}, actor="bob")
    conflicts = [
        Conflict(
            ConflictKind.CHANGED, TRACK, RowKey(TRACK, str(number)), "Price", f"Track/{number}\x1b: changed", by_bob
        )
        for number in range(3)
    ]

    lines = texts(conflict_lines([*conflicts, Conflict(ConflictKind.MISSING, TRACK, None, None, "gone")], most_rows=2))

    assert lines == [
        "CHANGED: 3 conflicts, by bob",
        "  Track/0\\x1b: changed",
        "  Track/1\\x1b: changed",
        "  … and 1 more",
        "MISSING: 1 conflict",
        "  gone",
    ]


# Small things.


def test_times_are_local_with_their_offset_or_utc() -> None:
    assert time_text(NOW) == "2026-03-02 13:00:00 +01:00"
    assert time_text(NOW, utc=True) == "2026-03-02 12:00:00Z"


@pytest.mark.parametrize(
    ("passed", "shown"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (86400 * 400, "400 d ago")],
)
def test_a_moment_is_told_by_its_distance(passed: int, shown: str) -> None:
    assert ago(NOW - timedelta(seconds=passed), NOW) == shown


def test_a_moment_of_another_clock_may_lie_ahead() -> None:
    assert ago(NOW + timedelta(seconds=5), NOW) == "in the future"


def test_a_row_without_a_key_has_no_word() -> None:
    assert row_word(TRACK, None) == "Track (no key)"
    assert row_word(TableName("a.b\x1b"), "1") == '"a.b\\x1b"/1'


def test_counts_and_names_read_like_sentences() -> None:
    assert (counted(1, "row"), counted(1200, "row")) == ("1 row", "1,200 rows")
    assert wrapped_names([TableName(name) for name in "abcdef"]) == "a, b, c, d, … 2 more"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("🎵", 2)])
def test_wide_characters_take_two_columns(text: str, width: int) -> None:
    assert text_width(text) == width
