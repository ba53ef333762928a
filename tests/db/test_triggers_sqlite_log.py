"""What goes wrong around SQLite's capture triggers when it is done the obvious way."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from auditcli.dialects.capture import CaptureContext
from tests.db.plain import Plain, give_context

ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, u UNIQUE)"
ALICE = CaptureContext("0f3a9c52-0000-4000-8000-000000000001", "alice", "ticket 42")
ROUNDS = 150


@pytest.fixture
def plain(tmp_path: Path) -> Plain:
    """One table whose triggers record what is written."""
    return Plain(tmp_path / "plain.db", ITEM)


def test_a_context_that_nobody_took_back_accuses_no_other_connection(plain: Plain) -> None:
    """As it would if it stood in a table of the main database: drivers commit where nobody expects it."""
    with closing(plain.connect()) as alices, closing(plain.connect()) as others:
        give_context(alices, ALICE)
        others.execute("INSERT INTO item VALUES (1, 'not hers')")
        alices.execute("INSERT INTO item VALUES (2, 'hers')")
        others.execute("UPDATE item SET u = 'not hers either' WHERE id = 2")

    assert [(change.actor, change.reason) for change in plain.changes()] == [
        (None, None),
        ("alice", "ticket 42"),
        (None, None),
    ]


def test_a_context_that_was_rolled_back_accuses_nobody(plain: Plain) -> None:
    with closing(plain.connect()) as connection:
        connection.execute("INSERT INTO item VALUES (1, 'before')")
        connection.execute("BEGIN")
        give_context(connection, ALICE)
        connection.execute("INSERT INTO item VALUES (2, 'rolled back')")
        connection.execute("ROLLBACK")
        connection.execute("INSERT INTO item VALUES (3, 'after')")

        headers = connection.execute("SELECT count(*) FROM changelog_transaction").fetchone()

    assert [(change.row_id, change.actor) for change in plain.changes()] == [("1", None), ("3", None)]
    assert headers == (0,)


def test_a_rolled_back_first_write_leaves_the_header_to_the_next_one(plain: Plain) -> None:
    with closing(plain.connect()) as connection:
        connection.execute("BEGIN")
        give_context(connection, ALICE)
        connection.execute("SAVEPOINT s")
        connection.execute("INSERT INTO item VALUES (1, 'rolled back')")
        connection.execute("ROLLBACK TO s")
        connection.execute("INSERT INTO item VALUES (2, 'kept'), (3, 'kept as well')")
        connection.execute("COMMIT")

        headers = connection.execute("SELECT transaction_id, reason FROM changelog_transaction").fetchall()

    assert [(change.row_id, change.reason) for change in plain.changes()] == [("2", "ticket 42"), ("3", "ticket 42")]
    assert headers == [(ALICE.transaction_id, "ticket 42")]


def test_an_empty_actor_or_reason_counts_as_absent(plain: Plain) -> None:
    with closing(plain.connect()) as connection:
        give_context(connection, CaptureContext(ALICE.transaction_id, "", ""))
        connection.execute("INSERT INTO item VALUES (1, 'x')")

    [change] = plain.changes()
    assert (change.actor, change.reason, change.transaction_id) == (None, None, ALICE.transaction_id)


@pytest.mark.parametrize("context", [None, ALICE], ids=["plain", "with context"])
def test_stamped_with_its_transactions_start_a_late_record_would_lie_too_early(
    plain: Plain, context: CaptureContext | None
) -> None:
    with closing(plain.connect()) as connection:
        connection.execute("BEGIN")
        if context is not None:
            give_context(connection, context)
        connection.execute("INSERT INTO item VALUES (1, 'early')")
        time.sleep(0.1)
        connection.execute("INSERT INTO item VALUES (2, 'late')")
        connection.execute("COMMIT")

    early, late = plain.changes()
    assert late.timestamp - early.timestamp >= timedelta(seconds=0.05)


REACHING = (
    "INSERT INTO item VALUES (1, 'a'), (2, 'b')",
    "UPDATE item SET u = 'c' WHERE id = 2",
    "INSERT OR REPLACE INTO item VALUES (1, 'd')",
    "UPDATE OR REPLACE item SET u = 'e' WHERE id = 1",
    "UPDATE OR IGNORE item SET u = 'f' WHERE id = 1",
)


def _records(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        for statement in REACHING:
            connection.execute(statement)
        count: int = connection.execute("SELECT count(*) FROM changelog").fetchone()[0]
        return count


def test_with_a_unique_key_on_the_log_an_outer_or_replace_would_delete_records(plain: Plain, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(plain.path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE UNIQUE INDEX bites ON changelog (table_name, row_id, event_type)")

    assert _records(plain.path) == 6
    assert _records(copy) < 6


def test_no_table_that_triggers_write_has_a_unique_key_but_its_row_id(plain: Plain) -> None:
    with closing(plain.connect()) as connection:
        written = ("changelog", "changelog_transaction", "changelog_replaced")
        unique = [
            row for table in written for row in connection.execute(f"PRAGMA index_list({table})").fetchall() if row[2]
        ]

    assert unique == []


PLAIN_PROGRAM = dedent("""
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    for number in range(int(sys.argv[2])):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO item VALUES (?, ?)", (number % 20, f"plain {number}"))
        connection.execute("UPDATE item SET u = ? WHERE id = ?", (f"again {number}", (number + 7) % 20))
        connection.execute("COMMIT")
""")
TRACKED_PROGRAM = dedent("""
    import sys
    import auditcli
    from sqlalchemy import create_engine, text
    engine = create_engine("sqlite:///" + sys.argv[1], connect_args={"timeout": 60})
    auditcli.track(engine)
    for number in range(int(sys.argv[2])):
        with auditcli.context(actor="alice"), engine.begin() as connection:
            connection.execute(
                text("INSERT OR REPLACE INTO item VALUES (:id, :u)"), {"id": number % 20, "u": f"tracked {number}"}
            )
            connection.execute(text("DELETE FROM item WHERE id = :id"), {"id": (number + 3) % 20})
""")


def test_two_programs_that_write_at_the_same_time_are_both_recorded_in_full(plain: Plain) -> None:
    plain.write("PRAGMA journal_mode = WAL")

    programs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(plain.path), str(ROUNDS)], stderr=subprocess.PIPE, text=True
        )
        for program in (PLAIN_PROGRAM, TRACKED_PROGRAM)
    ]
    errors = [program.communicate()[1] for program in programs]

    assert errors == ["", ""]
    changes = plain.changes()
    assert {change.actor for change in changes} == {None, "alice"}
    assert len({change.transaction_id for change in changes if change.actor == "alice"}) == ROUNDS
    assert {change.transaction_id for change in changes if change.actor is None} == {None}
    assert plain.differences() == []
