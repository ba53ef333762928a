"""Two weeks at the music store: sales, corrections, one bad import at night, and what people did about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Engine, delete, event, func, select, update
from sqlalchemy.orm import Session, sessionmaker

import auditcli
from auditcli.dialects import dialect_named
from auditcli.sample import Story

from .models import Album, Artist, Customer, Employee, Genre, Invoice, InvoiceLine, Playlist, Track, playlist_track

DAYS = 14
IMPORTED_GENRE = "Rock"
DELETED_ARTIST = "Van Halen"
_LIST_PRICES_IN_CENTS = (79, 89, 99, 109, 129)
_HIGHEST_PLAUSIBLE_PRICE = Decimal("10.00")
_DRIVING_SONGS = ("Highway Star", "Panama", "Runnin' With The Devil", "Right Now", "Dreams", "Born To Run", "Go Down")
_LAST_ORDERS = (52, 31, 17, 6)
"""Minutes before the story's end."""


@dataclass
class StoryClock:
    """The time of the story; it stands still within a transaction."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Notes:
    """What a later scene, or whoever tells the story, has to know of an earlier one."""

    facts: dict[str, Any] = field(default_factory=dict)
    repriced: list[int] = field(default_factory=list)
    """Tracks that the import left there at its own price."""


Act: TypeAlias = Callable[["Stage"], None]


@dataclass(frozen=True)
class Scene:
    """One transaction: when, by whom, why, and what it does."""

    at: datetime
    actor: str
    reason: str
    act: Act
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """What a scene acts with: one transaction, why it is there, and the story's dice."""

    session: Session
    scene: Scene
    dice: Random
    notes: Notes


def play(engine: Engine, *, seed: int = 7, end: datetime) -> Story:
    """Play the two weeks before `end` on a freshly built sample and record them; the same seed writes the same log."""
    clock = StoryClock(end)
    sessions = sessionmaker(engine)
    auditcli.track(sessions, create=True, clock=clock)
    with _foreign_keys_enforced(engine):
        return tell(sessions, clock, seed=seed, end=end)


def tell(sessions: sessionmaker[Session], clock: StoryClock, *, seed: int, end: datetime) -> Story:
    """Play the story through a sessionmaker, tracked or not, moving the clock from scene to scene."""
    dice = Random(seed)
    scenes = schedule(end.astimezone(UTC), dice)
    notes = Notes()
    for scene in scenes:
        clock.now = scene.at
        with auditcli.context(actor=scene.actor, reason=scene.reason, **scene.more), sessions.begin() as session:
            scene.act(Stage(session, scene, dice, notes))
    return Story(
        started_at=scenes[0].at,
        ended_at=scenes[-1].at,
        actors=tuple(sorted({scene.actor for scene in scenes})),
        transactions=len(scenes),
        **notes.facts,
    )


@contextmanager
def _foreign_keys_enforced(engine: Engine) -> Iterator[None]:
    """Let no connection used meanwhile break a foreign key, however the engine was made."""
    sql = dialect_named(engine.dialect.name).enforce_foreign_keys_sql
    if sql is None:
        yield
        return

    def enforce(connection: Any, *_: object) -> None:
        connection.cursor().execute(sql)

    event.listen(engine, "checkout", enforce)
    try:
        yield
    finally:
        event.remove(engine, "checkout", enforce)


# --- who does what, and when


def schedule(end: datetime, dice: Random) -> list[Scene]:
    """All scenes in order of time."""

    def at(days_before: int, hour: int, minute: int) -> datetime:
        moment = datetime.combine(end.date() - timedelta(days_before), time(hour, minute), UTC)
        return moment + timedelta(seconds=dice.randrange(60), microseconds=dice.randrange(1_000_000))

    scenes = [
        Scene(at(13, 9, 12), "nancy", "ticket 4101: The Office at 1.79", _reprice("The Office, Season 1", "1.79")),
        Scene(at(12, 14, 20), "jane", "ticket 4108: address corrected on the phone", _correct_address),
        Scene(at(11, 11, 3), "laura", "catalogue clean-up: misspelt artists", _correct_artist_names),
        Scene(at(10, 16, 45), "margaret", "newsletter: driving songs", _fill_playlist),
        Scene(at(9, 10, 30), "laura", "ticket 4115: new label", _add_artist_under_wrong_key),
        Scene(at(9, 10, 36), "laura", "ticket 4115: wrong key typed", _correct_artist_key),
        Scene(at(9, 10, 58), "laura", "ticket 4115: new label", _add_album),
        Scene(at(8, 19, 30), "web-shop", "checkout, card declined once", _sell_at_second_attempt, _request(dice)),
        Scene(at(7, 8, 0), "nancy", "ticket 4120: jazz week", _reprice("Morning Dance", "0.79")),
        Scene(at(6, 15, 10), "robert", "Steve on leave: his US customers to Margaret", _hand_over_customers),
        Scene(at(5, 13, 25), "robert", "ticket 4126: empty duplicates", _delete_empty_playlists),
        Scene(at(4, 9, 40), "nancy", "jazz week is over", _reprice("Morning Dance", "0.99")),
        Scene(at(3, 12, 15), "margaret", "ticket 4138: ordered twice by mistake", _cancel_an_order),
        Scene(
            at(2, 2, 14), "import-job", f"supplier price list {end:%Y-%m}", _import_price_list, {"job": "nightly-87"}
        ),
        Scene(at(2, 2, 41), "web-shop", "checkout", _sell_at_imported_prices, _request(dice)),
        Scene(at(2, 7, 30), "web-shop", "checkout", _sell, _request(dice)),
        Scene(at(2, 9, 50), "margaret", "ticket 4150: charged a fortune for two songs", _cancel_overcharged_order),
        Scene(at(2, 10, 15), "nancy", "ticket 4150: prices of those songs", _correct_prices),
        Scene(at(1, 11, 20), "laura", "catalogue clean-up: Dirkschneider", _correct_composer),
        Scene(at(1, 16, 5), "margaret", "newsletter: driving songs, part 2", _change_playlist),
        Scene(at(1, 17, 45), "web-shop", "sign-up", _sign_up, _request(dice)),
    ]
    times = [at(day, dice.randrange(6, 23), dice.randrange(60)) for day in range(1, DAYS) for _ in range(7)]
    times += [end - timedelta(minutes=minutes, seconds=dice.randrange(60)) for minutes in _LAST_ORDERS]
    scenes += [Scene(moment, "web-shop", "checkout", _sell, _request(dice)) for moment in times]
    return sorted(scenes, key=lambda scene: scene.at)


def _request(dice: Random) -> dict[str, str]:
    return {"request_id": f"req-{dice.getrandbits(32):08x}"}


# --- the web shop


def _sell(stage: Stage) -> None:
    customer = _some(stage, Customer.customer_id)
    tracks = _tracks_on_offer(stage, count=stage.dice.randrange(1, 8))
    _order(stage, stage.session.get_one(Customer, customer), tracks)


def _sell_at_second_attempt(stage: Stage) -> None:
    customer = stage.session.get_one(Customer, 31)
    tracks = _tracks_on_offer(stage, count=3)
    customer.phone = "+1 (902) 450-0451"
    stage.session.flush()
    with stage.session.begin_nested() as declined:
        _order(stage, customer, tracks)
        declined.rollback()
    with stage.session.begin_nested():
        _order(stage, customer, tracks)


def _sell_at_imported_prices(stage: Stage) -> None:
    chosen = sorted(stage.dice.sample(stage.notes.repriced[10:-10], 2))
    order = _order(stage, stage.session.get_one(Customer, 44), _tracks(stage, Track.track_id.in_(chosen)))
    stage.notes.facts |= {"overcharged_order": order.invoice_id, "corrected_track_ids": tuple(chosen)}


def _sign_up(stage: Stage) -> None:
    stage.session.add(
        Customer(
            first_name="Ingrid",
            last_name="Solberg",
            address="Bryggen 14",
            city="Bergen",
            country="Norway",
            postal_code="5003",
            email="ingrid.solberg@example.com",
            support_rep_id=3,
        )
    )


def _order(stage: Stage, customer: Customer, tracks: Sequence[Track]) -> Invoice:
    invoice = Invoice(
        customer=customer,
        invoice_date=stage.scene.at.replace(microsecond=0, tzinfo=None),
        billing_address=customer.address,
        billing_city=customer.city,
        billing_state=customer.state,
        billing_country=customer.country,
        billing_postal_code=customer.postal_code,
        total=sum((track.unit_price for track in tracks), Decimal(0)),
        lines=[InvoiceLine(track=track, unit_price=track.unit_price, quantity=1) for track in tracks],
    )
    stage.session.add(invoice)
    stage.session.flush()
    return invoice


def _tracks_on_offer(stage: Stage, *, count: int) -> list[Track]:
    """Some tracks that anybody would buy at their price."""
    query = select(Track.track_id).where(Track.unit_price < _HIGHEST_PLAUSIBLE_PRICE).order_by(Track.track_id)
    chosen = stage.dice.sample(stage.session.scalars(query).all(), count)
    return _tracks(stage, Track.track_id.in_(chosen))


def _tracks(stage: Stage, condition: ColumnElement[bool]) -> list[Track]:
    return list(stage.session.scalars(select(Track).where(condition).order_by(Track.track_id)))


def _some(stage: Stage, key: Any) -> int:
    keys: Sequence[int] = stage.session.scalars(select(key).order_by(key)).all()
    return stage.dice.choice(keys)


# --- the people


def _reprice(album_title: str, price: str) -> Act:
    def reprice(stage: Stage) -> None:
        album = stage.session.scalars(select(Album).where(Album.title == album_title)).one()
        for track in album.tracks:
            track.unit_price = Decimal(price)

    return reprice


def _correct_address(stage: Stage) -> None:
    customer = stage.session.get_one(Customer, 55)
    customer.address = "421 Bourke Street, Surry Hills"
    customer.city = "Sydney"
    stage.notes.facts["customer_id"] = customer.customer_id


def _correct_artist_names(stage: Stage) -> None:
    stage.session.get_one(Artist, 73).name = "Vinícius E Quarteto Em Cy"
    stage.session.get_one(Artist, 122).name = "R.E.M. Feat. Kate Pierson"


def _correct_composer(stage: Stage) -> None:
    tracks = _tracks(stage, Track.composer.contains("Dirkscneider"))
    for track in tracks:
        track.composer = str(track.composer).replace("Dirkscneider", "Dirkschneider")
    stage.notes.facts["respelt_track_ids"] = tuple(track.track_id for track in tracks)


def _fill_playlist(stage: Stage) -> None:
    playlist = stage.session.get_one(Playlist, 18)
    playlist.tracks.clear()
    stage.session.flush()
    playlist.tracks.extend(_tracks(stage, Track.name.in_(_DRIVING_SONGS)))
    stage.notes.facts["playlist_id"] = playlist.playlist_id


def _change_playlist(stage: Stage) -> None:
    playlist = stage.session.get_one(Playlist, 18)
    playlist.tracks.pop()
    playlist.tracks.extend(_tracks(stage, Track.name == "Overdose"))


def _add_artist_under_wrong_key(stage: Stage) -> None:
    stage.session.add(Artist(artist_id=2760, name="The Night Shift"))


def _correct_artist_key(stage: Stage) -> None:
    stage.session.get_one(Artist, 2760).artist_id = 276


def _add_album(stage: Stage) -> None:
    genre = stage.session.scalars(select(Genre).where(Genre.name == "Alternative")).one()
    titles = ("Snow on the Ring Road", "Last Bus", "Counting Pylons", "Half Past Four")
    songs = [
        Track(name=title, media_type_id=2, genre=genre, milliseconds=milliseconds, unit_price=Decimal("0.99"))
        for title, milliseconds in zip(titles, (214_000, 187_500, 263_200, 301_750), strict=True)
    ]
    stage.session.add(Album(title="Long Winter", artist_id=276, tracks=songs))


def _hand_over_customers(stage: Stage) -> None:
    steve, margaret = (
        stage.session.scalars(select(Employee.employee_id).where(Employee.first_name == name)).one()
        for name in ("Steve", "Margaret")
    )
    stage.session.execute(
        update(Customer)
        .where(Customer.support_rep_id == steve, Customer.country == "USA")
        .values(support_rep_id=margaret)
    )


def _delete_empty_playlists(stage: Stage) -> None:
    for key in (6, 7):
        stage.session.delete(stage.session.get_one(Playlist, key))


def _cancel_an_order(stage: Stage) -> None:
    # Not the newest one: SQLite would give its key to the next order.
    newest_but_one = select(Invoice).order_by(Invoice.invoice_id.desc()).offset(1).limit(1)
    stage.session.delete(stage.session.scalars(newest_but_one).one())


def _cancel_overcharged_order(stage: Stage) -> None:
    stage.session.delete(stage.session.get_one(Invoice, stage.notes.facts["overcharged_order"]))


def _correct_prices(stage: Stage) -> None:
    """A new price for the songs that were complained about, the old one for their neighbour."""
    corrected = stage.notes.facts["corrected_track_ids"]
    for track in _tracks(stage, Track.track_id.in_(corrected)):
        track.unit_price = Decimal("1.09")
    stage.session.flush()
    neighbour = next(key for key in stage.notes.repriced if key > corrected[0] and key not in corrected)
    stage.session.get_one(Track, neighbour).unit_price = Decimal("0.99")
    stage.notes.facts["restored_track_id"] = neighbour


# --- the bad import


def _import_price_list(stage: Stage) -> None:
    """Take a list in cents for one in dollars, and an artist that it leaves out for one that is gone."""
    tracks = _tracks(stage, Track.genre.has(Genre.name == IMPORTED_GENRE))
    for track in tracks:
        track.unit_price = Decimal(stage.dice.choice(_LIST_PRICES_IN_CENTS))
    stage.session.flush()
    gone = _delete_artist(stage)
    stage.notes.repriced = [track.track_id for track in tracks if track.track_id not in gone]
    stage.notes.facts |= {
        "import_actor": stage.scene.actor,
        "import_reason": stage.scene.reason,
        "import_at": stage.scene.at,
        "repriced_tracks": len(tracks),
        "sample_track_id": stage.notes.repriced[0],
    }


def _delete_artist(stage: Stage) -> set[int]:
    """Delete the artist and all that goes with it; tracks that were sold only lose their album."""
    artist = stage.session.scalars(select(Artist).where(Artist.name == DELETED_ARTIST)).one()
    tracks = [track for album in artist.albums for track in album.tracks]
    sold = set(stage.session.scalars(select(InvoiceLine.track_id)))
    unsold = {track.track_id for track in tracks} - sold
    stage.notes.facts |= {
        "artist": artist.name,
        "artist_id": artist.artist_id,
        "deleted_albums": len(artist.albums),
        "deleted_tracks": len(unsold),
        "deleted_playlist_entries": _playlist_entries(stage, unsold),
        "orphaned_tracks": len(tracks) - len(unsold),
    }
    for track in tracks:
        if track.track_id in sold:
            track.album = None
    stage.session.flush()
    stage.session.execute(delete(playlist_track).where(playlist_track.c.TrackId.in_(sorted(unsold))))
    stage.session.delete(artist)
    stage.session.flush()
    return {track.track_id for track in tracks}


def _playlist_entries(stage: Stage, track_ids: set[int]) -> int:
    query = select(func.count()).select_from(playlist_track).where(playlist_track.c.TrackId.in_(sorted(track_ids)))
    return stage.session.scalars(query).one()
