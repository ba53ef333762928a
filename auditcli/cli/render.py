"""Printing: data on stdout as a table or for a machine, talk on stderr, colours only where they are wanted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from io import TextIOBase
from typing import TYPE_CHECKING, TextIO, TypeVar, cast

from auditcli.cli.formats import GAP, Format, Record, json_text, machine_text, table_lines, write_delimited, write_json
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.present import Line

Choice = TypeVar("Choice", bound=StrEnum)
Thing = TypeVar("Thing")

_PATIENCE = 0.5
_ERASE = "\x1b[K"
_LONGEST_CELL = 200
_UNCUT = {"transaction", "transaction_id", "change", "rows"}
"""Columns of a table that a narrow terminal leaves whole: one types them again, or reads a number in them."""

_ANSI = {
    "dim": "2",
    "strong": "1",
    "added": "32",
    "removed": "31",
    "changed": "33",
    "identity": "36",
    "warning": "35",
}


class ColorMode(StrEnum):
    """When colours are used."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Output:
    """Both streams of one command, with what its user asked of them."""

    def __init__(self, color: str | None = None, *, quiet: bool = False, utc: bool = False, pages: bool = True) -> None:
        self.utc = utc
        self._quiet = quiet
        self._pages = pages
        self._color = choice(color or "auto", ColorMode, "--color")
        self._pager: TextIO | None = None
        self._progress: _Progress | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads what is printed."""
        return sys.stdout.isatty()

    @property
    def has_color(self) -> bool:
        """Whether to colour stdout."""
        if self._color is not ColorMode.AUTO:
            return self._color is ColorMode.ALWAYS
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def format(self, asked: str | None) -> Format:
        """The format that was asked for; else a table for a person and TSV for a pipe."""
        if asked is not None:
            return choice(asked, Format, "--format")
        return Format.TABLE if self.is_terminal else Format.TSV

    def note(self, text: str) -> None:
        """Talk, on stderr."""
        if not self._quiet:
            warn(text)

    def ask(self, question: str) -> str:
        """What the person at the terminal answers."""
        from auditcli.present import visible

        sys.stderr.write(visible(question))
        sys.stderr.flush()
        answer = ""
        try:
            answer = sys.stdin.readline()
        finally:
            # ^C and ^D leave the cursor behind the question.
            if not answer.endswith("\n"):
                sys.stderr.write("\n")
        return answer.strip()

    def lines(self, lines: Iterable[Line]) -> None:
        """Styled lines, on stdout."""
        colored = self.has_color
        stream = self._stream
        for line in lines:
            self._make_way()
            stream.write(self._styled(line, colored) + "\n")

    def text(self, text: str) -> None:
        """Text as it is, on stdout."""
        self._stream.write(text)

    def line(self, text: str) -> None:
        """Text on a line, on stdout; nothing in it is obeyed, nor ends the line."""
        from auditcli.present import visible

        self._stream.write(visible(text) + "\n")

    def json_text(self, value: object) -> str:
        """A value as JSON, its times in UTC."""
        return json_text(value)

    def flush(self) -> None:
        """Let a reader at the other end see what was printed."""
        self._stream.flush()

    def records(self, asked: str | None, columns: Sequence[str], records: Iterable[Record]) -> None:
        """A list of records with the same keys, in the format that was asked for."""
        form = self.format(asked)
        if form is Format.TABLE:
            self._table(columns, list(records))
        elif form in (Format.TSV, Format.CSV):
            write_delimited(self.machine_stream, form, columns, ([each[name] for name in columns] for each in records))
        else:
            write_json(self.machine_stream, form, ({name: each[name] for name in columns} for each in records))

    def room_beside(self, columns: Sequence[str], records: Sequence[Record]) -> int:
        """How many characters a further column of this table may have."""
        from auditcli.present import text_width

        rows = self._rows(columns, records)
        widths = (max(text_width(row[at]) for row in (columns, *rows)) for at in range(len(columns)))
        return max(0, shutil.get_terminal_size().columns - sum(widths) - len(GAP) * len(columns))

    def can_show(self, text: str) -> bool:
        """Whether the characters can be written to stdout."""
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def _rows(self, columns: Sequence[str], records: Sequence[Record]) -> list[list[str]]:
        return [[self._cell(each[column]) for column in columns] for each in records]

    def _table(self, columns: Sequence[str], records: Sequence[Record]) -> None:
        rows = self._rows(columns, records)
        # Half a time, half a number or half an id would be another one.
        whole = _UNCUT | {name for name in columns if any(isinstance(each[name], datetime | int) for each in records)}
        room = shutil.get_terminal_size().columns if self.is_terminal else None
        self.lines(table_lines(columns, rows, room, whole))

    @property
    def machine_stream(self) -> TextIO:
        """Where a format for programs goes; on a terminal nothing in it is obeyed."""
        return cast(TextIO, _Harmless(self._stream, self._make_way)) if self.is_terminal else self._stream

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A function that says how far long work has come, on one line of stderr and only where a person watches it."""
        if self._quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield lambda _text: None
            return
        self._progress = progress = _Progress()
        try:
            yield progress.tell
        finally:
            progress.clear()
            self._progress = None

    @contextmanager
    def paged(self) -> Iterator[None]:
        """Print through the user's pager while this lasts, where a person reads on a terminal."""
        command = _pager_command()
        if not self._pages or not self.is_terminal or command is None:
            yield
            return
        encoding = sys.stdout.encoding or "utf-8"
        environment = {"LESS": "FRX", **({"LESSCHARSET": "utf-8"} if encoding == "utf-8" else {}), **os.environ}
        try:
            pager = subprocess.Popen(
                command, stdin=subprocess.PIPE, env=environment, encoding=encoding, errors="backslashreplace"
            )
        except OSError:
            self.note(f"the pager {command[0]!r} can't be run; set $AUDIT_PAGER")
            yield
            return
        try:
            self._pager = cast(TextIO, pager.stdin)
            yield
        except BrokenPipeError:
            pass
        finally:
            self._pager = None
            _close(pager)

    @property
    def _stream(self) -> TextIO:
        return self._pager or sys.stdout

    def _make_way(self) -> None:
        """Take the line of progress from a terminal that is about to show something else."""
        if self._progress is None or not self.is_terminal:
            return
        self._progress.clear()
        # What the pager shows is the pager's.
        self._progress.is_over = self._progress.is_over or self._pager is not None

    def _cell(self, value: object) -> str:
        from auditcli.present import shortened, time_text, visible

        if isinstance(value, datetime):
            return time_text(value, utc=self.utc)
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value:,}"
        return "" if value is None else shortened(visible(machine_text(value)), _LONGEST_CELL)

    def _styled(self, line: Line, colored: bool) -> str:
        if not colored:
            return "".join(span.text for span in line)
        return "".join(
            f"\x1b[{_ANSI[span.style]}m{span.text}\x1b[0m" if span.style in _ANSI else span.text for span in line
        )


class _Harmless(TextIOBase):
    """A terminal that is only written what it can't obey; line ends and tabs are kept."""

    def __init__(self, stream: TextIO, make_way: Callable[[], None]) -> None:
        self._stream = stream
        self._make_way = make_way

    def write(self, text: str, /) -> int:
        from auditcli.present import visible

        self._make_way()
        parts = re.split(r"([\n\t])", text)
        return self._stream.write("".join(part if part in ("\n", "\t") else visible(part) for part in parts))

    def flush(self) -> None:
        self._stream.flush()


class _Progress:
    """One line of stderr that is written over and over, and not at all while work is quick."""

    def __init__(self) -> None:
        self.is_over = False
        self._last = time.monotonic()
        self._is_shown = False

    def tell(self, text: str) -> None:
        """Say how far the work has come, now and then."""
        if self.is_over or time.monotonic() <= self._last + _PATIENCE:
            return
        from auditcli.present import visible

        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{_ERASE}{visible(text)[:room]}")
        sys.stderr.flush()
        self._last, self._is_shown = time.monotonic(), True

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_shown:
            sys.stderr.write(f"\r{_ERASE}")
            sys.stderr.flush()
        self._is_shown = False


def warn(text: str) -> None:
    """A line on stderr, whatever the options are; nothing in it is obeyed by the terminal."""
    from auditcli.present import visible

    try:
        sys.stderr.write(visible(text) + "\n")
        sys.stderr.flush()
    except OSError:
        # Work does not fail for want of a listener; what is left to be written must not fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def choice(word: str, known: type[Choice], option: str) -> Choice:
    """The member that a word names; raises UsageError with the one that was probably meant."""
    from difflib import get_close_matches

    try:
        return known(word.lower())
    except ValueError as error:
        names = [member.value for member in known]
        close = get_close_matches(word.lower(), names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}"
        raise UsageError(f"{option} can't be {word!r}", hint=hint) from error


def _pager_command() -> list[str] | None:
    """The pager to use; None where the user wants none."""
    asked = os.environ.get("AUDIT_PAGER", os.environ.get("PAGER"))
    try:
        command = shlex.split(asked) if asked is not None else ["less", "-FRX"]
    except ValueError as error:
        raise UsageError(
            f"the pager {asked!r} can't be read: {error}", hint="correct $AUDIT_PAGER or $PAGER"
        ) from error
    if not command or command == ["cat"] or (shutil.which(command[0]) is None and asked is None):
        return None
    return command


def _close(pager: subprocess.Popen[str]) -> None:
    try:
        if pager.stdin is not None:
            pager.stdin.close()
    except BrokenPipeError:
        pass
    while True:
        try:
            pager.wait()
        except KeyboardInterrupt:
            # The pager has the terminal, and it is the pager that ^C is for.
            continue
        return
