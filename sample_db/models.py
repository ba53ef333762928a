"""The music store's 11 tables, named as in Chinook, with attributes in Python's spelling."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Column, DateTime, Dialect, ForeignKey, Identity, MetaData, Numeric, String, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine

_CENT = Decimal("0.01")
_SQLITE_SECONDS = sqlite.DATETIME(truncate_microseconds=True)  # type: ignore[no-untyped-call]


class Money(TypeDecorator[Decimal]):
    """An amount to the cent, as `NUMERIC(10, 2)`.

    SQLite has no decimals, so there the driver sees a float, whose shortest spelling gives the same cents back.
    """

    impl = Numeric(10, 2)
    cache_ok = True

    @property
    def python_type(self) -> type[Decimal]:
        return Decimal

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.supports_native_decimal:
            return dialect.type_descriptor(Numeric(10, 2))
        return dialect.type_descriptor(Numeric(10, 2, asdecimal=False))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).quantize(_CENT, ROUND_HALF_UP)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(str(value)).quantize(_CENT)


class Base(DeclarativeBase):
    """All tables of the music store."""

    metadata = MetaData(naming_convention={"ix": "IFK_%(table_name)s%(column_0_name)s"})
    type_annotation_map = {  # noqa: RUF012
        Decimal: Money,
        datetime: DateTime().with_variant(_SQLITE_SECONDS, "sqlite"),
    }


def _key(column_name: str, *, next_value: int) -> MappedColumn[int]:
    """Map a generated key; the rows that come with the sample bring theirs, so a sequence starts behind those."""
    return mapped_column(column_name, Identity(start=next_value), primary_key=True)


playlist_track = Table(
    "PlaylistTrack",
    Base.metadata,
    Column("PlaylistId", ForeignKey("Playlist.PlaylistId"), primary_key=True),
    Column("TrackId", ForeignKey("Track.TrackId"), primary_key=True, index=True),
)


class Artist(Base):
    """A band or a person; its albums go with it."""

    __tablename__ = "Artist"

    artist_id: Mapped[int] = _key("ArtistId", next_value=276)
    name: Mapped[str | None] = mapped_column("Name", String(120))

    albums: Mapped[list[Album]] = relationship(
        back_populates="artist", cascade="all, delete-orphan", order_by="Album.album_id"
    )


class Album(Base):
    """A record; its tracks go with it, but a track can also do without an album."""

    __tablename__ = "Album"

    album_id: Mapped[int] = _key("AlbumId", next_value=348)
    title: Mapped[str] = mapped_column("Title", String(160))
    artist_id: Mapped[int] = mapped_column("ArtistId", ForeignKey("Artist.ArtistId"), index=True)

    artist: Mapped[Artist] = relationship(back_populates="albums")
    tracks: Mapped[list[Track]] = relationship(back_populates="album", cascade="all", order_by="Track.track_id")


class Genre(Base):
    """A kind of music or of video."""

    __tablename__ = "Genre"

    genre_id: Mapped[int] = _key("GenreId", next_value=26)
    name: Mapped[str | None] = mapped_column("Name", String(120))

    tracks: Mapped[list[Track]] = relationship(back_populates="genre", order_by="Track.track_id")


class MediaType(Base):
    """A file format; one that tracks use can't be deleted."""

    __tablename__ = "MediaType"

    media_type_id: Mapped[int] = _key("MediaTypeId", next_value=6)
    name: Mapped[str | None] = mapped_column("Name", String(120))

    tracks: Mapped[list[Track]] = relationship(
        back_populates="media_type", passive_deletes="all", order_by="Track.track_id"
    )


class Playlist(Base):
    """A list of tracks."""

    __tablename__ = "Playlist"

    playlist_id: Mapped[int] = _key("PlaylistId", next_value=19)
    name: Mapped[str | None] = mapped_column("Name", String(120))

    tracks: Mapped[list[Track]] = relationship(
        secondary=playlist_track, back_populates="playlists", order_by="Track.track_id"
    )


class Track(Base):
    """A song or an episode; one that was sold can't be deleted."""

    __tablename__ = "Track"

    track_id: Mapped[int] = _key("TrackId", next_value=3504)
    name: Mapped[str] = mapped_column("Name", String(200))
    album_id: Mapped[int | None] = mapped_column("AlbumId", ForeignKey("Album.AlbumId"), index=True)
    media_type_id: Mapped[int] = mapped_column("MediaTypeId", ForeignKey("MediaType.MediaTypeId"))
    genre_id: Mapped[int | None] = mapped_column("GenreId", ForeignKey("Genre.GenreId"))
    composer: Mapped[str | None] = mapped_column("Composer", String(220))
    milliseconds: Mapped[int] = mapped_column("Milliseconds")
    bytes: Mapped[int | None] = mapped_column("Bytes")
    unit_price: Mapped[Decimal] = mapped_column("UnitPrice")

    album: Mapped[Album | None] = relationship(back_populates="tracks")
    media_type: Mapped[MediaType] = relationship(back_populates="tracks")
    genre: Mapped[Genre | None] = relationship(back_populates="tracks")
    playlists: Mapped[list[Playlist]] = relationship(
        secondary=playlist_track, back_populates="tracks", order_by="Playlist.playlist_id"
    )
    invoice_lines: Mapped[list[InvoiceLine]] = relationship(
        back_populates="track", passive_deletes="all", order_by="InvoiceLine.invoice_line_id"
    )


class Employee(Base):
    """Somebody who works for the store."""

    __tablename__ = "Employee"

    employee_id: Mapped[int] = _key("EmployeeId", next_value=9)
    last_name: Mapped[str] = mapped_column("LastName", String(20))
    first_name: Mapped[str] = mapped_column("FirstName", String(20))
    title: Mapped[str | None] = mapped_column("Title", String(30))
    reports_to: Mapped[int | None] = mapped_column("ReportsTo", ForeignKey("Employee.EmployeeId"))
    birth_date: Mapped[datetime | None] = mapped_column("BirthDate")
    hire_date: Mapped[datetime | None] = mapped_column("HireDate")
    address: Mapped[str | None] = mapped_column("Address", String(70))
    city: Mapped[str | None] = mapped_column("City", String(40))
    state: Mapped[str | None] = mapped_column("State", String(40))
    country: Mapped[str | None] = mapped_column("Country", String(40))
    postal_code: Mapped[str | None] = mapped_column("PostalCode", String(10))
    phone: Mapped[str | None] = mapped_column("Phone", String(24))
    fax: Mapped[str | None] = mapped_column("Fax", String(24))
    email: Mapped[str | None] = mapped_column("Email", String(60))

    manager: Mapped[Employee | None] = relationship(back_populates="reports", remote_side=[employee_id])
    reports: Mapped[list[Employee]] = relationship(back_populates="manager", order_by="Employee.employee_id")
    customers: Mapped[list[Customer]] = relationship(back_populates="support_rep", order_by="Customer.customer_id")


class Customer(Base):
    """Somebody who buys music; one with invoices can't be deleted."""

    __tablename__ = "Customer"

    customer_id: Mapped[int] = _key("CustomerId", next_value=60)
    first_name: Mapped[str] = mapped_column("FirstName", String(40))
    last_name: Mapped[str] = mapped_column("LastName", String(20))
    company: Mapped[str | None] = mapped_column("Company", String(80))
    address: Mapped[str | None] = mapped_column("Address", String(70))
    city: Mapped[str | None] = mapped_column("City", String(40))
    state: Mapped[str | None] = mapped_column("State", String(40))
    country: Mapped[str | None] = mapped_column("Country", String(40))
    postal_code: Mapped[str | None] = mapped_column("PostalCode", String(10))
    phone: Mapped[str | None] = mapped_column("Phone", String(24))
    fax: Mapped[str | None] = mapped_column("Fax", String(24))
    email: Mapped[str] = mapped_column("Email", String(60))
    support_rep_id: Mapped[int | None] = mapped_column("SupportRepId", ForeignKey("Employee.EmployeeId"), index=True)

    support_rep: Mapped[Employee | None] = relationship(back_populates="customers")
    invoices: Mapped[list[Invoice]] = relationship(
        back_populates="customer", passive_deletes="all", order_by="Invoice.invoice_id"
    )


class Invoice(Base):
    """One order; its lines go with it."""

    __tablename__ = "Invoice"

    invoice_id: Mapped[int] = _key("InvoiceId", next_value=413)
    customer_id: Mapped[int] = mapped_column("CustomerId", ForeignKey("Customer.CustomerId"), index=True)
    invoice_date: Mapped[datetime] = mapped_column("InvoiceDate")
    billing_address: Mapped[str | None] = mapped_column("BillingAddress", String(70))
    billing_city: Mapped[str | None] = mapped_column("BillingCity", String(40))
    billing_state: Mapped[str | None] = mapped_column("BillingState", String(40))
    billing_country: Mapped[str | None] = mapped_column("BillingCountry", String(40))
    billing_postal_code: Mapped[str | None] = mapped_column("BillingPostalCode", String(10))
    total: Mapped[Decimal] = mapped_column("Total")

    customer: Mapped[Customer] = relationship(back_populates="invoices")
    lines: Mapped[list[InvoiceLine]] = relationship(
        back_populates="invoice", cascade="all, delete-orphan", order_by="InvoiceLine.invoice_line_id"
    )


class InvoiceLine(Base):
    """One track of an order, at the price of that day."""

    __tablename__ = "InvoiceLine"

    invoice_line_id: Mapped[int] = _key("InvoiceLineId", next_value=2241)
    invoice_id: Mapped[int] = mapped_column("InvoiceId", ForeignKey("Invoice.InvoiceId"), index=True)
    track_id: Mapped[int] = mapped_column("TrackId", ForeignKey("Track.TrackId"), index=True)
    unit_price: Mapped[Decimal] = mapped_column("UnitPrice")
    quantity: Mapped[int] = mapped_column("Quantity")

    invoice: Mapped[Invoice] = relationship(back_populates="lines")
    track: Mapped[Track] = relationship(back_populates="invoice_lines")
