"""Following a log live: soon, at little cost, through stalls and lost connections, from a place that is certain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text

from auditcli.clock import utc_now
from auditcli.config import Target
from auditcli.connect import Database, open_database
from auditcli.dialects import dialect_named
from auditcli.feed import Delivered, Place, place_after
from auditcli.follow import Following
from auditcli.following.news import Back, CameLate, Lost, News, Skipped, Stalled, WentOn
from auditcli.following.start import certain_place
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from auditcli.selection import Selection
from tests.databases import scratch_url
from tests.sessions import end_other_sessions

BEGINNING = 0


@dataclass
class Reader:
    """A reader in a thread of its own, and what it saw."""

    following: Following
    stop: threading.Event
    news: list[News]
    seen: list[Delivered] = field(default_factory=list)
    has_ended: bool = False

    def read(self) -> None:
        for batch in self.following.batches():
            self.seen += batch
        self.has_ended = True

    @property
    def rows(self) -> list[str | None]:
        """The rows of all changes that came, in order."""
        return [change.row_id for delivered in self.seen for change in delivered.changes]

    def has_told(self, kind: type[News]) -> list[News]:
        return [each for each in self.news if isinstance(each, kind)]


@contextmanager
def reading(database: Database, start: int | Place = BEGINNING, **options: object) -> Iterator[Reader]:
    """A reader that follows while the block lasts."""
    stop, news = threading.Event(), list[News]()
    place = start if isinstance(start, Place) else _place(database, start)
    following = Following(database, place, Selection(), stop=stop, tell=news.append, **options)  # type: ignore[arg-type]  # as they come
    reader = Reader(following, stop, news)
    thread = threading.Thread(target=reader.read)
    thread.start()
    try:
        yield reader
    finally:
        stop.set()
        thread.join(20)


def eventually(what: Callable[[], object], seconds: float = 10) -> bool:
    """Whether it holds before long."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def followed(kind: str, folder: Path) -> Iterator[tuple[Engine, Database]]:
    """A database of rows that triggers record: for its writers, and open for its readers."""
    with scratch_url(kind, folder) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, number INTEGER NOT NULL)"))
        with engine.connect() as connection:
            prepare(connection, log_tables(), dialect_named(engine.name), Wishes(triggers=True), now=utc_now())
        database = open_database(Target(url, "a test"))
        yield engine, database
        database.close()
        engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[Engine, Database]]:
    with followed("sqlite", tmp_path) as both:
        yield both


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, Database]]:
    with followed(request.param, tmp_path) as both:
        yield both


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, Database]]:
    with followed(request.param, tmp_path) as both:
        yield both


def write(engine: Engine, *keys: int) -> None:
    """One transaction that inserts these rows."""
    with engine.begin() as connection:
        for key in keys:
            connection.execute(text(f"INSERT INTO item VALUES ({key}, 0)"))


def roll_back(engine: Engine, key: int) -> None:
    """A gap in the ids of the log."""
    with engine.connect() as connection:
        connection.execute(text(f"INSERT INTO item VALUES ({key}, 0)"))
        connection.rollback()


def test_a_reader_gets_what_is_there_and_then_each_commit_soon(each_database: tuple[Engine, Database]) -> None:
    engine, database = each_database
    write(engine, 1)

    with reading(database) as reader:
        for number in (2, 3, 4):
            assert eventually(lambda: reader.rows[-1:] == [str(number - 1)])  # noqa: B023  # called at once
            write(engine, number)
        assert eventually(lambda: len(reader.rows) == 4)

    assert reader.rows == ["1", "2", "3", "4"]
    assert reader.news == []


def test_a_reader_asks_one_cheap_thing_while_nobody_commits(each_database: tuple[Engine, Database]) -> None:
    engine, database = each_database
    write(engine, 1)
    asked: list[str] = []

    with reading(database) as reader:
        assert eventually(lambda: reader.rows == ["1"])
        time.sleep(0.3)
        event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        time.sleep(0.5)

    assert len(set(asked)) == 1
    assert "max(changelog.id)" in asked[0] or "data_version" in asked[0]


def test_a_reader_ends_when_it_is_told_to(file: tuple[Engine, Database]) -> None:
    with reading(file[1]) as reader:
        reader.stop.set()

    assert reader.rows == []


def test_a_reader_ends_at_a_log_id_and_takes_nothing_beyond_it(file: tuple[Engine, Database]) -> None:
    engine, database = file
    with reading(database, until=3) as reader:
        write(engine, 1)
        write(engine, 2, 3)
        write(engine, 4)
        assert eventually(lambda: len(reader.rows) == 3)
        assert eventually(lambda: reader.has_ended)

    assert reader.rows == ["1", "2", "3"]


def test_a_reader_ends_at_a_moment_with_what_was_stamped_before(file: tuple[Engine, Database]) -> None:
    engine, database = file
    write(engine, 1)
    with reading(database, until=utc_now() + timedelta(seconds=0.5)) as reader:
        write(engine, 2)
        assert eventually(lambda: reader.has_ended)

    assert reader.rows == ["1", "2"]


@pytest.mark.thorough
def test_a_stall_names_who_holds_the_others_up(server: tuple[Engine, Database]) -> None:
    engine, database = server
    with engine.connect() as slow, reading(database) as reader:
        slow.execute(text("INSERT INTO item VALUES (1, 0)"))
        own = slow.scalar(text("SELECT CONNECTION_ID()" if engine.name == "mysql" else "SELECT pg_backend_pid()"))
        write(engine, 2)
        assert eventually(lambda: reader.has_told(Stalled))
        before = list(reader.rows)
        slow.commit()
        assert eventually(lambda: len(reader.rows) == 2)
        assert eventually(lambda: reader.has_told(WentOn))

    [stalled] = reader.has_told(Stalled)
    assert isinstance(stalled, Stalled)
    assert stalled.holders
    [holder] = [each for each in stalled.holders if each.session.endswith(f" {own}")]
    assert (stalled.waiting, before) == (1, [])
    assert holder.state == "idle in transaction"
    assert (holder.seconds or 0) >= 1
    assert reader.rows == ["1", "2"]


@pytest.mark.thorough
def test_max_hold_goes_on_and_reports_what_it_skipped_and_what_came_late(server: tuple[Engine, Database]) -> None:
    engine, database = server
    with engine.connect() as slow, reading(database, max_hold=0.5) as reader:
        slow.execute(text("INSERT INTO item VALUES (1, 0)"))
        write(engine, 2)
        assert eventually(lambda: reader.rows == ["2"])
        write(engine, 3)
        assert eventually(lambda: reader.rows == ["2", "3"])
        assert not reader.has_told(CameLate)
        slow.commit()
        assert eventually(lambda: reader.has_told(CameLate))
        write(engine, 4)
        assert eventually(lambda: reader.rows == ["2", "3", "4"])

    [skipped], [late] = reader.has_told(Skipped), reader.has_told(CameLate)
    assert isinstance(skipped, Skipped)
    assert isinstance(late, CameLate)
    assert [list(ids) for ids in skipped.ids] == [[1]]
    assert skipped.holders
    assert late.ids == (1,)


@pytest.mark.thorough
def test_what_was_gone_past_comes_whole_if_it_goes_on_later(server: tuple[Engine, Database]) -> None:
    engine, database = server
    with engine.connect() as slow, reading(database, max_hold=0.5) as reader:
        slow.execute(text("INSERT INTO item VALUES (1, 0)"))
        write(engine, 2)
        assert eventually(lambda: reader.rows == ["2"])
        slow.execute(text("INSERT INTO item VALUES (3, 0)"))
        slow.commit()
        assert eventually(lambda: reader.rows == ["2", "1", "3"])
        time.sleep(1.2)

    assert reader.has_told(CameLate) == []


@pytest.mark.thorough
def test_a_lost_connection_costs_nothing(server: tuple[Engine, Database]) -> None:
    engine, database = server
    write(engine, 1)
    with reading(database) as reader:
        assert eventually(lambda: reader.rows == ["1"])
        for number in (2, 3, 4):
            end_other_sessions(engine)
            write(engine, number)
            assert eventually(lambda: reader.rows[-1:] == [str(number)])  # noqa: B023  # called at once
            assert eventually(lambda: len(reader.has_told(Back)) >= number - 1)  # noqa: B023

    assert reader.rows == ["1", "2", "3", "4"]
    assert len(reader.has_told(Lost)) >= 3


@pytest.mark.thorough
def test_what_comes_begins_before_all_that_is_still_open(server: tuple[Engine, Database]) -> None:
    engine, database = server
    write(engine, 1)
    roll_back(engine, 8)
    with engine.connect() as slow:
        slow.execute(text("INSERT INTO item VALUES (2, 0)"))
        write(engine, 3)
        place = certain_place(database)
        with reading(database, place) as reader:
            time.sleep(0.3)
            before = list(reader.rows)
            slow.commit()
            assert eventually(lambda: len(reader.rows) == 2)

    assert place.log_id == 1
    assert before == []
    assert reader.rows == ["2", "3"]


@pytest.mark.thorough
def test_what_comes_begins_at_the_end_where_nobody_writes(each_database: tuple[Engine, Database]) -> None:
    engine, database = each_database
    for number in (1, 2):
        write(engine, number)
        roll_back(engine, 8)

    place = certain_place(database)

    write(engine, 3)
    with reading(database, place) as reader:
        assert eventually(lambda: reader.rows == ["3"])


def _place(database: Database, boundary: int) -> Place:
    with database.log() as reader:
        return place_after(reader, boundary)
