"""What may stand at the end of an unfinished command line.

The options and arguments say it themselves: each metavar stands for a kind of word. Names come from the database,
quickly or not at all: no error, no prompt, nothing written.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditcli.errors import AuditError

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.names import Names

SECONDS = 0.3
"""How long the database may take to answer."""

_SHORT_ID = 8
_CHOICES = re.compile(r"(?:[a-z]+, )*[a-z]+ or [a-z]+")
_MOMENTS = ("15m", "1h", "1d", "7d", "today", "yesterday")
_EVENTS = ("insert", "update", "delete", "truncate", "snapshot")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may stand there, and what it means."""

    word: str
    help: str = ""

    @property
    def is_open(self) -> bool:
        """Whether more is to follow in the same word."""
        return self.word.endswith((":", "/", "="))


def candidates(program: Any, before: Sequence[str], word: str) -> list[Candidate]:
    """The words that begin like the unfinished one and fit behind those before it; `program` is Typer's command."""
    line = _Line(program, before)
    found = dict.fromkeys(each for each in line.candidates(word) if each.word.startswith(word))
    # A line end or an escape in a name would not reach the shell as a name.
    return [each for each in found if each.word.isprintable()]


class _Line:
    """The words before the unfinished one, understood as far as that takes."""

    def __init__(self, program: Any, before: Sequence[str]) -> None:
        self._program = program
        self._command: Any = None
        self._pending: Any = None
        self._arguments = 0
        self._only_arguments = False
        self._globals: dict[str, str] = {}
        for word in before:
            self._read(word)

    def candidates(self, word: str) -> Iterator[Candidate]:
        """What may stand here, whatever it begins with."""
        option, sign, value = word.partition("=")
        if self._pending is not None:
            yield from self._values(self._pending, word)
        elif word.startswith("-") and not self._only_arguments:
            if sign and (parameter := self._option(option)) is not None:
                yield from _behind(f"{option}=", self._values(parameter, value))
            else:
                yield from self._options()
        elif self._command is None:
            for name, command in self._program.commands.items():
                yield Candidate(name, (command.help or "").strip().partition("\n")[0])
        elif (argument := self._argument()) is not None:
            yield from self._values(argument, word)

    def _read(self, word: str) -> None:
        if self._pending is not None:
            self._take(self._pending, word)
            self._pending = None
        elif word == "--":
            self._only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not self._only_arguments:
            name, sign, value = word.partition("=")
            parameter = self._option(name)
            if parameter is None or parameter.is_flag:
                return
            if sign:
                self._take(parameter, value)
            else:
                self._pending = parameter
        elif self._command is None:
            self._command = self._program.commands.get(word)
        else:
            self._arguments += 1

    def _take(self, parameter: Any, value: str) -> None:
        self._globals[parameter.name] = value

    @property
    def _parameters(self) -> list[Any]:
        return list((self._command or self._program).params)

    def _option(self, name: str) -> Any:
        return next((each for each in self._parameters if name in each.opts), None)

    def _argument(self) -> Any:
        arguments = [each for each in self._parameters if each.param_type_name == "argument"]
        if not arguments:
            return None
        at = min(self._arguments, len(arguments) - 1)
        return arguments[at] if self._arguments < len(arguments) or arguments[-1].nargs == -1 else None

    def _options(self) -> Iterator[Candidate]:
        for parameter in self._parameters:
            if parameter.param_type_name == "option":
                name = max(parameter.opts, key=len)
                yield Candidate(name, parameter.help or "")
        if self._command is not None:
            yield Candidate("--help", "Show this message and exit.")

    def _values(self, parameter: Any, word: str) -> Iterable[Candidate]:
        kind = parameter.metavar or ""
        if "--profile" in parameter.opts:
            kind = "PROFILE"
        if kind == "[FILE] [WORD]..." and self._arguments == 0:
            return ()
        if re.fullmatch(r"[a-z]+(\|[a-z]+)+", kind):
            return map(Candidate, kind.split("|"))
        return _KINDS[kind](self, word, parameter.help or "") if kind in _KINDS else ()

    @cached_property
    def names(self) -> Names:
        """What the log of the database that the line names knows; nothing where that can't be had at once."""
        from auditcli.names import Names

        target = _target(self._globals.get("url"), self._globals.get("profile"))
        # The program that tells a password may ask a person.
        return Names() if target is None or target.password_command else _names_of(target)


def _target(url: str | None, profile: str | None) -> Target | None:
    from auditcli.config import find_target

    try:
        return find_target(url, profile, os.environ, Path.cwd())
    except AuditError:
        return None


def _names_of(target: Target) -> Names:
    """Read in a thread that is left alone when its time is over: a connection can't be told how long it may take."""
    from auditcli.connect import open_database
    from auditcli.names import Names, read_names

    found: list[Names] = []

    def read() -> None:
        database = open_database(target, lock_timeout=SECONDS)
        with database.log() as reader:
            found.append(read_names(reader))

    thread = threading.Thread(target=_silently(read), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return found[0] if found else Names()


def _silently(read: Callable[[], None]) -> Callable[[], None]:
    from sqlalchemy.exc import SQLAlchemyError

    def run() -> None:
        try:
            read()
        except (AuditError, SQLAlchemyError, OSError):
            # No database, no names: whoever presses the tab key is not told why.
            return

    return run


def _choices(_line: _Line, _word: str, text: str) -> Iterable[Candidate]:
    """The words that the help lists: `json, jsonl or tsv`."""
    listed = _CHOICES.search(text)
    return map(Candidate, re.split(r", | or ", listed[0])) if listed else ()


def _tables(line: _Line, _word: str = "", _text: str = "") -> Iterable[Candidate]:
    return (Candidate(table, "table") for table in line.names.tables)


def _rows(line: _Line, _word: str = "", _text: str = "") -> Iterable[Candidate]:
    return (Candidate(f"{table}/", "a row of it") for table in line.names.tables)


def _columns(line: _Line, word: str = "", _text: str = "") -> Iterable[Candidate]:
    return (Candidate(name, "column") for name in (line.names.cells if "." in word else line.names.columns))


def _cells(line: _Line, _word: str, _text: str) -> Iterable[Candidate]:
    return (Candidate(name, "column") for name in line.names.cells)


def _events(_line: _Line, _word: str = "", _text: str = "") -> Iterable[Candidate]:
    return map(Candidate, _EVENTS)


def _actors(line: _Line, _word: str = "", _text: str = "") -> Iterable[Candidate]:
    return (Candidate(actor, "actor") for actor in line.names.actors)


def _transaction_ids(line: _Line, _word: str = "", _text: str = "") -> Iterable[Candidate]:
    return (Candidate(each[:_SHORT_ID], "transaction") for each in line.names.transactions)


def _marks(line: _Line, _word: str, _text: str) -> Iterable[Candidate]:
    return (Candidate(name, "mark") for name in line.names.marks)


def _positions(line: _Line, word: str = "", _text: str = "") -> Iterator[Candidate]:
    yield Candidate("@latest", "the last transaction")
    yield from map(Candidate, _MOMENTS)
    if not word or word.startswith("@"):
        yield from (Candidate(f"@{name}", "mark") for name in line.names.marks)
    if word.startswith("tx:"):
        yield from _behind("tx:", _transaction_ids(line))


def _profiles(_line: _Line, _word: str, _text: str) -> Iterator[Candidate]:
    from auditcli.config import all_profiles

    try:
        yield from (Candidate(name, each.masked_url) for name, each in all_profiles(os.environ, Path.cwd()).items())
    except AuditError:
        return


def _ids(line: _Line, word: str, _text: str) -> Iterator[Candidate]:
    if word.startswith("tx:"):
        yield from _behind("tx:", _transaction_ids(line))
    else:
        yield Candidate("@latest", "the last transaction")
        yield Candidate("tx:", "a transaction")


_KEYWORDS: Mapping[str, tuple[str, Callable[[_Line, str], Iterable[Candidate]]]] = {
    "table": ("changes of this table", _tables),
    "row": ("of this row", _rows),
    "column": ("that touched it", _columns),
    "event": ("insert, update or delete", _events),
    "actor": ("made by them", _actors),
    "tx": ("of this transaction", _transaction_ids),
    "since": ("after this position", _positions),
    "until": ("up to this position", _positions),
    "grep": ("with this text", lambda _line, _word: ()),
}


def _selection_words(line: _Line, word: str, text: str = "") -> Iterator[Candidate]:
    key, sign, value = word.partition(":")
    if sign and key == "not":
        yield from _behind("not:", _selection_words(line, value, text))
    elif sign and key in _KEYWORDS:
        yield from _behind(f"{key}:", _KEYWORDS[key][1](line, value))
    elif not sign:
        yield from (Candidate(f"{name}:", what) for name, (what, _) in _KEYWORDS.items())
        yield Candidate("not:", "none of these")
        yield from _tables(line)
        if word:
            yield from _rows(line)
            yield from (Candidate(f"{name}:", "by its value") for name in line.names.columns)


def _behind(prefix: str, found: Iterable[Candidate]) -> Iterator[Candidate]:
    return (Candidate(prefix + each.word, each.help) for each in found)


_KINDS: Mapping[str, Callable[[_Line, str, str], Iterable[Candidate]]] = {
    "[WORD]...": _selection_words,
    "[FILE] [WORD]...": _selection_words,
    "ID...|tx:ID|WORD...": _selection_words,
    "ID|tx:ID...": _ids,
    "[tx:ID]": _ids,
    "ID": _transaction_ids,
    "TABLE": _tables,
    "TABLE...": _tables,
    "PATTERN": _tables,
    "ROW": _rows,
    "COLUMN": _columns,
    "T.C": _cells,
    "EVENT": _events,
    "ACTOR": _actors,
    "POSITION": _positions,
    "MARK": _marks,
    "PROFILE": _profiles,
    "FORMAT": _choices,
    "WHEN": _choices,
    "KEY": _choices,
    "ORDER": _choices,
}
