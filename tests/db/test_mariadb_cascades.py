"""Foreign keys fire no triggers on MariaDB: whatever they change is in the log all the same, each row once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete, update

import auditcli
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

PARENT = "CREATE TABLE p (id INT PRIMARY KEY, k VARCHAR(10) UNIQUE)"
CHILD = "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)"
GRANDCHILD = "CREATE TABLE g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)"
GREAT = "CREATE TABLE h (id INT PRIMARY KEY, g INT, FOREIGN KEY (g) REFERENCES g (id) ON DELETE SET NULL)"
FAMILY = (
    "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO c VALUES (11, 1), (12, 1), (13, 2)",
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


def _after(watched: Watched, *statements: str) -> list[tuple[str, str, str | None]]:
    """What is recorded of some statements, and that nothing is missing."""
    known = len(watched.changes())
    watched.write(*statements)
    watched.check()
    return sorted(watched.events()[known:], key=str)


def test_rows_over_three_levels_go_and_are_recorded(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD, GRANDCHILD, GREAT)
    watched.write(*FAMILY, "INSERT INTO g VALUES (21, 11), (22, 13)", "INSERT INTO h VALUES (31, 21), (32, 22)")

    recorded = _after(watched, "DELETE FROM p WHERE id = 1")

    assert recorded == [
        ("DELETE", "c", "11"),
        ("DELETE", "c", "12"),
        ("DELETE", "g", "21"),
        ("DELETE", "p", "1"),
        ("UPDATE", "h", "31"),
    ]
    assert len({change.transaction_id for change in watched.changes()[-5:]}) == 1


def test_two_references_to_one_parent_are_lost_in_one_record(engine: Engine) -> None:
    watched = Watched(
        engine,
        PARENT,
        """CREATE TABLE game (id INT PRIMARY KEY, home INT, away INT,
          FOREIGN KEY (home) REFERENCES p (id) ON DELETE SET NULL,
          FOREIGN KEY (away) REFERENCES p (id) ON DELETE SET NULL)""",
    )
    watched.write("INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO game VALUES (1, 1, 1), (2, 1, 2), (3, 2, 2)")

    recorded = _after(watched, "DELETE FROM p WHERE id = 1")

    assert recorded == [("DELETE", "p", "1"), ("UPDATE", "game", "1"), ("UPDATE", "game", "2")]


def test_a_row_that_one_reference_deletes_and_another_clears_is_deleted_once(engine: Engine) -> None:
    watched = Watched(
        engine,
        PARENT,
        """CREATE TABLE c (id INT PRIMARY KEY, owner INT, friend INT,
          FOREIGN KEY (owner) REFERENCES p (id) ON DELETE CASCADE,
          FOREIGN KEY (friend) REFERENCES p (id) ON DELETE SET NULL)""",
    )
    watched.write("INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO c VALUES (1, 1, 1), (2, 2, 1), (3, 1, 2)")

    recorded = _after(watched, "DELETE FROM p WHERE id = 1")

    assert recorded == [("DELETE", "c", "1"), ("DELETE", "c", "3"), ("DELETE", "p", "1"), ("UPDATE", "c", "2")]


def test_a_row_that_two_ways_lead_to_is_recorded_once(engine: Engine) -> None:
    watched = Watched(
        engine,
        PARENT,
        "CREATE TABLE l (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        "CREATE TABLE r (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        """CREATE TABLE b (id INT PRIMARY KEY, l INT, r INT, FOREIGN KEY (l) REFERENCES l (id) ON DELETE CASCADE,
          FOREIGN KEY (r) REFERENCES r (id) ON DELETE CASCADE)""",
    )
    watched.write("INSERT INTO p VALUES (1, 'a')", "INSERT INTO l VALUES (1, 1)", "INSERT INTO r VALUES (1, 1)")
    watched.write("INSERT INTO b VALUES (1, 1, 1), (2, NULL, 1), (3, 1, NULL), (4, NULL, NULL)")

    recorded = _after(watched, "DELETE FROM p WHERE id = 1")

    assert [each for each in recorded if each[1] == "b"] == [
        ("DELETE", "b", "1"),
        ("DELETE", "b", "2"),
        ("DELETE", "b", "3"),
    ]


TREE = "CREATE TABLE node (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES node (id) ON DELETE CASCADE)"


def test_a_tree_that_refers_to_itself_goes_whole(engine: Engine) -> None:
    watched = Watched(engine, TREE)
    watched.write("INSERT INTO node VALUES (1, NULL)")
    watched.write(*(f"INSERT INTO node VALUES ({key}, {key - 1})" for key in range(2, 12)))
    watched.write("INSERT INTO node VALUES (100, 5), (200, NULL)")

    recorded = _after(watched, "DELETE FROM node WHERE id = 3")

    assert len(recorded) == 10
    assert watched.query("SELECT id FROM node ORDER BY id") == [(1,), (2,), (200,)]


def test_a_row_that_refers_to_itself_goes_once(engine: Engine) -> None:
    watched = Watched(engine, TREE)
    watched.write("INSERT INTO node VALUES (1, 1), (2, 1)")

    recorded = _after(watched, "DELETE FROM node WHERE id = 1")

    assert recorded == [("DELETE", "node", "1"), ("DELETE", "node", "2")]


def test_a_tree_whose_children_lose_their_parent_keeps_them(engine: Engine) -> None:
    watched = Watched(engine, TREE.replace("CASCADE", "SET NULL"))
    watched.write("INSERT INTO node VALUES (1, NULL), (2, 1), (3, 1), (4, 3)")

    recorded = _after(watched, "DELETE FROM node WHERE id = 1")

    assert recorded == [("DELETE", "node", "1"), ("UPDATE", "node", "2"), ("UPDATE", "node", "3")]


def test_composite_keys_are_followed(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE p (a INT, b VARCHAR(5), PRIMARY KEY (a, b))",
        """CREATE TABLE c (a INT, b VARCHAR(5), n INT, PRIMARY KEY (a, b, n),
          FOREIGN KEY (a, b) REFERENCES p (a, b) ON DELETE CASCADE ON UPDATE CASCADE)""",
        """CREATE TABLE g (id INT PRIMARY KEY, a INT, b VARCHAR(5), n INT,
          FOREIGN KEY (a, b, n) REFERENCES c (a, b, n) ON DELETE CASCADE ON UPDATE CASCADE)""",
    )
    watched.write("INSERT INTO p VALUES (1, 'x'), (2, 'x')", "INSERT INTO c VALUES (1, 'x', 1), (2, 'x', 1)")
    watched.write("INSERT INTO g VALUES (1, 1, 'x', 1), (2, 2, 'x', 1)")

    moved = _after(watched, "UPDATE p SET a = 9, b = 'y' WHERE a = 1")
    gone = _after(watched, "DELETE FROM p WHERE a = 2")

    assert moved == [("UPDATE", "c", '[9,"y",1]'), ("UPDATE", "g", "1"), ("UPDATE", "p", '[9,"y"]')]
    assert gone == [("DELETE", "c", '[2,"x",1]'), ("DELETE", "g", "2"), ("DELETE", "p", '[2,"x"]')]


def test_a_child_without_a_key_is_recorded(engine: Engine) -> None:
    watched = Watched(
        engine, PARENT, "CREATE TABLE c (p INT, n INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)"
    )
    watched.write("INSERT INTO p VALUES (1, 'a')", "INSERT INTO c VALUES (1, 1), (1, 2), (NULL, 3)")

    assert _after(watched, "DELETE FROM p") == [("DELETE", "c", None), ("DELETE", "c", None), ("DELETE", "p", "1")]


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_references_follow_a_key_that_changes(engine: Engine, action: str) -> None:
    watched = Watched(
        engine,
        PARENT,
        f"CREATE TABLE c (id INT PRIMARY KEY, k VARCHAR(10), FOREIGN KEY (k) REFERENCES p (k) ON UPDATE {action})",
    )
    watched.write("INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO c VALUES (1, 'a'), (2, 'b'), (3, NULL)")

    recorded = _after(watched, "UPDATE p SET k = 'z' WHERE id = 1")
    unmoved = _after(watched, "UPDATE p SET id = 5 WHERE id = 2")

    assert recorded == [("UPDATE", "c", "1"), ("UPDATE", "p", "1")]
    assert unmoved == [("UPDATE", "p", "5")]


def test_a_key_that_only_changes_its_spelling_is_followed(engine: Engine) -> None:
    watched = Watched(
        engine,
        PARENT,
        "CREATE TABLE c (id INT PRIMARY KEY, k VARCHAR(10), FOREIGN KEY (k) REFERENCES p (k) ON UPDATE CASCADE)",
    )
    watched.write("INSERT INTO p VALUES (1, 'a')", "INSERT INTO c VALUES (1, 'A')")

    watched.write("UPDATE p SET k = 'A'")

    watched.check()


def test_a_parent_that_is_not_tracked_has_children_that_are(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD, GRANDCHILD, exclude_tables=("p", "c"))
    watched.write(*FAMILY, "INSERT INTO g VALUES (21, 11), (22, 13)")

    assert _after(watched, "DELETE FROM p WHERE id = 1") == [("DELETE", "g", "21")]


def test_nothing_cascades_while_foreign_keys_are_not_checked(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD)
    watched.write(*FAMILY)

    recorded = _after(watched, "SET foreign_key_checks = 0", "DELETE FROM p WHERE id = 1", "SET foreign_key_checks = 1")

    assert recorded == [("DELETE", "p", "1")]


def test_replace_on_a_parent_takes_its_children_along(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD)
    watched.write(*FAMILY)

    _after(watched, "REPLACE INTO p VALUES (1, 'new')")

    assert watched.query("SELECT id FROM c") == [(13,)]


def test_a_delete_that_another_reference_refuses_leaves_nothing(engine: Engine) -> None:
    watched = Watched(
        engine, PARENT, CHILD, "CREATE TABLE keep (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))"
    )
    watched.write(*FAMILY, "INSERT INTO keep VALUES (1, 1)")
    known = watched.events()

    with pytest.raises(Exception, match="foreign key constraint fails"):
        watched.write("DELETE FROM p WHERE id = 1")

    assert watched.events() == known
    watched.check()


def test_a_delete_of_several_tables_at_once_is_recorded(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD, GRANDCHILD)
    watched.write(*FAMILY, "INSERT INTO g VALUES (21, 11), (22, 13)")

    _after(watched, "DELETE p, c FROM p JOIN c ON c.p = p.id WHERE p.id = 1")

    assert watched.query("SELECT (SELECT COUNT(*) FROM p), (SELECT COUNT(*) FROM c), (SELECT COUNT(*) FROM g)") == [
        (1, 1, 1)
    ]


def test_listeners_record_cascades_too(engine: Engine) -> None:
    watched = Watched(engine, PARENT, CHILD, GRANDCHILD, GREAT, triggers=False)
    auditcli.track(engine)
    with engine.begin() as connection:
        for name, rows in (
            ("p", [{"id": 1, "k": "a"}, {"id": 2, "k": "b"}]),
            ("c", [{"id": 11, "p": 1}, {"id": 12, "p": 2}]),
            ("g", [{"id": 21, "c": 11}]),
            ("h", [{"id": 31, "g": 21}]),
        ):
            connection.execute(watched.table(name).insert(), rows)

    with engine.begin() as connection:
        parent = watched.table("p")
        connection.execute(update(parent).where(parent.c.id == 2).values(k="B"))
        connection.execute(delete(parent).where(parent.c.id == 1))

    watched.check()
    assert {change.source.value for change in watched.changes()} == {"listener"}


TWO_KEYS = """CREATE TABLE c (id INT PRIMARY KEY, p INT, k VARCHAR(10), {more}
  FOREIGN KEY (p) REFERENCES p (id) ON UPDATE CASCADE,
  FOREIGN KEY (k) REFERENCES p (k) ON UPDATE {action})"""


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_two_references_that_follow_one_row_are_recorded_once(engine: Engine, action: str) -> None:
    watched = Watched(engine, PARENT, TWO_KEYS.format(more="", action=action))
    watched.write(
        "INSERT INTO p VALUES (1, 'a'), (2, 'b')", "INSERT INTO c VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'a')"
    )

    recorded = _after(watched, "UPDATE p SET id = 9, k = 'z' WHERE id = 1")

    assert recorded == [("UPDATE", "c", "1"), ("UPDATE", "c", "2"), ("UPDATE", "c", "3"), ("UPDATE", "p", "9")]


def test_two_ways_on_which_a_key_is_followed_are_recorded_once(engine: Engine) -> None:
    watched = Watched(
        engine,
        PARENT,
        *(
            f"CREATE TABLE {name} (p INT PRIMARY KEY, FOREIGN KEY (p) REFERENCES p (id) ON UPDATE CASCADE)"
            for name in ("x", "y")
        ),
        """CREATE TABLE c (id INT PRIMARY KEY, x INT, y INT,
          FOREIGN KEY (x) REFERENCES x (p) ON UPDATE CASCADE, FOREIGN KEY (y) REFERENCES y (p) ON UPDATE CASCADE)""",
    )
    watched.write(
        "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
        *(f"INSERT INTO {name} VALUES (1), (2)" for name in ("x", "y")),
        "INSERT INTO c VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)",
    )

    recorded = _after(watched, "UPDATE p SET id = 9 WHERE id = 1")

    assert recorded == [("UPDATE", "c", str(at)) for at in (1, 2, 3)] + [("UPDATE", name, "9") for name in "pxy"]


@pytest.mark.parametrize("change", ["UPDATE p SET k = 'z' WHERE id = 1", "DELETE FROM p WHERE id = 1"])
def test_rows_that_nobody_changes_stay_free_for_others(engine: Engine, change: str) -> None:
    more = "note TEXT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE,"
    watched = Watched(engine, PARENT, TWO_KEYS.format(more=more, action="CASCADE ON DELETE SET NULL"))
    watched.write(
        *(f"INSERT INTO p VALUES ({at}, 'k{at}')" for at in range(1, 101)),
        *(f"INSERT INTO c VALUES ({at}, {at}, 'k{at}', '')" for at in range(1, 101)),
    )

    with engine.connect() as one, engine.connect() as other:
        one.exec_driver_sql(change)
        other.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")
        other.exec_driver_sql("UPDATE c SET note = 'free' WHERE id = 50")
        other.commit()
        one.commit()

    watched.check()
