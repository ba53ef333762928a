"""Keys longer than the log holds whole, two of which begin alike: each row has its own history, whoever recorded it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, Table, Text, create_engine, delete, insert, update

import auditcli
from tests.cli.conftest import Audit

START = "https://example.org/" + "\u00e9" * 300
ONE, OTHER, MOVED = (f"{START}/{end}" for end in ("one", "other", "moved"))
PAGE = Table("page", MetaData(), Column("url", Text, primary_key=True), Column("title", Text))


class Pages:
    """Pages that a tracked engine writes; from a moment on, or always, triggers record them."""

    def __init__(self, path: Path, run: Audit) -> None:
        self.path = path
        self.audit: Callable[..., Any] = lambda *words: run("-u", str(path), *words)
        self.engine = create_engine(f"sqlite:///{path}")
        PAGE.create(self.engine)

    def install_triggers(self) -> None:
        assert self.audit("init").code == 0

    def write(self, *statements: Any) -> None:
        for statement in statements:
            with self.engine.begin() as connection:
                connection.execute(statement)

    def change(self, at: str, **values: str) -> None:
        self.write(update(PAGE).where(PAGE.c.url == at).values(values))

    def answer(self, *words: str) -> Any:
        ran = self.audit(*words, "-o", "json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    def rows(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT url, title FROM page ORDER BY url").fetchall()


@pytest.fixture(params=["listeners", "triggers", "listeners, then triggers"])
def pages(request: pytest.FixtureRequest, tmp_path: Path, run: Audit) -> Iterator[Pages]:
    """Two pages, of which the one was changed twice and the other once; changes 1 to 5."""
    pages = Pages(tmp_path / "pages.db", run)
    if request.param == "triggers":
        pages.install_triggers()
    auditcli.track(pages.engine, create=True)
    pages.write(insert(PAGE).values(url=ONE, title="a"), insert(PAGE).values(url=OTHER, title="x"))
    if request.param == "listeners, then triggers":
        pages.install_triggers()
    pages.change(ONE, title="b")
    pages.change(OTHER, title="y")
    pages.change(ONE, title="c")
    yield pages
    pages.engine.dispose()


def ids(changes: list[dict[str, Any]]) -> list[int]:
    return sorted(change["id"] for change in changes)


def test_each_row_has_its_own_history(pages: Pages) -> None:
    assert ids(pages.answer("row", f"page/{ONE}")) == [1, 3, 5]
    assert ids(pages.answer("row", f"page/{OTHER}")) == [2, 4]
    assert ids(pages.answer("log", f"page/{OTHER}")) == [2, 4]
    assert {change["row_id"] for change in pages.answer("log", f"page/{ONE}")} == {ONE}


def test_a_row_whose_key_only_begins_like_another_ones_is_not_found(pages: Pages) -> None:
    assert pages.audit("row", f"page/{MOVED}").code == 3
    assert pages.answer("log", f"page/{MOVED}") == []


def test_blame_names_the_rows_own_change(pages: Pages) -> None:
    [blamed] = [line for line in pages.answer("blame", f"page/{OTHER}") if line["column"] == "title"]

    assert (blamed["change"], blamed["value"]) == (4, "y")


def test_the_net_change_of_each_row_is_its_own(pages: Pages) -> None:
    changes = pages.answer("diff", "--since", "2")

    assert sorted((change["row_id"], change["before"]["title"], change["after"]["title"]) for change in changes) == [
        (ONE, "a", "c"),
        (OTHER, "x", "y"),
    ]


def test_undoing_one_rows_changes_leaves_the_other_row_alone(pages: Pages) -> None:
    ran = pages.audit("undo", "3", "5", "--yes")

    assert ran.code == 0, ran.err
    assert pages.rows() == [(ONE, "a"), (OTHER, "y")]
    assert pages.audit("verify").code == 0


def test_a_row_is_followed_to_a_key_that_begins_like_its_old_one(pages: Pages) -> None:
    pages.change(ONE, url=MOVED)
    pages.change(MOVED, title="d")

    assert ids(pages.answer("row", f"page/{MOVED}")) == [1, 3, 5, 6, 7]
    assert pages.audit("undo", "6", "--yes").code == 0
    assert pages.rows() == [(ONE, "d"), (OTHER, "y")]


def test_a_row_comes_back_at_its_own_key(pages: Pages) -> None:
    pages.write(delete(PAGE).where(PAGE.c.url.in_([ONE, OTHER])))
    last = max(ids(pages.answer("log", f"page/{OTHER}")))

    assert pages.audit("undo", str(last), "--yes").code == 0
    assert pages.rows() == [(OTHER, "y")]


def test_verify_names_the_row_that_differs(pages: Pages) -> None:
    clean = pages.audit("verify")
    with closing(sqlite3.connect(pages.path)) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE page SET title = 'z' WHERE url = ?", (OTHER,))
        connection.commit()

    ran = pages.audit("verify", "-o", "json")

    assert clean.code == 0, clean.err
    assert ran.code == 1
    assert OTHER in ran.out
    assert ONE not in ran.out


def test_a_replaced_row_is_not_taken_for_one_whose_key_begins_alike(tmp_path: Path, run: Audit) -> None:
    path = tmp_path / "pages.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE page (url TEXT PRIMARY KEY, title TEXT UNIQUE)")
        run("-u", str(path), "init")
        connection.execute("INSERT INTO page VALUES (?, 'a')", (ONE,))
        connection.execute("INSERT OR REPLACE INTO page VALUES (?, 'a')", (OTHER,))
        connection.commit()

    [change] = json.loads(run("-u", str(path), "row", f"page/{OTHER}", "-o", "json").out)

    assert change["event_type"] == "INSERT"
    assert run("-u", str(path), "verify").code == 0


def test_a_row_is_followed_where_the_log_holds_the_same_of_both_keys(pages: Pages) -> None:
    pages.change(ONE, url=MOVED)
    with closing(sqlite3.connect(pages.path)) as connection:
        connection.execute("UPDATE changelog SET old_row_id = NULL WHERE id = 6")
        connection.commit()

    assert ids(pages.answer("row", f"page/{MOVED}")) == [1, 3, 5, 6]
    assert ids(pages.answer("row", f"page/{OTHER}")) == [2, 4]
