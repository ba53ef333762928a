"""Where the output goes: closed pipes, full disks, terminals that are narrow or dumb or know no UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.cli.shop import ROOT, Shop, in_terminal

pytestmark = pytest.mark.thorough

READING = (["log"], ["show", "7"], ["stats", "--by", "hour"], ["status"], ["row", "orders/1"])


def named(words: Sequence[str]) -> str:
    return " ".join(words)


def run_to(
    stdout: int | None, words: Sequence[str], *, environment: Mapping[str, str] | None = None, stderr: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "auditcli", *words],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE if stderr is None else stderr,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@pytest.fixture
def at_shop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that is found by the environment, with a name that ASCII has no letters for."""
    monkeypatch.setenv("AUDIT_DATABASE_URL", str(shop.path))
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE changelog SET actor = 'Zoë 🎵' WHERE id = 7")
    return shop


@pytest.mark.parametrize("words", READING, ids=named)
@pytest.mark.usefixtures("at_shop")
def test_a_pipe_that_nobody_reads_is_no_error(words: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    ran = run_to(write_end, words)

    os.close(write_end)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("words", READING, ids=named)
@pytest.mark.usefixtures("at_shop")
def test_a_full_disk_is_an_error_with_its_reason(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = run_to(full.fileno(), words)

    assert ran.returncode == 8
    assert ran.stderr.decode().splitlines() == [
        "error: can't go on: No space left on device",
        "hint: free some space, or write somewhere else",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(("words", "code"), [(["log", "tx:ffffffffff"], 3), (["mark", "here"], 0), (["lgo"], 2)])
def test_talk_that_can_not_be_written_changes_no_outcome(at_shop: Shop, words: list[str], code: int) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = run_to(subprocess.PIPE, words, stderr=full.fileno())

    assert ran.returncode == code
    with at_shop.engine.connect() as connection:
        marks = connection.exec_driver_sql("SELECT count(*) FROM changelog_mark").scalar()
    assert marks == (1 if words[0] == "mark" else 0)


@pytest.mark.parametrize("words", READING, ids=named)
@pytest.mark.usefixtures("at_shop")
def test_a_narrow_terminal_cuts_text_but_no_number_or_time(words: list[str]) -> None:
    code, screen = in_terminal([*words, "--no-pager"], columns=40, environment={"NO_COLOR": "1"})

    assert code == 0
    assert "Traceback" not in screen
    if words[0] == "stats":
        assert all(len(line) <= 40 for line in screen.splitlines())


@pytest.mark.parametrize("words", READING, ids=named)
@pytest.mark.usefixtures("at_shop")
def test_a_dumb_terminal_gets_plain_text(words: list[str]) -> None:
    code, screen = in_terminal([*words, "--no-pager"], environment={"TERM": "dumb"})

    assert code == 0
    assert "\x1b" not in screen
    assert screen.strip()


@pytest.mark.parametrize("words", [["log"], ["status"]], ids=named)
@pytest.mark.usefixtures("at_shop")
def test_no_color_means_no_color(words: list[str]) -> None:
    colored = in_terminal([*words, "--no-pager"])
    plain = in_terminal([*words, "--no-pager"], environment={"NO_COLOR": "1"})

    assert colored[0] == plain[0] == 0
    assert "\x1b[" in colored[1]
    assert "\x1b[" not in plain[1]


@pytest.mark.parametrize(
    ("words", "encoding"),
    [(["log"], "ascii"), (["log", "-o", "table"], "latin-1"), (["stats", "-o", "table"], "ascii")],
)
@pytest.mark.usefixtures("at_shop")
def test_a_character_that_can_not_be_written_is_written_by_its_number(words: list[str], encoding: str) -> None:
    ran = run_to(subprocess.PIPE, words, environment={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})

    assert (ran.returncode, ran.stderr) == (0, b"")
    text = ran.stdout.decode(encoding)
    assert "█" not in text
    if words == ["log"]:
        assert "\\U0001f3b5" in text


@pytest.mark.parametrize("words", [["log", "actor:Zoë*"], ["show", "7"]], ids=named)
@pytest.mark.usefixtures("at_shop")
def test_a_locale_without_utf_8_is_no_error(words: list[str]) -> None:
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    code, screen = in_terminal([*words, "--no-pager"], environment=environment)

    assert code == 0
    assert "Zo" in screen
    assert "Traceback" not in screen
