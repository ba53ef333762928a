"""The README's worked example runs, and prints what the README says it prints."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditcli.errors import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURES = re.compile(r"!\[[^]]+\]\(([^)]+)\)")
_ADDRESSES = re.compile(r"(?:https?:|(?<=[\"'(]))//[^\"')\s]+")
_NAMESPACE = "http://www.w3.org/2000/svg"
_ASKS_FOR = re.compile(r"@import|@font-face|href=|src=|url\((?!#)[^)]*")
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+\d\d:\d\d"), "TIME"),
    (re.compile(r"\(\d+ m?s ago\)"), "(AGO)"),
    (re.compile(r"tx:[0-9a-f]{8}"), "tx:ID"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\S+:\d+(?= +[~+-])"), "HOST:PID"),
    (re.compile(r"  +"), "  "),
)


def blocks(language: str) -> list[str]:
    return [text for kind, text in _BLOCKS.findall(README) if kind == language]


def steady(text: str) -> str:
    """Text without what differs from one run to the next."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def on_a_terminal(words: str, folder: Path) -> str:
    """What a shell command prints on a terminal of 100 columns."""
    controller, terminal = pty.openpty()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "AUDIT_DATABASE_URL": "shop.db",
        "AUDIT_ACTOR": "you",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "AUDIT_PAGER": "cat",
    }
    command = words.replace("audit ", f"{sys.executable} -m auditcli ", 1)
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], stdout=terminal, stderr=terminal, cwd=folder, env=environment
    )
    os.close(terminal)
    printed = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # Linux says end of file this way
            break
        if not part:
            break
        printed += part
    os.close(controller)
    assert process.wait() == 0, printed.decode()
    return printed.decode().replace("\r\n", "\n")


def console_steps() -> list[tuple[str, str]]:
    """Each command of the console blocks, and what is shown below it."""
    steps = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            steps.append((command, shown))
    return steps


def test_the_worked_example_does_what_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(blocks("python")[0], encoding="utf-8")
    on_a_terminal(f"{sys.executable} shop.py", tmp_path)

    for command, shown in console_steps():
        printed = on_a_terminal(command, tmp_path)

        assert steady(printed) == steady(shown), command


def test_the_pictures_are_there_and_ask_nobody_for_anything() -> None:
    pictures = _PICTURES.findall(README)

    assert pictures == ["docs/explorer.svg", "docs/history.svg", "docs/undo.svg"]
    for picture in pictures:
        svg = (ROOT / picture).read_text(encoding="utf-8")
        assert svg.startswith("<svg ")
        assert set(_ADDRESSES.findall(svg)) == {_NAMESPACE}
        assert _ASKS_FOR.findall(svg) == []


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_explained(code: ExitCode) -> None:
    assert re.search(rf"^\| {code.value} \|", README, re.MULTILINE)
