"""Folding a row's history: holes, cancelling, and where a cell came from and went to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from auditcli.changeset import net, touched_columns
from auditcli.fold import ABSENT, CellFold, RowFold
from tests.unit.rowlog import RowLog, item


def test_a_run_without_holes_leads_from_its_first_before_to_its_last_after() -> None:
    log = item()
    first, last = log.update(price=2.0), log.update(price=3.0)

    price = _cell(log.fold(first, last), "price")

    assert (price.target, price.expected, price.blocked_by) == (1.0, 3.0, None)


def test_a_holed_selection_does_not_take_back_somebody_elses_column() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    log.update("bob", name="b")
    last = log.update("alice", price=3.0)

    folded = log.fold(first, last)

    assert [cell.column for cell in folded.cells] == ["price"]
    assert folded.cells[0].blocked_by is None


def test_a_hole_in_the_same_cell_blocks_it_and_names_the_change_in_it() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    hole = log.update("bob", price=9.0)
    last = log.update("alice", price=3.0)

    assert _cell(log.fold(first, last), "price").blocked_by == log.change(hole)


def test_a_row_deleted_and_made_again_between_the_selected_changes_blocks_all_its_cells() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    gone = log.delete("bob")
    log.insert("bob", id=1, name="a", price=2.0, stamp=None)
    last = log.update("alice", price=3.0)

    assert _cell(log.fold(first, last), "price").blocked_by == log.change(gone)


def test_a_write_after_the_last_selected_change_does_not_block() -> None:
    log = item()
    mine = log.update("alice", price=2.0)
    later = log.update("bob", price=3.0)

    folded = log.fold(mine)

    assert _cell(folded, "price").blocked_by is None
    assert folded.later_writer(folded.cells[0]) == log.change(later)


def test_what_was_undone_is_settled() -> None:
    log = item()
    mine = log.update(price=2.0)
    log.update(price=1.0, undoes=[mine])

    folded = log.fold(mine)

    assert (folded.cells, folded.settled, folded.takes_back) == ((), ("price",), ())


def test_what_was_undone_and_redone_counts_again() -> None:
    log = item()
    mine = log.update(price=2.0)
    undo = log.update(price=1.0, undoes=[mine])
    log.update(price=2.0, undoes=[undo])

    price = _cell(log.fold(mine), "price")

    assert (price.target, price.expected, price.rewritten_by) == (1.0, 2.0, None)


def test_taking_back_an_undo_is_a_redo() -> None:
    log = item()
    mine = log.update(price=2.0)
    undo = log.update(price=1.0, undoes=[mine])

    price = _cell(log.fold(undo), "price")

    assert (price.target, price.expected) == (2.0, 1.0)


def test_a_redo_counts_also_where_the_history_reaches_back_before_what_was_undone() -> None:
    log = item()
    name = log.update(name="b")
    mine = log.update(price=2.0)
    undo = log.update(price=1.0, undoes=[mine])

    price = _cell(log.fold(name, undo), "price")

    assert (price.target, price.expected) == (2.0, 1.0)


def test_an_undo_and_what_it_took_back_cancel_when_both_are_selected() -> None:
    log = item()
    mine = log.update(price=2.0)
    undo = log.update(price=1.0, undoes=[mine])

    assert log.fold(mine, undo).settled == ("price",)


def test_cancelling_goes_cell_by_cell() -> None:
    log = item()
    mine = log.update(price=2.0, name="b")
    log.update(price=1.0, undoes=[mine])

    folded = log.fold(mine)

    assert ([cell.column for cell in folded.cells], folded.settled) == (["name"], ("price",))
    assert folded.takes_back == (mine,)


def test_undone_work_of_others_between_the_selected_changes_blocks_nothing() -> None:
    log = item()
    first = log.update("alice", price=2.0)
    hole = log.update("bob", price=9.0)
    log.update("bob", price=2.0, undoes=[hole])
    last = log.update("alice", price=3.0)

    price = _cell(log.fold(first, last), "price")

    assert (price.blocked_by, price.target, price.expected) == (None, 1.0, 3.0)


def test_an_undo_between_the_selected_changes_of_something_before_them_blocks() -> None:
    log = item()
    name = log.update("alice", name="b")
    early = log.update("bob", price=2.0)
    first = log.update("alice", price=3.0)
    undo = log.update("bob", price=1.0, undoes=[early])
    last = log.update("alice", price=4.0)

    assert _cell(log.fold(name, first, last), "price").blocked_by == log.change(undo)


def test_one_undo_may_write_a_cell_twice() -> None:
    log = item()
    mine = log.update(price=2.0)
    log.update(price=1.5, undoes=[mine])
    log.update(price=1.0, undoes=[mine])
    log.records[1:] = [replace(change, transaction_id="undo") for change in log.records[1:]]
    other = log.update("bob", name="b")

    assert log.fold(mine, other).settled == ("price",)


def test_undo_redo_undo_works_for_ever() -> None:
    log = item()
    mine = undone = log.update(price=2.0)
    for _ in range(4):
        assert _cell(log.fold(mine), "price").target == 1.0
        undo = log.update(price=1.0, undoes=[undone])
        assert log.fold(mine).settled == ("price",)
        log.update(price=2.0, undoes=[undo])


def test_existence_is_a_cell_of_its_own() -> None:
    log = RowLog()
    made = log.insert(id=1, name="a")
    log.update("bob", name="b")

    folded = log.fold(made)

    assert folded.goes_away
    assert _cell(folded, "name").target is ABSENT


def test_a_deleted_row_comes_back_as_it_was_before_the_first_selected_change() -> None:
    log = item()
    first, last = log.update(price=2.0), log.delete()

    folded = log.fold(first, last)

    assert folded.comes_back
    assert folded.target_image == {"id": 1, "name": "a", "price": 1.0, "stamp": None}


def test_a_snapshot_is_neither_folded_nor_a_hole() -> None:
    log = item()
    first = log.update(price=2.0)
    log.snapshot()
    last = log.update(price=3.0)

    assert _cell(log.fold(first, last), "price").blocked_by is None


def test_a_moved_row_is_looked_for_at_its_present_key() -> None:
    log = item()
    mine = log.update("alice", id=2)
    log.update("bob", id=3)

    assert log.fold(mine).place["id"] == 3


@given(
    st.lists(
        st.sampled_from([("price", 1.0), ("price", 2.0), ("name", "a"), ("name", "b"), ("del", None)]), max_size=10
    )
)
def test_joined_and_folded_rows_follow_the_same_rules(script: list[tuple[str, float | str | None]]) -> None:
    log = item()
    for column, value in script:
        if log.image is None:
            log.insert(id=1, name="c", price=3.0, stamp=None)
        elif column == "del":
            log.delete()
        else:
            log.set_to({column: value})
    if not log.records:
        return

    folded = log.fold(*(change.id for change in log.records))

    joined = net(log.records)
    moved = {str(cell.column) for cell in folded.cells if cell.target != cell.expected}
    assert moved == set(touched_columns(joined) if joined else ())
    assert all(cell.blocked_by is None for cell in folded.cells)


def _cell(folded: RowFold, column: str) -> CellFold:
    [cell] = [cell for cell in folded.cells if cell.column == column]
    return cell
