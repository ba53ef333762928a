"""A saved plan as the text of a file, and back: laid out to be read, and refused when more than decisions changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NoReturn

from auditcli import codec
from auditcli.errors import UsageError
from auditcli.plan import StepKind
from auditcli.planning.planvalues import (
    conflict_from_json,
    conflict_to_json,
    origin_from_json,
    origin_to_json,
    plan_from_json,
    plan_to_json,
    step_from_json,
    step_to_json,
)
from auditcli.planning.savedplan import Decision, SavedPlan

FORMAT = "auditcli plan"
VERSION = 1

HOW_TO_READ_THIS = (
    "Nothing of this plan has been done. Review it, then run: audit apply FILE",
    "Each step is one row. A cell must be at `expected` now, else nothing is written; it is then set to `target`.",
    'Edit nothing but the words after "decision": any other edit is noticed, and the file refused.',
    "take_back: the cell is set to its target; for a row that is to come or go, the row comes or goes.",
    "keep: this cell stays as it is now, the row's other cells are taken back; a row neither comes nor goes.",
    "skip: the whole row stays as it is now, whatever its other cells say.",
    "Each conflict needs a decision in the place of null: keep, skip or, where `way` is not null, take_back,",
    "which does what `way` says and so overwrites what somebody else wrote.",
)

_LISTS = ("steps", "conflicts")
_LONG = ("cells", "reason", "by", "way")
_NAMING = 4
"""So many of the first members of a step or conflict say which row it is about."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def plan_text(saved: SavedPlan) -> str:
    """The text of a saved plan's file."""
    return "".join(plan_pieces(saved))


def plan_pieces(saved: SavedPlan) -> Iterator[str]:
    """The same piece by piece, for which the steps are gone through twice."""
    return _laid_out(_document(saved, _checksum(_document(saved, ""))))


def _document(saved: SavedPlan, checksum: str) -> dict[str, Any]:
    """What the file says; its steps and conflicts can be gone through once."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "how_to_read_this": list(HOW_TO_READ_THIS),
        "checksum": checksum,
        "made": origin_to_json(saved.origin),
        "plan": plan_to_json(saved.plan),
        "steps": (
            _with_decisions(step_to_json(step), decisions)
            for step, decisions in zip(saved.plan.steps, saved.step_decisions, strict=True)
        ),
        "conflicts": (
            {
                **conflict_to_json(conflict),
                "way": None if way is None else step_to_json(way),
                "decision": None if decision is None else decision.value,
            }
            for conflict, way, decision in zip(saved.plan.conflicts, saved.ways, saved.conflict_decisions, strict=True)
        ),
    }


def read_plan_text(data: bytes, name: str) -> SavedPlan:
    """The saved plan in a file's bytes; raises UsageError, which says `name`, where it is none or was edited."""
    document = _parsed(data, name)
    if document.get("checksum") != _checksum(document):
        _refuse_edited(name)
    if not _is_text_of(data.decode(), _laid_out(document)):
        _refuse_edited(name)
    steps = [step_from_json(stored) for stored in document["steps"]]
    conflicts = [conflict_from_json(stored) for stored in document["conflicts"]]
    ways = tuple(None if stored["way"] is None else step_from_json(stored["way"]) for stored in document["conflicts"])
    return SavedPlan(
        origin=origin_from_json(document["made"]),
        plan=plan_from_json(document["plan"], tuple(steps), tuple(conflicts)),
        step_decisions=tuple(
            tuple(_decision(each["decision"], _place(stored), name) for each in _deciding(stored))
            for stored in document["steps"]
        ),
        ways=ways,
        conflict_decisions=tuple(_verdict(stored, name) for stored in document["conflicts"]),
    )


# Reading.


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON, or not all of it: {error}", hint="save the plan again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"{name} is no saved plan", hint="`audit undo … --save FILE` writes one")
    if document.get("version") != VERSION:
        raise UsageError(
            f"{name} has version {document.get('version')!r} of the format, this program knows {VERSION}",
            hint="save the plan again, or use the auditcli that wrote it",
        )
    return document


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _refuse_edited(name: str) -> NoReturn:
    raise UsageError(
        f"{name} was edited beyond its decisions, or damaged",
        hint='only the words after "decision": may change; take a copy that has nothing else changed, or save it again',
    )


def _decision(word: object, place: str, name: str) -> Decision:
    try:
        return Decision(word)  # type: ignore[arg-type]  # what is no word is no decision either
    except ValueError as error:
        raise UsageError(
            f"{name}: {json.dumps(word)} is no decision ({place})", hint=f"decisions are {', '.join(Decision)}"
        ) from error


def _verdict(stored: Mapping[str, Any], name: str) -> Decision | None:
    if stored["decision"] is None:
        return None
    decision = _decision(stored["decision"], _place(stored), name)
    if decision is Decision.TAKE_BACK and stored["way"] is None:
        raise UsageError(
            f"{name}: this conflict can't be taken back: {stored['reason']}", hint="decide keep or skip, or plan anew"
        )
    return decision


def _place(stored: Mapping[str, Any]) -> str:
    return f"of {stored['row']}" if stored["row"] is not None else f"of a row of {stored['table']}"


# The checksum.


def _deciding(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a step's that have a decision."""
    return step["cells"] if step["do"] == StepKind.UPDATE else [step]  # type: ignore[list-item]  # it is a dict


def _with_decisions(step: dict[str, Any], decisions: tuple[Decision, ...]) -> dict[str, Any]:
    for each, decision in zip(_deciding(step), decisions, strict=True):
        each["decision"] = decision.value
    return step


def _checksum(document: Mapping[str, Any]) -> str:
    """Over everything but the decisions, and itself; '' where the document has another form."""
    digest = hashlib.sha256()
    try:
        for piece in _bare(document):
            digest.update(piece.encode("utf-8", "surrogatepass"))
    except (KeyError, TypeError):
        return ""
    return "sha256:" + digest.hexdigest()


def _bare(document: Mapping[str, Any]) -> Iterator[str]:
    """The document's JSON without what may be edited."""
    listed = {"steps": map(_undecided, document["steps"]), "conflicts": map(_without_word, document["conflicts"])}
    sign = "{"
    for name, value in document.items():
        if name == "checksum":
            continue
        yield f"{sign}{codec.dump(name)}:"
        sign = ","
        if name in listed:
            yield from _array(map(codec.dump, listed[name]))
        else:
            yield codec.dump(value)
    yield "}"


def _undecided(step: Mapping[str, Any]) -> dict[str, Any]:
    if step["do"] != StepKind.UPDATE:
        return _without_word(step)
    return {**step, "cells": [_without_word(cell) for cell in step["cells"]]}


def _without_word(deciding: Mapping[str, Any]) -> dict[str, Any]:
    return {**deciding, "decision": None}


def _array(pieces: Iterable[str]) -> Iterator[str]:
    sign = "["
    for piece in pieces:
        yield sign + piece
        sign = ","
    yield "[]" if sign == "[" else "]"


# The layout.


def _is_text_of(text: str, pieces: Iterable[str]) -> bool:
    """Whether a text consists of these pieces."""
    place = 0
    for piece in pieces:
        if not text.startswith(piece, place):
            return False
        place += len(piece)
    return place == len(text)


def _laid_out(document: Mapping[str, Any]) -> Iterator[str]:
    """One line a fact, one object a step, one line a cell."""
    sign = "{\n"
    for name, value in document.items():
        yield f'{sign}"{name}": '
        sign = ",\n"
        yield from _member(name, value)
    yield "\n}\n"


def _member(name: str, value: Any) -> Iterator[str]:
    if name in _LISTS:
        yield from _listed(map(_object, value))
    elif isinstance(value, list):
        yield from _listed(map(_line, value))
    elif isinstance(value, dict):
        yield "{\n" + ",\n".join(f"  {_line(key)}: {_line(each)}" for key, each in value.items()) + "\n}"
    else:
        yield _line(value)


def _object(value: Mapping[str, Any]) -> str:
    """What says which row on the first line, what else is short on the second, then a line for each long thing."""
    pairs = {name: f"{_word(name)}: {_cells(each) if name == 'cells' else _line(each)}" for name, each in value.items()}
    names = list(pairs)
    first, later = names[:_NAMING], names[_NAMING:]
    short = [name for name in later if name not in _LONG and name != "decision"]
    long = [name for name in later if name in _LONG or name == "decision"]
    lines = [", ".join(pairs[name] for name in part) for part in (first, short) if part]
    return "{" + ",\n   ".join([*lines, *(pairs[name] for name in long)]) + "}"


def _cells(cells: Any) -> str:
    return "[\n     " + ",\n     ".join(map(_line, cells)) + "]" if cells else "[]"


def _listed(lines: Iterable[str]) -> Iterator[str]:
    empty = True
    for line in lines:
        yield f"[\n  {line}" if empty else f",\n  {line}"
        empty = False
    yield "[]" if empty else "\n]"


def _line(value: Any) -> str:
    """JSON on one line, in which every character shows: what a terminal would hide or obey is a number."""
    kind = type(value)
    if kind is dict:
        return "{" + ", ".join([f"{_word(name)}: {_line(each)}" for name, each in value.items()]) + "}"
    if kind is str:
        return _text(value)
    return int.__repr__(value) if kind is int else _HIDDEN.sub(_escaped, _encoder.encode(value))


def _text(value: str) -> str:
    text = encode_basestring(value)
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_escaped, text)


_word = lru_cache(_text)
"""Names come again and again."""


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


_HIDDEN = re.compile(r"[^\x20-\x7e]")
