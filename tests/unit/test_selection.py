"""Selections: words in, a hashable value out, the same words back; and which changes they mean."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditcli import codec
from auditcli.errors import AuditError, NotFound, UsageError
from auditcli.model import Change, EventType, Image, JsonValue, RowKey, TableName
from auditcli.position import AtChange, AtLatest, AtMark, AtTime, AtTransaction
from auditcli.selection import (
    Selection,
    SelectionOptions,
    actor_matches,
    format_selection,
    matches,
    parse_row,
    parse_selection,
    parse_table,
    row_id_candidates,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
UUID = "1f3a9c12-4d5e-4f60-8a9b-0c1d2e3f4a5b"
ORDERS = TableName("orders")
ODD = TableName("a.b/c", "sh op")
KEYS: Mapping[TableName, tuple[str, ...]] = {
    ORDERS: ("id",),
    TableName("Artist"): ("ArtistId",),
    TableName("PlaylistTrack"): ("PlaylistId", "TrackId"),
    TableName("invoices", "shop"): ("id",),
    TableName("invoices", "old"): ("id",),
    TableName("order-items"): ("id",),
    TableName("keyless"): (),
    ODD: ("key",),
}


def select(*words: str, options: SelectionOptions | None = None) -> Selection:
    return parse_selection(words, tables=KEYS, now=NOW, zone=BERLIN, options=options)


def refusal(*words: str) -> AuditError:
    with pytest.raises(AuditError) as caught:
        select(*words)
    return caught.value


def change(
    event_type: EventType = EventType.UPDATE,
    before: Image | None = None,
    after: Image | None = None,
    *,
    table: TableName = ORDERS,
    row_id: str | None = "57",
) -> Change:
    return Change(42, NOW, table, row_id, event_type, before, after, transaction_id=UUID, actor="bob")


def update(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> Change:
    return change(EventType.UPDATE, {"id": 57, **before}, {"id": 57, **after})


def insert(**values: JsonValue) -> Change:
    return change(EventType.INSERT, None, {"id": 57, **values})


def delete(**values: JsonValue) -> Change:
    return change(EventType.DELETE, {"id": 57, **values}, None)


def is_selected(one: Change, *words: str) -> bool:
    return matches(select(*words), one)


# Words and keys


def test_no_words_are_an_empty_selection() -> None:
    assert select().is_empty
    assert select() == Selection()
    assert format_selection(select()) == ""


@pytest.mark.parametrize("word", ["42", "table:orders", "not:42", "event:snapshot", "since:1", "status:x", "grep:x"])
def test_any_word_makes_a_selection_that_is_not_empty(word: str) -> None:
    assert not select(word).is_empty


def test_a_bare_word_is_an_id_a_transaction_a_table_or_a_row() -> None:
    selection = select("42", "#43", "tx:1f3a9c", "orders", "PlaylistTrack/1,42")

    assert selection.ids.any_of == (42, 43)
    assert selection.transactions.any_of == ("1f3a9c",)
    assert selection.tables.any_of == (ORDERS,)
    [row] = selection.rows.any_of
    assert (row.table, row.row_ids[0]) == (TableName("PlaylistTrack"), "[1,42]")


def test_every_keyword_fills_its_own_field() -> None:
    selection = select(
        *("table:orders", "row:orders/57", "column:orders.status", "event:update", "op:i", "actor:bob", "tx:1f3a9c"),
        *("since:@import", "until:@latest", "grep:x", "text:/y+/", "not:actor:svc-*"),
    )

    assert selection.tables.any_of == (ORDERS,)
    assert [str(row) for row in selection.rows.any_of] == ["orders/57"]
    assert [(word.table, word.column) for word in selection.columns.any_of] == [(ORDERS, "status")]
    assert selection.events.any_of == (EventType.INSERT, EventType.UPDATE)
    assert (selection.actors.any_of, selection.actors.none_of) == (("bob",), ("svc-*",))
    assert selection.transactions.any_of == ("1f3a9c",)
    assert (selection.since, selection.until) == (AtMark("import"), AtLatest())
    assert [(test.text, test.is_regex) for test in selection.texts.any_of] == [("x", False), ("y+", True)]


def test_options_and_words_mean_the_same() -> None:
    options = SelectionOptions(
        table=("orders", "Artist"),
        row=("orders/57",),
        column=("status",),
        event=("update", "d"),
        actor=("bob",),
        tx=("1f3a9c",),
        since=("yesterday 14:00",),
        until=("2026-11-25T09:00",),
        grep=("x",),
    )

    by_options = select(options=options)
    by_words = select(
        *("table:orders", "table:Artist", "row:orders/57", "column:status", "event:update", "event:d", "actor:bob"),
        *("tx:1f3a9c", "since:yesterday 14:00", "until:2026-11-25T09:00", "grep:x"),
    )

    assert by_options == by_words
    assert by_options.since == AtTime(datetime(2026, 11, 24, 13, tzinfo=UTC))


@pytest.mark.parametrize(
    ("pretty", "plain"),
    [
        ("total>100", "total.gt:100"),
        ("total>=100", "total.ge:100"),
        ("total<5", "total.lt:5"),
        ("total<=5", "total.le:5"),
        ("total!=3", "total.ne:3"),
        ("status=shipped", "status:shipped"),
        ("status:pending→shipped", "status:pending..shipped"),
        ("status:→shipped", "status:..shipped"),
        ("op:u", "event:update"),
        ("actor=bob", "actor:bob"),
        ("actor!=bob", "not:actor:bob"),
        ("orders.total>5", "orders.total.gt:5"),
        ("#42", "42"),
        ("total.GT:1", "total.gt:1"),
        ("status.null:", "status.null"),
    ],
)
def test_the_pretty_form_means_the_plain_one(pretty: str, plain: str) -> None:
    assert select(pretty) == select(plain)


def test_a_quoted_key_is_a_column_even_where_it_is_called_like_a_keyword() -> None:
    by_column = select('"actor":bob')

    assert by_column.actors.any_of == ()
    assert matches(by_column, update({}, {"actor": "bob"}))
    assert not matches(by_column, update({}, {"actor": "eve"}))


def test_an_operator_is_a_column_where_it_stands_alone_or_in_quotes() -> None:
    assert is_selected(update({}, {"gt": "5"}), "gt:5")
    assert is_selected(update({}, {"gt": "5"}), 'orders."gt":5')


def test_an_id_column_is_a_column() -> None:
    assert is_selected(update({}, {}), "id:57")


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("ordres", "'ordres' is neither a change id", "did you mean orders?"),
        ("artst/7", "'artst/7' is neither a change id", "did you mean Artist/KEY?"),
        ("update", "'update' is neither a change id", "did you mean event:update?"),
        ("actr", "'actr' is neither a change id", "did you mean actor:VALUE?"),
        ("", "'' is neither a change id", "TABLE/KEY"),
        ("event:updat", "'updat' is no event", "did you mean update?"),
        ("event:", "event has no value", "event:VALUE"),
        ("tx:1f3a", "'1f3a' is no transaction id", "first 6 characters"),
        ("row:orders", "'orders' names no row", "TABLE/KEY"),
        ("PlaylistTrack/1", "'1' is no key of PlaylistTrack", "PlaylistTrack/PlaylistId,TrackId"),
        ("keyless/1", "table keyless has no primary key", "COLUMN:VALUE"),
        ("grep:/a(/", "'/a(/' is no regular expression", "without the slashes"),
        ("grep:/a{99999999999}/", "'/a{99999999999}/' is no regular expression", "without the slashes"),
        ("not:since:1", "since can't be negated", "until:"),
        ("not:not:42", "says not twice", "once"),
        ("actor>5", "actor can't be compared by >", '"actor">VALUE'),
        ("total.gt>5", "has two operators", "COLUMN.gt:VALUE"),
        ("status.null:x", "null takes no value: 'x'", "COLUMN.null"),
        ("since:tomorrow", "'tomorrow' is neither a time", "15m"),
        ('column:a"b', "names no column", "quotes"),
        (str(2**63), "is too large for a change id", str(2**63 - 1)),
    ],
)
def test_a_wrong_word_is_a_usage_error_that_names_it_and_the_way_out(word: str, message: str, hint: str) -> None:
    error = refusal(word)

    assert error.exit_code == 2
    assert message in error.message
    assert hint in str(error.hint)


@pytest.mark.parametrize("word", ["table:ordres", "row:ordres/5", "column:ordres.status", "ordres.status:x"])
def test_an_unknown_table_after_a_keyword_is_not_found_and_the_tracked_ones_are_listed(word: str) -> None:
    error = refusal(word)

    assert isinstance(error, NotFound)
    assert error.message == "table 'ordres' is not tracked"
    assert str(error.hint).startswith("did you mean orders? tracked tables: ")


@pytest.mark.parametrize("word", ["orders", "orders/5", "table:orders", "orders.status:x"])
def test_where_nothing_is_tracked_the_hint_says_how_to_begin(word: str) -> None:
    with pytest.raises(NotFound) as caught:
        parse_selection([word], tables=(), now=NOW)

    assert "nothing is tracked yet" in str(caught.value.hint)


def test_since_after_until_is_refused_with_both_values() -> None:
    error = refusal("since:9", "until:5")

    assert error.message == "since (the change #9) is after until (the change #5)"


def test_a_boundary_given_twice_is_refused_with_both_values() -> None:
    error = refusal("since:5", "since:tx:1f3a9c")

    assert error.message == "since is given twice: the change #5 and the transaction tx:1f3a9c"


def test_an_unknown_word_is_shown_escaped_and_cut() -> None:
    error = refusal("\x1b[31m" + "x" * 1000)

    assert "\\x1b[31m" in error.message
    assert "\x1b" not in error.message + str(error.hint)
    assert len(error.message) < 200


# Tables and rows


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("orders", ORDERS),
        ("ORDERS", ORDERS),
        ("artist", TableName("Artist")),
        ("shop.invoices", TableName("invoices", "shop")),
        ("SHOP.Invoices", TableName("invoices", "shop")),
        ("order-items", TableName("order-items")),
        ('"order-items"', TableName("order-items")),
        ('"sh op"."a.b/c"', ODD),
        ('"a.b/c"', ODD),
    ],
)
def test_a_table_is_found_as_it_is_tracked_or_where_one_is_meant_all_the_same(text: str, table: TableName) -> None:
    assert parse_table(text, KEYS) == table


def test_the_exact_spelling_wins_over_one_that_differs_in_case() -> None:
    tables = [TableName("T"), TableName("t")]

    assert parse_table("t", tables) == TableName("t")
    assert parse_table("T", tables) == TableName("T")


def test_a_name_that_two_tables_have_is_refused_with_both() -> None:
    with pytest.raises(UsageError) as caught:
        parse_table("invoices", KEYS)

    assert caught.value.hint == "write one of old.invoices, shop.invoices"


@pytest.mark.parametrize("text", ["", ".", "a..b", '"', "orders/5", "orders.", "\x00", "%s", ":x", "x" * 100_000])
def test_a_table_that_nobody_tracks_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="is not tracked"):
        parse_table(text, KEYS)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("orders/57", RowKey(ORDERS, "57")),
        ("orders/a/b,c:d", RowKey(ORDERS, "a/b,c:d")),
        ('orders/["57"]', RowKey(ORDERS, "57")),
        ("PlaylistTrack/1,42", RowKey(TableName("PlaylistTrack"), "[1,42]")),
        ("PlaylistTrack/a,42", RowKey(TableName("PlaylistTrack"), '["a",42]')),
        ('PlaylistTrack/["1, 5", 42]', RowKey(TableName("PlaylistTrack"), '["1, 5",42]')),
        ("shop.invoices/5", RowKey(TableName("invoices", "shop"), "5")),
        ('"sh op"."a.b/c"/x/y', RowKey(ODD, "x/y")),
        ('orders/{"$hex":"00ff"}', RowKey(ORDERS, '{"$hex":"00ff"}')),
        ('orders/[{"$hex": "00ff"}]', RowKey(ORDERS, '{"$hex":"00ff"}')),
    ],
)
def test_a_row_is_its_table_and_all_that_follows_the_slash(text: str, row: RowKey) -> None:
    assert parse_row(text, KEYS) == row


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=2, max_size=2))
def test_a_row_as_it_is_shown_can_be_asked_for(values: list[int | str]) -> None:
    row = RowKey(TableName("PlaylistTrack"), codec.row_id(values))

    [word] = select(str(row)).rows.any_of

    assert row.row_id in word.row_ids


@pytest.mark.parametrize(
    ("key", "width", "candidates"),
    [
        ("42", 1, ("42",)),
        ("1,42", 1, ("1,42",)),
        ("1,42", 2, ("[1,42]", '[1,"42"]', '["1",42]', '["1","42"]')),
        ("007,-0", 2, ('["007","-0"]',)),
        ("1,2,3,4,5,6", 6, ("[1,2,3,4,5,6]", '["1","2","3","4","5","6"]')),
        ("[1,2.50]", 2, ("[1,2.5]", '["[1","2.50]"]')),
        ("[NaN]", 1, ("[NaN]",)),
        ("[[1]]", 1, ("[[1]]",)),
        ("[" * 100_000, 1, (codec.row_id(["[" * 100_000]),)),
    ],
)
def test_the_readings_of_a_key_begin_with_integers(key: str, width: int, candidates: tuple[str, ...]) -> None:
    assert row_id_candidates(key, width) == candidates


def test_a_long_key_is_named_by_all_of_it() -> None:
    assert row_id_candidates("x" * 300, 1) == ("x" * 300,)


@pytest.mark.parametrize(("key", "width"), [("1", 2), ("1,2,3", 2), ("[1]", 2), ("[]", 0), ("", 0), ("1" * 5000, 3)])
def test_a_key_of_the_wrong_width_is_refused(key: str, width: int) -> None:
    with pytest.raises(UsageError, match=f"no key of {width} columns"):
        row_id_candidates(key, width)


def test_without_primary_keys_a_row_word_covers_every_width() -> None:
    selection = parse_selection(["orders/1,42"], tables=list(KEYS), now=NOW)

    [word] = selection.rows.any_of

    assert {"1,42", "[1,42]", '["1","42"]'} <= set(word.row_ids)


def test_a_row_is_selected_by_its_key_before_and_after_a_change_of_key() -> None:
    renamed = replace(change(row_id="58"), old_row_id="57")

    assert matches(select("orders/57"), renamed)
    assert matches(select("orders/58"), renamed)
    assert not matches(select("orders/59"), renamed)
    assert not matches(select("Artist/57"), renamed)


# Which changes match


def test_repeated_words_of_one_key_are_alternatives_and_different_keys_all_count() -> None:
    one = update({"status": "pending"}, {"status": "shipped"})

    assert is_selected(one, "actor:eve", "actor:bob")
    assert is_selected(one, "status:lost", "status:ship*", "table:orders")
    assert not is_selected(one, "actor:bob", "table:Artist")
    assert not is_selected(one, "actor:eve", "status:shipped")


def test_two_bounds_of_one_column_both_count() -> None:
    assert is_selected(update({}, {"total": 50}), "total>10", "total<100")
    assert not is_selected(update({}, {"total": 500}), "total>10", "total<100")


def test_two_values_that_a_column_must_not_have_both_count() -> None:
    assert not is_selected(update({}, {"status": "a"}), "status!=a", "status!=b")
    assert is_selected(update({}, {"status": "c"}), "status!=a", "status!=b")


def test_no_negated_word_may_match() -> None:
    one = update({"status": "pending"}, {"status": "shipped"})

    assert is_selected(one, "not:actor:svc-*", "not:actor:eve", "not:7")
    for word in ("actor:b*", "42", "tx:1f3a9c", "orders", "orders/57", "event:u", "status:shipped", "grep:SHIP"):
        assert is_selected(one, word)
        assert not is_selected(one, f"not:{word}")


def test_ids_and_transactions_select_by_number_and_by_prefix() -> None:
    assert is_selected(change(), "41", "42")
    assert not is_selected(change(), "4")
    assert is_selected(change(), f"tx:{UUID}")
    assert not is_selected(change(), "tx:ffffff")
    assert not matches(select("tx:1f3a9c"), replace(change(), transaction_id=None))


@pytest.mark.parametrize(
    ("words", "selected"),
    [
        ((), "IUDT"),
        (("event:delete",), "DT"),
        (("event:D",), "DT"),
        (("event:truncate",), "T"),
        (("event:Insert,u",), "IU"),
        (("not:event:delete",), "IU"),
        (("event:snapshot",), "S"),
        (("event:snapshot", "event:insert"), "IS"),
        (("not:event:update",), "IDT"),
        (("event:delete", "not:event:truncate"), "D"),
    ],
)
def test_an_event_word_selects_and_only_it_brings_snapshots(words: tuple[str, ...], selected: str) -> None:
    selection = select(*words)

    letters = "".join(event.letter for event in EventType if matches(selection, change(event, {"id": 1}, {"id": 1})))

    assert letters == selected
    assert selection.event_types == {event for event in EventType if event.letter in selected}


@pytest.mark.parametrize(
    ("pattern", "actor", "expected"),
    [
        ("bob", "bob", True),
        ("bob", "Bob", False),
        ("svc-*", "svc-web", True),
        ("*", "anyone", True),
        ("*", None, False),
        ("", None, True),
        ("", "", True),
        ("", "bob", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*bc*c", "abc", False),
        ("ab*ba", "aba", False),
        ("[a-z]%_?", "[a-z]%_?", True),
        ("*a" * 30 + "b", "a" * 5000, False),
    ],
)
def test_an_actor_pattern_knows_the_star_only(pattern: str, actor: str | None, expected: bool) -> None:
    assert actor_matches(pattern, actor) is expected


def test_a_change_that_nobody_is_named_for_is_not_hidden_by_a_negated_actor() -> None:
    anonymous = replace(change(), actor=None)

    assert matches(select("not:actor:svc-*"), anonymous)
    assert matches(select("actor:"), anonymous)
    assert not matches(select("not:actor:"), anonymous)


def test_a_column_word_selects_what_wrote_the_column() -> None:
    moved = update({"status": "a", "note": "x"}, {"status": "b", "note": "x"})

    assert is_selected(moved, "column:status")
    assert is_selected(moved, "column:STATUS")
    assert is_selected(moved, "column:orders.status")
    assert not is_selected(moved, "column:note")
    assert not is_selected(moved, "column:Artist.status")
    assert is_selected(insert(note="x"), "column:note")
    assert is_selected(delete(note="x"), "column:note")
    assert not is_selected(delete(note="x"), "column:status")


@pytest.mark.parametrize(
    ("stored", "word", "expected"),
    [
        (100, "x:100", True),
        (100, "x:100.0", True),
        (100, "x:1e2", True),
        (100, "x:1*", True),
        (100, "x:abc", False),
        (0.1, "x:0.1", True),
        (2**53 + 1, f"x:{2**53}", False),
        (Decimal("1.10"), "x:1.1", True),
        (Decimal("1.10"), "x>1.05", True),
        (Decimal("9.5"), "x>10", False),
        (9, "x>10", False),
        (9.5, "x>=9.5", True),
        (9, "x.le:9", True),
        (9, "x.lt:9", False),
        (-1, "x<0", True),
        (5, "x.in:3,5,7", True),
        (5, "x.in:3,4", False),
        (5, "x>many", False),
        (5, "x!=many", True),
        (float("inf"), "x>1e300", True),
        (float("nan"), "x:nan", True),
        (float("nan"), "x>1", False),
        ("1", "x:1", True),
        ("1", "x:1.0", False),
        ("9", "x>10", True),
        ("shipped", "x:ship*", True),
        ("shipped", "x:Shipped", False),
        ("a*b", "x.eq:a*b", True),
        ("axb", "x.eq:a*b", False),
        ("a..b", "x.eq:a..b", True),
        ("b", "x>a", True),
        ("", "x:", True),
        ("2026-11-23 14:00:00.000000", "x>2026-11-23T13:00", True),
        ("2026-11-23 14:00:00.000000", "x<2026-11-23T15:00", True),
        ("2026-11-23T14:00:00", "x:2026-11-23 14:00:00", True),
        ("2026-11-23 14:00:00", "x:2026-11-23T1*", True),
        (True, "x:true", True),
        (True, "x:1", True),
        (True, "x:false", False),
        (True, "x>0", False),
        (1, "x:true", False),
        (b"\x00\xff", "x:00FF", True),
        (b"\x00\xff", "x:00*", True),
        (codec.BrokenText(b"ab\xc3\x28"), "x:ab*", True),
        (None, "x.null", True),
        (None, "not:x.null", False),
        ("", "x.null", False),
        (None, "x:", False),
        (None, "x:*", False),
        (None, "x:null", False),
        (None, "x!=5", True),
        (None, "x<5", False),
        ("null", "x:null", True),
    ],
)
def test_a_cell_word_compares_by_what_is_stored(stored: object, word: str, expected: bool) -> None:
    one = insert(x=codec.encode(stored))

    assert is_selected(one, word) is expected


def test_a_cell_word_looks_at_the_row_after_the_change_and_before_it_where_it_is_gone() -> None:
    assert is_selected(update({"status": "a"}, {"status": "b"}), "status:b")
    assert not is_selected(update({"status": "a"}, {"status": "b"}), "status:a")
    assert is_selected(delete(status="a"), "status:a")
    assert is_selected(change(EventType.TRUNCATE, {"status": "a"}, None), "status:a")


def test_a_row_without_the_column_passes_only_the_negated_word() -> None:
    assert not is_selected(insert(), "status:a")
    assert not is_selected(insert(), "status!=a")
    assert not is_selected(insert(), "status.null")
    assert is_selected(insert(), "not:status:a")


def test_a_cell_word_can_be_bound_to_a_table_and_a_column_may_differ_in_case() -> None:
    one = insert(Status="a", note="n")

    assert is_selected(one, "orders.status:a")
    assert not is_selected(one, "Artist.status:a")
    assert is_selected(insert(status="a", Status="b"), "status:a")
    assert not is_selected(insert(status="a", Status="b"), "status:b")


@pytest.mark.parametrize(
    ("word", "selected"),
    [
        ("status:pending..shipped", ("moved",)),
        ("status:pending→shipped", ("moved",)),
        ("status:pending..", ("moved", "deleted")),
        ("status:..shipped", ("moved", "inserted")),
        ("status:p*..s*", ("moved",)),
        ("status:..", ("moved", "inserted", "deleted")),
        ("status:shipped..pending", ()),
    ],
)
def test_from_and_to_select_only_changes_of_the_cell(word: str, selected: tuple[str, ...]) -> None:
    changes = {
        "moved": update({"status": "pending"}, {"status": "shipped"}),
        "still pending": update({"status": "pending", "note": "a"}, {"status": "pending", "note": "b"}),
        "still shipped": update({"status": "shipped", "note": "a"}, {"status": "shipped", "note": "b"}),
        "inserted": insert(status="shipped"),
        "deleted": delete(status="pending"),
        "without": insert(),
    }

    assert tuple(name for name, one in changes.items() if is_selected(one, word)) == selected


def test_a_text_is_found_in_the_values_of_both_images_without_minding_case() -> None:
    one = update({"note": "Straße nach Wien", "data": {"$hex": "cafe"}}, {"note": 'say "hi"', "data": {"$hex": "00"}})

    for word in (
        "grep:STRASSE",
        "grep:wien",
        "grep:CAFE",
        'grep:"hi"',
        "grep:57",
        "grep:/^say .hi/",
        "grep:/W[ij]EN$/",
    ):
        assert is_selected(one, word), word


def test_a_text_is_never_found_in_the_json_around_values() -> None:
    one = update({"note": None, "data": {"$hex": "00"}}, {"note": 'say "hi"', "data": {"$decimal": "1.5"}})

    for word in ("grep:hex", "grep:$decimal", "grep:note", "grep:null", 'grep:\\"hi', "grep:{", "grep:/^.*,.*$/"):
        assert not is_selected(one, word), word


def test_alternatives_of_texts_may_match_in_different_values() -> None:
    one = update({"note": "a"}, {"note": "b"})

    assert is_selected(one, "grep:zzz", "grep:a")
    assert not is_selected(one, "grep:b", "not:grep:a")


# What a reader of the log asks


def test_what_only_python_can_tell_is_known() -> None:
    assert not select("42", "orders", "actor:b*", "event:u", "tx:1f3a9c", "orders/5", "since:1").looks_at_images
    assert all(select(word).looks_at_images for word in ("status:x", "column:status", "not:grep:x"))


def test_a_list_of_changes_is_told_from_a_filter() -> None:
    assert select("42", "tx:1f3a9c").names_changes_only
    assert not any(
        select(*words).names_changes_only for words in ((), ("42", "orders"), ("not:42",), ("42", "since:1"))
    )


def test_a_selection_can_be_a_key() -> None:
    words = ("42", "orders/1", "status:x", "not:grep:/x/", "since:yesterday", "column:status", "event:d")

    assert len({select(*words), select(*words), select()}) == 2


# Canonical words


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        (["#42", "orders", "tx:1F3A9C"], "42 tx:1f3a9c table:orders"),
        (["row:orders/57", "PlaylistTrack/1,42"], "orders/57 PlaylistTrack/1,42"),
        (["table:order-items", "column:ORDERS.status"], "table:order-items column:orders.status"),
        (["event:d", "op:U"], "event:update event:delete"),
        (["total>100", "status:pending→shipped"], "total.gt:100 status:pending..shipped"),
        (["status=a..b", "total!=3"], "status.eq:a..b total.ne:3"),
        (["not:status.null", "orders.note:"], "orders.note: not:status.null"),
        (["not:actor:svc-*"], "'not:actor:svc-*'"),
        (["since:yesterday 14:00", "until:@import"], "since:2026-11-24T13:00:00Z until:@import"),
        (["grep:it's", "text:/a|b/"], """'grep:it'"'"'s' 'grep:/a|b/'"""),
        (['"actor":bob'], """'"actor":bob'"""),
        (["42", "42"], "42"),
    ],
)
def test_canonical_words_are_quoted_only_where_a_shell_needs_it(words: list[str], canonical: str) -> None:
    assert format_selection(select(*words)) == canonical


def assert_reads_back(selection: Selection) -> None:
    assert select(*shlex.split(format_selection(selection))) == selection


names = st.one_of(
    st.text(max_size=6), st.sampled_from(["status", "actor", "gt", "null", "not", "a.b", "-x", 'q"', "№"])
)
quoted_names = names.map(lambda name: '"' + name.replace('"', '""') + '"')
values = st.one_of(
    st.text(max_size=8), st.text(alphabet="ab*.,→/:='\"\\ ", max_size=8), st.sampled_from(["a..→b", "a...b", "x..y..z"])
)
keys = st.one_of(
    quoted_names,
    quoted_names.map("orders.{}".format),
    st.tuples(quoted_names, st.sampled_from([".gt", ".ge", ".lt", ".le", ".ne", ".in", ".eq"])).map("".join),
    st.sampled_from(["status", "orders.status", '"sh op"."a.b/c".x', "total.gt"]),
)
table_names = st.sampled_from(["orders", "artist", "shop.invoices", "order-items", '"sh op"."a.b/c"'])
words = st.one_of(
    st.tuples(keys, st.sampled_from([":", ":", "=", "!=", ">", "<="]), values).map("".join),
    quoted_names.map("{}.null".format),
    st.integers(0, 2**63 - 1).map(str),
    table_names.map("table:{}".format),
    table_names,
    st.tuples(table_names, values).map("/".join),
    quoted_names.map("column:{}".format),
    st.lists(st.sampled_from("iudts"), min_size=1, max_size=3).map(lambda letters: "event:" + ",".join(letters)),
    values.map("actor:{}".format),
    values.map("grep:{}".format),
    st.uuids().map("tx:{}".format),
)
negatable_words = st.tuples(st.sampled_from(["", "", "not:"]), words).map("".join)
boundaries = st.sampled_from([(), ("since:5",), ("until:@latest",), ("since:1h", "until:now"), ("since:tx:1f3a9c",)])


def selection_or_none(words: list[str]) -> Selection | None:
    try:
        return select(*words)
    except AuditError:
        return None


@given(st.lists(negatable_words, max_size=4), boundaries)
@example(['"x":a..→b'], ())
@example(['"x":a.→b', '"x":.→.', '"x":→→'], ())
@example(["event:truncate", "event:delete", "not:event:t"], ())
@example(["grep://", "grep:/", "grep:///"], ())
def test_formatted_words_read_back(given_words: list[str], boundary: tuple[str, ...]) -> None:
    selections = [selection_or_none([word]) for word in given_words]
    readable = [word for word, selection in zip(given_words, selections, strict=True) if selection is not None]

    selection = select(*readable, *boundary)

    assert_reads_back(selection)
    assert hash(selection) == hash(select(*readable, *boundary))


def test_most_generated_words_are_readable() -> None:
    readable: list[bool] = []

    @given(negatable_words)
    def count(word: str) -> None:
        readable.append(selection_or_none([word]) is not None)

    count()

    assert sum(readable) > len(readable) * 0.5


FRAGMENTS = st.sampled_from(
    [
        *"\x00\x1b'\"%:./,*<>=!#@[]{}→- \n",
        *("..", "not:", "tx:", "grep:/", "since:", "event:", "row:", "table:", "orders", "PlaylistTrack/", "1,2"),
        *(":x", "%s", "--", ";DROP", "9" * 5000, "(" * 2000, "[" * 2000, ".null", ".gt", "\ud800"),
    ]
)
IMAGES = st.dictionaries(
    st.sampled_from(["id", "status", "total"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals()),
).map(lambda stored: {column: codec.encode(value) for column, value in stored.items()})


@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=6).map("".join)), IMAGES, IMAGES)
@example("grep:/" + "(" * 5000 + ")" * 5000 + "/", {}, {})
@example("grep:/[[a]/", {"status": "["}, {})
@example("status.gt:nan", {"status": {"$decimal": "NaN"}}, {"status": {"$decimal": "sNaN"}})
@example("status:1e999999", {"status": 1}, {"status": 1.5})
@example("status:1e9999999999999999999", {"status": 1}, {"status": 1})
def test_hostile_words_raise_nothing_but_our_own_errors(word: str, before: Image, after: Image) -> None:
    selection = selection_or_none([word])

    if selection is not None:
        assert matches(selection, change(EventType.UPDATE, before, after)) in (True, False)
        assert_reads_back(selection)


@given(st.text(), st.text())
def test_hostile_option_values_raise_nothing_but_our_own_errors(value: str, other: str) -> None:
    for name in SelectionOptions.__dataclass_fields__:
        options = SelectionOptions(**{name: (value, other)})
        try:
            selection = select(options=options)
        except AuditError:
            continue
        assert_reads_back(selection)


def test_positions_in_words_are_those_of_the_position_module() -> None:
    assert select("since:5").since == AtChange(5)
    assert select("until:tx:1F3A9C").until == AtTransaction("1f3a9c")
