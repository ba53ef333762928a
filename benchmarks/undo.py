"""Undo of many updates, against the same by hand: guarded SQL, SQLite's session extension, and the way of E-Maj.

`python -m benchmarks.undo [ROWS] [ROUNDS]` measures this alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url, text

import auditcli
from auditcli.apply import apply_plan
from auditcli.capture.context import context
from auditcli.connect import Database
from auditcli.undo import plan_undo
from benchmarks.emaj import EMajWay
from benchmarks.places import CREATE, fill, opened, places, title
from benchmarks.rounds import HEADER, Ratio, ratio_of, seconds
from benchmarks.sizes import sized

ROWS = sized(100_000, 2_000)
_SIZES = sized((10_000, 100_000, 300_000), (1_000, 2_000))

_BY_HAND = {
    "sqlite": (
        "UPDATE item SET price = json_extract(l.before, '$.price') FROM changelog AS l WHERE l.transaction_id = '{}' "
        "AND item.id = CAST(l.row_id AS INTEGER) AND item.price IS json_extract(l.after, '$.price')"
    ),
    "postgresql": (
        "UPDATE item SET price = CAST(CAST(l.before AS json) ->> 'price' AS integer) FROM changelog AS l "
        "WHERE l.transaction_id = '{}' AND item.id = CAST(l.row_id AS integer) "
        "AND CAST(item.price AS text) IS NOT DISTINCT FROM CAST(l.after AS json) ->> 'price'"
    ),
    # A statement must not read the log that its triggers write.
    "mysql": (
        "CREATE OR REPLACE TEMPORARY TABLE wanted (id INTEGER PRIMARY KEY) SELECT CAST(row_id AS INTEGER) AS id, "
        "JSON_VALUE(`before`, '$.price') AS target, JSON_VALUE(`after`, '$.price') AS expected FROM changelog "
        "WHERE transaction_id = '{}';"
        "UPDATE item JOIN wanted USING (id) SET price = target WHERE price <=> expected"
    ),
}


def undo_rows(rounds: int, rows: int = ROWS, sizes: tuple[int, ...] = _SIZES) -> Iterator[Ratio]:
    """On each database that is found: the undo of one UPDATE of all rows, planned and applied; then its memory."""
    for place in places():
        with place as database:
            if database is not None:
                fill(database, rows)
                yield from _against(database, rows, max(1, rounds // 3))
    for place in places():
        with place as database:
            if database is not None:
                yield from _memory(database, sizes)


def _against(database: Database, rows: int, rounds: int) -> Iterator[Ratio]:
    many = f"{title(database)}: undo of {rows:,} updates"
    by_hand = partial(_by_hand, database, rows)
    yield _measured(f"{many} / guarded SQL by hand", partial(undone, database), by_hand, database, rounds, 3)
    if database.dialect.name == "sqlite" and find_spec("apsw") is not None:
        session = partial(_session_seconds, rows)
        yield _ratio(f"{many} / session extension (C)", database, session, rounds, 10)
    if database.dialect.name == "postgresql":
        emaj = EMajWay(database.engine, rows)
        yield _ratio(f"{many} / the way of E-Maj", database, emaj.rolled_back_seconds, rounds, 1.5)


def _measured(
    name: str,
    ours: Callable[[str], object],
    theirs: Callable[[str], object],
    database: Database,
    rounds: int,
    bar: float,
) -> Ratio:
    """Both take the same kind of update back, in turn; the update itself is not counted."""

    def timed(run: Callable[[str], object]) -> float:
        transaction = bad_update(database)
        return seconds(lambda: run(transaction))

    pairs = [(timed(theirs), timed(ours)) for _ in range(rounds)]
    return ratio_of(name, pairs, bar=bar)


def _ratio(name: str, database: Database, theirs: Callable[[], float], rounds: int, bar: float) -> Ratio:
    def ours() -> float:
        transaction = bad_update(database)
        return seconds(lambda: undone(database, transaction))

    return ratio_of(name, [(theirs(), ours()) for _ in range(rounds)], bar=bar)


def bad_update(database: Database, where: str = "1 = 1") -> str:
    """Change a column of all rows, or of some, as a tracked application does; returns the transaction."""
    application = create_engine(database.engine.url)
    auditcli.track(application)
    with application.begin() as connection:
        connection.execute(text(f"UPDATE item SET price = price + 1 WHERE {where}"))
    application.dispose()
    with database.log() as reader:
        return str(reader.change(reader.last_id()).transaction_id)


def undone(database: Database, transaction: str) -> int:
    """Take a transaction back; returns how many rows that wrote."""
    with database.engine.connect() as connection:
        plan = plan_undo(connection, database.tables, transaction=transaction)
    with context(actor="bench"):
        outcome = apply_plan(database.engine, plan, tables=database.tables)
    return outcome.rows


def _by_hand(database: Database, rows: int, transaction: str) -> None:
    with database.engine.begin() as connection:
        for statement in _BY_HAND[database.dialect.name].format(transaction).split(";"):
            done = connection.exec_driver_sql(statement).rowcount
    if done != rows:
        raise AssertionError(f"{done} of {rows} rows")


def _session_seconds(rows: int) -> float:
    """Applying the inverted changeset of an update of so many rows; recording and inverting it are not counted."""
    import apsw

    with closing(apsw.Connection("")) as connection:
        connection.execute(CREATE)
        with connection:
            values = ((n, f"Track {n}", n % 347, n % 25, "Angus Young, Malcolm Young", n, n, 99) for n in range(rows))
            connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        session = apsw.Session(connection, "main")
        session.attach("item")
        connection.execute("UPDATE item SET price = price + 1")
        inverted = apsw.Changeset.invert(session.changeset())
        session.close()
        return seconds(lambda: apsw.Changeset.apply(inverted, connection))


# Memory, in a process of its own.


def _memory(database: Database, sizes: tuple[int, ...]) -> Iterator[Ratio]:
    measured: dict[int, float] = {}
    for size in sizes:
        with database.engine.connect() as connection:
            _empty(connection, database)
        fill(database, size)
        transaction = bad_update(database)
        url = database.engine.url.render_as_string(hide_password=False)
        words = [sys.executable, "-m", "benchmarks.undo", "--peak", url, transaction]
        measured[size] = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        of = measured[size] / measured[sizes[0]]
        yield Ratio(f"{title(database)}: MB at the undo of {size:,} / of {sizes[0]:,}", of, of, of, measured[size], 1.5)


def _empty(connection: Connection, database: Database) -> None:
    connection.exec_driver_sql("DROP TABLE IF EXISTS item")
    database.tables.metadata.drop_all(connection)
    connection.commit()


def most_memory() -> float:
    """The most memory that this process ever had, in MB; what `getrusage` tells begins with that of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def peak(url: str, transaction: str) -> float:
    """Take a transaction back, and tell the most memory that this process ever had, in MB."""
    undone(opened(make_url(url)), transaction)
    return most_memory()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(peak(*sys.argv[2:4]))
    else:
        given = [int(word) for word in sys.argv[1:]]
        print(HEADER)
        for ratio in undo_rows(3 * (given[1] if len(given) > 1 else 3), given[0] if given else ROWS):
            print(ratio.row(), flush=True)
