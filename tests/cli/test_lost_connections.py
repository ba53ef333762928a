"""In the middle of each command the connection is reset, or the server killed and started again.

Nothing is half done, and what happened is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine

from auditcli.errors import ExitCode
from tests.cli.shop import Ran
from tests.databases import scratch_url
from tests.db.watched import Watched
from tests.embedded import Embedded, embedded
from tests.own_mariadb import own_mariadb
from tests.proxy import Proxy, proxied

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

ROWS = 300
PARTS = (0.2, 0.5, 0.8, 0.97)
"""Where the connection is cut, as parts of all that the server says to an undisturbed run."""

WAYS: dict[str, tuple[str, Callable[[], Embedded] | None, tuple[float, ...]]] = {
    "postgresql reset": ("postgresql", None, PARTS),
    "mariadb reset": ("mariadb", None, PARTS),
    "postgresql restarted": ("postgresql 18", embedded, (0.5, 0.9)),
    "mariadb restarted": ("own mariadb", own_mariadb, (0.5, 0.9)),
}
"""The kind of database, the server to restart, and the parts."""

READING = (
    *("log -o jsonl", "log --transactions", "diff --since 0", "stats", "verify"),
    *("show 1 2 3", "row item/1", "at 5 --table item"),
)


@dataclass(frozen=True)
class Cut:
    """A database with rows that were all changed once, and a way to it that can be cut."""

    watched: Watched
    proxy: Proxy
    url: str
    run: Audit
    parts: tuple[float, ...]

    def audit(self, *words: str, part: float | None = None) -> Ran:
        """Run a command line; if a part is given, with so much of the conversation of the last undisturbed run."""
        said = self.proxy.said
        self.proxy.allow(None if part is None else int(said * part))
        ran = self.run("-u", self.url, *words)
        if part is not None:
            self.proxy.said = said
            self.proxy.limit = None
        return ran

    def prices(self) -> list[tuple[object, ...]]:
        """How many rows have which price."""
        return self.watched.query("SELECT price, COUNT(*) FROM item GROUP BY price ORDER BY price")


@pytest.fixture(params=WAYS)
def cut(request: pytest.FixtureRequest, tmp_path: Path, run: Audit) -> Iterator[Cut]:
    kind, server, parts = WAYS[request.param]
    with scratch_url(kind, tmp_path) as url, proxied(url, server and server().restart) as (proxy, way):
        engine = create_engine(url, poolclass=NullPool)
        watched = Watched(engine, "CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER)")
        watched.write(f"INSERT INTO item VALUES {', '.join(f'({key}, 1)' for key in range(ROWS))}")
        watched.write("UPDATE item SET price = 2")
        yield Cut(watched, proxy, way, run, parts)
        engine.dispose()


def check_lost(ran: Ran) -> None:
    assert ran.code == ExitCode.CANNOT_CONNECT, ran.err
    [message] = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert "connect" in message
    assert "unexpected " not in message


def test_what_only_reads_says_so(cut: Cut) -> None:
    for words in READING:
        assert cut.audit(*words.split()).code == 0
        for part in cut.parts:
            check_lost(cut.audit(*words.split(), part=part))


def test_an_export_leaves_no_file(cut: Cut, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert cut.audit("export", str(whole)).code == 0
    for part in cut.parts:
        check_lost(cut.audit("export", str(broken), part=part))
        assert not broken.exists()


def test_an_undo_is_whole_or_has_not_happened(cut: Cut) -> None:
    sure = ("--confirm", str(ROWS))
    assert cut.audit("undo", "--since", str(ROWS), "--until", str(2 * ROWS), *sure).code == 0
    assert cut.prices() == [(1, ROWS)]
    for part in cut.parts:
        cut.watched.write("UPDATE item SET price = 2")
        last = cut.watched.changes()[-1].id
        ran = cut.audit("undo", "--since", str(last - ROWS), "--until", str(last), *sure, part=part)
        # The answer to the commit itself may be what is lost.
        assert cut.prices() in ([(1, ROWS)], [(2, ROWS)])
        if ran.code != 0:
            check_lost(ran)
        cut.watched.check()


def test_a_replay_goes_on_where_it_was_cut(cut: Cut, tmp_path: Path) -> None:
    has_all = (ExitCode.DONE, ExitCode.NOT_FOUND)
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    assert cut.audit("replay", "--to", str(first), "--create-tables", "--yes").code == 0
    for part in cut.parts:
        ran = cut.audit("replay", "--to", str(second), "--create-tables", "--yes", part=part)
        if ran.code not in has_all:
            check_lost(ran)
    assert cut.audit("replay", "--to", str(second), "--create-tables", "--yes").code in has_all
    assert cut.audit("verify", "--against", str(second)).code == 0


def test_a_baseline_goes_on_where_it_was_cut(cut: Cut) -> None:
    cut.watched.write("CREATE TABLE other (id INTEGER PRIMARY KEY, n INTEGER)")
    cut.watched.write(f"INSERT INTO other VALUES {', '.join(f'({key}, 1)' for key in range(ROWS))}")
    assert cut.audit("init", "--dry-run").code == 0
    for part in cut.parts:
        check_lost(cut.audit("init", "--baseline", part=part))
    assert cut.audit("init", "--baseline").code == 0
    assert "not covered" not in cut.audit("verify").err
