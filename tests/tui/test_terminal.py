"""The explorer on a real terminal: its frames, its size, the keys that a terminal knows, and how it leaves."""

from __future__ import annotations

import os
import re
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from auditcli.errors import ExitCode
from tests.cli.shop import Shop
from tests.tui.terminal import Terminal, terminal

pytestmark = pytest.mark.thorough

NEWEST = "orders/3"
_COLOR = re.compile(rb"\x1b\[[0-9;]*(?:3[0-79]|4[0-79]|38|48)[;m]")


def explorer(shop: Shop, **more: Any) -> AbstractContextManager[Terminal]:
    return terminal("-u", str(shop.path), "tui", "--utc", **more)


def state_of(shown: Terminal) -> str:
    """What the system says the program is at: T is stopped."""
    return Path(f"/proc/{shown.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_it_draws_follows_its_window_and_leaves_the_terminal_as_it_was(shop: Shop) -> None:
    with explorer(shop) as shown:
        shown.shows("12 of 12")
        shown.shows(NEWEST)
        assert shown.is_full_screen
        assert shown.is_raw
        shown.resize(40, 10)
        shown.until(lambda: "D orders/3" in shown.text and "UPDATE" not in shown.text, "the narrow list")
        shown.resize(1, 1)
        shown.press("j")
        shown.read(0.5)
        shown.resize(120, 40)
        shown.shows("UPDATE customer/2")
        shown.press("q")
        assert shown.ends() == ExitCode.DONE
        assert not shown.is_full_screen
        assert not shown.is_raw


def test_interrupting_leaves(shop: Shop) -> None:
    with explorer(shop, size=(40, 10)) as shown:
        shown.shows(NEWEST)
        shown.press("/")
        shown.press("\x03")
        assert shown.ends() == ExitCode.INTERRUPTED
        assert not shown.is_full_screen


def test_suspending_gives_the_terminal_back_for_a_while(shop: Shop) -> None:
    with explorer(shop) as shown:
        shown.shows(NEWEST)
        shown.press("\x1a")
        shown.until(lambda: state_of(shown) == "T", "being stopped")
        assert not shown.is_full_screen
        assert not shown.is_raw
        os.kill(shown.process.pid, signal.SIGCONT)
        # What is typed before the terminal is raw again waits for the end of a line.
        shown.until(lambda: shown.is_full_screen and shown.is_raw, "the full screen")
        shown.press("j")
        shown.shows("UPDATE customer/2")
        shown.press("q")
        assert shown.ends() == ExitCode.DONE


def test_without_colours_none_is_sent(shop: Shop) -> None:
    with explorer(shop, environment={"NO_COLOR": "1"}) as shown:
        shown.shows("DELETE orders/3")
        shown.press("i?")
        shown.shows("everywhere")
        shown.press("?")
        shown.until(lambda: "everywhere" not in shown.text, "the explorer")
        shown.press("q")
        assert shown.ends() == ExitCode.DONE
        sent = re.findall(rb"\x1b\[[0-9;]*38;2;(\d+);(\d+);(\d+)", shown.sent)
        assert all(len(set(each)) == 1 for each in sent), "a colour that is no shade of grey"


def test_a_terminal_that_can_not_draw_is_refused(shop: Shop) -> None:
    with explorer(shop, environment={"TERM": "dumb"}) as shown:
        assert shown.ends() == ExitCode.USAGE
        assert "audit log" in shown.text
        assert b"\x1b" not in shown.sent


@pytest.mark.parametrize("words", [(), ("--debug",)])
def test_a_crash_restores_the_terminal_and_shows_where_only_if_asked(shop: Shop, words: tuple[str, ...]) -> None:
    crash = (
        "from auditcli.tui.widgets.heading import Heading\n"
        "def say(*_): raise ZeroDivisionError('in the middle of drawing')\n"
        "Heading.say = say\n"
        "from auditcli.cli.app import run\n"
        "run()\n"
    )
    with terminal("-u", str(shop.path), *words, "tui", program=("-c", crash)) as shown:
        assert shown.ends() == ExitCode.FAILURE
        assert not shown.is_full_screen
        assert not shown.is_raw
        said = shown.sent.decode().rpartition("\x1b[?1049l")[2]
        assert "in the middle of drawing" in said
        assert ("Traceback" in said) == bool(words)


def test_a_database_without_a_log_ends_it_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with terminal("-u", str(tmp_path / "empty.db"), "tui") as shown:
        assert shown.ends() == ExitCode.FAILURE
        assert not shown.is_full_screen
        assert "audit init" in shown.text


def test_first_words_that_mean_nothing_end_it_as_any_command(shop: Shop) -> None:
    with terminal("-u", str(shop.path), "tui", "satus:shipped") as shown:
        assert shown.ends() == ExitCode.USAGE
        assert "did you mean" in shown.text


def test_pasted_lines_become_one_filter(shop: Shop) -> None:
    with explorer(shop) as shown:
        shown.shows(NEWEST)
        shown.press("/")
        shown.until(lambda: "Quit" not in shown.text, "the focus")
        shown.press("\x1b[200~actor:bob\nevent:delete\n\x1b[201~")
        shown.shows("1 of 12")
