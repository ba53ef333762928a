"""`audit tail`: the last changes, each new transaction once, and where to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@pytest.mark.parametrize("words", [["--until", "5"], ["until:5"], ["--reverse"]])
def test_tail_has_no_end_and_no_other_direction(audit: Audit, words: list[str]) -> None:
    ran = audit("tail", *words)

    assert (ran.code, len(ran.err.splitlines())) == (2, 2)
