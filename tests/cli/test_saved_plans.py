"""Plans that are saved, reviewed, decided and applied later; plans as scripts; and files that are none."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.cli.shop import CANCELLED, IMPORTED, MOVED, Customer, Order, Ran, Shop, build_shop, in_terminal
from tests.clients import run_script

Audit = Callable[..., Ran]

PLAN = Path("plan.json")
REST = Path("rest.json")


def test_a_saved_plan_writes_nothing_and_says_the_next_command(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), "--save", "plan.json")

    assert (ran.code, shop.value(Customer, 2, "city")) == (0, "Graz")
    assert ran.lines[:2] == ["~ UPDATE customer/2", "  city  [-Graz-]{+NULL+}"]
    assert f"to apply it: audit apply plan.json -u {shop.path}" in ran.err


def test_a_saved_plan_says_what_it_is_for_people(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json", "--as", "dora")

    saved = json.loads(PLAN.read_text())

    assert saved["made"]["words"] == f"audit undo {MOVED}"
    assert (saved["made"]["made_by"], saved["made"]["position"]) == ("dora", CANCELLED)
    assert saved["made"]["target"] == f"sqlite:///{shop.path}"
    [step] = saved["steps"]
    assert (step["do"], step["row"]) == ("UPDATE", "customer/2")
    assert step["cells"] == [{"column": "city", "expected": "Graz", "target": None, "decision": "take_back"}]


def test_a_saved_plan_is_applied_later(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json", "--as", "dora")

    ran = audit("apply", "plan.json", "--yes", "--as", "erik", "-m", "reviewed")

    [written] = changes(audit, "-n", "1")
    assert (ran.code, shop.value(Customer, 2, "city")) == (0, None)
    assert (written["actor"], written["reason"]) == ("erik", "reviewed")
    assert f"plan.json: audit undo {MOVED}, saved by dora at" in ran.err
    assert f"to take it back: audit redo tx:{written['transaction_id'][:8]}" in ran.err


def test_what_a_saved_plan_did_can_be_redone_undone_and_applied_again(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    cities = []

    for command in (["apply", "plan.json"], ["redo"], ["apply", "plan.json"], ["redo"], ["undo", str(MOVED)]):
        assert audit(*command, "--yes").code == 0
        cities.append(shop.value(Customer, 2, "city"))

    assert cities == [None, "Graz", None, "Graz", None]


def test_a_redo_is_saved_and_applied_too(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--yes")

    saved, applied = audit("redo", "--save", "plan.json"), audit("apply", "plan.json", "--yes")

    assert (saved.code, applied.code, shop.value(Customer, 2, "city")) == (0, 0, "Graz")
    assert "to take it back: audit undo tx:" in applied.err


def test_applying_a_plan_twice_writes_nothing_the_second_time(audit: Audit) -> None:
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")
    audit("apply", "plan.json", "--yes")
    last = changes(audit, "-n", "1")

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 0
    assert "as it was already" in ran.err
    assert changes(audit, "-n", "1") == last


def test_a_plan_is_refused_where_a_cell_changed_since_it_was_made(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city"), shop.value(Order, 3, "status")) == (5, "Linz", None)
    assert "CHANGED: 1 conflict, by carol" in ran.lines
    assert f"customer/2 city: changed since the plan was made, by carol (change {CANCELLED + 1}," in ran.out
    assert "'Graz' is 'Linz' now" in ran.out
    assert ran.hint.startswith("--skip-conflicts does the rest; to decide the others, save the plan anew")


def test_a_plan_is_refused_where_a_row_is_gone_or_its_key_taken_since(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")
    shop.write("eve", None, lambda session: session.delete(session.get(Customer, 2)))
    shop.write("eve", None, lambda session: session.add(Order(id=3, customer_id=1, status="new", total=1)))

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 5
    assert {"MISSING: 1 conflict, by eve", "EXISTS: 1 conflict, by eve"} <= set(ran.lines)


def test_a_change_behind_the_logs_back_is_a_conflict_too(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("UPDATE customer SET city = 'Ulm' WHERE id = 2")
        connection.commit()

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 5
    assert "changed since the plan was made, outside the log" in ran.out


def test_what_moved_since_can_be_skipped(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    ran = audit("apply", "plan.json", "--skip-conflicts", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city"), shop.value(Order, 3, "status")) == (7, "Linz", "pending")


def test_a_cell_written_since_to_the_same_value_is_noted(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    shop.write("carol", None, lambda session: setattr(session.get(Customer, 2), "city", "Linz"))
    shop.write("carol", None, lambda session: setattr(session.get(Customer, 2), "city", "Graz"))

    ran = audit("apply", "plan.json", "--dry-run")

    assert ran.code == 0
    assert "note: customer/2 city: written since to the same value, by carol" in ran.out


def test_a_cell_that_is_kept_stays_and_the_others_of_its_row_go_back(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "both", lambda session: both(session.get(Order, 1)))
    audit("undo", str(CANCELLED + 1), "--save", "plan.json")
    decide('"column": "status"', "keep")

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Order, 1, "status"), shop.value(Order, 1, "total")) == (0, "lost", 0)
    assert "1 decision to leave things as they are" in ran.err


def test_a_row_that_is_skipped_stays_whatever_its_other_cells_say(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "both", lambda session: both(session.get(Order, 1)))
    audit("undo", str(CANCELLED + 1), str(MOVED), "--save", "plan.json")
    decide('"column": "status"', "skip")

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Order, 1, "status"), shop.value(Order, 1, "total")) == (0, "lost", 77)
    assert shop.value(Customer, 2, "city") is None


def test_a_kept_row_neither_comes_nor_goes_and_can_still_be_taken_back_later(audit: Audit, shop: Shop) -> None:
    audit("undo", str(CANCELLED), str(MOVED), "--save", "plan.json")
    decide('^   "decision"', "keep")

    kept = audit("apply", "plan.json", "--yes")
    later = audit("undo", str(CANCELLED), "--yes")

    assert (kept.code, shop.value(Customer, 2, "city")) == (0, None)
    assert (later.code, shop.value(Order, 3, "status")) == (0, "pending")


def test_conflicts_are_in_the_file_with_whom_and_when(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    ran = audit("undo", str(MOVED), "--save", "plan.json")

    [conflict] = json.loads(PLAN.read_text())["conflicts"]
    assert ran.code == 0
    assert (conflict["conflict"], conflict["row"], conflict["column"]) == ("CHANGED", "customer/2", "city")
    assert (conflict["by"]["id"], conflict["by"]["actor"]) == (CANCELLED + 1, "carol")
    assert conflict["by"]["timestamp"].endswith("+00:00")
    assert conflict["way"]["cells"] == [{"column": "city", "expected": "Linz", "target": None}]
    assert conflict["decision"] is None


def test_a_conflict_that_nobody_decided_keeps_the_plan_from_being_applied(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Order, 3, "status")) == (5, None)
    assert ran.error.startswith("1 conflict is not decided, nothing was written; the first: customer/2 city: changed")


@pytest.mark.parametrize(("decision", "city"), [("take_back", None), ("keep", "Linz"), ("skip", "Linz")])
def test_a_conflict_goes_as_it_was_decided(audit: Audit, shop: Shop, decision: str, city: str | None) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))
    audit("undo", str(MOVED), str(CANCELLED), "--save", "plan.json")
    decide('"decision": null', decision)

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city"), shop.value(Order, 3, "status")) == (0, city, "pending")


def test_a_forced_cell_goes_with_the_clean_ones_of_its_row(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "both", lambda session: both(session.get(Order, 1)))
    shop.write("carol", None, lambda session: setattr(session.get(Order, 1), "total", 5))
    audit("undo", str(CANCELLED + 1), "--save", "plan.json")
    decide('"decision": null', "take_back")

    applied, redone = audit("apply", "plan.json", "--yes"), audit("redo", "--dry-run")

    assert (applied.code, shop.value(Order, 1, "status"), shop.value(Order, 1, "total")) == (0, "shipped", 0)
    assert len(changes(audit, "--since", str(CANCELLED + 2))) == 1
    assert "total   [-0-]{+5+}" in redone.out


def test_a_row_with_changed_cells_goes_away_only_if_all_of_them_say_so(audit: Audit, shop: Shop) -> None:
    shop.write("bob", None, lambda session: session.add(Order(id=9, customer_id=1, status="new", total=1)))
    made = CANCELLED + 1
    shop.write("carol", None, lambda session: both(session.get(Order, 9)))
    audit("undo", str(made), "--save", "plan.json")
    decide('"decision": null', "take_back", count=1)
    PLAN.write_text(PLAN.read_text().replace('"decision": null', '"decision": "keep"'))
    kept = audit("apply", "plan.json", "--yes")
    stayed = shop.value(Order, 9, "id")
    PLAN.write_text(PLAN.read_text().replace('"decision": "keep"', '"decision": "take_back"'))

    gone = audit("apply", "plan.json", "--yes")

    assert (kept.code, stayed) == (0, 9)
    assert (gone.code, shop.value(Order, 9, "id")) == (0, None)


def test_a_forced_decision_holds_only_for_the_value_that_was_reviewed(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))
    audit("undo", str(MOVED), "--save", "plan.json")
    decide('"decision": null', "take_back")
    shop.write("carol", "moved again", lambda session: setattr(session.get(Customer, 2), "city", "Wels"))

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city")) == (5, "Wels")


def test_what_a_partial_undo_leaves_is_kept_for_later(audit: Audit) -> None:
    ran = audit("undo", *map(str, IMPORTED), "--skip-conflicts", "--save", "rest.json", "--yes")

    rest = json.loads(REST.read_text())
    assert ran.code == 7
    assert "what was left is in rest.json; decided, it is applied by: audit apply rest.json" in ran.err
    assert (rest["steps"], [each["row"] for each in rest["conflicts"]]) == ([], ["orders/3"])


def test_a_cell_that_a_partial_undo_left_is_taken_back_later(audit: Audit, shop: Shop) -> None:
    shop.write("bob", "both", lambda session: both(session.get(Order, 1)))
    shop.write("carol", None, lambda session: setattr(session.get(Order, 1), "total", 5))
    first = audit("undo", str(CANCELLED + 1), "--skip-conflicts", "--save", "rest.json", "--yes")
    partly = shop.value(Order, 1, "status"), shop.value(Order, 1, "total")
    decide('"decision": null', "take_back", REST)

    second = audit("apply", "rest.json", "--yes")

    assert (first.code, partly) == (7, ("shipped", 5))
    assert (second.code, shop.value(Order, 1, "total")) == (0, 0)


def test_nothing_is_kept_where_nothing_was_left(audit: Audit) -> None:
    ran = audit("undo", str(MOVED), "--skip-conflicts", "--save", "rest.json", "--yes")

    assert (ran.code, REST.exists()) == (0, False)
    assert "nothing will be left" in ran.err


def test_no_rest_is_kept_where_the_undo_did_not_happen(audit: Audit) -> None:
    ran = audit("undo", *map(str, IMPORTED), "--skip-conflicts", "--save", "rest.json")

    assert (ran.code, list(Path().iterdir())) == (6, [])


def test_a_dry_run_of_a_saved_plan_writes_nothing_and_says_the_next_command(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")

    ran = audit("apply", "plan.json", "--dry-run")

    assert (ran.code, shop.value(Customer, 2, "city")) == (0, "Graz")
    assert "to apply: audit apply plan.json --yes" in ran.err
    assert ran.lines[:2] == ["~ UPDATE customer/2", "  city  [-Graz-]{+NULL+}"]


def test_applying_asks_as_undo_does(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")

    unasked = audit("apply", "plan.json")
    declined, screen = in_terminal(["-u", str(shop.path), "apply", str(PLAN.absolute())], answers="n\n")
    accepted, _ = in_terminal(["-u", str(shop.path), "apply", str(PLAN.absolute())], answers="y\n")

    assert (unasked.code, declined, accepted) == (6, 6, 0)
    assert f"undo 1 row in sqlite:///{shop.path}? [y/N]" in screen
    assert shop.value(Customer, 2, "city") is None


def test_many_rows_want_their_word(audit: Audit, shop: Shop) -> None:
    shop.write(
        "alice",
        "many",
        lambda session: session.add_all(Order(id=n, customer_id=1, status="x", total=n) for n in range(100, 250)),
    )
    audit("undo", f"--since={CANCELLED}", "--save", "plan.json")

    plain, right = audit("apply", "plan.json", "--yes"), audit("apply", "plan.json", "--confirm", "150")

    assert (plain.code, right.code, shop.value(Order, 100, "id")) == (6, 0, None)


def test_a_plan_of_another_database_is_refused_by_name(run: Audit, audit: Audit, tmp_path: Path) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    build_shop(tmp_path / "other.db")

    ran = run("-u", str(tmp_path / "other.db"), "apply", "plan.json", "--yes")

    assert ran.code == 8
    assert f"plan.json is a plan for sqlite:///{tmp_path}/shop.db" in ran.error
    assert f"sqlite:///{tmp_path}/other.db is another database" in ran.error


def test_a_plan_of_another_version_of_the_log_is_refused(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("UPDATE changelog_meta SET value = '0' WHERE name = 'version'")
        connection.commit()

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 8
    assert "was made from version 1 of the log, which has version 0 now" in ran.error


def test_a_plan_of_a_log_that_was_restored_from_a_backup_is_refused(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute(f"DELETE FROM changelog WHERE id = {CANCELLED}")
        connection.commit()

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 8
    assert f"had a change {CANCELLED} that is not there now" in ran.error


def test_a_plan_whose_table_is_gone_is_a_conflict(audit: Audit, shop: Shop) -> None:
    audit("undo", str(CANCELLED), "--save", "plan.json")
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("DROP TABLE orders")
        connection.commit()

    ran = audit("apply", "plan.json", "--yes")

    assert ran.code == 5
    assert "the table no longer exists" in ran.out


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "not JSON, or not all of it"),
        (lambda _: "", "not JSON, or not all of it"),
        (lambda _: "[1, 2]", "no saved plan"),
        (lambda _: "{}", "no saved plan"),
        (lambda _: "[" * 100_000, "not JSON, or not all of it"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version 2 of the format"),
        (lambda text: text.replace('"target": null', '"target": "Linz"'), "edited beyond its decisions"),
        (lambda text: text.replace('"expected": "Graz"', '"expected": "Linz"'), "edited beyond its decisions"),
        (lambda text: text.replace("customer", "orders"), "edited beyond its decisions"),
        (lambda text: text.replace("sha256:", "sha256:0"), "edited beyond its decisions"),
        (lambda text: text.replace('"decision": "take_back"', '"decision": "keep", "more": 1'), "edited beyond"),
        (lambda text: json.dumps(json.loads(text)), "edited beyond its decisions"),
        (lambda text: text.replace('"steps": [', '"steps": 7, "x": ['), "edited beyond its decisions"),
        (lambda text: text.replace('take_back"}', 'takeback"}'), '"takeback" is no decision (of customer/2)'),
        (lambda text: text.replace('"decision": "take_back"', '"decision": ["keep"]'), "is no decision"),
        (lambda text: text.replace('"decision": "take_back"', '"decision": null'), "null is no decision"),
    ],
)
def test_a_file_that_is_no_plan_as_it_was_saved_is_refused(
    audit: Audit, shop: Shop, damage: Callable[[str], str], words: str
) -> None:
    audit("undo", str(MOVED), "--save", "plan.json")
    PLAN.write_text(damage(PLAN.read_text()))

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, shop.value(Customer, 2, "city")) == (2, "Graz")
    assert ran.error.startswith("plan.json")
    assert words in ran.error
    assert ran.hint


def test_bytes_that_are_no_text_are_no_plan(audit: Audit) -> None:
    PLAN.write_bytes(b"\xff\xfe{}")

    ran = audit("apply", "plan.json", "--yes")

    assert (ran.code, "not JSON" in ran.error) == (2, True)


def test_what_nobody_can_take_back_can_only_be_left(audit: Audit, shop: Shop) -> None:
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("ALTER TABLE customer DROP COLUMN city")
        connection.commit()
    audit("undo", str(MOVED), "--save", "plan.json")
    decide('"decision": null', "take_back")
    forced = audit("apply", "plan.json", "--yes")
    PLAN.write_text(PLAN.read_text().replace('"take_back"', '"keep"'))

    kept = audit("apply", "plan.json", "--yes")

    assert (forced.code, kept.code) == (2, 0)
    assert "this conflict can't be taken back" in forced.error


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["apply", "nowhere.json"], 3, "no such file: nowhere.json"),
        (["apply", "."], 2, "can't read .: Is a directory"),
        (["apply"], 2, "missing argument 'FILE'"),
        (["undo", "11", "--save", "nowhere/plan.json"], 2, "no folder nowhere to write plan.json to"),
        (["undo", "11", "--save", "plan.json", "--yes"], 2, "--save writes nothing to the database"),
        (["undo", "11", "--sql", "--yes"], 2, "--sql writes nothing to the database"),
        (["undo", "11", "--sql", "--save", "plan.json"], 2, "--save and --sql are two things"),
        (["undo", "11", "--skip-conflicts", "--dry-run", "--save", "r"], 2, "a dry run leaves nothing over"),
        (["undo", "999", "--save", "plan.json"], 3, "no change 999"),
    ],
)
def test_what_can_not_be_meant_is_refused(audit: Audit, words: list[str], code: int, error: str) -> None:
    ran = audit(*words)

    assert ran.code == code
    assert error in ran.error
    assert not PLAN.exists()


def test_a_file_with_decisions_is_not_overwritten(audit: Audit) -> None:
    PLAN.write_text("decided")

    ran = audit("undo", str(MOVED), "--save", "plan.json")

    assert (ran.code, ran.error) == (2, "plan.json is there already")
    assert PLAN.read_text() == "decided"


def test_a_read_only_profile_saves_plans_and_applies_none(run: Audit, shop: Shop) -> None:
    Path("audit.toml").write_text(f'[profiles.prod]\nurl = "{shop.path}"\nread_only = true')

    saved = run("-P", "prod", "undo", str(MOVED), "--save", "plan.json")
    printed = run("-P", "prod", "undo", str(MOVED), "--sql")
    applied = run("-P", "prod", "apply", "plan.json", "--yes")

    assert (saved.code, printed.code, applied.code) == (0, 0, 8)
    assert shop.value(Customer, 2, "city") == "Graz"


def test_a_protected_profile_wants_a_reason_and_its_name_to_apply(run: Audit, shop: Shop) -> None:
    Path("audit.toml").write_text(f'[profiles.prod]\nurl = "{shop.path}"\nprotected = true')
    saved = run("-P", "prod", "undo", str(MOVED), "--save", "plan.json")

    without = run("-P", "prod", "apply", "plan.json", "--yes")
    done = run("-P", "prod", "apply", "plan.json", "-m", "ticket 9", "--confirm", "prod")

    assert (saved.code, without.code, done.code) == (0, 2, 0)


def test_a_script_is_all_there_is_on_stdout(audit: Audit, shop: Shop) -> None:
    ran = audit("undo", str(MOVED), str(CANCELLED), "--sql")

    done = run_script(make_url(f"sqlite:///{shop.path}"), ran.out)

    assert (ran.code, done.stderr) == (0, "")
    assert "undo: 2 clean" in ran.err
    assert (shop.value(Customer, 2, "city"), shop.value(Order, 3, "status")) == (None, "pending")


def test_printing_a_script_writes_nothing(audit: Audit, shop: Shop) -> None:
    audit("undo", str(MOVED), "--sql")

    assert (shop.value(Customer, 2, "city"), len(changes(audit))) == ("Graz", CANCELLED)


def test_a_saved_plan_is_a_script_with_its_decisions(audit: Audit) -> None:
    audit("undo", str(CANCELLED), str(MOVED), "--save", "plan.json")
    decide('"column": "city"', "keep")

    ran = audit("apply", "plan.json", "--sql")

    assert ran.code == 0
    assert 'INSERT INTO "orders"' in ran.out
    assert "UPDATE" not in ran.out


def test_a_plan_with_conflicts_is_no_script(audit: Audit, shop: Shop) -> None:
    shop.write("carol", "moved on", lambda session: setattr(session.get(Customer, 2), "city", "Linz"))

    refused, forced = audit("undo", str(MOVED), "--sql"), audit("undo", str(MOVED), "--sql", "--force")

    assert (refused.code, refused.out) == (5, "")
    assert "changed since, by carol" in refused.err
    assert (forced.code, "\"city\" = 'Linz'" in forced.out) == (0, True)


def test_nothing_to_write_is_an_empty_script(audit: Audit) -> None:
    audit("undo", str(MOVED), "--yes")

    ran = audit("undo", str(MOVED), "--sql")

    assert (ran.code, ran.out) == (0, "")


def test_text_that_a_terminal_would_obey_stands_escaped_in_the_file(audit: Audit, shop: Shop) -> None:
    shop.write("eve", None, lambda session: setattr(session.get(Customer, 2), "city", "a\u202eb\x1b[2J\u00e9"))

    audit("undo", str(CANCELLED + 1), "--save", "plan.json")

    assert r'"expected": "a\u202eb\u001b[2Jé"' in PLAN.read_text(encoding="utf-8")
    assert audit("apply", "plan.json", "--yes").code == 0


def decide(where: str, decision: str, path: Path = PLAN, count: int = 0) -> None:
    """Write a decision into the lines that have this in them."""
    text, changed = re.subn(
        rf"^(.*(?:{where.lstrip('^')}).*)$" if not where.startswith("^") else rf"^({where[1:]}.*)$",
        lambda found: re.sub(r'"decision": (null|"\w+")', f'"decision": "{decision}"', found[1]),
        path.read_text(encoding="utf-8"),
        count=count,
        flags=re.MULTILINE,
    )
    assert changed
    path.write_text(text, encoding="utf-8")


def both(order: Any) -> None:
    order.status, order.total = "lost", 77


def changes(audit: Audit, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(audit("log", *words, "-o", "json").out)
    return found
