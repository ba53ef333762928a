"""`audit at`, `row --related` and `blame --at`: the tables and rows as they were."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.shop import CANCELLED, IMPORTED, SHIPPED, Ran, Shop, in_terminal

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

OPENED = SHIPPED - 1


def rows_in(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_one_table_is_its_rows_as_they_were(audit: Audit) -> None:
    ran = audit("at", str(SHIPPED), "--table", "orders", "-o", "csv")

    assert (ran.code, ran.lines) == (
        0,
        ["id,customer_id,status,total", "1,1,shipped,10", "2,1,pending,20", "3,1,pending,30"],
    )
    assert ran.err.startswith(f"as it was after change #{SHIPPED}, ")
    assert ran.err.endswith(" by bob\n")


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("json", '{"id": 1, "customer_id": 1, "status": "pending", "total": 10}'),
        ("jsonl", '{"id": 1, "customer_id": 1, "status": "pending", "total": 10}'),
        ("tsv", "1\t1\tpending\t10"),
        ("table", "1   1            pending  10"),
    ],
)
def test_each_format_of_one_table(audit: Audit, form: str, first: str) -> None:
    ran = audit("at", str(OPENED), "--table", "orders", "-o", form)

    assert (ran.code, first in ran.out) == (0, True)
    assert form != "json" or len(json.loads(ran.out)) == 3


def test_several_tables_say_of_each_row_which_one_it_is_of(audit: Audit) -> None:
    as_json = json.loads(audit("at", str(OPENED), "-o", "json").out)
    as_lines = [json.loads(line) for line in audit("at", str(OPENED), "-o", "jsonl").lines]
    as_table = audit("at", str(OPENED), "-o", "table").lines

    assert [(each["table"], len(each["rows"])) for each in as_json] == [("customer", 2), ("orders", 3), ("tag", 1)]
    assert as_lines[0] == {"table": "customer", "row": {"id": 1, "name": "Ann Lee", "city": "Wien"}}
    assert [line["table"] for line in as_lines] == ["customer"] * 2 + ["orders"] * 3 + ["tag"]
    assert [line for line in as_table if line.endswith(("row", "rows"))] == [
        "customer  2 rows",
        "orders  3 rows",
        "tag  1 row",
    ]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_csv_of_several_tables_is_refused_with_the_ways_out(audit: Audit, form: str) -> None:
    ran = audit("at", str(OPENED), "-o", form)

    assert (ran.code, ran.out, ran.error) == (2, "", f"{form} holds one table, and there were 3")
    assert ran.hint == "choose one with --table, or print them all with -o jsonl"


def test_bad_input_has_its_exit_code_and_a_way_out(audit: Audit) -> None:
    cases = {
        ("at",): (2, "missing argument 'POSITION'"),
        ("at", "soon"): (2, "'soon' is neither a time nor another position"),
        ("at", "99"): (3, "no change 99"),
        ("at", "@nowhere"): (3, "no mark @nowhere"),
        ("at", "1", "--table", "ordres"): (3, "table 'ordres' is not tracked"),
        ("at", "1", "-o", "xml"): (2, "--format can't be 'xml'"),
        ("at", "1", "--yes"): (2, "nothing is written without --to"),
        ("at", "1", "--to", "x.db", "-o", "csv"): (2, "--to writes a database, and --format is for printing"),
        ("row", "customer/1", "--related=0"): (2, "invalid value for '--related': 0 is not in the range x>=1"),
        ("row", "customer/1", "--related", "2"): (2, "got unexpected extra argument(s) (2)"),
        ("row", "customer/77", "--related"): (3, "customer/77 is not there, and no change of it is recorded"),
        ("row", "customer/1", "--related", "--at", "0"): (
            3,
            "customer/1 did not exist then: first made later, by alice",
        ),
        ("blame", "customer/1", "--at", "0"): (3, "customer/1 did not exist then: first made later, by alice"),
    }

    for words, (code, message) in cases.items():
        ran = audit(*words)
        assert (ran.code, ran.error[: len(message)], ran.out) == (code, message, ""), words
        assert ran.hint, words


def test_a_time_before_the_log_began_is_told(audit: Audit) -> None:
    ran = audit("at", "2020-01-01", "--table", "orders", "-o", "csv")

    assert (ran.code, ran.out) == (0, "")
    assert "as it was before the first change of the log\nnote: orders: recorded only since " in ran.err


def test_a_pause_and_a_masked_column_are_told(run: Audit, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, card TEXT)")
        connection.execute("INSERT INTO item VALUES (1, 'secret')")
        connection.commit()
    database = ("-u", str(path))
    run(*database, "init", "--mask", "item.card")
    run(*database, "pause", "item", "-m", "bulk load", "--as", "alice")

    ran = run(*database, "at", "0", "--table", "item", "-o", "jsonl")

    assert (ran.code, ran.lines) == (0, ['{"id": 1}'])
    assert "note: item: not recorded from " in ran.err
    assert " on by alice (bulk load); rows that changed meanwhile may have been other than shown" in ran.err
    assert "note: item: columns that are masked or not in the log are left out: card" in ran.err


def test_the_whole_database_is_written_into_a_new_file(audit: Audit, tmp_path: Path) -> None:
    new = tmp_path / "new.db"

    tried = audit("at", str(OPENED), "--to", str(new), "--dry-run")
    unasked = audit("at", str(OPENED), "--to", str(new))
    assert not new.exists()
    done = audit("at", str(OPENED), "--to", str(new), "--yes")
    again = audit("at", str(OPENED), "--to", str(new), "--yes")

    assert (tried.code, "a dry run: would make the file, and write 3 tables with 6 rows" in tried.err) == (0, True)
    assert (unasked.code, unasked.error) == (
        6,
        f"would have to ask: write 3 tables with 6 rows into sqlite:///{new}?",
    )
    assert done.err.splitlines()[0] == f"target: sqlite:///{new}"
    assert (done.code, done.err.splitlines()[-1]) == (0, "wrote 3 tables with 6 rows")
    assert (again.code, again.error) == (
        5,
        "the target has rows in customer, orders, tag: they would be mixed with those of then",
    )
    assert rows_in(new, "SELECT id, status, total FROM orders") == [
        (1, "pending", 10),
        (2, "pending", 20),
        (3, "pending", 30),
    ]
    assert rows_in(new, "SELECT name FROM sqlite_master WHERE name LIKE 'changelog%'") == []


def test_it_is_not_written_into_itself(audit: Audit, shop: Shop) -> None:
    ran = audit("at", str(OPENED), "--to", str(shop.path), "--yes")

    assert (ran.code, ran.error) == (2, f"source and target are the same database: sqlite:///{shop.path}")


def test_the_question_is_answered_at_a_terminal(shop: Shop, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    words = ("-u", str(shop.path), "at", str(OPENED), "--to", str(new))

    declined, screen = in_terminal(words, answers="n\n")
    assert (declined, "write 3 tables with 6 rows into" in screen, new.exists()) == (6, True, False)
    written, _ = in_terminal(words, answers="y\n")

    assert (written, rows_in(new, "SELECT count(*) FROM orders")) == (0, [(3,)])


def test_those_who_refer_to_a_row_come_with_it(audit: Audit) -> None:
    ran = audit("row", "customer/1", "--related", "-o", "jsonl")

    found = [json.loads(line) for line in ran.lines]
    assert (ran.code, [each["id"] for each in found]) == (0, [CANCELLED, *IMPORTED[::-1], SHIPPED, 5, 4, 3, 1])
    assert {each["table"] for each in found} == {"customer", "orders"}


def test_limit_and_order_work_on_a_family(audit: Audit) -> None:
    newest = audit("row", "customer/1", "--related=2", "-n", "2", "-o", "csv").lines
    oldest = audit("row", "customer/1", "--related", "-n", "2", "-r", "-o", "csv").lines

    assert [line.split(",")[0] for line in newest[1:]] == [str(CANCELLED), str(IMPORTED[-1])]
    assert [line.split(",")[0] for line in oldest[1:]] == [str(IMPORTED[-1]), str(CANCELLED)]


def test_a_family_is_grouped_by_transaction(audit: Audit) -> None:
    lines = audit("row", "customer/1", "--related", "-o", "table").lines

    assert [line[:3] for line in lines].count("tx:") == 4


def test_a_family_at_a_position_has_those_who_referred_then(audit: Audit) -> None:
    then = audit("row", "customer/1", "--related", "--at", str(SHIPPED), "-o", "json")
    now = audit("row", "customer/1", "--related", "--at", str(CANCELLED), "-o", "table")

    found = [(each["depth"], each["table"], each["row_id"], each["refers_by"]) for each in json.loads(then.out)]
    assert found == [(0, "customer", "1", None), *((1, "orders", key, ["customer_id"]) for key in "123")]
    assert [line for line in now.lines if line.endswith(("row", "rows"))] == ["customer  1 row", "orders  2 rows"]


def test_rows_that_were_never_recorded_are_named(audit: Audit, shop: Shop) -> None:
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("INSERT INTO orders VALUES (50, 2, 'old', 1)")
        connection.commit()

    ran = audit("row", "customer/2", "--related", "-o", "jsonl")

    assert "1 row without a recorded change: orders/50" in ran.err
    assert len(ran.lines) == 2


def test_blame_at_a_position_names_who_had_written_it_by_then(audit: Audit) -> None:
    def writers(*words: str) -> dict[str, tuple[object, object]]:
        lines = json.loads(audit("blame", "orders/1", *words, "-o", "json").out)
        return {each["column"]: (each["value"], each["actor"]) for each in lines}

    assert writers("--at", str(OPENED))["status"] == ("pending", "alice")
    assert writers("--at", str(SHIPPED)) == {
        "id": (1, "alice"),
        "customer_id": (1, "alice"),
        "status": ("shipped", "bob"),
        "total": (10, "alice"),
    }
    assert writers()["total"] == (0, "svc-import")


def test_blame_of_a_row_that_was_gone_by_then_names_who_removed_it(audit: Audit) -> None:
    lines = json.loads(audit("blame", "orders/3", "--at", str(CANCELLED), "-o", "json").out)

    assert {each["actor"] for each in lines} == {"bob"}
