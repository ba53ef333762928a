"""The README's table of keys against the keys that there are."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

from auditcli.tui.app import ExplorerApp
from auditcli.tui.explorer.screen import Explorer, bindings_of
from auditcli.tui.screens.help import shown_key
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail

README = Path(__file__).parents[2] / "README.md"
_OF_TEXTUAL = {"^p", "tab"}
_AS_EVERYWHERE = {
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
    *("escape", "shift+tab", "^c", "^z", "^f", "^b"),
}
"""What needs no word."""


def in_readme() -> set[str]:
    table = README.read_text(encoding="utf-8").partition("| keys | |\n")[2].partition("\n\n")[0]
    table = table.replace("`1` … `6`", " ".join(f"`{number}`" for number in range(1, 7)))
    return {key.lower() if len(key) > 1 else key for key in re.findall(r"`([^`]+)`", table)}


def bound() -> set[str]:
    bindings = chain.from_iterable(map(bindings_of, (ExplorerApp, Explorer, Activity, ChangeList, Detail)))
    return {shown_key(each.key) for each in bindings}


def test_the_readme_has_each_key_and_no_other() -> None:
    bindings = bound() - _AS_EVERYWHERE

    assert in_readme() - bindings - _OF_TEXTUAL == set()
    assert bindings - in_readme() == set()
