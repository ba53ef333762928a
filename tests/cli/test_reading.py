"""The commands that read: log, show, diff, row, blame, stats, status, export, mark."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.cli.shop import CANCELLED, IMPORTED, SHIPPED, Order, Ran, Shop, in_terminal

Audit = Callable[..., Ran]

CHANGE_KEYS = [
    *("id", "transaction_id", "timestamp", "actor", "schema", "table", "row_id", "old_row_id"),
    *("event_type", "changed", "before", "after", "source", "reason", "context"),
]


def test_the_log_in_a_pipe_is_tsv_with_a_header_newest_first(audit: Audit) -> None:
    ran = audit("log")

    rows = [line.split("\t") for line in ran.lines]
    assert rows[0] == CHANGE_KEYS
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(12, 0, -1)]


def test_a_change_in_json_has_the_documented_keys(audit: Audit) -> None:
    [change] = read_json(audit("log", str(IMPORTED[0]), "-o", "json"))

    assert list(change) == CHANGE_KEYS
    assert (change["table"], change["row_id"], change["event_type"]) == ("orders", "1", "UPDATE")
    assert (change["changed"], change["before"]["total"], change["after"]["total"]) == (["total"], 10, 0)
    assert (change["actor"], change["reason"], change["context"]) == ("svc-import", "prices", {"job": "nightly"})
    assert change["timestamp"].endswith("Z")


def test_json_lines_are_one_object_a_line(audit: Audit) -> None:
    ran = audit("log", "-o", "jsonl", "-n", "3")

    assert [json.loads(line)["id"] for line in ran.lines] == [12, 11, 10]


def test_csv_is_read_back_by_a_csv_reader(audit: Audit) -> None:
    ran = audit("log", "-o", "csv", "-n", "2")

    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["id"] for row in rows] == ["12", "11"]
    assert json.loads(rows[1]["after"])["city"] == "Graz"


def test_reversed_the_last_n_are_still_the_last_n(audit: Audit) -> None:
    ran = audit("log", "-n", "3", "-r", "-o", "jsonl")

    assert [json.loads(line)["id"] for line in ran.lines] == [10, 11, 12]


def test_the_log_as_a_table_is_grouped_by_transaction(audit: Audit) -> None:
    ran = audit("log", "-o", "table", "tx:" + transaction_of(audit, IMPORTED[0]))

    assert len([line for line in ran.lines if line.startswith("tx:")]) == 1
    assert "svc-import  prices" in ran.lines[0]
    assert ran.lines[3] == "  #8 ~ UPDATE orders/1  total [-10-]{+0+}"


def test_words_and_options_select_the_same(audit: Audit) -> None:
    words = audit("log", "table:orders", "event:update", "actor:svc-*")
    options = audit("log", "--table", "orders", "--event", "update", "--actor", "svc-*")

    assert words.out == options.out
    assert len(words.lines) == 1 + len(IMPORTED)


def test_an_empty_result_is_empty_and_fine(audit: Audit) -> None:
    texts = [audit("log", "actor:nobody", "-o", form) for form in ("table", "tsv", "csv", "jsonl")]
    array = audit("log", "actor:nobody", "-o", "json")

    assert all((ran.code, ran.out, ran.err) == (0, "", "") for ran in texts)
    assert (array.code, read_json(array)) == (0, [])


def test_transactions_are_one_line_each(audit: Audit) -> None:
    ran = audit("log", "--transactions", "--sort", "rows", "-o", "jsonl", "actor:svc-import")

    [transaction] = [json.loads(line) for line in ran.lines]
    assert (transaction["inserts"], transaction["updates"], transaction["deletes"]) == (0, 3, 0)
    assert (transaction["actor"], transaction["reason"], transaction["tables"]) == ("svc-import", "prices", ["orders"])


def test_transactions_sorted_by_rows_begin_with_the_largest(audit: Audit) -> None:
    ran = audit("log", "--transactions", "--sort", "rows", "-o", "table")

    assert "+6" in ran.lines[1]
    assert "~3" in ran.lines[2]


def test_sorting_changes_is_a_usage_error(audit: Audit) -> None:
    ran = audit("log", "--sort", "rows")

    assert (ran.code, ran.error, ran.hint) == (2, "--sort orders transactions", "add --transactions")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["999"], 3, "no change 999"),
        (["tx:0000000"], 3, "no transaction tx:0000000"),
        (["tx:00"], 2, ""),
        (["table:ordres"], 3, "table 'ordres' is not tracked"),
        (["ordres"], 2, "'ordres' is neither"),
        (["statsu:x"], 2, "no column 'statsu'"),
        (["orders.statsu:x"], 2, "no column 'statsu' in orders"),
        (["--column", "statsu"], 2, "no column 'statsu'"),
        (["event:updte"], 2, ""),
        (["grep:/(/"], 2, ""),
        (["--since", "yesterdayish"], 2, "'yesterdayish' is neither a time nor another position"),
        (["--since", "2999-01-01"], 2, "'2999-01-01' is in the future"),
        (["--since", "@nothing"], 3, "no mark @nothing"),
        (["--since", "1h", "--until", "2h"], 2, "since ("),
        (["--since", "9", "--until", "3"], 2, "since ("),
        (["--since", "999"], 3, "no change 999"),
    ],
)
def test_words_that_mean_nothing_say_so_with_the_way_out(audit: Audit, words: list[str], code: int, error: str) -> None:
    ran = audit("log", *words)

    assert (ran.code, ran.out) == (code, "")
    assert ran.error.startswith(error)
    assert ran.hint
    assert len(ran.err.splitlines()) == 2


def test_a_table_that_no_longer_exists_can_still_be_read(audit: Audit, shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE orders")

    listed, shown = audit("log", "table:orders", "status:shipped"), audit("row", "orders/1", "-o", "jsonl")

    assert (listed.code, shown.code) == (0, 0)
    assert len(shown.lines) == 3


def test_show_prints_a_change_column_by_column(audit: Audit) -> None:
    ran = audit("show", str(IMPORTED[0]), "-o", "table")

    assert "  job: nightly" in ran.lines
    assert "#8 ~ UPDATE orders/1" in ran.lines
    assert "  total        [-10-]{+0+}" in ran.lines
    assert "  status       shipped" in ran.lines


def test_show_takes_a_transaction_by_the_beginning_of_its_id(audit: Audit) -> None:
    prefix = transaction_of(audit, IMPORTED[0])[:8]

    ran = audit("show", f"tx:{prefix}", "-o", "jsonl")

    assert [json.loads(line)["id"] for line in ran.lines] == list(IMPORTED)


def test_show_latest_is_the_last_transaction(audit: Audit) -> None:
    ran = audit("show", "@latest", "-o", "jsonl")

    assert [json.loads(line)["id"] for line in ran.lines] == [CANCELLED]


def test_show_sums_up_a_large_transaction(audit: Audit, shop: Shop) -> None:
    numbers = range(100, 160)
    shop.write(
        "alice",
        "many",
        lambda session: session.add_all(Order(id=n, customer_id=1, status="x", total=n) for n in numbers),
    )
    shop.write("bob", "all", lambda session: session.execute(update(Order).where(Order.id >= 100).values(total=5)))

    short, long = audit("show", "@latest", "-o", "table"), audit("show", "@latest", "--all", "-o", "table")

    assert "~ UPDATE orders: 60 rows" in short.lines
    assert "    orders.total: 60 rows, e.g. orders/100 [-100-]{+5+}" in short.lines
    assert len([line for line in long.lines if line.startswith("#")]) == 60


@pytest.mark.parametrize(
    ("word", "code"), [("999", 3), ("tx:0000000", 3), ("tx:1", 2), ("orders", 2), ("yesterday", 2)]
)
def test_show_says_what_it_can_show(audit: Audit, word: str, code: int) -> None:
    ran = audit("show", word)

    assert (ran.code, len(ran.err.splitlines())) == (code, 2)


def test_diff_reads_like_a_word_diff(audit: Audit) -> None:
    ran = audit("diff", "orders/1", "--since", "6", "-o", "table")

    assert ran.lines == [
        "~ UPDATE orders/1  (2 changes by bob, svc-import)",
        "  status  [-pending-]{+shipped+}",
        "  total   [-10-]{+0+}",
    ]


def test_diff_leaves_out_what_came_and_went(audit: Audit) -> None:
    ran = audit("diff", "--since", "0", "-o", "json")

    assert "3" not in [change["row_id"] for change in read_json(ran) if change["table"] == "orders"]


def test_diff_stat_sums_up_by_table(audit: Audit) -> None:
    ran = audit("diff", "--since", "6", "--stat", "-o", "jsonl")

    stats = {line["table"]: line for line in map(json.loads, ran.lines)}
    assert (stats["orders"]["updated"], stats["orders"]["deleted"]) == (2, 1)
    assert stats["customer"]["columns"] == {"city": 1}


def test_diff_needs_to_know_what_to_compare(audit: Audit) -> None:
    ran = audit("diff")

    assert (ran.code, ran.error) == (2, "diff needs to know what to compare")


@pytest.mark.parametrize("more", [[], ["--stat"]])
def test_diff_tells_differences_by_its_exit_code_where_asked(audit: Audit, more: list[str]) -> None:
    different = audit("diff", "--since", "6", "--exit-code", *more)
    same = audit("diff", "--since", str(CANCELLED), "--exit-code", *more)
    not_asked = audit("diff", "--since", "6", *more)

    assert (different.code, same.code, not_asked.code) == (1, 0, 0)


def test_diff_between_two_marks_tiles(audit: Audit) -> None:
    audit("mark", "a", "--at", "6")
    audit("mark", "b", "--at", str(IMPORTED[-1]))

    first = read_json(audit("diff", "--since", "@a", "--until", "@b", "-o", "json"))
    second = read_json(audit("diff", "--since", "@b", "-o", "json"))

    assert {change["table"] for change in first} == {"orders"}
    assert {(change["table"], change["row_id"]) for change in second} == {("customer", "2"), ("orders", "3")}


def test_row_lists_a_rows_history(audit: Audit) -> None:
    ran = audit("row", "orders/1", "-o", "jsonl")

    assert [json.loads(line)["id"] for line in ran.lines] == [IMPORTED[0], SHIPPED, 3]


def test_row_takes_a_composite_key(audit: Audit) -> None:
    ran = audit("row", "tag/1,rush", "-o", "jsonl")

    assert [json.loads(line)["id"] for line in ran.lines] == [6]


def test_row_at_a_position_is_the_row_as_it_was(audit: Audit) -> None:
    ran = audit("row", "orders/1", "--at", str(SHIPPED), "-o", "json")

    assert read_json(ran) == [{"id": 1, "customer_id": 1, "status": "shipped", "total": 10}]


def test_row_at_a_position_says_who_made_it_so(audit: Audit) -> None:
    ran = audit("row", "orders/1", "--at", str(SHIPPED))

    assert re.search(rf"so since UPDATE by \S.*, #{SHIPPED}$", ran.err, re.MULTILINE)


def test_row_before_it_existed_is_not_found(audit: Audit) -> None:
    ran = audit("row", "orders/1", "--at", "0")

    assert ran.code == 3
    assert re.match(r"orders/1 did not exist then: first made later, by \S.*, #\d+$", ran.error)


@pytest.mark.parametrize(
    ("word", "code"), [("orders/99", 3), ("ordres/1", 3), ("orders", 2), ("tag/1", 2), ("/", 2), ("tag/1,2,3", 2)]
)
@pytest.mark.parametrize("command", ["row", "blame"])
def test_a_row_that_is_not_there_says_so(audit: Audit, command: str, word: str, code: int) -> None:
    ran = audit(command, word)

    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 2)


def test_blame_names_the_last_writer_of_each_column(audit: Audit) -> None:
    ran = audit("blame", "orders/1", "-o", "json")

    writers = {line["column"]: (line["value"], line["change"], line["actor"]) for line in read_json(ran)}
    assert writers["status"] == ("shipped", SHIPPED, "bob")
    assert writers["total"] == (0, IMPORTED[0], "svc-import")
    assert writers["customer_id"] == (1, 3, "alice")


def test_stats_count_by_table_unless_asked_otherwise(audit: Audit) -> None:
    by_table, by_actor = audit("stats", "-o", "json"), audit("stats", "--by", "actor", "-o", "json", "table:orders")

    assert [line["changes"] for line in read_json(by_table) if line["table"] == "orders"] == [8]
    assert {line["actor"]: line["updates"] for line in read_json(by_actor)}["svc-import"] == 3


def test_status_says_which_database_and_what_is_in_its_log(audit: Audit, shop: Shop) -> None:
    ran = audit("status", "-o", "json")

    found = json.loads(ran.out)
    assert (found["database"], found["chosen_by"]) == (f"sqlite:///{shop.path}", "--url")
    assert (found["changes"], found["last_id"], found["last_actor"]) == (12, CANCELLED, "bob")
    assert [(table["table"], table["changes"], table["capture"]) for table in found["tables"]] == [
        ("customer", 3, "listeners"),
        ("orders", 8, "listeners"),
        ("tag", 1, "listeners"),
    ]


def test_export_takes_its_format_from_the_files_suffix(audit: Audit, tmp_path: Path) -> None:
    ran = audit("export", str(tmp_path / "orders.jsonl"), "table:orders")

    lines = (tmp_path / "orders.jsonl").read_text().splitlines()
    assert (ran.code, ran.out, ran.err) == (0, "", f"8 changes written to {tmp_path / 'orders.jsonl'}\n")
    assert [json.loads(line)["id"] for line in lines] == [3, 4, 5, 7, 8, 9, 10, 12]


def test_export_to_stdout_counts_on_stderr(audit: Audit) -> None:
    ran = audit("export", "-o", "csv", "--since", "6", "--until", str(SHIPPED))

    assert len(list(csv.DictReader(io.StringIO(ran.out)))) == 1
    assert ran.err == "1 change written\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["out.parquet"], 2),
        (["missing-folder/out.csv"], 2),
        (["tabel:orders"], 2),
        (["ordres"], 2),
        (["out.csv", "tabel:orders"], 2),
        (["out.csv", "999"], 3),
        (["999"], 3),
        (["out.csv", "-o", "parquet"], 2),
        (["-o", "parquet"], 2),
    ],
)
def test_an_export_that_can_not_be_leaves_no_file(audit: Audit, words: list[str], code: int) -> None:
    ran = audit("export", *words)

    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 2)
    assert not Path("out.csv").exists()
    assert not any(Path.cwd().glob("*:*"))


def test_a_mark_names_what_is_certainly_in_the_log(audit: Audit) -> None:
    made = audit("mark", "now", "-m", "before the move", "--as", "dora")

    [mark] = read_json(audit("mark", "--list", "-o", "json"))
    assert made.code == 0
    assert (mark["mark"], mark["change"], mark["actor"], mark["reason"]) == (
        "now",
        CANCELLED,
        "dora",
        "before the move",
    )


def test_a_mark_can_be_forgotten(audit: Audit) -> None:
    audit("mark", "now")

    forgotten, again = audit("mark", "--delete", "@now"), audit("mark", "--delete", "now")

    assert (forgotten.code, again.code) == (0, 3)
    assert audit("mark", "--list").out == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["a", "--list"], 2),
        (["latest"], 2),
        (["with space"], 2),
        (["a", "--at", "@nothing"], 3),
        (["a", "--at", "2999-01-01"], 2),
        (["--list", "--at", "3"], 2),
    ],
)
def test_a_mark_that_can_not_be_is_not_made(audit: Audit, words: list[str], code: int) -> None:
    ran = audit("mark", *words)

    assert ran.code == code
    assert audit("mark", "--list").out == ""


def test_a_mark_is_not_moved_by_setting_it_again(audit: Audit) -> None:
    audit("mark", "a", "--at", "3")

    ran = audit("mark", "a")

    assert ran.code == 2
    assert read_json(audit("mark", "--list", "-o", "json"))[0]["change"] == 3


def test_on_a_terminal_the_log_is_a_coloured_table_in_the_pager(shop: Shop, tmp_path: Path) -> None:
    pager = f"tee {tmp_path / 'paged'}"

    code, screen = in_terminal(["-u", str(shop.path), "log", "-n", "1"], environment={"AUDIT_PAGER": pager})

    assert code == 0
    assert "\x1b[31m- DELETE " in screen
    assert (tmp_path / "paged").read_text() in screen


@pytest.mark.parametrize(
    ("words", "environment"), [([], {"NO_COLOR": "1"}), (["--color", "never"], {}), ([], {"TERM": "dumb"})]
)
def test_no_colours_where_they_are_not_wanted(shop: Shop, words: list[str], environment: dict[str, str]) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "--no-pager", "log", "-n", "1", *words], environment=environment)

    assert code == 0
    assert "- DELETE orders/3" in screen
    assert "\x1b" not in screen


def test_colours_can_be_asked_for_in_a_pipe(audit: Audit) -> None:
    ran = audit("log", "-n", "1", "-o", "table", "--color", "always")

    assert "\x1b[31m- DELETE " in ran.out


def test_a_table_fits_a_narrow_terminal(shop: Shop) -> None:
    _, screen = in_terminal(["-u", str(shop.path), "--no-pager", "log", "--transactions"], columns=80)

    assert max(len(line) for line in screen.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= 80
    assert "…" in screen


def test_a_pager_that_is_not_there_is_done_without(shop: Shop) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "log"], environment={"AUDIT_PAGER": "no-such-pager -x"})

    assert code == 0
    assert "the pager 'no-such-pager' can't be run" in screen
    assert "orders/1" in screen


def test_a_pager_that_can_not_be_read_is_named(shop: Shop) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "log"], environment={"AUDIT_PAGER": "less 'x"})

    assert code == 2
    assert "error: the pager" in screen


def test_leaving_the_pager_early_is_no_error(shop: Shop) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "log"], environment={"AUDIT_PAGER": "true"})

    assert (code, "rror" in screen) == (0, False)


def read_json(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def transaction_of(audit: Audit, change_id: int) -> str:
    return str(read_json(audit("log", str(change_id), "-o", "json"))[0]["transaction_id"])
