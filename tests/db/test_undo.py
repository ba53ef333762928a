"""Undo and redo on a real database: what they write, what they refuse, and what stays untouched."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import auditcli
from auditcli.applying.refusal import PlanConflict
from auditcli.errors import ConflictError, ExitCode, LockTimeout, NotFound, ReadOnly, UsageError
from auditcli.plan import ConflictKind
from tests.clock import SettableClock
from tests.db.shop import LOG, Shop, kinds


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Two artists; the first has an album."""
    shop = Shop(tmp_path / "shop.db")
    shop.insert("artist", id=1, name="A")
    shop.insert("artist", id=2, name="B")
    shop.insert("album", id=1, title="x", price=1.5, artist_id=1)
    return shop


def test_an_update_is_taken_back_and_a_later_change_of_another_column_stays(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    shop.update("album", 1, "bob", title="renamed")

    shop.apply(shop.undo(mine))

    assert shop.rows("album", "id, title, price") == [(1, "renamed", 1.5)]


def test_an_undo_is_recorded_with_who_and_why_and_linked_to_what_it_took_back(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)

    outcome = shop.apply(shop.undo(mine), "carol", "typing error")

    record = shop.log()[-1]
    assert (record.actor, record.transaction_id, record.after["price"]) == ("carol", outcome.transaction_id, 1.5)
    with shop.engine.connect() as connection:
        [header] = connection.execute(
            sa.select(LOG.transaction).where(LOG.transaction.c.transaction_id == outcome.transaction_id)
        )
        [link] = connection.execute(sa.select(LOG.undo))
    assert header.reason == "typing error"
    assert (link.transaction_id, link.kind, link.first_id, link.last_id) == (outcome.transaction_id, "undo", mine, mine)


def test_undoing_twice_is_already_done_and_writes_nothing(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    shop.apply(shop.undo(mine))
    before = shop.last_id()

    plan = shop.undo(mine)
    outcome = shop.apply(plan)

    assert (plan.already, plan.nothing_but_already, outcome.transaction_id) == (1, True, None)
    assert shop.last_id() == before


def test_redo_takes_back_the_callers_own_last_undo_that_still_stands(shop: Shop) -> None:
    first, second = shop.update("album", 1, price=9.0), shop.update("album", 1, title="t")
    shop.apply(shop.undo(first), "alice")
    shop.apply(shop.undo(second), "bob")

    shop.apply(shop.redo("alice"), "alice")

    assert shop.rows("album", "title, price") == [("x", 9.0)]
    with pytest.raises(NotFound, match="no undo"):
        shop.redo("alice")


def test_a_redo_of_a_transaction_that_is_no_undo_is_refused(shop: Shop) -> None:
    shop.update("album", 1, price=9.0)

    with pytest.raises(NotFound, match="is no undo"):
        shop.redo(transaction=shop.log()[-1].transaction_id)


def test_a_whole_transaction_is_taken_back_by_the_start_of_its_id(shop: Shop) -> None:
    shop.delete("artist", 1, "bob")

    plan = shop.undo(transaction=shop.log()[-1].transaction_id[:8])
    shop.apply(plan)

    assert plan.rows == 2
    assert shop.rows("album", "id, title, price, artist_id") == [(1, "x", 1.5, 1)]


@pytest.mark.parametrize("chosen", [{}, {"ids": [1], "transaction": "abcdef"}])
def test_one_way_of_choosing_changes_is_needed(shop: Shop, chosen: dict[str, Any]) -> None:
    from auditcli.undo import plan_undo

    with shop.engine.connect() as connection, pytest.raises(UsageError, match="ids, a transaction or a selection"):
        plan_undo(connection, LOG, **chosen)


def test_an_id_that_is_not_there_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound, match="no change 999"):
        shop.undo(999)


def test_a_cell_that_changed_since_refuses_the_whole_plan(shop: Shop) -> None:
    mine = shop.update("album", 1, "alice", price=9.0)
    other = shop.update("artist", 2, "alice", name="C")
    later = shop.update("album", 1, "svc-web", price=10.0)

    plan = shop.undo(mine, other)

    assert (plan.rows, [(c.kind, c.by and c.by.id) for c in plan.conflicts]) == (1, [(ConflictKind.CHANGED, later)])
    with pytest.raises(PlanConflict, match="svc-web") as refused:
        shop.apply(plan)
    assert refused.value.exit_code is ExitCode.CONFLICT
    assert shop.rows("artist", "name")[1] == ("C",)


def test_skipping_conflicts_does_the_rest_and_links_only_that(shop: Shop) -> None:
    mine = shop.update("album", 1, "alice", price=9.0)
    other = shop.update("artist", 2, "alice", name="C")
    shop.update("album", 1, "svc-web", price=10.0)

    outcome = shop.apply(shop.undo(mine, other, skip_conflicts=True))

    assert outcome.is_partial
    assert outcome.plan.undone_ids == ((other, other),)
    assert (shop.rows("artist", "name")[1], shop.rows("album", "price")) == (("B",), [(10.0,)])


def test_force_overwrites_what_changed_since(shop: Shop) -> None:
    mine = shop.update("album", 1, "alice", price=9.0)
    shop.update("album", 1, "bob", price=10.0)

    shop.apply(shop.undo(mine, force=True))

    assert shop.rows("album", "price") == [(1.5,)]


def test_force_overwrites_the_row_at_a_taken_key_in_place_so_that_its_children_survive(shop: Shop) -> None:
    gone = shop.delete("artist", 2)
    shop.insert("artist", "bob", id=2, name="new")
    shop.insert("album", "bob", id=7, title="child", artist_id=2)

    refused = shop.undo(gone)
    shop.apply(shop.undo(gone, force=True))

    assert kinds(refused.conflicts) == ["EXISTS"]
    assert shop.rows("artist", "id, name")[1] == (2, "B")
    assert (7,) in shop.rows("album", "id")


def test_only_takes_back_single_columns(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0, title="t")

    shop.apply(shop.undo(mine, only=("price",)))

    assert shop.rows("album", "title, price") == [("t", 1.5)]


def test_only_with_an_unknown_column_is_a_usage_error(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)

    with pytest.raises(UsageError, match="no column 'prize'"):
        shop.undo(mine, only=("prize",))


def test_a_row_that_is_gone_is_missing(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    gone = shop.delete("album", 1, "bob")

    [conflict] = shop.undo(mine).conflicts

    assert (conflict.kind, conflict.by and conflict.by.id) == (ConflictKind.MISSING, gone)


def test_a_holed_selection_does_not_silently_take_back_other_peoples_work(shop: Shop) -> None:
    first = shop.update("album", 1, "alice", price=2.0)
    hole = shop.update("album", 1, "bob", price=3.0, title="bob's")
    last = shop.update("album", 1, "alice", price=4.0)

    plan = shop.undo(first, last)

    assert [(c.kind, c.column, c.by and c.by.id) for c in plan.conflicts] == [(ConflictKind.CHANGED, "price", hole)]


def test_a_case_insensitive_column_does_not_pass_for_unchanged(shop: Shop) -> None:
    mine = shop.update("album", 1, "alice", title="Abc")
    shop.behind("UPDATE album SET title = 'ABC' WHERE id = 1")

    assert kinds(shop.undo(mine).conflicts) == ["CHANGED"]


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1.0), ("1", 1), ("a", b"a"), (0.0, -0.0), ("a", "a\0b"), (0, None)])
def test_equal_looking_values_do_not_pass_for_each_other(shop: Shop, ours: object, theirs: object) -> None:
    mine = shop.update("album", 1, "alice", price=ours)
    plan = shop.undo(mine)
    with shop.engine.connect() as connection:
        connection.connection.execute("UPDATE album SET price = ? WHERE id = 1", (theirs,))
        connection.connection.commit()

    with pytest.raises(PlanConflict, match=r"is .* now"):
        shop.apply(plan)


def test_a_row_changed_between_plan_and_lock_is_seen_under_the_lock(shop: Shop) -> None:
    mine = shop.update("album", 1, "alice", price=9.0)
    other = shop.update("artist", 2, "alice", name="C")
    plan = shop.undo(mine, other)
    shop.update("album", 1, "bob", price=10.0)

    with pytest.raises(ConflictError, match="nothing was written"):
        shop.apply(plan)

    assert (shop.rows("album", "price"), shop.rows("artist", "name")[1]) == ([(10.0,)], ("C",))


def test_a_child_committed_after_the_plan_was_made_does_not_vanish_by_cascade(shop: Shop) -> None:
    made = shop.insert("artist", id=3, name="new")
    plan = shop.undo(made)
    shop.insert("album", "bob", id=5, title="late", artist_id=3)

    with pytest.raises(PlanConflict) as refused:
        shop.apply(plan)

    assert kinds(refused.value.conflicts) == ["DEPENDENT"]
    assert (5,) in shop.rows("album", "id")


def test_a_child_committed_after_a_forced_plan_was_made_does_not_vanish_either(shop: Shop) -> None:
    made = shop.insert("artist", id=3, name="new")
    shop.insert("album", "bob", id=5, title="shown", artist_id=3)
    plan = shop.undo(made, force=True)
    shop.insert("album", "bob", id=6, title="late", artist_id=3)

    with pytest.raises(PlanConflict, match="which the plan did not show"):
        shop.apply(plan)

    assert (5,) in shop.rows("album", "id")


def test_live_rows_that_refer_to_a_row_keep_it_from_being_deleted(shop: Shop) -> None:
    made = shop.insert("artist", id=3, name="new")
    shop.insert("album", "bob", id=5, title="t", artist_id=3)

    [conflict] = shop.undo(made).conflicts

    assert conflict.kind is ConflictKind.DEPENDENT
    assert "album/5" in conflict.message


def test_a_row_and_those_that_refer_to_it_go_together(shop: Shop) -> None:
    made = shop.insert("artist", id=3, name="new")
    child = shop.insert("album", id=5, title="t", artist_id=3)

    shop.apply(shop.undo(made, child))

    assert [row[0] for row in shop.rows("artist", "id")] == [1, 2]


def test_force_lets_the_database_cascade_shows_it_and_records_it(shop: Shop) -> None:
    made = shop.insert("artist", id=3, name="new")
    shop.insert("album", "bob", id=5, title="t", artist_id=3)

    plan = shop.undo(made, force=True)
    shop.apply(plan)

    assert [cascade.row for cascade in plan.cascades] == ["album/5"]
    assert {(record.table_name, record.event_type) for record in shop.log()[-2:]} == {
        ("artist", "DELETE"),
        ("album", "DELETE"),
    }


def test_force_does_not_get_past_rows_that_no_action_lets_go(shop: Shop) -> None:
    made = shop.insert("album", id=5, title="t")
    shop.insert("review", "bob", id=1, album_id=5, stars=3)

    assert kinds(shop.undo(made, force=True).conflicts) == ["DEPENDENT"]


def test_a_row_whose_parent_is_gone_can_not_come_back(shop: Shop) -> None:
    gone = shop.delete("album", 1)
    shop.delete("artist", 1, "bob")

    [conflict] = shop.undo(gone).conflicts

    assert conflict.kind is ConflictKind.CONSTRAINT
    assert "artist 1 (artist_id)" in conflict.message


def test_a_unique_value_that_somebody_took_is_a_constraint_conflict(shop: Shop) -> None:
    mine = shop.update("artist", 1, name="C")
    shop.insert("artist", "bob", id=5, name="A")

    [conflict] = shop.undo(mine).conflicts

    assert conflict.kind is ConflictKind.CONSTRAINT
    assert "artist/5" in conflict.message


def test_a_constraint_that_only_the_database_knows_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER)")
    shop.insert("t", id=1, a=1)
    mine = shop.update("t", 1, a=5)
    shop.behind("CREATE TRIGGER no BEFORE UPDATE ON t WHEN NEW.a < 3 BEGIN SELECT RAISE(ABORT, 'a is too low'); END")

    with pytest.raises(PlanConflict, match="a is too low"):
        shop.apply(shop.undo(mine))

    assert shop.rows("t") == [(1, 5)]


@pytest.mark.parametrize("null", ["", "NOT NULL"])
def test_two_rows_that_swapped_a_unique_value_swap_back(tmp_path: Path, null: str) -> None:
    shop = Shop(tmp_path / "shop.db", f"CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT UNIQUE {null})")
    shop.insert("artist", id=1, name="A")
    shop.insert("artist", id=2, name="B")
    ids = [
        shop.update("artist", 1, name="tmp"),
        shop.update("artist", 2, name="A"),
        shop.update("artist", 1, name="B"),
    ]

    outcome = shop.apply(shop.undo(*ids))

    assert outcome.stepwise == bool(null)
    assert shop.rows("artist", "id, name") == [(1, "A"), (2, "B")]
    shop.apply(shop.redo())
    assert shop.rows("artist", "id, name") == [(1, "B"), (2, "A")]


def test_two_rows_that_swapped_their_keys_swap_back_with_their_children(shop: Shop) -> None:
    first = shop.last_id() + 1
    shop.update("artist", 1, id=9)
    shop.update("artist", 2, id=1)
    shop.update("artist", 9, id=2)

    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    assert shop.rows("artist", "id, name") == [(1, "A"), (2, "B")]
    assert shop.rows("album", "artist_id") == [(1,)]


def test_a_changed_key_is_one_update_back_and_forth(shop: Shop) -> None:
    mine = shop.update("artist", 2, id=20)

    shop.apply(shop.undo(mine))

    record = shop.log()[-1]
    assert (record.event_type, record.old_row_id, record.row_id) == ("UPDATE", "20", "2")


def test_rows_that_refer_to_each_other_in_one_table_come_back(shop: Shop) -> None:
    shop.update("artist", 1, boss=2)
    shop.insert("artist", id=3, name="D", boss=1)
    first = shop.last_id() + 1
    shop.delete("artist", 3)
    shop.delete("artist", 1)
    shop.delete("artist", 2)

    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    assert shop.rows("artist", "id, boss") == [(1, 2), (2, None), (3, 1)]


def test_bookkeeping_columns_are_no_false_conflict_and_move_on(tmp_path: Path, clock: SettableClock) -> None:
    shop = Shop(tmp_path / "shop.db", bookkeeping={"album": ["updated_at", "version"]}, clock=clock)
    shop.insert("album", id=1, title="x", price=1.5, updated_at="2024-01-01 00:00:00", version=1)
    mine = shop.update("album", 1, "alice", price=9.0, updated_at="2024-02-01 00:00:00", version=2)
    shop.update("album", 1, "bob", title="y", updated_at="2024-03-01 00:00:00", version=3)

    plan = shop.undo(mine)
    shop.apply(plan, clock=clock)

    assert [*plan.bookkeeping.values()] == [("updated_at", "version")]
    assert shop.rows("album", "title, price, updated_at, version") == [("y", 1.5, "2026-03-02 09:30:00", 4)]


def test_exact_restores_bookkeeping_columns_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", bookkeeping={"album": ["updated_at", "version"]})
    shop.insert("album", id=1, price=1.5, updated_at="2024-01-01 00:00:00", version=1)
    mine = shop.update("album", 1, price=9.0, updated_at="2024-02-01 00:00:00", version=2)

    shop.apply(shop.undo(mine, exact=True))

    assert shop.rows("album", "price, updated_at, version") == [(1.5, "2024-01-01 00:00:00", 1)]


def test_a_trigger_that_moves_a_restored_cell_is_overruled(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    shop.behind(
        "CREATE TRIGGER rounds AFTER UPDATE OF price ON album WHEN OLD.price = 9.0 "
        "BEGIN UPDATE album SET price = 100 WHERE id = NEW.id; END"
    )

    outcome = shop.apply(shop.undo(mine))

    assert outcome.corrected == 1
    assert shop.rows("album", "price") == [(1.5,)]


def test_a_trigger_that_does_not_give_in_rolls_everything_back_and_is_named(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    other = shop.update("artist", 2, name="C")
    shop.behind(
        "CREATE TRIGGER stubborn AFTER UPDATE OF price ON album "
        "BEGIN UPDATE album SET price = 100 WHERE id = NEW.id; END"
    )
    before = shop.last_id()

    with pytest.raises(PlanConflict, match="triggers of album: stubborn"):
        shop.apply(shop.undo(mine, other))

    assert (shop.rows("album", "price"), shop.rows("artist", "name")[1]) == ([(9.0,)], ("C",))
    assert shop.last_id() == before


def test_a_trigger_that_stamps_another_column_is_left_alone_and_recorded(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0)
    shop.behind(
        "CREATE TRIGGER stamps AFTER UPDATE OF price ON album "
        "BEGIN UPDATE album SET updated_at = 'now' WHERE id = NEW.id; END"
    )

    shop.apply(shop.undo(mine))

    assert shop.log()[-1].after["updated_at"] == "now"


def test_rows_without_a_key_are_one_of_equals(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "CREATE TABLE t (id, a)")
    with shop.as_one() as connection:
        table = sa.Table("t", sa.MetaData(), sa.Column("id"), sa.Column("a"))
        connection.execute(sa.insert(table), [{"id": 1, "a": None}, {"id": 1, "a": None}, {"id": 2, "a": b"\x00"}])
    first = shop.last_id() + 1
    with shop.as_one() as connection:
        connection.execute(sa.delete(table).where(table.c.id == 1))
        connection.execute(sa.update(table).where(table.c.id == 2).values(a="new"))

    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    assert shop.rows("t") == [(1, None), (1, None), (2, b"\x00")]
    shop.apply(shop.undo(1))
    assert shop.rows("t") == [(1, None), (2, b"\x00")]
    shop.apply(shop.undo(3))
    assert shop.rows("t") == [(1, None)]


def test_text_that_is_no_utf8_is_read_guarded_and_restored(shop: Shop) -> None:
    shop.behind("UPDATE album SET price = CAST(x'C328' AS TEXT), title = CAST(x'FF' AS TEXT) WHERE id = 1")
    mine = shop.update("album", 1, price=1)

    shop.apply(shop.undo(mine))

    assert shop.rows("album", "id, typeof(price), hex(price), hex(title)") == [(1, "text", "C328", "FF")]


def test_a_table_that_would_replace_rows_by_itself_is_not_let_do_so(tmp_path: Path) -> None:
    shop = Shop(
        tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a COLLATE NOCASE UNIQUE ON CONFLICT REPLACE)"
    )
    shop.insert("t", id=1, a="x")
    mine = shop.delete("t", 1)
    shop.insert("t", "bob", id=2, a="X")

    with pytest.raises(PlanConflict, match="UNIQUE"):
        shop.apply(shop.undo(mine))

    assert shop.rows("t") == [(2, "X")]


def test_generated_columns_are_left_to_the_database(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b AS (a + 1) STORED, c AS (a * 2))")
    shop.insert("t", id=1, a=1)
    ids = [shop.update("t", 1, a=5), shop.delete("t", 1)]

    shop.apply(shop.undo(*ids))

    assert shop.rows("t") == [(1, 1, 2, 2)]


def test_composite_keys_without_a_row_id_come_back(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id, k, a, PRIMARY KEY (id, k)) WITHOUT ROWID"
    shop = Shop(tmp_path / "shop.db", ddl)
    with shop.as_one() as connection:
        table = sa.Table("t", sa.MetaData(), *(sa.Column(name, sa.String()) for name in ("id", "k", "a")))
        connection.execute(sa.insert(table), [{"id": "1", "k": 1, "a": 1}, {"id": 1, "k": 1, "a": 2}])
    first = shop.last_id() + 1
    with shop.as_one() as connection:
        connection.execute(sa.update(table).where(table.c.a == 1).values(k=b"new"))
        connection.execute(sa.delete(table).where(table.c.a == 2))

    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    assert sorted(shop.rows("t", "a, typeof(id), typeof(k)")) == [(1, "text", "integer"), (2, "integer", "integer")]


def test_a_new_row_at_the_physical_place_of_a_deleted_one_is_recorded_as_its_own(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "CREATE TABLE t (id TEXT PRIMARY KEY, a)")
    shop.insert("t", id="old", a=1)
    first = shop.last_id() + 1
    shop.delete("t", "old")
    shop.insert("t", id="new", a=2)

    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    assert [(record.event_type, record.row_id) for record in shop.log()[-2:]] == [("DELETE", "new"), ("INSERT", "old")]


def test_an_excluded_column_that_must_have_a_value_makes_a_deleted_row_lossy(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, secret TEXT NOT NULL)"
    shop = Shop(tmp_path / "shop.db", ddl, exclude_columns={"t": ["secret"]})
    shop.insert("t", id=1, a=1, secret="s")
    mine = shop.update("t", 1, a=2)
    shop.apply(shop.undo(mine))

    gone = shop.delete("t", 1)

    assert kinds(shop.undo(gone).conflicts) == ["LOSSY"]


def test_a_table_that_was_dropped_is_a_conflict_and_no_crash(shop: Shop) -> None:
    made = shop.insert("review", id=1, stars=1)
    shop.behind("DROP TABLE review")

    [conflict] = shop.undo(made).conflicts

    assert (conflict.kind, conflict.message) == (ConflictKind.MISSING, "review/1: the table no longer exists")


def test_a_column_that_was_dropped_is_a_conflict_and_no_crash(shop: Shop) -> None:
    mine = shop.update("album", 1, price=9.0, title="t")
    shop.behind("ALTER TABLE album DROP COLUMN price")

    plan = shop.undo(mine, skip_conflicts=True)
    shop.apply(plan)

    assert [(conflict.kind, conflict.column) for conflict in plan.conflicts] == [(ConflictKind.MISSING, "price")]
    assert shop.rows("album", "title") == [("x",)]


def test_hostile_names_and_values_are_data(tmp_path: Path) -> None:
    name = "o\"d % :x ? /* -- ' t"
    shop = Shop(
        tmp_path / "shop.db", f'CREATE TABLE "{name.replace(chr(34), chr(34) * 2)}" (id PRIMARY KEY, "a"" ?%s:b")'
    )
    table = sa.Table(
        name, sa.MetaData(), sa.Column("id", sa.String(), primary_key=True), sa.Column('a" ?%s:b', sa.String())
    )
    with shop.as_one() as connection:
        connection.execute(sa.insert(table).values([("'; DROP TABLE x; --", "\x1b[31m")]))
    first = shop.last_id() + 1
    with shop.as_one() as connection:
        connection.execute(sa.delete(table))

    shop.apply(shop.undo(first))

    with shop.engine.connect() as connection:
        assert connection.execute(sa.select(table)).all() == [("'; DROP TABLE x; --", "\x1b[31m")]


def test_a_locked_database_is_waited_for_and_then_said_to_be_locked(shop: Shop, tmp_path: Path) -> None:
    mine = shop.update("album", 1, price=9.0)
    plan = shop.undo(mine)
    other = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LockTimeout, match="locked") as refused:
        shop.apply(plan, lock_timeout=0.05)

    other.execute("ROLLBACK")
    other.close()
    assert refused.value.hint is not None
    assert shop.apply(plan).rows == 1


def test_the_connections_own_lock_timeout_is_put_back(shop: Shop) -> None:
    plan = shop.undo(shop.update("album", 1, price=9.0))

    shop.apply(plan, lock_timeout=0.05)

    with shop.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000


def test_a_read_only_target_is_not_written_to(shop: Shop) -> None:
    plan = shop.undo(shop.update("album", 1, price=9.0))

    with pytest.raises(ReadOnly, match="read-only"):
        shop.apply(plan, read_only=True)

    assert shop.rows("album", "price") == [(9.0,)]


def test_a_connection_with_an_open_transaction_is_refused(shop: Shop) -> None:
    from auditcli.apply import apply_plan

    plan = shop.undo(shop.update("album", 1, price=9.0))

    with shop.engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(UsageError, match="transaction open"):
            apply_plan(connection, plan)


def test_values_of_models_come_back_equal(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "SELECT 1")
    table = sa.Table(
        "v",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime),
        sa.Column("flag", sa.Boolean),
        sa.Column("data", sa.JSON),
        sa.Column("amount", sa.Numeric(10, 2, asdecimal=False)),
    )
    with shop.as_one() as connection:
        table.create(connection)
    row = {"id": 1, "at": datetime(2024, 5, 1, 12, 30, 1, 5), "flag": True, "data": {"a": [None]}, "amount": 1.25}
    with auditcli.context(actor="alice"), shop.engine.begin() as connection:
        connection.execute(sa.insert(table).values(row))
    with shop.as_one() as connection:
        connection.execute(sa.delete(table))

    shop.apply(shop.undo(shop.last_id()))

    with shop.engine.connect() as connection:
        assert dict(connection.execute(sa.select(table)).mappings().one()) == row


def test_a_large_selection_is_planned_and_applied_in_batches(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer))
    with shop.as_one() as connection:
        connection.execute(sa.insert(table), [{"id": key, "a": key} for key in range(3000)])
    with shop.as_one("bob") as connection:
        connection.execute(sa.update(table).values(a=table.c.a * 2))

    shop.apply(shop.undo(transaction=shop.log()[-1].transaction_id))

    assert shop.rows("t") == [(key, key) for key in range(3000)]
    with shop.engine.connect() as connection:
        assert len(connection.execute(sa.select(LOG.undo)).all()) == 1


def test_a_row_that_took_a_deleted_rows_key_is_not_taken_for_it(shop: Shop) -> None:
    shop.insert("artist", id=5, name="E")
    mine = shop.update("artist", 5, name="F")
    gone = shop.delete("artist", 5)
    shop.update("artist", 2, "bob", id=5)

    [conflict] = shop.undo(mine).conflicts

    assert (conflict.kind, conflict.by and conflict.by.id) == (ConflictKind.MISSING, gone)


def test_a_child_follows_its_parent_to_the_key_of_a_row_that_is_deleted(shop: Shop) -> None:
    first = shop.last_id() + 1
    shop.delete("artist", 2)
    shop.update("artist", 1, id=2)
    shop.apply(shop.undo(*range(first, shop.last_id() + 1)))

    shop.apply(shop.redo())

    assert shop.rows("artist", "id, name") == [(2, "A")]
    assert shop.rows("album", "artist_id") == [(2,)]
