"""Whatever is typed, or stands in a file or in the log: an answer or an error of ours, no crash, and in good time."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditcli.errors import ExitCode
from tests.cli.shop import MOVED, Ran, Shop
from tests.soak import soaking

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

_SECONDS = 20.0
"""Longer than any of these commands takes, however busy the machine is."""

fuzzing = settings(
    max_examples=soaking(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

PIECES = st.sampled_from(
    (
        *(
            "table",
            "actor",
            "event",
            "op",
            "grep",
            "text",
            "id",
            "tx",
            "not",
            "since",
            "until",
            "row",
            "reason",
            "changed",
        ),
        *("orders", "customer", "total", "status", "name", "alice", "1", "-1", "0", "9" * 20, "1e400", "NULL", "true"),
        *(
            ":",
            "=",
            "!",
            "!=",
            ".",
            "..",
            ">",
            "<=",
            "gt",
            "*",
            "?",
            "/",
            "~",
            ",",
            "@",
            "-",
            "--",
            "+",
            "#",
            "%",
            "%s",
        ),
        *(
            "'",
            '"',
            "`",
            "\\",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "$",
            ";",
            "\0",
            "\n",
            "\x1b[31m",
            "\u202e",
            "é",
            "🎵",
            " ",
        ),
        *("15m", "now", "yesterday", "monday", "12:00", "2026-03-02", "T", "Z", "+99:99", "99999999d", "latest"),
    )
)
WORDS = st.lists(PIECES, min_size=1, max_size=6).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
TAGGED = st.sampled_from(
    ('{"$hex":"zz"}', '{"$hex":1}', '{"$decimal":"x"}', '{"$same":true}', '{"$float":"nan?"}', '{"$masked":true}')
)


def expect_an_answer(audit: Audit, *words: str) -> Ran:
    """Run a command that may say anything but that it met what nobody had thought of."""
    began = time.monotonic()
    ran = audit(*words)
    assert ran.code in set(ExitCode), words
    assert "unexpected" not in ran.err, (words, ran.err)
    assert "Traceback" not in ran.err, (words, ran.err)
    assert time.monotonic() - began < _SECONDS, words
    return ran


@fuzzing
@given(words=st.lists(WORDS, min_size=1, max_size=3))
def test_any_words_of_a_selection(audit: Audit, words: list[str]) -> None:
    expect_an_answer(audit, "log", "-o", "jsonl", "--", *words)


@fuzzing
@given(word=WORDS, option=st.sampled_from(("--since", "--until")))
def test_any_words_of_a_position(audit: Audit, word: str, option: str) -> None:
    expect_an_answer(audit, "diff", f"{option}={word}", "-o", "jsonl")


@fuzzing
@given(word=WORDS, command=st.sampled_from(("row", "blame", "show", "undo", "redo", "at", "mark")))
def test_any_word_for_a_row_or_a_transaction(audit: Audit, word: str, command: str) -> None:
    options = {"undo": ["--dry-run"], "redo": ["--dry-run"], "mark": ["--list"]}.get(command, ["-o", "jsonl"])
    expect_an_answer(audit, command, *options, "--", word)


@fuzzing
@given(seed=st.integers(min_value=0), value=JSON)
def test_any_plan_file(audit: Audit, tmp_path: Path, seed: int, value: Any) -> None:
    sound, file = tmp_path / "sound.json", tmp_path / "plan.json"
    if not sound.exists():
        assert audit("undo", str(MOVED), "--save", str(sound)).code == 0
    plan = json.loads(sound.read_text())
    file.write_text(json.dumps(_with_one_part_replaced(plan, random.Random(seed), value)))

    expect_an_answer(audit, "apply", str(file), "--dry-run")


def _with_one_part_replaced(whole: Any, chance: random.Random, value: Any) -> Any:
    changed = copy.deepcopy(whole)
    part: Any = [changed]
    key: Any = 0
    while isinstance(part[key], dict | list) and part[key] and chance.random() < 0.8:
        part = part[key]
        key = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
    if isinstance(part, dict) and chance.random() < 0.3:
        del part[key]
    else:
        part[key] = value
    return changed


@fuzzing
@given(text=st.text(max_size=20) | JSON.map(json.dumps) | TAGGED | TAGGED.map(lambda tag: f'{{"id":7,"city":{tag}}}'))
def test_any_text_for_an_image_in_the_log(audit: Audit, shop: Shop, text: str) -> None:
    with closing(sqlite3.connect(shop.path)) as connection, connection:
        connection.execute('UPDATE changelog SET "after" = ? WHERE id = ?', (text, MOVED))

    for words in (["log"], ["show", str(MOVED)], ["export", "-o", "csv"], ["diff"], ["undo", str(MOVED), "--dry-run"]):
        expect_an_answer(audit, *words)


@fuzzing
@given(settings_=st.dictionaries(st.sampled_from(("url", "profile", "profiles", "x")), JSON, max_size=3), tail=WORDS)
def test_any_config_file(run: Audit, settings_: dict[str, Any], tail: str) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings_.items()]
    Path("audit.toml").write_text("\n".join([*lines, tail]), encoding="utf-8")

    expect_an_answer(run, "status")
    expect_an_answer(run, "profile", "list")
