"""No space is left on a small disk: nothing is half done, and what happened is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, NullPool, create_engine, insert
from sqlalchemy.exc import OperationalError

import auditcli
from auditcli.driver import define
from auditcli.errors import ExitCode
from tests.cli.shop import Ran
from tests.databases import scratch_url
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]

SIZE = "24m"
ROWS = 1500
ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER, note VARCHAR(200))"


@dataclass(frozen=True)
class SmallDisk:
    """A file system that a test can fill."""

    path: Path

    def fill(self) -> None:
        """Leave no room."""
        with (self.path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """Make room again."""
        (self.path / "filler").unlink()


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    # Not in the folder of the test, into which nobody else may look, servers least of all.
    path = Path(tempfile.mkdtemp(prefix="auditcli-small-"))
    _system("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        _system("umount", "--lazy", str(path))
        path.rmdir()


def _system(program: str, *words: str) -> None:
    subprocess.run([str(shutil.which(program)), *words], check=True)


def check_full(ran: Ran) -> None:
    assert ran.code == ExitCode.FAILURE, ran.err
    assert any(word in ran.error for word in ("full", "No space left")), ran.err
    assert any(word in ran.hint for word in ("space", "mend that")), ran.err


def watched_items(engine: Engine) -> Watched:
    """Rows that were all changed once."""
    watched = Watched(engine, ITEM)
    watched.write(f"INSERT INTO item VALUES {', '.join(f'''({key}, 1, '{'x' * 100}')''' for key in range(ROWS))}")
    watched.write("UPDATE item SET price = 2")
    return watched


# On SQLite


@pytest.fixture
def store(disk: SmallDisk) -> Iterator[Watched]:
    engine = create_engine(URL.create("sqlite", database=str(disk.path / "app.db")), poolclass=NullPool)
    yield watched_items(engine)
    engine.dispose()


def dump(store: Watched) -> list[str]:
    """All that the database holds."""
    with closing(sqlite3.connect(str(store.engine.url.database))) as connection:
        return list(connection.iterdump())


UNDO = f"undo --since {ROWS} --confirm {ROWS}"
COMMANDS = {
    "undo": UNDO,
    "undo --save": f"undo --since {ROWS} --save {{disk}}/plan.jsonl",
    "mark": "mark here",
    "pause": "pause item --reason load",
    "init --remove": "init --remove",
    "export": "export {disk}/changes.jsonl",
    "export csv": "export {disk}/changes.csv --manifest",
    "at --to": f"at {ROWS} --to {{disk}}/then.db --yes",
}


@pytest.mark.parametrize("how", COMMANDS)
def test_a_command_changes_nothing_and_goes_through_when_there_is_room(
    store: Watched, disk: SmallDisk, run: Audit, how: str
) -> None:
    words = ("-u", str(store.engine.url.database), *COMMANDS[how].format(disk=disk.path).split())
    before, files = dump(store), sorted(disk.path.iterdir())
    disk.fill()

    check_full(run(*words))

    assert dump(store) == before
    disk.free()
    assert [path for path in sorted(disk.path.iterdir()) if path.stat().st_size] == files
    assert run(*words).code == 0


def test_a_replay_goes_on(store: Watched, disk: SmallDisk, run: Audit) -> None:
    from_here = ("-u", str(store.engine.url.database))
    words = (*from_here, "replay", "--to", str(disk.path / "copy.db"), "--create-tables", "--yes")
    disk.fill()

    check_full(run(*words))

    disk.free()
    assert run(*words).code == 0
    assert run(*from_here, "verify", "--against", str(disk.path / "copy.db")).code == 0


def test_a_tracked_application_gets_the_databases_error_and_no_record(store: Watched, disk: SmallDisk) -> None:
    before = dump(store)
    item = store.table("item")
    auditcli.track(store.engine)
    disk.fill()

    with pytest.raises(OperationalError, match="disk is full"), store.engine.begin() as connection:
        connection.execute(insert(item), [{"id": key, "price": 1, "note": "y" * 200} for key in range(5000, 9000)])

    auditcli.untrack(store.engine)
    disk.free()
    assert dump(store) == before


# On servers


@pytest.fixture(params=["postgresql 18", "own mariadb"])
def served(request: pytest.FixtureRequest, disk: SmallDisk, tmp_path: Path) -> Iterator[Watched]:
    """A database whose files are on the small disk, of a server whose own are not."""
    with scratch_url(request.param, tmp_path) as url:
        move = _move_postgresql if url.get_backend_name() == "postgresql" else _move_mariadb
        bring_back = move(url, disk.path)
        engine = create_engine(url, poolclass=NullPool)
        yield watched_items(engine)
        bring_back()


def _move_postgresql(url: URL, folder: Path) -> Callable[[], None]:
    place = folder / "data"
    place.mkdir()
    shutil.chown(place, "nobody")
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def administer(*statements: str) -> None:
        with admin.connect() as connection:
            for statement in statements:
                define(connection, statement)

    administer(f"CREATE TABLESPACE small LOCATION '{place}'", f'ALTER DATABASE "{url.database}" SET TABLESPACE small')
    return lambda: administer(
        f'ALTER DATABASE "{url.database}" SET TABLESPACE pg_default', "CHECKPOINT", "DROP TABLESPACE small"
    )


def _move_mariadb(url: URL, folder: Path) -> Callable[[], None]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        data = Path(str(connection.exec_driver_sql("SELECT @@datadir").scalar_one()), str(url.database))
    data.rename(data.with_suffix(".away"))
    place = folder / "data"
    place.mkdir()
    for each in data.with_suffix(".away").iterdir():
        (place / each.name).write_bytes(each.read_bytes())
        each.unlink()
    data.with_suffix(".away").rmdir()
    data.symlink_to(place)
    return lambda: None


def test_a_server_without_room_is_left_as_it_was(served: Watched, disk: SmallDisk, run: Audit) -> None:
    words = ("-u", served.engine.url.render_as_string(hide_password=False))
    known = served.events()
    disk.fill()

    check_full(run(*words, *UNDO.split()))

    assert served.events() == known
    assert served.query("SELECT DISTINCT price FROM item") == [(2,)]
    disk.free()
    assert run(*words, *UNDO.split()).code == 0
    assert served.query("SELECT DISTINCT price FROM item") == [(1,)]
    assert run(*words, "verify").code == 0
