"""Pictures of the explorer for the README: `python -m tests.tui.pictures FOLDER`, the same ones each time."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from auditcli import clock

if TYPE_CHECKING:
    from tests.tui.driver import Ui

_END = datetime(2026, 3, 16, 12, tzinfo=UTC)
_DATABASE = "store.db"
_SIZE = (124, 36)

_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_FONT_FAMILY = re.compile(r"font-family: [^;]*;")
_MONOSPACE = "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;"


def main(folder: Path) -> None:
    """Write one SVG a screen."""
    folder.mkdir(exist_ok=True)
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as workshop:
        os.chdir(workshop)
        _stop_time()
        _take_all(folder)
        os.chdir(folder)


def without_fonts(svg: str) -> str:
    """The picture in the reader's own font: what draws it must ask nobody for one."""
    return _FONT_FAMILY.sub(_MONOSPACE, _COMMENT.sub("", _FONT_FACE.sub("", svg)))


def _stop_time() -> None:
    """From now on it is always the same moment, and what is drawn by lot comes out the same each time."""
    os.environ.update(TZ="UTC", TEXTUAL_ANIMATIONS="none")
    time.tzset()
    lots = Random(7)
    # Before anything else is imported that keeps them under names of its own.
    clock.utc_now = lambda: _END
    uuid.uuid4 = lambda: uuid.UUID(int=lots.getrandbits(128), version=4)


def _take_all(folder: Path) -> None:
    from auditcli.sample import build_sample
    from tests.tui.driver import explore

    story = build_sample(Path(_DATABASE), end=_END)
    by_import = f"actor:{story.import_actor}"
    pictures: dict[str, tuple[str, Callable[[Ui], Awaitable[None]]]] = {
        "explorer": ("event:update", _look),
        "history": (f"Track/{story.corrected_track_ids[0]}", _look_at_history),
        "undo": (f"{by_import} table:Track", _plan_undo),
    }
    for name, (words, act) in pictures.items():

        async def take(ui: Ui, act: Callable[[Ui], Awaitable[None]] = act, name: str = name) -> None:
            await act(ui)
            picture = without_fonts(ui.app.export_screenshot(title="audit"))
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")

        explore(_DATABASE, take, words=tuple(words.split()), size=_SIZE)


async def _look(ui: Ui) -> None:
    await ui.press(*"jjj")


async def _look_at_history(ui: Ui) -> None:
    await ui.press("h")


async def _plan_undo(ui: Ui) -> None:
    await ui.press("u")
    await ui.popup.answer(2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
