"""Names, values and words that would like to be SQL, on each database: every command takes them for text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, delete, insert, select, update

import auditcli
from tests.cli.shop import Ran

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

TABLE = "we\"ird`'; DROP TABLE victim; --%s:x*/{y}"
COLUMN = "va\"lue`'; --%(z)s :y /* \\ {0}"
WORD = '"' + TABLE.replace('"', '""') + '"'
"""The table as a word of a command line."""

VALUES = (
    "'; DROP TABLE victim; --",
    '"; DROP TABLE victim; --',
    "`; DROP TABLE victim; --",
    "\\'; DROP TABLE victim; --",
    "$$; DROP TABLE victim; --$$",
    "*/ DROP TABLE victim /*",
    "%s %(x)s %% :x ? ?1 @y {z} {{",
    "\\ \\\\ \\0 \\n \\x00",
    "line\nline\r\n-- \tDROP",
    "NULL",
    "\x1b]0;owned\x07\x1b[2J\u202e\u2028",
    "🎵é\u0301",
    "",
)
WORDS = ("'; DROP TABLE victim; --", '"; --', "\\' OR 1=1", "%", "%s", ":x", "*/", "{0}", "a\nb")


@dataclass(frozen=True)
class Hostile:
    """A database with one odd table, whose values were each changed to the next one, and one plain table."""

    engine: Engine
    table: Table
    run: Audit

    def audit(self, *words: str) -> Ran:
        """Run a command line on it; the plain table is still there when it has ended."""
        ran = self.run("-u", self.engine.url.render_as_string(hide_password=False), *words)
        with self.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT id FROM victim").scalars().all() == [1]
        return ran

    def values(self) -> list[str]:
        """What the odd table holds."""
        with self.engine.connect() as connection:
            return list(connection.scalars(select(self.table.c[COLUMN]).order_by(self.table.c.id)))


@pytest.fixture
def hostile(any_engine: Engine, run: Audit) -> Hostile:
    table = Table(
        TABLE, MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column(COLUMN, String(200))
    )
    with any_engine.begin() as connection:
        table.create(connection)
        connection.exec_driver_sql("CREATE TABLE victim (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO victim VALUES (1)")
    hostile = Hostile(any_engine, table, run)
    assert hostile.audit("init").code == 0
    auditcli.track(any_engine)
    with auditcli.context(actor=WORDS[0], reason=VALUES[6], **{VALUES[0]: VALUES[3]}), any_engine.begin() as connection:
        connection.execute(insert(table), [{"id": at, COLUMN: value} for at, value in enumerate(VALUES)])
    with auditcli.context(actor=WORDS[0]), any_engine.begin() as connection:
        for at in range(len(VALUES)):
            value = VALUES[(at + 1) % len(VALUES)] + "x"
            connection.execute(update(table).where(table.c.id == at).values({COLUMN: value}))
        connection.execute(delete(table).where(table.c.id == 0))
    auditcli.untrack(any_engine)
    return hostile


def test_what_is_recorded_is_what_was_written(hostile: Hostile) -> None:
    ran = hostile.audit("log", "event:insert", "-r", "-o", "jsonl")

    changes = [json.loads(line) for line in ran.lines]
    assert [change["after"][COLUMN] for change in changes] == list(VALUES)
    assert {(each["table"], each["actor"], each["reason"]) for each in changes} == {(TABLE, WORDS[0], VALUES[6])}
    assert {tuple(each["context"].items()) for each in changes} == {((VALUES[0], VALUES[3]),)}
    assert hostile.audit("verify").code == 0


def test_every_command_takes_the_names_for_text(hostile: Hostile) -> None:
    for words in (
        ["status"],
        ["doctor"],
        ["log", "-o", "table"],
        ["log", f"table:{WORD}"],
        ["show", "@latest"],
        ["diff", "--since", "0"],
        ["diff", "--since", "13", "--sql"],
        ["row", f"{WORD}/1"],
        ["blame", f"{WORD}/1"],
        ["at", "13", "--table", WORD, "-o", "csv"],
        ["stats", "--by", "table"],
        ["export", "-o", "sql"],
        ["export", "-o", "csv", "--cells"],
        ["init", "--dry-run"],
        ["pause", WORD],
        ["resume", WORD],
    ):
        ran = hostile.audit(*words)
        assert ran.code in (0, 1), (words, ran.err)
        assert "unexpected" not in ran.err, (words, ran.err)


def test_words_of_a_filter_are_only_text(hostile: Hostile) -> None:
    for option in ("actor", "grep", "table", "row", "column", "since", "event", "reason"):
        for word in WORDS:
            ran = hostile.audit("log", f"--{option}", word, "-o", "jsonl")
            assert ran.code in (0, 2, 3), (option, word, ran.err)
            assert "database" not in ran.err, (option, word, ran.err)


def test_undo_redo_and_their_own_words(hostile: Hostile) -> None:
    now = hostile.values()
    undone = hostile.audit("undo", "--since", "13", "--yes", "--as", WORDS[2], "-m", VALUES[4])
    then = hostile.values()
    [again] = re.findall(r"audit redo (tx:\w+)", undone.err)
    redone = hostile.audit("redo", again, "--yes", "--as", WORDS[0])

    assert (undone.code, redone.code) == (0, 0), undone.err + redone.err
    assert then == list(VALUES)
    assert hostile.values() == now
    assert hostile.audit("verify").code == 0


def test_a_copy_is_made_of_what_the_log_holds(hostile: Hostile, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    replayed = hostile.audit("replay", "--to", str(copy), "--create-tables", "--yes", "--since", "0", "--table", WORD)
    compared = hostile.audit("verify", "--against", str(copy), "--table", WORD)

    assert (replayed.code, compared.code) == (0, 0), replayed.err + compared.err


def test_a_masked_column_stays_out_of_everything_that_is_written(hostile: Hostile, tmp_path: Path) -> None:
    secret = "s3cret'; --"
    assert hostile.audit("init", "--mask", f"{WORD}.{COLUMN}").code == 0
    with hostile.engine.begin() as connection:
        connection.execute(insert(hostile.table).values({"id": 99, COLUMN: secret}))
    plan = tmp_path / "plan.json"

    printed = [
        hostile.audit("log", "-o", "jsonl", "-r").out,
        hostile.audit("export", "-o", "csv").out,
        hostile.audit("export", "-o", "sql", "--since", "26").out,
        hostile.audit("diff", "--since", "26", "--sql").out,
        hostile.audit("undo", "@latest", "--sql").out,
        hostile.audit("undo", "@latest", "--dry-run").out,
    ]
    hostile.audit("undo", "@latest", "--save", str(plan))

    assert [text for text in printed if "s3cret" in text] == []
    assert "s3cret" not in plan.read_text()


def test_a_password_is_never_shown(run: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("postgresql+psycopg://eve:s3cret@127.0.0.1:1/x", "mysql+pymysql://eve:s3cret@127.0.0.1:1/x"):
        monkeypatch.setenv("AUDIT_URL", url)
        for words in (["status"], ["log"], ["--debug", "log"], ["--verbose", "log"], ["profile", "list"]):
            ran = run(*words)
            assert "s3cret" not in ran.out + ran.err, words
