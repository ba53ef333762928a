"""The entry point: what it understands, what it says when it doesn't, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import auditcli
from auditcli.cli.app import main
from auditcli.cli.program import _COMMANDS
from tests.cli.shop import ROOT, Ran, Shop, in_terminal

Audit = Callable[..., Ran]
COMMANDS = sorted(function.__name__ for function in _COMMANDS)


def test_the_version_is_one_line_on_stdout(run: Audit) -> None:
    ran = run("--version")

    assert (ran.code, ran.out, ran.err) == (0, f"auditcli {auditcli.__version__}\n", "")


def test_the_version_is_told_among_other_options(run: Audit) -> None:
    ran = run("-q", "--version")

    assert (ran.code, ran.out) == (0, f"auditcli {auditcli.__version__}\n")


def test_help_lists_every_command(run: Audit) -> None:
    ran = run("--help")

    assert ran.code == 0
    assert all(f"\n  {command} " in ran.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_starts_with_examples(run: Audit, command: str) -> None:
    ran = run(command, "--help")

    examples = ran.out.index("\n  Examples:\n    audit ")
    assert ran.code == 0
    assert examples < ran.out.index("\nOptions:")


def test_a_bare_audit_in_a_pipe_is_a_usage_error_with_the_help(run: Audit) -> None:
    ran = run()

    assert ran.code == 2
    assert "Usage: audit" in ran.out


def test_a_bare_audit_on_a_terminal_is_help_where_no_database_is_configured() -> None:
    code, screen = in_terminal([])

    assert code == 0
    assert "Usage: audit" in screen


def test_a_bare_audit_in_a_pipe_is_help_though_a_database_is_configured(
    run: Audit, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_DATABASE_URL", str(shop.path))

    ran = run()

    assert ran.code == 2
    assert "Usage: audit" in ran.out


def test_a_bare_audit_on_a_terminal_says_what_is_wrong_with_the_database_that_is_named() -> None:
    code, screen = in_terminal([], environment={"AUDIT_PROFILE": "produktion"})

    assert code == 2
    assert "error: no profile 'produktion'" in screen


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["lgo"], "no such command: lgo", "did you mean log?"),
        (["qqqqqq"], "no such command: qqqqqq", "`audit --help`"),
        (["log", "--limti", "3"], "no such option: --limti", "did you mean --limit?"),
        (["log", "--zzz"], "no such option: --zzz", "`audit log --help`"),
        (["log", "-n", "many"], "invalid value for '--limit'", "`audit log --help`"),
        (["log", "-n", "-1"], "invalid value for '--limit'", "`audit log --help`"),
        (["log", "-n"], "option '-n' requires an argument", "`audit log --help`"),
        (["show"], "missing argument 'ID|tx:ID...'", "`audit show --help`"),
        (["status", "extra"], "got unexpected extra argument", "`audit status --help`"),
    ],
)
def test_a_misspelt_command_line_is_two_lines_and_exit_code_2(
    run: Audit, words: list[str], error: str, hint: str
) -> None:
    ran = run(*words)

    assert (ran.code, ran.out) == (2, "")
    # Typer's own words, which differ between its versions, are the end of some of them.
    assert ran.error.startswith(error)
    assert ran.hint == hint
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["log", "-o", "jsno"], "--format can't be 'jsno'", "did you mean json?"),
        (["log", "-o", "xml"], "--format can't be 'xml'", "one of table, tsv, csv, json, jsonl"),
        (["log", "--color", "alwys"], "--color can't be 'alwys'", "did you mean always?"),
        (["stats", "--by", "actr"], "--by can't be 'actr'", "did you mean actor?"),
    ],
)
def test_an_unknown_choice_says_which_one_was_probably_meant(
    audit: Audit, words: list[str], error: str, hint: str
) -> None:
    ran = audit(*words)

    assert (ran.code, ran.error, ran.hint) == (2, error, hint)


def test_global_options_work_on_either_side_of_the_command(shop: Shop, run: Audit) -> None:
    before = run("-u", str(shop.path), "--utc", "log", "-o", "table")
    after = run("log", "-u", str(shop.path), "--utc", "-o", "table")

    assert before.code == after.code == 0
    assert before.out == after.out
    assert "Z " in before.out


def test_the_option_after_the_command_wins(shop: Shop, run: Audit) -> None:
    ran = run("-u", "elsewhere.db", "status", "-u", str(shop.path))

    assert ran.code == 0


def test_verbose_says_which_database_and_why(audit: Audit, shop: Shop) -> None:
    ran = audit("log", "-v", "-n", "1")

    assert f"database: sqlite:///{shop.path} (from --url)" in ran.err


def test_quiet_leaves_the_notes_out(audit: Audit) -> None:
    ran = audit("mark", "here", "-q")

    assert (ran.code, ran.err) == (0, "")


def test_an_unexpected_error_is_exit_code_8_and_no_traceback(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.status.read_status", _fail)

    ran = audit("status")

    assert (ran.code, ran.error) == (8, "unexpected ZeroDivisionError: \\x1b[31mboom")
    assert "Traceback" not in ran.err


def test_debug_shows_the_traceback(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.status.read_status", _fail)

    ran = audit("status", "--debug")

    assert ran.code == 8
    assert "Traceback" in ran.err
    assert "\x1b" not in ran.err


def test_an_interrupt_is_exit_code_130(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditcli.status.read_status", _interrupt)

    ran = audit("status")

    assert (ran.code, ran.err) == (130, "")


def test_a_reader_that_leaves_early_is_no_error(shop: Shop) -> None:
    command = f"{sys.executable} -m auditcli -u '{shop.path}' export -o jsonl | head -n 1"

    piped = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (piped.returncode, piped.stderr.count("Error")) == (0, 0)
    assert piped.stdout.count("\n") == 1


def test_a_closed_stdout_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    piped = subprocess.run(
        [sys.executable, "-m", "auditcli", "--help"],
        cwd=ROOT,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(write_end)
    assert (piped.returncode, piped.stderr) == (0, "")


def test_main_takes_its_words_from_the_command_line_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "--version"])

    code = main()

    assert code == 0
    assert capsys.readouterr().out.startswith("auditcli ")


def _fail(*_: object) -> None:
    raise ZeroDivisionError("\x1b[31mboom")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
