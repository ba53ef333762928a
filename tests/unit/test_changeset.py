"""Net changes, inverses and threads; SQLite's session extension is the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import apsw
from hypothesis import given
from hypothesis import strategies as st

from auditcli import codec
from auditcli.changeset import compose, inverse, net, threads, touched_columns
from auditcli.model import Change, EventType, Image, TableName

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TABLE = TableName("t")
COLUMNS = ("id", "a", "b")

values = st.one_of(
    st.none(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, -1.5]),
    st.sampled_from(["", "1", "é\0x"]),
    st.binary(max_size=2),
)
statements = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 3), values, values),
        st.tuples(st.just("update"), st.integers(1, 3), values, values),
        st.tuples(st.just("delete"), st.integers(1, 3)),
    ),
    max_size=12,
)


def test_an_insert_and_its_updates_are_one_insert() -> None:
    run = [_change(1, None, {"id": 1, "a": 1}), _change(2, {"id": 1, "a": 1}, {"id": 1, "a": 2})]

    assert _outline(net(run)) == (EventType.INSERT, None, {"id": 1, "a": 2})


def test_an_insert_and_its_delete_are_nothing() -> None:
    run = [_change(1, None, {"id": 1}), _change(2, {"id": 1}, None)]

    assert net(run) is None


def test_a_delete_keeps_the_first_image_of_its_run() -> None:
    run = [_change(1, {"id": 1, "a": 1}, {"id": 1, "a": 2}), _change(2, {"id": 1, "a": 2}, None)]

    assert _outline(net(run)) == (EventType.DELETE, {"id": 1, "a": 1}, None)


def test_a_deleted_row_that_came_back_otherwise_is_an_update() -> None:
    run = [_change(1, {"id": 1, "a": 1}, None), _change(2, None, {"id": 1, "a": 2})]

    assert _outline(net(run)) == (EventType.UPDATE, {"id": 1, "a": 1}, {"id": 1, "a": 2})


def test_a_column_back_at_its_first_value_is_not_touched() -> None:
    first = _change(1, {"id": 1, "a": 1, "b": 1}, {"id": 1, "a": 2, "b": 2})
    second = _change(2, {"id": 1, "a": 2, "b": 2}, {"id": 1, "a": 1, "b": 3})

    both = compose(first, second)

    assert both is not None
    assert touched_columns(both) == ("b",)


def test_integer_one_and_real_one_are_a_difference() -> None:
    change = _change(1, {"id": 1, "a": 1}, {"id": 1, "a": 1.0})

    assert touched_columns(change) == ("a",)
    assert net([change]) == change


def test_a_row_is_followed_through_its_keys() -> None:
    run = [_change(1, {"id": 1}, {"id": 2}), _change(2, {"id": 2}, {"id": 3})]

    moved = net(run)

    assert moved is not None
    assert (moved.old_row_id, moved.row_id) == ("1", "3")


def test_a_moved_row_that_is_deleted_is_deleted_where_it_stood_first() -> None:
    gone = net([_change(1, {"id": 1}, {"id": 2}), _change(2, {"id": 2}, None)])

    assert gone is not None
    assert (gone.row_id, gone.old_row_id) == ("1", None)


def test_the_inverse_of_a_key_change_leads_back() -> None:
    back = inverse(_change(1, {"id": 1}, {"id": 2}))

    assert (back.old_row_id, back.row_id) == ("2", "1")
    assert inverse(back) == _change(1, {"id": 1}, {"id": 2})


def test_a_snapshot_touches_nothing_and_counts_for_nothing() -> None:
    snapshot = _change(1, {"id": 1, "a": 1}, {"id": 1, "a": 1}, EventType.SNAPSHOT)

    assert touched_columns(snapshot) == ()
    assert net([snapshot]) is None


def test_a_truncated_row_comes_back_by_an_insert() -> None:
    truncated = _change(1, {"id": 1}, None, EventType.TRUNCATE)

    assert inverse(truncated).event_type is EventType.INSERT


@given(statements, statements)
def test_net_changes_agree_with_the_session_extension(before: list[Any], script: list[Any]) -> None:
    log, changeset = _run(before, script)

    ours = {_summary(change) for run in threads(log, ["id"]) if (change := net(run)) is not None}

    assert ours == _session_summaries(changeset)


@given(statements, statements)
def test_inverses_agree_with_the_session_extension(before: list[Any], script: list[Any]) -> None:
    log, changeset = _run(before, script)

    ours = {_summary(inverse(change)) for run in threads(log, ["id"]) if (change := net(run)) is not None}

    assert ours == _session_summaries(apsw.Changeset.invert(changeset))


@given(statements, st.integers(0, 12))
def test_a_run_may_be_composed_at_any_place(script: list[Any], cut: int) -> None:
    log, _ = _run([], script)

    for run in threads(log, ["id"]):
        parts = [part for part in (net(run[:cut]), net(run[cut:])) if part is not None]
        assert _outline(net(parts)) == _outline(net(run))


def test_a_text_key_and_an_integer_key_that_read_alike_are_two_rows() -> None:
    log = [_change(1, None, {"id": 42}), _change(2, None, {"id": "42"}), _change(3, {"id": 42}, None)]

    assert _ids(threads(log, ["id"])) == [[1, 3], [2]]


def test_a_deleted_row_and_a_later_one_at_its_key_are_one_story() -> None:
    log = [_change(1, {"id": 1, "a": 1}, None), _change(2, None, {"id": 1, "a": 2})]

    assert _ids(threads(log, ["id"])) == [[1, 2]]


def test_rows_that_swap_their_keys_keep_their_stories() -> None:
    log = [
        _change(1, {"id": 1, "a": "x"}, {"id": 3, "a": "x"}),
        _change(2, {"id": 2, "a": "y"}, {"id": 1, "a": "y"}),
        _change(3, {"id": 3, "a": "x"}, {"id": 2, "a": "x"}),
    ]

    assert _ids(threads(log, ["id"])) == [[1, 3], [2]]


def test_a_statement_that_shifts_all_keys_by_one_does_not_mix_the_rows() -> None:
    log = [
        _change(1, {"id": 1, "a": "x"}, {"id": 2, "a": "x"}, transaction="t"),
        _change(2, {"id": 2, "a": "y"}, {"id": 3, "a": "y"}, transaction="t"),
        _change(3, {"id": 3, "a": "y"}, {"id": 3, "a": "z"}),
    ]

    assert _ids(threads(log, ["id"])) == [[1], [2, 3]]


def test_a_row_that_moves_to_the_key_of_a_deleted_one_keeps_its_own_story() -> None:
    log = [
        _change(1, {"id": 2, "a": "gone"}, None),
        _change(2, {"id": 1, "a": "x"}, {"id": 2, "a": "x"}),
        _change(3, {"id": 2, "a": "x"}, {"id": 2, "a": "y"}),
    ]

    assert _ids(threads(log, ["id"])) == [[1], [2, 3]]


def test_of_two_rows_deleted_at_one_key_the_one_that_looks_like_it_comes_back() -> None:
    log = [
        _change(1, {"id": 3, "a": "first"}, None),
        _change(2, {"id": 2, "a": "second"}, {"id": 3, "a": "second"}),
        _change(3, {"id": 3, "a": "second"}, None),
        _change(4, None, {"id": 3, "a": "first"}),
    ]

    assert _ids(threads(log, ["id"])) == [[1, 4], [2, 3]]


def test_a_row_that_an_undo_brought_back_to_its_former_key_goes_on_with_its_story() -> None:
    log = [
        _change(1, {"id": 2, "a": "x"}, {"id": 3, "a": "x"}),
        _change(2, {"id": 3, "a": "x"}, None),
        _change(3, None, {"id": 2, "a": "x"}),
    ]

    assert _ids(threads(log, ["id"])) == [[1, 2], [3]]
    assert _ids(threads(log, ["id"], {3: [1, 2]})) == [[1, 2, 3]]


def test_without_a_key_equal_rows_are_told_apart_only_by_number() -> None:
    log = [
        _change(1, None, {"a": 1}, key=()),
        _change(2, None, {"a": 1}, key=()),
        _change(3, {"a": 1}, {"a": 2}, key=()),
        _change(4, {"a": 1}, None, key=()),
    ]

    assert _ids(threads(log)) == [[1, 4], [2, 3]]


def test_without_a_key_in_its_images_a_row_is_followed_by_the_name_that_the_log_gives_it() -> None:
    moved = replace(_change(2, {"a": 1}, {"a": 2}, key=()), row_id="7", old_row_id="5")
    log = [
        replace(_change(1, None, {"a": 1}, key=()), row_id="5"),
        moved,
        replace(_change(3, {"a": 2}, {"a": 3}, key=()), row_id="7"),
        replace(_change(4, None, {"a": 9}, key=()), row_id="5"),
    ]

    assert _ids(threads(log, ["id"])) == [[1, 2, 3], [4]]
    assert _ids(threads(log)) == [[1, 2, 3], [4]]


def test_of_equal_rows_an_undo_takes_back_the_one_that_it_names() -> None:
    log = [
        _change(1, {"a": 1}, {"a": 0}, key=()),
        _change(2, {"a": 2}, {"a": 0}, key=()),
        _change(3, {"a": 3}, {"a": 0}, key=()),
        _change(4, {"a": 0}, {"a": 1}, key=()),
        _change(5, {"a": 0}, {"a": 2}, key=()),
    ]

    assert _ids(threads(log, (), {4: [1, 2], 5: [1, 2]})) == [[1, 4], [2, 5], [3]]


def test_without_a_key_a_new_row_is_not_a_deleted_one_that_looked_otherwise() -> None:
    log = [_change(1, {"a": 1}, None, key=()), _change(2, None, {"a": 2}, key=()), _change(3, None, {"a": 1}, key=())]

    assert _ids(threads(log)) == [[1, 3], [2]]


def test_a_row_with_a_key_goes_on_with_its_story_over_a_change_that_was_missed() -> None:
    missed_update = [
        _change(1, {"id": 1, "a": 1}, {"id": 1, "a": 2}, transaction="t"),
        _change(2, {"id": 1, "a": 5}, {"id": 1, "a": 6}, transaction="t"),
    ]
    missed_delete = [_change(1, None, {"id": 1, "a": 1}), _change(2, None, {"id": 1, "a": 2})]

    assert _ids(threads(missed_update, ["id"])) == [[1, 2]]
    assert _ids(threads(missed_delete, ["id"])) == [[1, 2]]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=12))
def test_every_record_is_in_exactly_one_thread(moves: list[tuple[int, int]]) -> None:
    log = [_change(at, {"id": old, "at": at}, {"id": new, "at": at}) for at, (old, new) in enumerate(moves, 1)]

    assert sorted(log_id for ids in _ids(threads(log, ["id"])) for log_id in ids) == [change.id for change in log]


def _change(
    log_id: int,
    before: Image | None,
    after: Image | None,
    event: EventType | None = None,
    *,
    key: Sequence[str] = ("id",),
    transaction: str | None = None,
) -> Change:
    old = None if before is None else codec.row_id_of(before, key)
    new = None if after is None else codec.row_id_of(after, key)
    kind = EventType.INSERT if before is None else EventType.DELETE if after is None else EventType.UPDATE
    return Change(
        id=log_id,
        timestamp=NOON,
        table=TABLE,
        row_id=old if after is None else new,
        event_type=event or kind,
        before=before,
        after=after,
        transaction_id=transaction,
        old_row_id=old if before is not None and after is not None and old != new else None,
    )


def _outline(change: Change | None) -> tuple[EventType, Image | None, Image | None] | None:
    return None if change is None else (change.event_type, change.before, change.after)


def _ids(stories: Iterable[Sequence[Change]]) -> list[list[int]]:
    return [[change.id for change in story] for story in stories]


def _run(before: list[Any], script: list[Any]) -> tuple[list[Change], bytes]:
    """Run both scripts on a real database; the second one is logged by us and recorded by a session."""
    database = apsw.Connection(":memory:")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)")
    for statement in before:
        _execute(database, statement)
    session = apsw.Session(database, "main")
    session.attach()
    log: list[Change] = []
    ids = count(1)
    for statement in script:
        old = _row(database, statement[1])
        _execute(database, statement)
        new = _row(database, statement[1])
        if not codec.same_image(old, new):
            log.append(_change(next(ids), old, new))
    return log, session.changeset()


def _execute(database: apsw.Connection, statement: Any) -> None:
    kind, key, *rest = statement
    if kind == "insert":
        database.execute("INSERT OR IGNORE INTO t VALUES (?, ?, ?)", (key, *rest))
    elif kind == "update":
        database.execute("UPDATE t SET a = ?, b = ? WHERE id = ?", (*rest, key))
    else:
        database.execute("DELETE FROM t WHERE id = ?", (key,))


def _row(database: apsw.Connection, key: int) -> Image | None:
    found = database.execute("SELECT id, a, b FROM t WHERE id = ?", (key,)).fetchall()
    return {column: codec.encode(value) for column, value in zip(COLUMNS, found[0], strict=True)} if found else None


def _summary(change: Change) -> str:
    """Operation, key, and what each touched column was and is."""
    touched = touched_columns(change)
    images = [image and {column: image[column] for column in touched} for image in (change.before, change.after)]
    return f"{change.event_type} {change.image['id']} {codec.dump(images[0] or {})} {codec.dump(images[1] or {})}"


def _session_summaries(changeset: bytes) -> set[str]:
    return {
        f"{step.op} {(step.old or step.new or ())[0]} {codec.dump(_session_image(step.old, step))}"
        f" {codec.dump(_session_image(step.new, step))}"
        for step in apsw.Changeset.iter(changeset)
    }


def _session_image(row: Any, step: Any) -> Image:
    left_out = {apsw.no_change} if step.op == "UPDATE" else set()
    return {
        column: codec.encode(value)
        for column, value in zip(COLUMNS, row or (), strict=False)
        if value not in left_out and not (step.op == "UPDATE" and column == "id")
    }
