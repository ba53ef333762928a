"""Ways into the explorer: by no command at all, and without the right to write."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from auditcli.config import Target, database_url
from auditcli.connect import open_database
from auditcli.errors import ReadOnly
from tests.cli.shop import CANCELLED, Shop
from tests.tui.driver import Ui, explore

_SCREEN = b"\x1b[?1049h"
_COUNTED = f" of {CANCELLED}".encode()
"""What the top line says as soon as the log has been read."""


def test_a_bare_audit_on_a_terminal_with_a_known_database_opens_the_explorer(shop: Shop) -> None:
    code, sent = _seen_and_left([], {"AUDIT_DATABASE_URL": str(shop.path)})

    assert code == 0
    assert _SCREEN in sent
    assert b"Usage:" not in sent


def test_a_database_can_be_named_without_a_command(shop: Shop) -> None:
    code, sent = _seen_and_left(["-u", str(shop.path)], {})

    assert code == 0
    assert _SCREEN in sent


def test_read_only_is_told_on_the_command_line(shop: Shop) -> None:
    code, sent = _seen_and_left(["-u", str(shop.path), "tui", "--read-only"], {})

    assert code == 0
    assert "● read-only".encode() in sent


def test_a_read_only_explorer_offers_no_undo(shop: Shop) -> None:
    async def story(ui: Ui) -> None:
        await ui.press("u")

        assert ui.app.screen is ui.explorer

    explore(shop.path, story, read_only=True)


def test_what_is_read_only_is_refused_below_the_explorer(shop: Shop) -> None:
    target = Target(database_url(str(shop.path)), "--url", read_only=True)

    with pytest.raises(ReadOnly) as refused:
        open_database(target, writing=True)

    assert "--read-only" in (refused.value.hint or "")
    with create_engine(target.url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM changelog WHERE id > :id"), {"id": CANCELLED}) == 0


def _seen_and_left(words: list[str], environment: dict[str, str]) -> tuple[int, bytes]:
    """Open the explorer on a terminal, look until the last change is there, and press q."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "auditcli", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(terminal)
    sent, is_leaving = b"", False
    try:
        while part := _read(controller):
            sent += part
            if not is_leaving and _COUNTED in sent:
                is_leaving = True
                os.write(controller, b"q")
        return process.wait(timeout=30), sent
    finally:
        process.kill()
        os.close(controller)


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux says end of file this way
        return b""
