"""Rows that refer to each other come back on each database, though none of them can come first."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event

from auditcli.apply import apply_plan
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo
from tests.db.recorded import enforce_foreign_keys
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

NODE = "CREATE TABLE node (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES node (id) ON DELETE CASCADE)"
LEAF = """CREATE TABLE leaf (id INT PRIMARY KEY, n INT NOT NULL,
  FOREIGN KEY (n) REFERENCES node (id) ON DELETE CASCADE)"""


def test_a_circle_of_rows_that_went_together_comes_back_and_goes_again(any_engine: Engine) -> None:
    watched = Watched(any_engine, NODE, LEAF)
    watched.write("INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2), (4, 4)", "UPDATE node SET up = 3 WHERE id = 1")
    watched.write("INSERT INTO leaf VALUES (1, 2), (2, 4)")
    circle = watched.query("SELECT * FROM node ORDER BY id")
    known = len(watched.changes())
    watched.write("DELETE FROM node WHERE id = 2")
    gone = [change.id for change in watched.changes()[known:]]

    _undo(watched, gone)
    assert watched.query("SELECT * FROM node ORDER BY id") == circle
    assert watched.query("SELECT * FROM leaf ORDER BY id") == [(1, 2), (2, 4)]
    watched.check()

    _undo(watched, [change.id for change in watched.changes() if change.id > gone[-1]])
    assert watched.query("SELECT * FROM node") == [(4, 4)]
    watched.check()


def _undo(watched: Watched, ids: list[int]) -> None:
    with watched.engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=ids)
    assert plan.conflicts == ()
    apply_plan(watched.engine, plan)


def test_rows_that_swapped_their_keys_swap_back_with_the_only_row_that_may_follow_each(any_engine: Engine) -> None:
    watched = Watched(
        any_engine,
        "CREATE TABLE b (id INT PRIMARY KEY)",
        "CREATE TABLE c (k INT PRIMARY KEY, b_id INT UNIQUE, "
        "FOREIGN KEY (b_id) REFERENCES b (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    )
    watched.write("INSERT INTO b VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)")
    known = len(watched.changes())
    watched.write(*(f"UPDATE b SET id = {new} WHERE id = {old}" for old, new in ((1, 9), (2, 1), (9, 2))))
    assert watched.query("SELECT b_id FROM c ORDER BY k") == [(2,), (1,)]

    with any_engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=[change.id for change in watched.changes()[known:]])
    apply_plan(any_engine, plan)

    assert watched.query("SELECT b_id FROM c ORDER BY k") == [(1,), (2,)]


@pytest.mark.parametrize("action", ["RESTRICT", "CASCADE", "SET NULL"])
def test_a_key_that_was_spelt_otherwise_goes_back_under_those_who_refer_to_it_in_any_spelling(
    engine: Engine, action: str
) -> None:
    event.listen(engine, "connect", enforce_foreign_keys)
    watched = Watched(
        engine,
        "CREATE TABLE b (id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL)",
        f"CREATE TABLE c (k INTEGER PRIMARY KEY, b_id TEXT REFERENCES b ON UPDATE {action})",
    )
    watched.write("INSERT INTO b VALUES ('X')", "INSERT INTO c VALUES (1, 'x')")
    watched.write("UPDATE b SET id = 'x'")

    _undo(watched, [3])

    assert (watched.query("SELECT * FROM b"), watched.query("SELECT * FROM c")) == ([("X",)], [(1, "x")])
