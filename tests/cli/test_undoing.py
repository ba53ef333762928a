"""`undo` and `redo`: what they take, what they ask, what they write, and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.cli.shop import CANCELLED, IMPORTED, MOVED, SHIPPED, Customer, Order, Ran, Shop, in_terminal, locked

Audit = Callable[..., Ran]


def test_undo_takes_one_change_back_and_says_how_to_redo_it(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), "--yes", "--as", "dora", "-m", "moved by mistake")

    [written] = changes(audit, "--since", str(CANCELLED))
    assert (ran.code, shop.value(Customer, 2, "city")) == (0, None)
    assert ran.lines[:2] == ["~ UPDATE customer/2", "  city  [-Graz-]{+NULL+}"]
    assert (written["actor"], written["reason"]) == ("dora", "moved by mistake")
    assert f"to take it back: audit redo tx:{written['transaction_id'][:8]}" in ran.err


def test_every_write_names_its_target_first(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), "--yes")

    assert ran.err.splitlines()[0] == f"target: sqlite:///{shop.path}"


def test_redo_takes_the_own_last_undo_back(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--yes", "--as", "dora")

    strangers, own = audit("redo", "--yes", "--as", "erik"), audit("redo", "--yes", "--as", "dora")

    assert (strangers.code, own.code) == (3, 0)
    assert shop.value(Customer, 2, "city") == "Graz"
    assert "to take it back: audit undo tx:" in own.err


def test_undo_redo_undo_works_for_ever(audit: Audit, shop: Shop) -> None:
    cities = []
    for command in (["undo", str(MOVED)], ["redo"], ["undo", str(MOVED)], ["redo"]):
        assert audit(*command, "--yes").code == 0
        cities.append(shop.value(Customer, 2, "city"))

    assert cities == [None, "Graz", None, "Graz"]


@pytest.mark.usefixtures("shop")
def test_show_names_what_an_undo_took_back_and_what_took_it_back(audit: Audit) -> None:
    [moved] = changes(audit, "--since", str(MOVED - 1), "--until", str(MOVED))
    for command in (["undo", str(MOVED)], ["redo"]):
        audit(*command, "--yes")
    undo, redo = changes(audit, "--since", str(CANCELLED), "-r")
    changed, undone, redone = (f"tx:{each['transaction_id'][:8]}" for each in (moved, undo, redo))

    shown = [audit("show", word, "-o", "table").lines for word in (changed, undone, redone)]

    links = [[line.strip() for line in lines if " undo" in line or " redo" in line] for lines in shown]
    assert links == [
        [f"undone by {undone}"],
        [f"undoes {changed}", f"taken back by the redo {redone}"],
        [f"takes back the undo {undone}"],
    ]


def test_a_redo_may_be_of_some_columns_only(audit: Audit, shop: Shop) -> None:
    lost = update(Order).where(Order.id == 2).values(status="lost", total=7)
    shop.write("anna", None, lambda session: session.execute(lost))
    audit("undo", str(CANCELLED + 1), "--yes")

    part = audit("redo", "--only", "total", "--yes")
    assert (part.code, shop.value(Order, 2, "total"), shop.value(Order, 2, "status")) == (0, 7, "pending")

    rest = audit("redo", "--yes")
    assert (rest.code, shop.value(Order, 2, "total"), shop.value(Order, 2, "status")) == (0, 7, "lost")
    assert audit("redo", "--yes").code == 3


def test_redos_of_all_columns_one_by_one_leave_an_earlier_undo_to_redo(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--yes")
    lost = update(Order).where(Order.id == 2).values(status="lost", total=7)
    shop.write("anna", None, lambda session: session.execute(lost))
    [written] = changes(audit, "-n", "1")
    audit("undo", str(written["id"]), "--yes")

    ran = [audit("redo", *only, "--yes").code for only in (["--only", "total"], ["--only", "status"], [])]

    assert ran == [0, 0, 0]
    assert (shop.value(Order, 2, "total"), shop.value(Order, 2, "status")) == (7, "lost")
    assert shop.value(Customer, 2, "city") == "Graz"


def test_redo_takes_the_undo_that_is_named(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--yes", "--as", "dora")
    [written] = changes(audit, "--since", str(CANCELLED))

    ran = audit("redo", f"tx:{written['transaction_id'][:8]}", "--yes", "--as", "erik")

    assert (ran.code, shop.value(Customer, 2, "city")) == (0, "Graz")


@pytest.mark.parametrize("word", ["tx:0000000", "orders", "42"])
def test_redo_of_what_is_no_undo_is_not_found(audit: Audit, word: str) -> None:
    ran = audit("redo", word, "--yes")

    assert (ran.code, len(ran.err.splitlines())) in ((3, 2), (2, 2))


def test_undoing_twice_writes_nothing_the_second_time(audit: Audit) -> None:
    audit("undo", str(MOVED), "--yes")
    last = changes(audit, "-n", "1")

    ran = audit("undo", str(MOVED), "--yes")

    assert ran.code == 0
    assert "as it was already" in ran.err
    assert changes(audit, "-n", "1") == last


def test_a_dry_run_writes_nothing_and_says_the_next_command(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), "--dry-run")

    assert ran.code == 0
    assert f"to apply: audit undo {MOVED} --yes" in ran.err
    assert shop.value(Customer, 2, "city") == "Graz"
    assert len(changes(audit)) == CANCELLED


def test_undo_without_arguments_is_never_everything(audit: Audit) -> None:
    ran = audit("undo", "--yes")

    assert (ran.code, ran.error) == (2, "undo needs to know what to take back")


@pytest.mark.parametrize("words", [["11", "table:customer"], ["11", "--since", "1"], ["11", "--actor", "carol"]])
def test_ids_and_filters_do_not_mix(audit: Audit, words: list[str]) -> None:
    ran = audit("undo", *words, "--yes")

    assert (ran.code, ran.error) == (2, "ids and filters don't mix")


def test_a_transaction_is_taken_back_whole(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "again", lambda session: session.execute(update(Order).values(status="lost")))
    [newest, *_] = changes(audit, "-n", "1")

    ran = audit("undo", f"tx:{newest['transaction_id'][:8]}", "--yes")

    assert ran.code == 0
    assert (shop.value(Order, 1, "status"), shop.value(Order, 2, "status")) == ("shipped", "pending")


def test_a_selection_is_taken_back(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", "table:orders", "actor:svc-import", "row:orders/1", "--yes")

    assert (ran.code, shop.value(Order, 1, "total"), shop.value(Order, 1, "status")) == (0, 10, "shipped")


def test_only_one_column_can_be_taken_back(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "both", lambda session: both(session.get(Order, 1)))

    ran = audit("undo", str(CANCELLED + 1), "--only", "total", "--yes")

    assert (ran.code, shop.value(Order, 1, "total"), shop.value(Order, 1, "status")) == (0, 0, "lost")


def test_an_unknown_column_is_said_to_be_one(audit: Audit) -> None:
    ran = audit("undo", str(MOVED), "--only", "ctiy", "--yes")

    assert ran.code == 2
    assert "ctiy" in ran.error


def test_latest_is_refused_where_nobody_looks_first(audit: Audit) -> None:
    refused = [audit("undo", "@latest", "--yes"), audit("undo", "@latest", "--confirm", "1")]
    looked = audit("undo", "@latest", "--dry-run")

    assert [ran.code for ran in refused] == [2, 2]
    assert looked.code == 0
    assert "@latest is tx:" in looked.err


def test_a_conflict_is_exit_code_5_and_nothing_is_written(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    dry, wet = audit("undo", str(MOVED), "--dry-run"), audit("undo", str(MOVED), "--yes")

    assert (dry.code, wet.code) == (5, 5)
    assert "CHANGED: 1 conflict, by carol" in wet.lines
    assert shop.value(Customer, 2, "city") == "Linz"


def test_force_overwrites_what_changed_since(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    ran = audit("undo", str(MOVED), "--force", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city")) == (0, None)


def test_skipping_conflicts_does_the_rest_and_is_exit_code_7(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", *map(str, IMPORTED), "--skip-conflicts", "--yes")

    assert ran.code == 7
    assert [shop.value(Order, number, "total") for number in (1, 2, 3)] == [10, 20, None]
    assert "left as" in ran.err


def test_skipping_all_there_is_writes_nothing_and_is_exit_code_5(audit: Audit) -> None:
    ran = audit("undo", str(IMPORTED[2]), "--skip-conflicts", "--yes")

    assert ran.code == 5


def test_force_and_skip_conflicts_contradict_each_other(audit: Audit) -> None:
    ran = audit("undo", str(MOVED), "--force", "--skip-conflicts")

    assert (ran.code, ran.error) == (2, "--force and --skip-conflicts contradict each other")


def test_a_deleted_row_comes_back(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(CANCELLED), "--yes")

    assert (ran.code, shop.value(Order, 3, "status")) == (0, "pending")
    assert ran.lines[0] == "+ INSERT orders/3"


def test_where_nobody_can_answer_it_is_declined(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED))

    assert (ran.code, shop.value(Customer, 2, "city")) == (6, "Graz")
    assert ran.error.startswith("would have to ask: undo 1 row in sqlite:///")
    assert ran.hint.startswith("--yes answers it")


def test_an_unknown_actor_of_the_operating_system_is_named_by_the_environment(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_ACTOR", "ci-job")

    audit("undo", str(MOVED), "--yes")

    assert changes(audit, "-n", "1")[0]["actor"] == "ci-job"


@pytest.mark.parametrize(("answer", "code", "city"), [("y\n", 0, None), ("n\n", 6, "Graz"), ("\n", 6, "Graz")])
def test_at_a_terminal_the_answer_decides(shop: Shop, answer: str, code: int, city: str | None) -> None:
    ended, screen = in_terminal(["-u", str(shop.path), "undo", str(MOVED)], answers=answer)

    assert (ended, shop.value(Customer, 2, "city")) == (code, city)
    assert "[y/N]" in screen


def test_an_interrupted_question_writes_nothing(shop: Shop) -> None:
    code, screen = in_terminal(["-u", str(shop.path), "undo", str(MOVED)], interrupt_at="[y/N]")

    assert (code, shop.value(Customer, 2, "city")) == (130, "Graz")
    assert "Traceback" not in screen


def test_many_rows_want_a_word_typed(audit: Audit, shop: Shop) -> None:
    many = many_orders(shop)

    plain = audit("undo", f"--since={many}", "--yes")
    wrong = audit("undo", f"--since={many}", "--confirm", "yes")
    right = audit("undo", f"--since={many}", "--confirm", "150")

    assert (plain.code, wrong.code, right.code) == (6, 6, 0)
    assert plain.hint.startswith("--confirm 150 answers it")
    assert shop.value(Order, 100, "id") is None


def test_at_a_terminal_the_word_of_a_large_plan_is_typed(shop: Shop) -> None:
    many = many_orders(shop)

    refused, _ = in_terminal(["-u", str(shop.path), "undo", f"--since={many}"], answers="y\n")
    done, screen = in_terminal(["-u", str(shop.path), "undo", f"--since={many}"], answers="150\n")

    assert (refused, done) == (6, 0)
    assert "type 150 to apply" in screen


def test_a_protected_profile_wants_a_reason_and_its_name(run: Audit, shop: Shop) -> None:
    Path("audit.toml").write_text(f'[profiles.prod]\nurl = "{shop.path}"\nprotected = true')
    command = ["-P", "prod", "undo", str(MOVED)]

    without_reason = run(*command, "--yes")
    without_word = run(*command, "--yes", "-m", "ticket 9")
    done = run(*command, "-m", "ticket 9", "--confirm", "prod")

    assert (without_reason.code, without_word.code, done.code) == (2, 6, 0)
    assert without_reason.error == "profile prod is protected: it wants to know why"
    assert without_word.hint.startswith("--confirm prod answers it")


@pytest.mark.parametrize("command", [["mark", "x"], ["init"]])
def test_a_protected_profile_wants_a_reason_for_every_write(run: Audit, shop: Shop, command: list[str]) -> None:
    Path("audit.toml").write_text(f'[profiles.prod]\nurl = "{shop.path}"\nprotected = true')

    without, with_reason = run("-P", "prod", *command), run("-P", "prod", *command, "-m", "ticket 9")

    assert (without.code, with_reason.code) == (2, 0)


@pytest.mark.parametrize(
    ("words", "code"), [(["999"], 3), (["tx:0000000"], 3), (["actor:nobody"], 3), (["statsu:x"], 2), (["ordres"], 2)]
)
def test_nothing_to_undo_says_so(audit: Audit, words: list[str], code: int) -> None:
    ran = audit("undo", *words, "--yes")

    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 2)


def test_a_change_of_a_table_that_no_longer_exists_is_a_conflict(audit: Audit, shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE orders")

    ran = audit("undo", str(SHIPPED), "--yes")

    assert ran.code == 5
    assert "no longer exists" in ran.out


def test_a_change_of_a_column_that_no_longer_exists_is_a_conflict(audit: Audit, shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE customer DROP COLUMN city")

    ran = audit("undo", str(MOVED), "--yes")

    assert ran.code == 5
    assert "customer/2" in ran.out


def test_a_row_locked_for_longer_than_we_wait_is_exit_code_8(audit: Audit, shop: Shop) -> None:
    with locked(shop.path):
        ran = audit("undo", str(MOVED), "--yes", "--lock-timeout", "0.2")

    assert ran.code == 8
    assert "locked" in ran.error
    assert shop.value(Customer, 2, "city") == "Graz"


def both(order: Any) -> None:
    order.status, order.total = "lost", 77


def many_orders(shop: Shop) -> int:
    """Fill the shop; returns the id of the change before."""
    shop.write(
        "alice",
        "many",
        lambda session: session.add_all(Order(id=n, customer_id=1, status="x", total=n) for n in range(100, 250)),
    )
    return CANCELLED


def changes(audit: Audit, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(audit("log", *words, "-o", "json").out)
    return found


def test_a_cascade_shows_apart_what_else_it_takes_back(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    ran = audit("undo", str(MOVED), "--cascade", "--dry-run")

    also = [line for line in ran.lines if line.startswith("also taken back: change ")]
    assert (ran.code, len(also)) == (0, 1)
    assert "UPDATE customer/2 (city) by carol" in also[0]
    assert "--cascade --yes" in ran.err


def test_force_and_cascade_contradict_each_other(audit: Audit) -> None:
    assert audit("undo", str(MOVED), "--cascade", "--force", "--yes").code == 2


def test_a_rehearsal_says_what_it_did_and_writes_nothing(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), "--rehearse")

    assert ran.code == 0
    assert ran.lines[-2:] == ["rehearsed: 1 row written and read back", "nothing else changed"]
    assert "nothing of it stayed; to apply: audit undo" in ran.err
    assert shop.value(Customer, 2, "city") == "Graz"
