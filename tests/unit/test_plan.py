"""Plans: guarded cells, conflicts, options, order of steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import pytest

from auditcli.fold import ABSENT, Absent, Value
from auditcli.model import Image, JsonValue, RowKey, TableName
from auditcli.plan import (
    Bulk,
    Cascade,
    CellStep,
    Conflict,
    ConflictGroup,
    ConflictKind,
    Plan,
    PlanOptions,
    Runs,
    Step,
    StepKind,
    Steps,
    as_runs,
    joined_runs,
    shown,
)
from auditcli.planning.order import order_steps, step_levels
from auditcli.planning.planner import RowPlan, TableRules, plan_row
from auditcli.planning.stamps import moved_on
from auditcli.shape import ColumnShape, DatabaseShape, ForeignKeyShape, TableShape
from tests.unit.rowlog import RULES, SHAPE, TABLE, RowLog, item

FORCE = PlanOptions(force=True)


def test_only_the_touched_cell_is_set_and_guarded() -> None:
    log = item()
    mine = log.update(price=2.0)
    log.update("bob", name="renamed")

    step = _step(plan_row(log.fold(mine), log.image, RULES))

    assert (step.kind, step.key) == (StepKind.UPDATE, {"id": 1})
    assert step.cells == (CellStep("price", 2.0, 1.0),)


def test_a_cell_that_changed_later_is_a_conflict_that_names_the_change() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    later = log.update("svc-web", price=3.0)

    conflict = _conflict(plan_row(log.fold(mine), log.image, RULES))

    assert (conflict.kind, conflict.column, conflict.by) == (ConflictKind.CHANGED, "price", log.change(later))
    assert "svc-web (change 2)" in conflict.message


def test_a_change_that_the_log_missed_is_said_to_be_outside_the_log() -> None:
    log = item()
    mine = log.update(price=2.0)
    log.update("bob", price=3.0)

    conflict = _conflict(plan_row(log.fold(mine), {**_image(log), "price": 7.0}, RULES))

    assert conflict.by is None
    assert "outside the log" in conflict.message


def test_a_real_one_in_place_of_an_integer_one_is_a_change() -> None:
    log = item(price=0)
    mine = log.update(price=1)

    conflict = _conflict(plan_row(log.fold(mine), {**_image(log), "price": 1.0}, RULES))

    assert conflict.kind is ConflictKind.CHANGED


def test_a_cell_at_its_target_is_already_there_whoever_wrote_in_between() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    log.update("bob", price=9.0)
    last = log.update("alice", price=3.0)
    log.update("carol", price=1.0)

    assert plan_row(log.fold(first, last), log.image, RULES).already


def test_a_holed_cell_is_a_conflict_that_names_the_change_in_the_hole() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    hole = log.update("bob", price=9.0)
    last = log.update("alice", price=3.0)

    assert _conflict(plan_row(log.fold(first, last), log.image, RULES)).by == log.change(hole)


def test_a_cell_written_since_to_the_same_value_is_noted() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    log.update("bob", price=5.0)
    log.update("bob", price=2.0)

    planned = plan_row(log.fold(mine), log.image, RULES)

    assert _step(planned).cells == (CellStep("price", 2.0, 1.0),)
    assert "bob (change 3)" in planned.notes[0]


def test_a_cell_whose_selected_changes_cancel_out_is_left_alone() -> None:
    log = item()
    first, second = log.update(price=2.0), log.update(price=1.0)
    log.update("bob", price=8.0)

    assert plan_row(log.fold(first, second), log.image, RULES).already


def test_a_row_that_is_gone_is_missing_and_names_who_deleted_it() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    gone = log.delete("bob")

    conflict = _conflict(plan_row(log.fold(mine), None, RULES))

    assert (conflict.kind, conflict.by) == (ConflictKind.MISSING, log.change(gone))


def test_force_puts_a_missing_row_back_as_it_was_before_the_undone_change() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    log.update("bob", name="b")
    log.delete("bob")

    step = _step(plan_row(log.fold(mine), None, RULES, FORCE))

    assert (step.kind, _targets(step)) == (StepKind.INSERT, {"id": 1, "name": "b", "price": 1.0, "stamp": None})


def test_force_does_not_invent_a_row_that_the_log_does_not_hold() -> None:
    log = item()
    mine = log.update(price=2.0)

    assert _conflict(plan_row(log.fold(mine), None, RULES, FORCE)).kind is ConflictKind.MISSING


def test_force_overwrites_in_place_guarded_by_the_value_just_read() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    log.update("bob", price=3.0)

    planned = plan_row(log.fold(mine), log.image, RULES, FORCE)

    assert _step(planned).cells == (CellStep("price", 3.0, 1.0),)
    assert _step(planned).forced
    assert "overwrites 3.0" in planned.notes[0]


def test_an_inserted_row_is_deleted_only_as_it_was_inserted() -> None:
    log = RowLog()
    made = log.insert(id=1, name="a", price=1.0)
    later = log.update("bob", name="b")

    conflict = _conflict(plan_row(log.fold(made), log.image, RULES))

    assert (conflict.kind, conflict.column, conflict.by) == (ConflictKind.CHANGED, "name", log.change(later))


def test_deleting_an_inserted_row_makes_sure_of_every_cell() -> None:
    log = RowLog()
    made = log.insert(id=1, name="a", price=1.0)

    step = _step(plan_row(log.fold(made), log.image, RULES))

    assert step.kind is StepKind.DELETE
    assert {cell.column: cell.expected for cell in step.cells} == {"id": 1, "name": "a", "price": 1.0}


def test_a_deleted_row_comes_back_whole() -> None:
    log = item(stamp="2024-01-01 00:00:00")
    gone = log.delete()

    step = _step(plan_row(log.fold(gone), None, TableRules(TABLE, SHAPE, bookkeeping=["stamp"])))

    assert (step.kind, _targets(step)["stamp"], step.bumps) == (StepKind.INSERT, "2024-01-01 00:00:00", ())


def test_a_taken_key_is_a_conflict_that_names_who_took_it() -> None:
    log = item()
    gone = log.delete("alice")
    taken = log.insert("bob", id=1, name="other", price=5.0, stamp=None)

    conflict = _conflict(plan_row(log.fold(gone), log.image, RULES))

    assert (conflict.kind, conflict.by) == (ConflictKind.EXISTS, log.change(taken))


def test_a_deleted_row_that_is_there_again_unchanged_is_already_there() -> None:
    log = item()
    gone = log.delete("alice")
    log.insert("bob", id=1, name="a", price=1.0, stamp=None)

    assert plan_row(log.fold(gone), log.image, RULES).already


def test_force_overwrites_the_row_at_a_taken_key_and_does_not_delete_it() -> None:
    log = item()
    gone = log.delete("alice")
    log.insert("bob", id=1, name="other", price=1.0, stamp=None)

    step = _step(plan_row(log.fold(gone), log.image, RULES, FORCE))

    assert (step.kind, step.cells) == (StepKind.UPDATE, (CellStep("name", "other", "a"),))


def test_a_key_change_is_taken_back_by_an_update_of_the_key() -> None:
    log = item()
    mine = log.update(id=2)

    step = _step(plan_row(log.fold(mine), log.image, RULES))

    assert (step.kind, step.key, step.key_after) == (StepKind.UPDATE, {"id": 2}, {"id": 1})


def test_bookkeeping_columns_make_no_false_conflict_and_move_on() -> None:
    rules = TableRules(TABLE, SHAPE, bookkeeping=["stamp"])
    log = item(stamp="2024-01-01 00:00:00")
    mine = log.update("alice", price=2.0, stamp="2024-02-01 00:00:00")
    log.update("bob", name="b", stamp="2024-03-01 00:00:00")

    step = _step(plan_row(log.fold(mine), log.image, rules))

    assert (step.cells, step.bumps) == ((CellStep("price", 2.0, 1.0),), ("stamp",))


def test_an_inserted_row_is_deleted_though_its_bookkeeping_moved() -> None:
    rules = TableRules(TABLE, SHAPE, bookkeeping=["stamp"])
    log = RowLog()
    made = log.insert(id=1, name="a", price=1.0, stamp="2024-01-01")

    step = _step(plan_row(log.fold(made), {**_image(log), "stamp": "2024-02-02"}, rules))

    assert "stamp" not in [cell.column for cell in step.cells]


def test_a_change_of_nothing_but_bookkeeping_is_nothing_to_take_back() -> None:
    log = item(stamp=1)
    mine = log.update(stamp=2)

    assert plan_row(log.fold(mine), log.image, TableRules(TABLE, SHAPE, bookkeeping=["stamp"])).already


def test_exact_restores_bookkeeping_that_nobody_moved_since() -> None:
    rules = TableRules(TABLE, SHAPE, bookkeeping=["stamp"])
    log = item(stamp=1)
    mine = log.update(price=2.0, stamp=2)

    step = _step(plan_row(log.fold(mine), log.image, rules, PlanOptions(exact=True)))

    assert CellStep("stamp", 2, 1) in step.cells
    assert step.bumps == ()


def test_exact_moves_bookkeeping_on_where_somebody_moved_it_since() -> None:
    rules = TableRules(TABLE, SHAPE, bookkeeping=["stamp"])
    log = item(stamp=1)
    mine = log.update("alice", price=2.0, stamp=2)
    log.update("bob", name="b", stamp=3)

    step = _step(plan_row(log.fold(mine), log.image, rules, PlanOptions(exact=True)))

    assert (step.cells, step.bumps) == ((CellStep("price", 2.0, 1.0),), ("stamp",))


def test_only_limits_which_cells_are_taken_back() -> None:
    log = item()
    mine = log.update(price=2.0, name="b")

    step = _step(plan_row(log.fold(mine), log.image, RULES, PlanOptions(only=("name",))))

    assert step.cells == (CellStep("name", "b", "a"),)


def test_only_never_removes_a_row() -> None:
    log = RowLog()
    made = log.insert(id=1, name="a")

    planned = plan_row(log.fold(made), log.image, RULES, PlanOptions(only=("name",)))

    assert (planned.step, len(planned.notes)) == (None, 1)


def test_a_masked_column_can_not_be_taken_back() -> None:
    log = item()
    mine = log.update(name="b")

    conflict = _conflict(plan_row(log.fold(mine), _image(log) | {"name": "real"}, replace(RULES, masked=["name"])))

    assert (conflict.kind, conflict.column) == (ConflictKind.LOSSY, "name")


def test_a_row_with_an_excluded_column_that_must_have_a_value_can_not_come_back() -> None:
    shape = replace(SHAPE, columns=(*SHAPE.columns, ColumnShape("secret", "TEXT", nullable=False)))
    log = item()
    gone = log.delete()

    conflict = _conflict(plan_row(log.fold(gone), None, TableRules(TABLE, shape, excluded=["secret"])))

    assert (conflict.kind, conflict.column) == (ConflictKind.LOSSY, "secret")


def test_a_row_with_an_excluded_column_is_lossy_though_the_column_may_be_empty() -> None:
    shape = replace(SHAPE, columns=(*SHAPE.columns, ColumnShape("secret", "TEXT")))
    log = item()
    gone = log.delete()
    rules = TableRules(TABLE, shape, excluded=["secret"])

    planned = plan_row(log.fold(gone), None, rules)
    forced = plan_row(log.fold(gone), None, rules, PlanOptions(force=True))

    assert [(conflict.kind, conflict.column) for conflict in planned.conflicts] == [(ConflictKind.LOSSY, "secret")]
    assert "secret" not in _targets(_step(forced))
    assert "secret" in forced.notes[0]


def test_generated_columns_are_left_out() -> None:
    shape = replace(SHAPE, columns=(*SHAPE.columns[:2], ColumnShape("price", "REAL", generated=True)))
    log = item()
    mine = log.update(name="b", price=2.0)

    step = _step(plan_row(log.fold(mine), log.image, TableRules(TABLE, shape)))

    assert [cell.column for cell in step.cells] == ["name"]


def test_a_table_that_no_longer_exists_is_a_conflict_and_no_crash() -> None:
    log = item()
    mine = log.update(name="b")

    conflict = _conflict(plan_row(log.fold(mine), None, TableRules(TABLE, None)))

    assert (conflict.kind, conflict.row) == (ConflictKind.MISSING, RowKey(TABLE, "1"))
    assert "no longer exists" in conflict.message


def test_a_column_that_no_longer_exists_is_a_conflict_and_no_crash() -> None:
    shape = replace(SHAPE, columns=tuple(column for column in SHAPE.columns if column.name != "name"))
    log = item()
    mine = log.update(name="b")

    conflict = _conflict(plan_row(log.fold(mine), {"id": 1, "price": 1.0}, TableRules(TABLE, shape)))

    assert (conflict.kind, conflict.column) == (ConflictKind.MISSING, "name")


def test_a_plan_sums_up_its_conflicts_by_kind_and_actor() -> None:
    log = item()
    log.update("svc-web", price=2.0)
    conflicts = [
        Conflict(ConflictKind.CHANGED, TABLE, RowKey(TABLE, str(key)), column, "", log.change(1))
        for key in (1, 2)
        for column in ("name", "price")
    ]
    step = Step(StepKind.UPDATE, TABLE, None, {"id": 1}, ())

    plan = Plan("undo", "sqlite://", (step,), tuple(conflicts), already=3)

    assert plan.summary == "1 clean, 2 changed since, by svc-web, 3 already as they were"
    assert plan.refused


def test_log_ids_are_told_as_runs() -> None:
    assert as_runs([5, 3, 4, 9, 9]) == ((3, 5), (9, 9))


PARENT, CHILD, TREE = TableName("parent"), TableName("child"), TableName("tree")
SHAPES = DatabaseShape(
    {
        PARENT: TableShape(PARENT, (ColumnShape("id", ""),), ("id",)),
        CHILD: TableShape(
            CHILD,
            (ColumnShape("id", ""), ColumnShape("parent", ""), ColumnShape("name", "")),
            ("id",),
            (ForeignKeyShape(CHILD, ("parent",), PARENT, ("id",), on_delete="CASCADE"),),
        ),
        TREE: TableShape(
            TREE,
            (ColumnShape("id", ""), ColumnShape("up", "")),
            ("id",),
            (ForeignKeyShape(TREE, ("up",), TREE, ("id",)),),
        ),
    }
)


def test_children_are_deleted_before_and_inserted_after_their_parents() -> None:
    steps = [
        _delete(PARENT, id=1),
        _delete(CHILD, id=1, parent=1),
        _insert(CHILD, id=2, parent=2),
        _insert(PARENT, id=2),
    ]

    ordered = [(step.kind, step.table) for step in order_steps(steps, SHAPES)]

    assert ordered == [
        (StepKind.DELETE, CHILD),
        (StepKind.DELETE, PARENT),
        (StepKind.INSERT, PARENT),
        (StepKind.INSERT, CHILD),
    ]


def test_a_row_lets_go_of_its_parent_before_a_cascade_takes_it_along() -> None:
    letting_go = Step(StepKind.UPDATE, CHILD, None, {"id": 1}, (CellStep("parent", 1, None),))
    renaming = Step(StepKind.UPDATE, CHILD, None, {"id": 2}, (CellStep("name", "a", "b"),))

    ordered = order_steps([_delete(PARENT, id=1), renaming, letting_go], SHAPES)

    assert ordered.index(letting_go) < [step.table for step in ordered].index(PARENT)


def test_a_row_takes_a_parents_key_only_once_the_row_that_had_it_is_gone() -> None:
    moving = Step(StepKind.UPDATE, PARENT, None, {"id": 1}, (CellStep("id", 1, 5),))
    following = Step(StepKind.UPDATE, CHILD, None, {"id": 1}, (CellStep("parent", 1, 5),))

    ordered = order_steps([following, moving, _delete(PARENT, id=5)], SHAPES)

    assert [step.kind for step in ordered] == [StepKind.DELETE, StepKind.UPDATE, StepKind.UPDATE]
    assert ordered[1:] == [following, moving]


def test_rows_that_refer_to_rows_of_their_own_table_go_by_their_depth() -> None:
    rows: list[dict[str, JsonValue]] = [
        {"id": 1, "up": None},
        {"id": 3, "up": 2},
        {"id": 2, "up": 1},
        {"id": 9, "up": 9},
    ]

    inserted = step_levels([_insert(TREE, **row) for row in rows], SHAPES)
    deleted = step_levels([_delete(TREE, **row) for row in rows], SHAPES)

    assert [[step.key["id"] for step in level] for level in inserted] == [[1, 9], [2], [3]]
    assert [[step.key["id"] for step in level] for level in deleted] == [[3, 9], [2], [1]]


def test_rows_that_refer_to_each_other_round_a_circle_are_ordered_somehow() -> None:
    rows: list[dict[str, JsonValue]] = [{"id": 1, "up": 2}, {"id": 2, "up": 1}]

    assert len(order_steps([_delete(TREE, **row) for row in rows], SHAPES)) == 2


NOW = datetime(2026, 3, 2, 9, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2024-01-01 00:00:00.000000", "2026-03-02 09:30:15.123456"),
        ("2024-01-01 00:00:00", "2026-03-02 09:30:15"),
        ("2024-01-01T00:00:00.000Z", "2026-03-02T09:30:15.123Z"),
        ("2024-01-01 00:00:00+02:00", "2026-03-02 11:30:15+02:00"),
        ("2024-01-01T00:00", "2026-03-02T09:30"),
        ("2024-01-01", "2026-03-02"),
        (1_700_000_000, 1_772_443_815),
        (1_700_000_000_000, 1_772_443_815_123),
        (1_700_000_000.5, NOW.timestamp()),
        (7, 8),
        (0, 1),
        (None, None),
        ("rev-3", "rev-3"),
        (2.5, 2.5),
        (True, True),
    ],
)
def test_stamps_get_now_in_their_own_form_and_counters_go_up(before: object, after: object) -> None:
    assert moved_on(before, NOW) == after  # type: ignore[arg-type]


def test_a_step_knows_what_its_columns_hold_before_and_after() -> None:
    insert, delete = _insert(TABLE, id=1, price=2.0), _delete(TABLE, id=1, price=2.0)
    update = Step(StepKind.UPDATE, TABLE, None, {"id": 1}, (CellStep("price", 3.0, 2.0),))

    def known(step: Step, column: str) -> tuple[object, object]:
        return step.expected_value(column), step.target_value(column)

    assert [known(insert, column) for column in ("id", "price", "name")] == [
        (ABSENT, 1),
        (ABSENT, 2.0),
        (ABSENT, ABSENT),
    ]
    assert [known(delete, column) for column in ("id", "price", "name")] == [
        (1, ABSENT),
        (2.0, ABSENT),
        (ABSENT, ABSENT),
    ]
    assert [known(update, column) for column in ("id", "price", "name")] == [(1, 1), (3.0, 2.0), (ABSENT, ABSENT)]


def test_steps_that_are_read_when_asked_for_are_a_sequence() -> None:
    single = [_insert(TABLE, id=key) for key in (1, 2)]
    rows: dict[tuple[str, ...], list[Step]] = {
        ("a",): [_insert(TABLE, id=3)],
        ("b",): [_insert(TABLE, id=4), _insert(TABLE, id=5)],
    }
    bulks = [Bulk(TABLE, columns, len(found), (), True, found[0]) for columns, found in rows.items()]
    all_of_them = [*single, *chain(*rows.values())]

    steps = Steps(single, bulks, lambda bulk: iter(rows[bulk.columns]))

    assert len(steps) == 5
    assert list(steps) == all_of_them
    assert [steps[place] for place in range(-5, 5)] == all_of_them * 2
    assert list(steps[1:4]) == all_of_them[1:4]
    with pytest.raises(IndexError, match="5"):
        steps[5]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([], ()),
        ([((1, 2), (5, 6))], ((1, 2), (5, 6))),
        ([((5, 6), (1, 3))], ((1, 3), (5, 6))),
        ([((1, 4),), ((2, 3),)], ((1, 4),)),
        ([((1, 2), (7, 8)), ((3, 4),), ((4, 5), (9, 9))], ((1, 5), (7, 9))),
        ([((1, 1), (3, 3), (9, 9))], ((1, 1), (3, 3), (9, 9))),
    ],
)
def test_runs_are_joined_where_they_meet(parts: list[Runs], joined: Runs) -> None:
    assert joined_runs(*parts) == joined


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ABSENT, "no row"),
        (None, "None"),
        (1.5, "1.5"),
        ("it's\n", '"it\'s\\n"'),
        ({"$hex": "00ff"}, "hex:00ff"),
        ({"$a": 1, "b": "c"}, "a:1 b:c"),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 56 + "..."),
    ],
)
def test_a_value_in_a_message_is_short_and_on_one_line(value: Value, text: str) -> None:
    assert shown(value) == text


def test_conflicts_without_a_row_count_each() -> None:
    of_no_row = Conflict(ConflictKind.CHANGED, TABLE, None, None, "one")
    of_a_row = replace(of_no_row, row=RowKey(TABLE, "1"))
    conflicts = (of_no_row, of_no_row, of_a_row, replace(of_a_row, column="price"))
    plan = Plan("undo", "sqlite://", (), conflicts)

    assert [group.rows for group in plan.conflict_groups] == [3]


def test_conflicts_and_cascades_are_told_in_a_line() -> None:
    phrase = ConflictKind.CHANGED.phrase

    assert str(ConflictGroup(ConflictKind.CHANGED, "svc-web", 1200)) == f"1,200 {phrase}, by svc-web"
    assert str(ConflictGroup(ConflictKind.CHANGED, None, 3)) == f"3 {phrase}"
    assert str(Cascade(TABLE, "item/1", "DELETE")) == "item/1: delete by the database"


def _step(planned: RowPlan) -> Step:
    assert planned.step is not None, planned
    return planned.step


def _conflict(planned: RowPlan) -> Conflict:
    assert planned.step is None
    [conflict] = planned.conflicts
    return conflict


def _image(log: RowLog) -> dict[str, JsonValue]:
    return dict(log.image or {})


def _targets(step: Step) -> Image:
    return {cell.column: cell.target for cell in step.cells if not isinstance(cell.target, Absent)}


def _delete(table: TableName, **values: JsonValue) -> Step:
    cells = tuple(CellStep(column, value, ABSENT) for column, value in values.items())
    return Step(StepKind.DELETE, table, None, {"id": values["id"]}, cells)


def _insert(table: TableName, **values: JsonValue) -> Step:
    cells = tuple(CellStep(column, ABSENT, value) for column, value in values.items())
    return Step(StepKind.INSERT, table, None, {"id": values["id"]}, cells)
