"""`audit tail`: the last changes, each new transaction once, and where to go on."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.shop import CANCELLED, ROOT, Customer, Ran, Shop

Audit = Callable[..., Ran]


@contextmanager
def tailing(shop: Shop, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A tail that runs in a program of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "auditcli", "-u", str(shop.path), "tail", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def next_ids(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline())["id"] for _ in range(count)]


def test_tail_prints_the_last_changes_and_then_what_comes(shop: Shop) -> None:
    with tailing(shop, "-n", "2", "-o", "jsonl") as process:
        last = next_ids(process, 2)
        shop.write("dora", "new", lambda session: session.add(Customer(id=9, name="New")))
        new = next_ids(process, 1)

    assert (last, new) == ([11, 12], [13])


def test_tail_prints_no_more_than_the_last_changes_of_a_large_transaction(shop: Shop) -> None:
    customers = [Customer(id=number, name="New") for number in range(100, 110)]
    shop.write("dora", "many", lambda session: session.add_all(customers))

    with tailing(shop, "-n", "2", "-o", "jsonl") as process:
        last = next_ids(process, 2)
        shop.write("dora", "new", lambda session: session.add(Customer(id=9, name="New")))
        new = next_ids(process, 1)

    assert (last, new) == ([21, 22], [23])


def test_tail_since_a_position_starts_there(shop: Shop) -> None:
    with tailing(shop, "--since", "10", "-o", "json") as process:
        assert next_ids(process, 2) == [11, 12]


def test_tail_prints_only_what_is_selected(shop: Shop) -> None:
    with tailing(shop, "-n", "5", "table:customer", "-o", "jsonl") as process:
        assert next_ids(process, 3) == [1, 2, 11]
        shop.write("dora", "order", lambda session: session.add(Customer(id=9, name="New")))
        assert next_ids(process, 1) == [13]


def test_an_interrupted_tail_says_where_to_go_on(shop: Shop) -> None:
    with tailing(shop, "-n", "1", "-o", "jsonl") as process:
        next_ids(process, 1)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=20)

    shop.write("dora", "new", lambda session: session.add(Customer(id=9, name="New")))
    resume_at = talk.strip().rpartition("--since ")[2]
    with tailing(shop, "--since", resume_at, "-o", "jsonl") as again:
        resumed = next_ids(again, 1)

    assert process.returncode == 130
    assert "Traceback" not in talk
    assert resumed == [CANCELLED + 1]


def test_tail_groups_by_transaction_as_a_table(shop: Shop) -> None:
    with tailing(shop, "-n", "1", "-o", "table", "--utc") as process:
        assert process.stdout is not None
        heading, change = process.stdout.readline(), process.stdout.readline()

    assert heading.startswith("tx:")
    assert change.startswith("  #12 - DELETE orders/3")


@pytest.mark.parametrize("ending", [["--until", "14"], ["until:14"], ["--exit-after", "2"], ["--exit-after", "1"]])
def test_tail_ends_by_itself_and_says_where_to_go_on(shop: Shop, ending: list[str]) -> None:
    customers = [Customer(id=number, name="New") for number in (20, 21)]
    with tailing(shop, "-n", "1", "-o", "jsonl", *ending) as process:
        assert next_ids(process, 1) == [12]
        shop.write("dora", "two", lambda session: session.add_all(customers))
        out, talk = process.communicate(timeout=20)

    assert [json.loads(line)["id"] for line in out.splitlines()] == [13, 14]
    assert process.returncode == 0
    assert talk.startswith("ended; to go on from here: audit tail")


def test_tail_ends_after_a_time(audit: Audit) -> None:
    ran = audit("tail", "-n", "1", "--for", "1s", "-o", "jsonl")

    assert (ran.code, len(ran.lines)) == (0, 1)


def test_tail_ends_at_a_time_that_is_to_come(audit: Audit) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()

    ran = audit("tail", "-n", "1", "--until", soon, "-o", "jsonl")

    assert (ran.code, len(ran.lines)) == (0, 1)


def test_tail_between_two_positions_is_that_part_of_the_log(audit: Audit) -> None:
    ran = audit("tail", "--since", "7", "--until", "11", "-o", "jsonl")

    assert ran.code == 0
    assert [json.loads(line)["id"] for line in ran.lines] == [8, 9, 10, 11]


def test_a_terminated_tail_says_where_to_go_on_too(shop: Shop) -> None:
    with tailing(shop, "-n", "1", "-o", "jsonl", "actor:b*", "--table", "orders") as process:
        next_ids(process, 1)
        process.terminate()
        _, talk = process.communicate(timeout=20)

    assert process.returncode == 130
    assert talk.startswith(
        f"stopped; to go on from here: audit tail -u {shop.path} table:orders 'actor:b*' --since tx:"
    )


def test_tail_ends_quietly_as_soon_as_nobody_reads_it(shop: Shop) -> None:
    with tailing(shop, "-n", "1", "-o", "jsonl") as process:
        next_ids(process, 1)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        code, talk = process.wait(20), process.stderr.read()

    assert (code, talk) == (0, "")


def test_the_last_changes_come_in_the_order_in_which_their_transactions_ended(shop: Shop) -> None:
    with closing(sqlite3.connect(shop.path)) as connection, connection:
        # As where transactions run side by side.
        connection.execute(
            "UPDATE changelog SET transaction_id = (SELECT transaction_id FROM changelog WHERE id = 12) WHERE id = 10"
        )

    with tailing(shop, "-n", "4", "-o", "jsonl") as process:
        assert next_ids(process, 4) == [9, 11, 10, 12]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--until", "5"], "until (the change #5) does not come after what is already there"),
        (["until:5"], "until (the change #5) does not come after what is already there"),
        (["--until", "1h"], "does not come after what is already there"),
        (["--since", "7", "--until", "5"], "until (the change #5) does not come after since (the change #7)"),
        (["--until", "13", "until:14"], "until is given twice: the change #13 and the change #14"),
        (["--until", "2026-13-01"], "'2026-13-01' is outside the calendar"),
        (["--for", "0s"], "'0s' is no time at all"),
        (["--for", "10"], "'10' is no length of time"),
        (["--for", "-5m"], "'-5m' is no length of time"),
        (["--for", "99999999999d"], "'99999999999d' is too long"),
        (["--max-hold", "soon"], "'soon' is no length of time"),
        (["--exit-after", "0"], "--exit-after"),
        (["-n", "-1"], "--limit"),
        (["--reverse"], "no such option: --reverse"),
    ],
)
def test_tail_refuses_what_can_t_be(audit: Audit, words: list[str], problem: str) -> None:
    ran = audit("tail", *words)

    assert (ran.code, len(ran.err.splitlines())) == (2, 2)
    assert problem in ran.err
