"""What a shell offers behind an unfinished command line."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from auditcli.cli import completing
from auditcli.cli.app import main
from auditcli.cli.program import _COMMANDS, command_tree
from tests.cli.shop import ROOT, Ran, Shop, all_sent, locked

Audit = Callable[..., Ran]
Offers = Callable[..., list[str]]

BREAKS = " \t\n\"'@><=;|&(:"
COMMANDS = sorted(function.__name__ for function in _COMMANDS)


@pytest.fixture
def offers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Offers:
    """The words that are offered in the shop, however busy the machine is."""
    monkeypatch.setattr(completing, "SECONDS", 60.0)
    monkeypatch.setenv("AUDIT_DATABASE_URL", str(shop.path))

    def offered(*words: str) -> list[str]:
        *before, word = words
        return [each.word for each in completing.candidates(command_tree(before), before, word)]

    return offered


@pytest.fixture
def ask(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Ask as a shell does, by the environment."""
    monkeypatch.setattr(completing, "SECONDS", 60.0)
    monkeypatch.setenv("AUDIT_DATABASE_URL", str(shop.path))

    def asked(shell: str, *words: str, line: str = "") -> Ran:
        monkeypatch.setenv("_AUDIT_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        monkeypatch.setenv("COMP_WORDBREAKS", BREAKS)
        code = main(list(words))
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return asked


def test_commands_are_offered(offers: Offers) -> None:
    assert sorted(offers("")) == COMMANDS
    assert offers("lo") == ["log"]
    assert offers("--utc", "-u", "x.db", "sta") == ["status", "stats"]


def test_options_are_offered_behind_their_command(offers: Offers) -> None:
    assert offers("log", "--si") == ["--since"]
    assert {"--limit", "--table", "--url", "--help"} <= set(offers("log", "-"))
    assert "--limit" not in offers("-")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("log", "--format", "j"), ["json", "jsonl"]),
        (("log", "-o", "t"), ["table", "tsv"]),
        (("export", "-o", "t"), ["tsv"]),
        (("--color", ""), ["auto", "always", "never"]),
        (("stats", "--by", ""), ["table", "actor", "event", "hour", "day"]),
        (("log", "--sort", ""), ["time", "rows"]),
        (("log", "--event", "de"), ["delete"]),
        (("log", "--table", ""), ["customer", "orders", "tag"]),
        (("log", "--table=or",), ["--table=orders"]),
        (("log", "--row", "cu"), ["customer/"]),
        (("row", ""), ["customer/", "orders/", "tag/"]),
        (("log", "--column", "st"), ["status"]),
        (("log", "--column", "orders.s"), ["orders.status"]),
        (("log", "--actor", ""), ["alice", "bob", "carol", "svc-import"]),
        (("log", "--since", "yes"), ["yesterday"]),
        (("profile", ""), ["add", "list", "remove"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("show", "@"), ["@latest"]),
    ],
)  # fmt: skip
def test_the_values_of_an_option_or_argument_are_offered(
    offers: Offers, words: Sequence[str], expected: list[str]
) -> None:
    assert offers(*words) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ta", ["table:", "tag", "tag/"]),
        ("table:o", ["table:orders"]),
        ("not:table:o", ["not:table:orders"]),
        ("event:", ["event:insert", "event:update", "event:delete", "event:truncate", "event:snapshot"]),
        ("actor:b", ["actor:bob"]),
        ("column:orders.to", ["column:orders.total"]),
        ("row:t", ["row:tag/"]),
        ("since:@l", ["since:@latest"]),
        ("stat", ["status:"]),
        ("orders/1", []),
        ("nothing", []),
    ],
)
def test_the_words_of_a_selection_are_offered(offers: Offers, word: str, expected: list[str]) -> None:
    assert offers("log", "-n", "5", word) == expected
    assert offers("undo", "table:tag", word) == expected


def test_an_export_has_its_file_first(offers: Offers) -> None:
    assert offers("export", "table:o") == []
    assert offers("export", "x.csv", "table:o") == ["table:orders"]


def test_marks_are_offered(offers: Offers, audit: Audit) -> None:
    audit("mark", "before-import")

    assert offers("log", "--since", "@b") == ["@before-import"]
    assert offers("mark", "--delete", "") == ["before-import"]


def test_transactions_are_offered_by_the_beginning_of_their_ids(offers: Offers, audit: Audit) -> None:
    [offered, *_] = offers("show", "tx:")

    assert len(offered) == len("tx:") + 8
    assert audit("show", offered).code == 0


def test_profiles_are_offered(offers: Offers) -> None:
    Path("audit.toml").write_text('[profiles.prod]\nurl = "prod.db"\n[profiles.test]\nurl = "test.db"\n')

    assert offers("-P", "") == ["prod", "test"]
    assert offers("log", "--profile", "p") == ["prod"]


def test_the_database_that_the_line_names_is_asked(offers: Offers, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDIT_DATABASE_URL")

    assert offers("log", "table:o") == []
    assert offers("log", "-u", str(shop.path), "table:o") == ["table:orders"]
    assert offers("-u", str(shop.path), "log", "table:o") == ["table:orders"]


def test_a_file_or_number_is_not_ours_to_offer(offers: Offers) -> None:
    assert offers("log", "-n", "") == []
    assert offers("apply", "") == []
    assert offers("nonsense", "table:o") == []


def test_nothing_is_offered_that_a_line_can_not_hold(offers: Offers, shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE changelog SET actor = 'eve' || char(10) || 'x' WHERE id = 7")

    assert offers("log", "actor:") == ["actor:alice", "actor:bob", "actor:carol", "actor:svc-import"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("audit lo", ["log"]),
        ("audit log --si", ["--since"]),
        # Bash cuts words at these signs, and replaces what stands behind the last one.
        ("audit log table:or", ["orders"]),
        ("audit log table:", ["customer", "orders", "tag"]),
        ("audit log --table=or", ["orders"]),
        ("audit log since:@la", ["latest"]),
        ("audit log 'table:or", ["orders"]),
        ("audit log -o ", ["table", "tsv", "csv", "json", "jsonl"]),
        ("audit", []),
    ],
)
def test_bash_gets_what_it_puts_behind_its_own_last_piece(
    ask: Callable[..., Ran], line: str, expected: list[str]
) -> None:
    ran = ask("bash", line=line)

    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == expected or (line == "audit" and "log" in ran.lines)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_whole_word_and_what_it_means(ask: Callable[..., Ran], shell: str) -> None:
    assert ask(shell, "log", "table:or").lines == ["table:orders\ttable"]
    assert ask(shell, "log", "--format", "j").lines == ["json", "jsonl"]
    assert ask(shell, "statu").out.startswith("status\tSay which database")


def test_a_name_that_bash_would_take_apart_is_escaped(ask: Callable[..., Ran], shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE changelog SET actor = 'eve $(ls); x' WHERE id = 7")

    assert ask("bash", line="audit log actor:e").lines == ["eve\\ \\$\\(ls\\)\\;\\ x"]


def test_without_a_database_nothing_is_said(ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("missing.db", "nonsense://x", "", "postgresql://nobody@127.0.0.1:1/x"):
        monkeypatch.setenv("AUDIT_DATABASE_URL", url)

        ran = ask("bash", line="audit log table:or")

        assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert not Path("missing.db").exists()


def test_a_broken_config_file_is_not_told_to_who_is_typing(
    ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("audit.toml").write_text("url = [")
    monkeypatch.delenv("AUDIT_DATABASE_URL")

    for line in ("audit -P pro", "audit log table:o"):
        ran = ask("bash", line=line)
        assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_whatever_else_fails_is_not_told_either(ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_POINT", "x")
    monkeypatch.setattr(completing, "candidates", lambda *_: 1 / 0)

    ran = ask("bash", line="audit log ta")

    assert (ran.code, ran.out, ran.err) == (8, "", "")


def test_a_server_that_does_not_answer_is_not_waited_for(
    ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AUDIT_DATABASE_URL", f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x")
        monkeypatch.setattr(completing, "SECONDS", 0.1)

        ran = ask("bash", line="audit log table:o")

    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_no_program_is_run_for_a_password(ask: Callable[..., Ran], shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "auditcli" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text(f'[profiles.shop]\nurl = "{shop.path}"\npassword_command = ["touch", "ran"]\n')
    monkeypatch.delenv("AUDIT_DATABASE_URL")

    ran = ask("bash", line="audit -P shop log table:o")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert not Path("ran").exists()


def test_a_locked_database_is_read_all_the_same_and_nothing_is_written(ask: Callable[..., Ran], shop: Shop) -> None:
    before = shop.path.read_bytes()
    with locked(shop.path):
        ran = ask("bash", line="audit log table:o")

    assert ran.lines == ["orders"]
    assert shop.path.read_bytes() == before


def test_bash_itself_completes_with_the_script(tmp_path: Path) -> None:
    program = tmp_path / "audit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m auditcli "$@"\n')
    program.chmod(0o755)
    keys = (
        b'PS1=; eval "$(audit completion bash)"\n'
        # Each line goes on where the shell has completed it: a word that is open, and one that is cut at its colon.
        b"audit log tab\torders --limit=x\naudit log event:trun\t --limit=y\nexit\n"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["/bin/bash", "--norc", "--noprofile", "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(slave)
    os.write(master, keys)
    screen = all_sent(master)
    process.wait(timeout=60)
    os.close(master)

    assert "audit log table:orders --limit=x" in screen
    assert "audit log event:truncate  --limit=y" in screen


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(run: Audit, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")

    named, found = run("completion", shell), run("completion")

    assert named.out == found.out
    assert f"_AUDIT_COMPLETE=complete_{shell}" in named.out


def test_another_shell_is_a_usage_error(run: Audit) -> None:
    ran = run("completion", "csh")

    assert (ran.code, ran.error, ran.hint) == (2, "no completion for 'csh'", "bash, zsh or fish")
