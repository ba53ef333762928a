"""Names, values and contexts that would like to be more than text: shown escaped, never obeyed, undone like others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    URL,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    insert,
    select,
    update,
)

import auditcli
from tests.cli.shop import Ran, in_terminal

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]
Hostile = tuple[Engine, Table, Path]

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
RIGHT_TO_LEFT = "abc\u202e\u2066fed"
VALUES = (
    ESCAPE,
    RIGHT_TO_LEFT,
    "a\0b",
    "line\nline\r\ttab",
    "'; DROP TABLE x; --",
    '"quoted" \\ back',
    "100% :x %(y)s {z} */ /* --",
    "=cmd|' /C calc'!A0",
    "\u2028\u200b\ufeff",
    "NULL",
    "",
    " ",
    "🎵" * 100,
)
TABLE = 'we"ird.\x1b[31mta/ble%s:x*/'
COLUMN = 'va"lue\x1b[0m:y, %'


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    """A database whose names and values are all odd, with each value changed to the next one."""
    path = tmp_path / "hostile.db"
    engine = create_engine(URL.create("sqlite", database=str(path)))
    table = Table(TABLE, MetaData(), Column("id", Integer, primary_key=True), Column(COLUMN, String))
    table.create(engine)
    auditcli.track(engine, create=True)
    with auditcli.context(actor=f"eve{ESCAPE}", reason=f"why{ESCAPE}\nnext", **{f"key{ESCAPE}": ESCAPE}):
        with engine.begin() as connection:
            connection.execute(insert(table), [{"id": at, COLUMN: value} for at, value in enumerate(VALUES)])
        with engine.begin() as connection:
            for at in range(len(VALUES)):
                statement = update(table).where(table.c.id == at).values({COLUMN: VALUES[(at + 1) % len(VALUES)] + "x"})
                connection.execute(statement)
        with engine.begin() as connection:
            connection.execute(delete(table).where(table.c.id == 0))
    auditcli.untrack(engine)
    yield engine, table, path
    engine.dispose()


COMMANDS = (
    ["log"],
    ["log", "--transactions"],
    ["log", "-o", "tsv"],
    ["log", "-o", "csv"],
    ["log", "-o", "json"],
    ["log", "-o", "jsonl"],
    ["show", "@latest"],
    ["show", "14", "15", "16", "17", "18", "19"],
    ["diff", "--since", "0"],
    ["diff", "--since", "13"],
    ["diff", "--since", "13", "--stat"],
    ["diff", "--since", "13", "-o", "csv"],
    ["stats"],
    ["stats", "--by", "actor"],
    ["status"],
    ["undo", "tx:LAST", "--dry-run"],
    ["undo", "--since", "13", "--dry-run"],
    ["export", "-o", "csv"],
    ["log", ESCAPE],
    ["log", f"table:{ESCAPE}"],
    ["log", f"{ESCAPE}:x"],
    ["log", "--since", ESCAPE],
    ["show", ESCAPE],
    ["row", f"{ESCAPE}/1"],
    ["mark", ESCAPE],
    ["stats", "--by", ESCAPE],
    [ESCAPE],
    [f"--{ESCAPE}"],
    ["-P", ESCAPE, "log"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command).encode("unicode_escape").decode())
def test_nothing_hostile_reaches_the_terminal(hostile: Hostile, run: Audit, command: list[str]) -> None:
    path = hostile[2]
    last = last_transaction(run, path)

    _, screen = in_terminal(
        ["-u", str(path), "--color", "never", "--no-pager", *(word.replace("LAST", last) for word in command)]
    )

    assert "\x1b" not in screen
    assert not set(screen) & {"\x07", "\0", "\r", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff"}
    assert "Traceback" not in screen
    assert screen.strip()


def test_machine_formats_in_a_pipe_keep_every_value(hostile: Hostile, run: Audit) -> None:
    ran = run("-u", str(hostile[2]), "log", "event:insert", "-r", "-o", "jsonl")

    changes = [json.loads(line) for line in ran.lines]
    assert [change["after"][COLUMN] for change in changes] == list(VALUES)
    assert changes[0]["table"] == TABLE
    assert changes[0]["actor"] == f"eve{ESCAPE}"


def test_tsv_keeps_a_record_on_its_line(hostile: Hostile, run: Audit) -> None:
    ran = run("-u", str(hostile[2]), "log", "-o", "tsv")

    assert len(ran.out.split("\n")) == 1 + 2 * len(VALUES) + 1 + 1
    assert all(line.count("\t") == 14 for line in ran.out.split("\n")[:-1])


def test_a_table_prints_a_record_a_line(hostile: Hostile, run: Audit) -> None:
    ran = run("-u", str(hostile[2]), "log", "-o", "table", "event:insert")

    assert len(ran.out.split("\n")) == 1 + len(VALUES) + 1


def test_an_undo_of_hostile_values_puts_every_one_back(hostile: Hostile, run: Audit) -> None:
    engine, table, path = hostile

    ran = run("-u", str(path), "undo", "--since", str(len(VALUES)), "--yes")

    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).all()
    assert ran.code == 0, ran.err
    assert [value for _, value in rows] == list(VALUES)


@pytest.mark.parametrize("word", [f"eve{ESCAPE}", "'; DROP TABLE changelog; --", "%", "a\0b", "*" * 300, "\ud800"])
@pytest.mark.parametrize("option", ["--actor", "--grep", "--table", "--row", "--column", "--tx", "--since", "--event"])
def test_hostile_filters_are_only_text(hostile: Hostile, run: Audit, option: str, word: str) -> None:
    before = hostile[2].read_bytes()

    ran = run("-u", str(hostile[2]), "log", option, word, "-o", "jsonl")

    assert ran.code in (0, 2, 3)
    assert len(ran.err.splitlines()) == (0 if ran.code == 0 else 2)
    assert hostile[2].read_bytes() == before


def test_hostile_actors_and_reasons_are_recorded_as_they_are(hostile: Hostile, run: Audit) -> None:
    path = hostile[2]

    ran = run(
        "-u", str(path), "undo", "tx:" + last_transaction(run, path), "--yes", "--as", ESCAPE, "-m", "a'b\"\n%s:x\0"
    )

    [change] = read_json(run("-u", str(path), "log", "-n", "1", "-o", "json"))
    assert ran.code == 0, ran.err
    assert (change["actor"], change["reason"]) == (ESCAPE, "a'b\"\n%s:x\0")


def last_transaction(run: Audit, path: Path) -> str:
    return str(read_json(run("-u", str(path), "log", "-n", "1", "-o", "json"))[0]["transaction_id"])


def read_json(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found
