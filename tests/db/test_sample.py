"""The sample database is Chinook, row by row, and its story is the same every time."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from auditcli import ChangeLog
from auditcli.errors import UsageError
from auditcli.sample import Story, build_sample, sample_module

END = datetime(2026, 3, 16, 15, 0, tzinfo=UTC)
CHECKOUT = Path(__file__).parents[2]
ROWS = {
    "Album": 347,
    "Artist": 275,
    "Customer": 59,
    "Employee": 8,
    "Genre": 25,
    "Invoice": 412,
    "InvoiceLine": 2240,
    "MediaType": 5,
    "Playlist": 18,
    "PlaylistTrack": 8715,
    "Track": 3503,
}

models = sample_module("models")
build = sample_module("build").build
play = sample_module("story").play


def sqlite_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def enforce_foreign_keys(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Engine]:
    """The store before anything happened."""
    engine = sqlite_engine(tmp_path / "shop.db")
    build(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story]:
    """The store with its story played and recorded; tests only read it."""
    path = tmp_path_factory.mktemp("sample") / "demo.db"
    return path, build_sample(path, end=END)


@pytest.fixture
def story(demo: tuple[Path, Story]) -> Story:
    return demo[1]


@pytest.fixture
def session(demo: tuple[Path, Story]) -> Iterator[Session]:
    engine = sqlite_engine(demo[0])
    with Session(engine) as session:
        yield session
    engine.dispose()


# --- the rows


def test_the_sample_has_every_row_of_chinook(shop: Engine) -> None:
    with shop.connect() as connection:
        counts = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in models.Base.metadata.tables.values()
        }

    assert counts == ROWS
    assert sum(ROWS.values()) == 15_607


def test_building_twice_gives_the_same_database(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        engine = sqlite_engine(tmp_path / name)
        build(engine)
        engine.dispose()

    assert dump(tmp_path / "one.db") == dump(tmp_path / "two.db")


def test_no_foreign_key_is_broken_after_building(shop: Engine) -> None:
    with shop.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_null_comes_through_as_null_and_not_as_a_word(shop: Engine) -> None:
    with Session(shop) as session:
        stateless = session.scalar(select(func.count()).where(models.Customer.state.is_(None)))
        marks = session.scalar(select(func.count()).where(models.Track.composer == r"\N"))

    assert stateless == 29
    assert marks == 0


def test_a_space_at_the_end_of_a_text_is_kept(shop: Engine) -> None:
    with Session(shop) as session:
        assert session.get_one(models.Customer, 54).city == "Edinburgh "


def test_a_used_database_is_refused_and_left_as_it_was(shop: Engine, tmp_path: Path) -> None:
    untouched = dump(tmp_path / "shop.db")

    with pytest.raises(UsageError, match="already has a table Album"):
        build(shop)

    assert dump(tmp_path / "shop.db") == untouched


def test_a_build_that_fails_leaves_no_table(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "shop.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW Track AS SELECT 1 AS TrackId"))

    with pytest.raises(OperationalError, match='"Track" already exists'):
        build(engine)

    with engine.connect() as connection:
        assert connection.scalars(text("SELECT name FROM sqlite_master")).all() == ["Track"]
    engine.dispose()


def test_generated_keys_start_behind_the_rows_that_come_with_the_sample(shop: Engine) -> None:
    with shop.connect() as connection:
        for table in models.Base.metadata.tables.values():
            key = table.autoincrement_column
            if key is not None:
                assert key.identity.start == connection.scalars(select(func.max(key))).one() + 1, table.name


# --- the models


@pytest.mark.parametrize("price", ["0.99", "0.10", "99.00", "0.00", "-1.01", "12345678.99"])
def test_a_price_comes_back_as_the_decimal_that_it_was(shop: Engine, price: str) -> None:
    with Session(shop) as session, session.begin():
        session.get_one(models.Track, 1).unit_price = Decimal(price)

    with Session(shop) as session:
        stored = session.get_one(models.Track, 1).unit_price

    assert isinstance(stored, Decimal)
    assert str(stored) == price


def test_a_price_is_found_by_its_decimal(shop: Engine) -> None:
    with Session(shop) as session:
        count = session.scalar(select(func.count()).where(models.Track.unit_price == Decimal("1.99")))
        total = session.scalar(select(func.sum(models.InvoiceLine.unit_price)))

    assert count == 213
    assert total == Decimal("2328.60")


def test_half_a_cent_is_rounded_up_on_every_database(shop: Engine) -> None:
    with Session(shop) as session, session.begin():
        session.get_one(models.Track, 1).unit_price = Decimal("1.005")

    with Session(shop) as session:
        assert session.get_one(models.Track, 1).unit_price == Decimal("1.01")


def test_a_date_comes_back_as_the_datetime_that_it_was(shop: Engine) -> None:
    moment = datetime(2026, 3, 1, 23, 59, 58)
    with Session(shop) as session, session.begin():
        session.get_one(models.Invoice, 1).invoice_date = moment

    with Session(shop) as session:
        assert session.get_one(models.Invoice, 1).invoice_date == moment
        assert session.get_one(models.Invoice, 2).invoice_date == datetime(2007, 1, 2)


def test_a_date_is_stored_as_chinook_spells_it(shop: Engine) -> None:
    with shop.connect() as connection:
        assert connection.scalar(text('SELECT "InvoiceDate" FROM "Invoice"')) == "2007-01-01 00:00:00"


def test_an_unsold_artist_goes_with_albums_tracks_and_playlist_entries(shop: Engine) -> None:
    with Session(shop) as session, session.begin():
        aisha_duo = session.get_one(models.Artist, 197)
        [album] = aisha_duo.albums
        keys = [track.track_id for track in album.tracks]

        session.delete(aisha_duo)

    with Session(shop) as session:
        entries = select(models.playlist_track).where(models.playlist_track.c.TrackId.in_(keys))
        assert len(keys) == 2
        assert session.get(models.Album, album.album_id) is None
        assert session.scalars(select(models.Track).where(models.Track.track_id.in_(keys))).all() == []
        assert session.execute(entries).all() == []


def test_a_sold_track_cannot_be_deleted(shop: Engine) -> None:
    with Session(shop) as session:
        session.delete(session.get_one(models.Track, 2))

        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            session.flush()


# --- the story


def price_step(change: ChangeLog) -> tuple[float, float]:
    assert change.before is not None
    assert change.after is not None
    return change.before["UnitPrice"], change.after["UnitPrice"]


def changes_by(session: Session, actor: str) -> list[ChangeLog]:
    return list(session.scalars(select(ChangeLog).where(ChangeLog.actor == actor).order_by(ChangeLog.id)))


def by_table_and_event(changes: list[ChangeLog]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for change in changes:
        kind = (change.table_name, change.event_type)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def log_of(path: Path) -> list[Any]:
    """All of the log but the transactions' random ids."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT id, timestamp, actor, table_name, row_id, old_row_id, event_type, before, after FROM changelog"
        ).fetchall()


@pytest.mark.thorough
def test_the_story_writes_the_same_log_every_time(demo: tuple[Path, Story], tmp_path: Path) -> None:
    path, story = demo

    again = build_sample(tmp_path / "again.db", end=END)

    assert again == story
    assert log_of(tmp_path / "again.db") == log_of(path)


@pytest.mark.thorough
def test_another_seed_tells_another_story(shop: Engine, story: Story) -> None:
    other = play(shop, seed=8, end=END)

    assert other != story
    assert other.actors == story.actors


def test_the_story_breaks_no_foreign_key(session: Session) -> None:
    assert session.execute(text("PRAGMA foreign_key_check")).all() == []


def test_the_log_agrees_with_the_rows_that_are_there(session: Session) -> None:
    for table, before in ROWS.items():
        recorded = list(session.scalars(select(ChangeLog.event_type).where(ChangeLog.table_name == table)))
        now = session.scalar(select(func.count()).select_from(models.Base.metadata.tables[table]))

        assert now == before + recorded.count("INSERT") - recorded.count("DELETE"), table


def test_the_story_has_several_actors_all_with_reasons(session: Session, story: Story) -> None:
    actors = session.scalars(select(ChangeLog.actor).distinct().order_by(ChangeLog.actor)).all()
    reasons = session.scalars(text("SELECT reason FROM changelog_transaction")).all()

    assert tuple(actors) == story.actors
    assert len(actors) >= 5
    assert len(reasons) == story.transactions
    assert all(reasons)


def test_sales_carry_a_request_id(session: Session) -> None:
    contexts = session.scalars(
        text(
            "SELECT context FROM changelog_transaction WHERE transaction_id IN "
            "(SELECT transaction_id FROM changelog WHERE actor = 'web-shop')"
        )
    ).all()

    assert len(contexts) > 90
    assert all("request_id" in context for context in contexts)


def test_the_story_fills_the_two_weeks_before_its_end(session: Session, story: Story) -> None:
    times = session.scalars(select(ChangeLog.timestamp).order_by(ChangeLog.id)).all()

    assert times == sorted(times)
    assert (times[0], times[-1]) == (story.started_at, story.ended_at)
    assert END - timedelta(days=14) < times[0] < END - timedelta(days=12)
    assert END - timedelta(hours=1) < times[-1] < END


def test_the_bad_import_is_one_transaction(session: Session, story: Story) -> None:
    changes = changes_by(session, story.import_actor)

    assert len({change.transaction_id for change in changes}) == 1
    assert {change.timestamp for change in changes} == {story.import_at}
    assert story.repriced_tracks > 1000
    assert by_table_and_event(changes) == {
        ("Track", "UPDATE"): story.repriced_tracks + story.orphaned_tracks,
        ("Track", "DELETE"): story.deleted_tracks,
        ("PlaylistTrack", "DELETE"): story.deleted_playlist_entries,
        ("Album", "DELETE"): story.deleted_albums,
        ("Artist", "DELETE"): 1,
    }


def test_the_bad_import_deleted_the_artist_that_the_story_names(session: Session, story: Story) -> None:
    [deleted] = [c for c in changes_by(session, story.import_actor) if c.table_name == "Artist"]

    assert deleted.before == {"ArtistId": story.artist_id, "Name": story.artist}
    assert session.get(models.Artist, story.artist_id) is None


def changes_after_the_import(session: Session, story: Story, track_id: int) -> list[ChangeLog]:
    query = select(ChangeLog).where(
        ChangeLog.table_name == "Track", ChangeLog.row_id == str(track_id), ChangeLog.timestamp > story.import_at
    )
    return list(session.scalars(query))


def test_people_went_on_with_rows_that_the_import_had_changed(session: Session, story: Story) -> None:
    corrected = [changes_after_the_import(session, story, key) for key in story.corrected_track_ids]
    [restored] = changes_after_the_import(session, story, story.restored_track_id)
    respelt = [changes_after_the_import(session, story, key) for key in story.respelt_track_ids]

    assert [price_step(change)[1] for [change] in corrected] == [1.09, 1.09]
    assert price_step(restored)[1] == 0.99
    assert all(price_step(change)[0] == price_step(change)[1] >= 79 for [change] in respelt)
    assert changes_after_the_import(session, story, story.sample_track_id) == []
    assert session.get_one(models.Track, story.sample_track_id).unit_price >= 79


def test_a_corrected_key_is_one_update(session: Session) -> None:
    [change] = session.scalars(select(ChangeLog).where(ChangeLog.old_row_id.is_not(None)))

    assert (change.event_type, change.old_row_id, change.row_id) == ("UPDATE", "2760", "276")


def test_a_declined_order_left_nothing_in_the_log(session: Session) -> None:
    transaction_id = session.scalars(
        text("SELECT transaction_id FROM changelog_transaction WHERE reason = 'checkout, card declined once'")
    ).one()
    changes = list(session.scalars(select(ChangeLog).where(ChangeLog.transaction_id == transaction_id)))

    assert by_table_and_event(changes) == {
        ("Customer", "UPDATE"): 1,
        ("Invoice", "INSERT"): 1,
        ("InvoiceLine", "INSERT"): 3,
    }


def test_the_playlist_was_edited_through_its_many_to_many_table(session: Session, story: Story) -> None:
    changes = [change for change in changes_by(session, "margaret") if change.table_name == "PlaylistTrack"]

    assert {change.event_type for change in changes} == {"INSERT", "DELETE"}
    assert {(change.after or change.before or {})["PlaylistId"] for change in changes} == {story.playlist_id}


def test_the_overcharged_order_was_cancelled_with_its_lines(session: Session, story: Story) -> None:
    events = session.scalars(
        select(ChangeLog.event_type)
        .where(ChangeLog.table_name == "Invoice", ChangeLog.row_id == str(story.overcharged_order))
        .order_by(ChangeLog.id)
    ).all()
    lines = select(models.InvoiceLine).where(models.InvoiceLine.invoice_id == story.overcharged_order)

    assert events == ["INSERT", "DELETE"]
    assert session.scalars(lines).all() == []


# --- the file


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    path.write_text("mine")

    with pytest.raises(UsageError, match=r"demo\.db exists already") as refusal:
        build_sample(path, end=END)

    assert refusal.value.hint
    assert path.read_text() == "mine"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        build_sample(tmp_path / "nowhere" / "demo.db", end=END)


def test_a_sample_that_could_not_be_finished_leaves_no_file(tmp_path: Path) -> None:
    before_all_calendars = datetime.min.replace(tzinfo=UTC)

    with pytest.raises(OverflowError):
        build_sample(tmp_path / "demo.db", end=before_all_calendars)

    assert list(tmp_path.iterdir()) == []


def test_nothing_lies_beside_the_finished_file(demo: tuple[Path, Story]) -> None:
    assert [path.name for path in demo[0].parent.iterdir()] == ["demo.db"]


# --- where it lies


def test_the_sample_loads_from_inside_an_installed_package(tmp_path: Path) -> None:
    without_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "auditcli", tmp_path / "auditcli", ignore=without_bytecode)
    shutil.copytree(CHECKOUT / "sample_db", tmp_path / "auditcli" / "sample_db", ignore=without_bytecode)
    code = "from auditcli.sample import sample_module; print(sample_module('story').__file__)"

    completed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert Path(completed.stdout.strip()) == tmp_path / "auditcli" / "sample_db" / "story.py"


def test_the_build_script_runs_from_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "sample_db.build", f"sqlite:///{tmp_path / 'shop.db'}"]

    subprocess.run(command, cwd=CHECKOUT, check=True)

    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        assert connection.execute('SELECT count(*) FROM "Track"').fetchone() == (3503,)


def test_the_build_script_names_what_it_can_not_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sample_db.build", f"sqlite:///{tmp_path / 'nowhere' / 'shop.db'}"]

    completed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert completed.returncode == 4
    assert completed.stderr == "can't build the sample there: unable to open database file\n"
