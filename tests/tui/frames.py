"""Frames of the explorer as text, compared with those that are stored; AUDIT_TEST_SNAPSHOTS=update stores them anew."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from string import ascii_letters

from rich.segment import Segment
from textual.app import App
from textual.widgets import Input

STORED = Path(__file__).parent / "frames"


class Frames:
    """Frames at one size, one after the other.

    A frame is the text of its lines, and then their styles: `12a3b` is a line whose first twelve cells have the style
    a. What the letters stand for is at the end; a line that comes several times in a row is there once.
    """

    def __init__(self) -> None:
        self._frames: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}

    def add(self, title: str, app: App[int]) -> None:
        """What the terminal shows now."""
        for field in app.screen.query(Input):
            field.cursor_blink = False
        strips = app.screen._compositor.render_strips()
        texts = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
        styles = ["".join(f"{cells}{name}" for name, cells in self._runs(strip)) for strip in strips]
        self._frames[title] = [*_each_once(texts), "", *_each_once(styles), ""]

    def compare(self, name: str) -> None:
        """Compare with what is stored under a name."""
        lines = [line for title, frame in self._frames.items() for line in (f"==== {title}", *frame)]
        lines += [f"{name}: {style}" for style, name in self._names.items()]
        path = STORED / f"{name}.txt"
        if os.environ.get("AUDIT_TEST_SNAPSHOTS") == "update":
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        assert lines == path.read_text().splitlines()

    def _runs(self, strip: Iterable[Segment]) -> Iterable[tuple[str, int]]:
        named = [(self._name(segment), segment.cell_length) for segment in strip if segment.cell_length]
        return [(name, sum(cells for _, cells in group)) for name, group in groupby(named, key=lambda each: each[0])]

    def _name(self, segment: Segment) -> str:
        style = "none" if segment.style is None else str(segment.style.clear_meta_and_links())
        if style not in self._names:
            rounds, letter = divmod(len(self._names), len(ascii_letters))
            self._names[style] = ascii_letters[letter] * (rounds + 1)
        return self._names[style]


def _each_once(lines: Iterable[str]) -> list[str]:
    counted = [(line, len(list(group))) for line, group in groupby(lines)]
    return [line if count == 1 else f"{line} *{count}" for line, count in counted]
