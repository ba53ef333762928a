"""The command line on PostgreSQL and MariaDB: the same words, the same answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from tests.cli.programs import running, wait_for
from tests.cli.shop import Ran
from tests.databases import scratch_url

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

TABLES = (
    """CREATE TABLE customer (
      id INTEGER PRIMARY KEY, name VARCHAR(40), balance NUMERIC(10, 2), updated_at TIMESTAMP NULL)""",
    """CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, total NUMERIC(10, 2), status VARCHAR(20),
      FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE)""",
    "INSERT INTO customer (id, name, balance) VALUES (1, 'Ann', 10.50), (2, 'Bob', 0)",
    "INSERT INTO orders VALUES (1, 1, 5, 'pending'), (2, 1, 7.25, 'shipped'), (3, 2, 1, 'pending')",
)


@dataclass(frozen=True)
class Server:
    """A database with two tables on a server, written by a program that knows nothing of auditing."""

    url: URL
    run: Audit

    def audit(self, *words: str) -> Ran:
        """Run a command line on it."""
        return self.run("-u", self.url.render_as_string(hide_password=False), *words)

    def write(self, *statements: str) -> None:
        """A transaction of a plain client."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query finds."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path, run: Audit) -> Iterator[Server]:
    """A database on a server, without a log."""
    with scratch_url(request.param, tmp_path) as url:
        server = Server(url, run)
        server.write(*TABLES)
        yield server


@pytest.fixture
def story(server: Server) -> Server:
    """A price list gone wrong, a customer gone with her orders, a name corrected since."""
    assert server.audit("init", "--baseline").code == 0
    server.write("UPDATE orders SET total = total * 100")
    server.write("DELETE FROM customer WHERE id = 2")
    server.write("UPDATE customer SET name = 'Anna' WHERE id = 1")
    return server


def _lines(ran: Ran) -> list[dict[str, object]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_what_any_program_changed_is_listed_by_transaction(story: Server) -> None:
    [renamed, deleted, priced] = _lines(story.audit("log", "--transactions", "-o", "jsonl", "event:update,delete"))[:3]

    assert (priced["updates"], deleted["deletes"], renamed["updates"]) == (3, 2, 1)
    assert all(each["transaction_id"] and each["db_user"] for each in (renamed, deleted, priced))


def test_a_cascade_is_in_the_log_with_its_cause(story: Server) -> None:
    gone = _lines(story.audit("log", "event:delete", "-o", "jsonl"))

    assert {(change["table"], change["row_id"]) for change in gone} == {("customer", "2"), ("orders", "3")}
    assert len({change["transaction_id"] for change in gone}) == 1


def test_values_keep_their_scale(story: Server) -> None:
    [change] = _lines(story.audit("log", "orders/2", "event:update", "-o", "jsonl"))

    assert change["before"] == {"id": 2, "customer_id": 1, "total": {"$decimal": "7.25"}, "status": "shipped"}
    assert change["after"] == {"id": 2, "customer_id": 1, "total": {"$decimal": "725.00"}, "status": "shipped"}
    assert change["changed"] == ["total"]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "doctor",
        "log",
        "log -o table",
        "show 6",
        "diff table:orders",
        "diff --since 1h --stat",
        "row customer/1",
        "row customer/1 --related",
        "blame customer/1",
        "blame customer/1 --at 6",
        "at 1h -o json",
        "stats --by hour",
        "stats --by table",
        "diff --since 6 --sql",
        "diff --since 6 --sql --inverse",
        "diff --since 6 --name-only",
        "export -o csv",
        "export -o jsonl --cells",
        "export -o sql --since 6",
        "export -o sql --since 6 --inverse",
        "mark before-import",
        "log total.gt:100",
        "log --grep Anna",
        "log --since 1h actor:*",
    ],
)
def test_a_command_answers(story: Server, command: str) -> None:
    ran = story.audit(*command.split())

    assert ran.code == 0, ran.err
    assert "error" not in ran.err


def test_a_table_as_it_was_has_its_numbers_as_they_are_written(story: Server, tmp_path: Path) -> None:
    ran = story.audit("at", "5", "--table", "orders", "-o", "csv")
    to = tmp_path / "copy.db"
    copied = story.audit("at", "5", "--to", str(to), "--yes")

    assert ran.lines == ["id,customer_id,total,status", "1,1,5.00,pending", "2,1,7.25,shipped", "3,2,1.00,pending"]
    assert (copied.code, "wrote 2 tables with 5 rows" in copied.err) == (0, True), copied.err


def test_a_customer_that_is_gone_has_her_orders(story: Server) -> None:
    gone = _lines(story.audit("row", "customer/2", "--related", "-o", "jsonl"))
    then = story.audit("row", "customer/2", "--related", "--at", "5", "-o", "json")

    deleted = {(each["table"], each["row_id"]) for each in gone if each["event_type"] == "DELETE"}
    assert deleted == {("customer", "2"), ("orders", "3")}
    assert [(each["table"], each["row_id"]) for each in json.loads(then.out)] == [("customer", "2"), ("orders", "3")]


def test_a_followed_file_is_ended_between_transactions_and_gone_on_with(story: Server, tmp_path: Path) -> None:
    file, url = tmp_path / "feed.jsonl", story.url.render_as_string(hide_password=False)
    with running("-u", url, "export", str(file), "--follow") as following:
        wait_for(lambda: file.exists() and file.read_text().count("\n") == 6)
        story.write("UPDATE orders SET status = 'lost'")
        wait_for(lambda: file.read_text().count("\n") == 8)
        following.terminate()
        _, told = following.communicate(timeout=30)
    story.write("UPDATE orders SET status = 'found'")

    assert (following.returncode, "to go on from here: audit export" in told) == (130, True)
    assert story.audit("export", str(file), "--resume").code == 0
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == list(range(6, 16))


def test_the_outcome_of_a_proof_is_kept(story: Server) -> None:
    assert story.audit("verify").code == 0

    kept = json.loads(story.audit("status", "-o", "json").out)["last_verify"]
    assert (kept["until_id"], kept["differences"], kept["not_covered"]) == (11, 0, 0)


def test_differences_are_told_by_the_exit_code(story: Server) -> None:
    ran = story.audit("diff", "--since", "6", "--name-only", "--exit-code")

    assert ran.code == 1
    assert sorted(ran.lines) == ["customer/1", "customer/2", "orders/1", "orders/2", "orders/3"]


def test_a_file_is_gone_on_with_and_has_each_change_once(story: Server, tmp_path: Path) -> None:
    part, whole = tmp_path / "part.jsonl", tmp_path / "whole.jsonl"
    assert story.audit("export", str(part), "--manifest").code == 0
    story.write("UPDATE orders SET status = 'lost'", "INSERT INTO customer (id, name) VALUES (5, 'Eve')")

    assert story.audit("export", str(part), "--resume").code == 0

    assert story.audit("export", str(whole)).code == 0
    assert part.read_bytes() == whole.read_bytes()


def test_what_went_wrong_is_taken_back_and_what_came_since_stays(story: Server) -> None:
    undone = story.audit("undo", "table:orders", "event:update", "--skip-conflicts", "--yes", "-m", "wrong list")

    assert undone.code == 7, undone.err
    assert [str(total) for (total,) in story.rows("SELECT total FROM orders ORDER BY id")] == ["5.00", "7.25"]
    assert story.rows("SELECT name FROM customer") == [("Anna",)]
    assert story.audit("verify").code == 0


def test_a_row_that_went_with_its_children_comes_back_with_them(story: Server) -> None:
    [gone] = {str(change["transaction_id"]) for change in _lines(story.audit("log", "event:delete", "-o", "jsonl"))}

    undone = story.audit("undo", f"tx:{gone}", "--yes", "--as", "carol", "-m", "she is a customer")

    assert undone.code == 0, undone.err
    assert story.rows("SELECT id, name FROM customer ORDER BY id") == [(1, "Anna"), (2, "Bob")]
    assert [str(total) for (total,) in story.rows("SELECT total FROM orders WHERE id = 3")] == ["100.00"]
    [last] = _lines(story.audit("log", "--transactions", "-n", "1", "-o", "jsonl"))
    assert (last["actor"], last["reason"]) == ("carol", "she is a customer")
    assert story.audit("verify").code == 0


def test_a_plan_is_saved_without_the_password_and_applied_later(story: Server, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    url = story.url.set(password="geheim") if story.url.get_backend_name() == "postgresql" else story.url

    saved = story.run(
        *("-u", url.render_as_string(hide_password=False), "undo", "table:orders", "event:update"),
        *("--save", str(plan), "--as", "dora"),
    )
    undecided = story.audit("apply", str(plan), "--yes")
    plan.write_text(
        plan.read_text(encoding="utf-8").replace('"decision": null', '"decision": "keep"'), encoding="utf-8"
    )
    applied = story.audit("apply", str(plan), "--yes", "--as", "erik")

    assert (saved.code, undecided.code, applied.code) == (0, 5, 0), applied.err
    assert "geheim" not in plan.read_text(encoding="utf-8") + saved.err
    assert [str(total) for (total,) in story.rows("SELECT total FROM orders ORDER BY id")] == ["5.00", "7.25"]
    assert story.audit("redo", "--as", "erik", "--yes").code == 0
    assert story.audit("verify").code == 0


def test_paused_tables_leave_a_gap_that_verify_knows(story: Server) -> None:
    assert story.audit("pause", "orders", "-m", "load").code == 0
    story.write("UPDATE orders SET status = 'unseen' WHERE id = 1")
    assert story.audit("resume", "orders").code == 0

    verified = story.audit("verify", "-o", "jsonl")

    assert verified.code == 0, verified.err
    [recorded] = _lines(story.audit("log", "orders/1", "-o", "jsonl"))
    assert recorded["changed"] == ["total"]


def test_a_missed_change_is_named_by_verify(story: Server) -> None:
    story.audit("init", "--remove")
    story.write("UPDATE orders SET status = 'unseen' WHERE id = 1")

    verified = story.audit("verify")

    assert verified.code == 1
    assert "orders/1" in verified.out
    assert "status" in verified.out


def test_the_sql_of_a_dry_run_can_be_run_by_hand(server: Server) -> None:
    printed = server.audit("init", "--dry-run")
    assert printed.code == 0

    url = server.url
    if url.get_backend_name() == "postgresql":
        client = ["psql", "-q", "-v", "ON_ERROR_STOP=1", url.set(drivername="postgresql").render_as_string()]
    else:
        client = ["mariadb", f"--host={url.host}", f"--user={url.username}", str(url.database)]
    done = subprocess.run(client, input=printed.out, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert server.audit("init").code == 0
    server.write("UPDATE customer SET name = 'x' WHERE id = 1")
    assert len(_lines(server.audit("log", "-o", "jsonl"))) == 1


def test_init_gives_up_waiting_for_a_writer_instead_of_queueing_others_behind_it(server: Server) -> None:
    engine = create_engine(server.url)
    with engine.connect() as writer:
        writer.execute(text("UPDATE customer SET name = 'open' WHERE id = 1"))

        ran = server.audit("init", "--lock-timeout", "1")
        writer.commit()
    engine.dispose()

    assert ran.code == 8
    assert "locked" in str(ran.error)
    assert server.audit("init").code == 0
    assert server.audit("doctor").code == 0


def test_init_again_changes_nothing(story: Server) -> None:
    ran = story.audit("init")

    assert ran.code == 0
    assert "up to date" in ran.err
    assert "installed" not in ran.err


def test_two_programs_that_create_the_log_at_once_make_one(server: Server) -> None:
    codes: list[int] = []
    word = server.url.render_as_string(hide_password=False)
    program = ["-m", "auditcli", "-u", word, "init", "--lock-timeout", "20"]

    def start() -> None:
        codes.append(subprocess.run([sys.executable, *program], capture_output=True, check=False).returncode)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [0, 0, 0]
    assert server.audit("doctor").code == 0


@pytest.mark.parametrize("command", ["log", "status", "init"])
def test_a_server_that_does_not_answer_is_named_without_the_password(server: Server, command: str) -> None:
    url = server.url.set(port=1, password="geheim")

    ran = server.run("-u", url.render_as_string(hide_password=False), command)

    assert ran.code == 4
    assert "127.0.0.1" in str(ran.error)
    assert "geheim" not in ran.err


def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    ran = server.run("-u", server.url.set(database="no_such_db").render_as_string(hide_password=False), "log")

    assert ran.code == 4
    assert "no_such_db" in str(ran.error)


def test_init_by_a_user_without_the_right_says_so_and_leaves_nothing(tmp_path: Path, run: Audit) -> None:
    with scratch_url("postgresql", tmp_path) as url:
        owner, clerk = Server(url, run), f"clerk{str(url.database)[-8:]}"
        owner.write(*TABLES, f"CREATE ROLE {clerk} LOGIN", f"GRANT CREATE ON SCHEMA public TO {clerk}")

        ran = Server(url.set(username=clerk), run).audit("init")

        left = owner.rows("SELECT relname FROM pg_class WHERE relname LIKE 'changelog%'")
        owner.write(f"DROP OWNED BY {clerk}", f"DROP ROLE {clerk}")
    assert ran.code == 8
    assert str(ran.error).startswith(
        "the trigger 'Ra_auditcli_capture' on customer can't be defined; nothing was changed"
    )
    assert str(ran.hint).startswith("it takes the table's owner")
    assert left == []


def test_a_database_that_takes_no_writes_is_named_and_left_alone(tmp_path: Path, run: Audit) -> None:
    with scratch_url("postgresql", tmp_path) as url:
        Server(url, run).write(*TABLES)
        replica = url.update_query_dict({"options": "-c default_transaction_read_only=on"})

        ran = Server(replica, run).audit("init")

    assert ran.code == 8
    assert "read-only" in str(ran.error)
