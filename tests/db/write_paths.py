"""One small shop on any database, recorded in either way of capture, and the ways in which applications write to it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

import auditcli
from auditcli import codec
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Change, Image, TableName
from auditcli.rows import RowReader


class Base(DeclarativeBase):
    """The shop's tables."""


_FROM_HERE_ON = Identity(start=100_000)
"""Where the database numbers rows by a sequence: past the rows that are given a number."""

article_tag = Table(
    "article_tag",
    Base.metadata,
    Column("article_id", ForeignKey("article.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True),
)


class Maker(Base):
    """A parent whose children go with it, or are left without it."""

    __tablename__ = "maker"

    id: Mapped[int] = mapped_column(_FROM_HERE_ON, primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    articles: Mapped[list[Article]] = relationship(passive_deletes=True, cascade="all, delete-orphan")


class Article(Base):
    """A row with a value of each common type."""

    __tablename__ = "article"
    __table_args__ = (UniqueConstraint("code"),)

    id: Mapped[int] = mapped_column(_FROM_HERE_ON, primary_key=True)
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("maker.id", ondelete="CASCADE"))
    code: Mapped[str | None] = mapped_column(String(20))
    title: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2), server_default=text("1.50"))
    active: Mapped[bool | None] = mapped_column(Boolean)
    made_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tags: Mapped[list[Tag]] = relationship(secondary=article_tag, passive_deletes=True)


ARTICLE = cast("Table", Article.__table__)


class Review(Base):
    """A row that stays when what it refers to goes."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(_FROM_HERE_ON, primary_key=True)
    article_id: Mapped[int | None] = mapped_column(ForeignKey("article.id", ondelete="SET NULL"))
    body: Mapped[str | None] = mapped_column(Text)


REVIEW = cast("Table", Review.__table__)


class Tag(Base):
    """A row whose key is a word."""

    __tablename__ = "tag"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    note: Mapped[str | None] = mapped_column(String(40))


class Partner(Base):
    """The first table of a class that has two."""

    __tablename__ = "partner"

    id: Mapped[int] = mapped_column(_FROM_HERE_ON, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(40))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "partner"}  # noqa: RUF012  # SQLAlchemy's form


class Carrier(Partner):
    """The second table, whose key is the first one's."""

    __tablename__ = "carrier"

    id: Mapped[int] = mapped_column(ForeignKey("partner.id"), primary_key=True)
    fleet: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "carrier"}  # noqa: RUF012


def fill(session: Session) -> None:
    """What is there before anything is recorded."""
    session.add_all([Maker(id=1, name="Acme"), Maker(id=2, name="Bolt")])
    session.add_all([Tag(id="red"), Tag(id="blue", note="n")])
    session.flush()
    for key in range(1, 7):
        session.add(Article(id=key, maker_id=1 + key % 2, code=f"c{key}", title=f"t{key}", price=Decimal(key)))
    session.flush()
    session.execute(insert(article_tag), [{"article_id": 1, "tag_id": "red"}, {"article_id": 2, "tag_id": "blue"}])
    session.add_all([Review(id=1, article_id=1, body="good"), Review(id=2, article_id=2, body="bad")])
    session.add_all([Carrier(id=1, name="Swift", fleet=3), Carrier(id=2, name="Slow", fleet=1)])


def _twice(session: Session) -> None:
    for word in ("once", "twice"):
        session.get_one(Article, 1).title = word
        session.flush()


def _come_and_go(session: Session) -> None:
    tag = Tag(id="gone")
    session.add(tag)
    session.flush()
    session.delete(tag)


def _go_and_come(session: Session) -> None:
    session.delete(session.get_one(Tag, "blue"))
    session.flush()
    session.expunge_all()
    session.add(Tag(id="blue"))


def _returned(rows: Sequence[Any], *wanted: Any) -> None:
    """What the application asked for, and nothing else, is what it gets."""
    assert sorted(rows) == sorted(wanted)


def _tag(article: Article, *tags: Tag) -> None:
    article.tags = list(tags)


WRITES: dict[str, Callable[[Session], Any]] = {
    "orm insert": lambda s: s.add(
        Article(id=50, maker_id=1, code="x", title="café 🎵", photo=b"\x00\xff", active=True)
    ),
    "orm insert of many": lambda s: s.add_all([Article(maker_id=1, code=f"m{n}") for n in range(30)]),
    "orm update": lambda s: setattr(s.get_one(Article, 1), "price", Decimal("2.10")),
    "orm update to null": lambda s: setattr(s.get_one(Article, 1), "title", None),
    "orm update by expression": lambda s: setattr(s.get_one(Article, 1), "revision", Article.revision + 1),
    "orm no-op update": lambda s: setattr(s.get_one(Article, 1), "title", "t1"),
    "orm delete": lambda s: s.delete(s.get_one(Review, 1)),
    "orm delete with cascade in the database": lambda s: s.delete(s.get_one(Maker, 1)),
    "orm key change": lambda s: setattr(s.get_one(Tag, "blue"), "note", "moved"),
    "orm many to many": lambda s: _tag(s.get_one(Article, 3), s.get_one(Tag, "red")),
    "orm many to many removed": lambda s: _tag(s.get_one(Article, 1)),
    "core insert": lambda s: s.execute(
        insert(Article).values(id=60, code="z", made_at=dt.datetime(2026, 1, 2, 3, 4, 5))
    ),
    "core executemany": lambda s: s.execute(insert(Tag), [{"id": "a"}, {"id": "b", "note": None}]),
    "core insert from select": lambda s: s.execute(
        insert(Review).from_select(["id", "body"], select(Article.id + 100, Article.title))
    ),
    "core update": lambda s: s.execute(update(Article).where(Article.id > 2).values(price=Article.price * 2)),
    "core update of all": lambda s: s.execute(update(Article).values(active=False)),
    "core update executemany": lambda s: s.connection().execute(
        update(ARTICLE).where(ARTICLE.c.id == bindparam("k")).values(title=bindparam("t")),
        [{"k": 1, "t": "one"}, {"k": 2, "t": "two"}],
    ),
    "core delete": lambda s: s.execute(delete(Review).where(Review.body == "bad")),
    "core delete with set null": lambda s: s.execute(delete(Article).where(Article.id == 1)),
    "core delete of all": lambda s: s.execute(delete(Maker)),
    "bulk insert": lambda s: s.execute(insert(Article), [{"id": n, "code": f"b{n}"} for n in range(100, 120)]),
    "bulk update by key": lambda s: s.execute(update(Article), [{"id": 1, "title": "x"}, {"id": 2, "title": "y"}]),
    "insert that returns no key": lambda s: _returned(
        s.execute(insert(Review).values(body="new").returning(Review.body)).all(), ("new",)
    ),
    "inserts that return no key": lambda s: _returned(
        s.scalars(insert(Review).returning(Review.body), [{"body": "a"}, {"body": "b"}]).all(), "a", "b"
    ),
    "core inserts that return no key": lambda s: _returned(
        s.connection().execute(insert(REVIEW).returning(REVIEW.c.body), [{"body": "a"}, {"body": "b"}]).all(),
        ("a",),
        ("b",),
    ),
    "bulk insert of a class with two tables": lambda s: s.execute(
        insert(Carrier), [{"name": "new", "fleet": 1}, {"name": "newer", "fleet": None}]
    ),
    "bulk insert of a class with two tables that returns": lambda s: _returned(
        s.execute(insert(Carrier).returning(Carrier.name, Carrier.fleet), [{"name": "a", "fleet": 1}]).all(), ("a", 1)
    ),
    "bulk update of a class with two tables": lambda s: s.execute(
        update(Carrier), [{"id": 1, "name": "S", "fleet": 9}, {"id": 2, "name": "T", "fleet": 8}]
    ),
    "correlated update": lambda s: s.execute(
        update(Article).values(
            revision=select(func.count(Review.id)).where(Review.article_id == Article.id).scalar_subquery()
        )
    ),
    "key change": lambda s: s.execute(update(Review).where(Review.id == 1).values(id=77)),
    "same row twice": _twice,
    "insert and delete": _come_and_go,
    "delete and insert": _go_and_come,
}
"""What applications do, by name; each runs in a transaction of its own."""

PLAIN_WRITES: dict[str, str] = {
    "text insert": "INSERT INTO tag (id, note) VALUES ('plain', 'x')",
    "text update": "UPDATE article SET title = 'plain' WHERE id IN (1, 3)",
    "text delete": "DELETE FROM maker WHERE id = 2",
}
"""What only triggers can follow."""


class Recorded:
    """A database whose shop is recorded, by `listeners` or `triggers`, and what its log says."""

    def __init__(self, engine: Engine, mode: str) -> None:
        self.engine = engine
        self.mode = mode
        self.dialect = dialect_named(engine.dialect.name)
        self.tables = log_tables()
        self.factory = sessionmaker(engine)
        Base.metadata.create_all(engine)
        with sessionmaker(engine).begin() as session:
            fill(session)
        if mode == "triggers":
            with engine.connect() as connection:
                prepare(connection, self.tables, self.dialect, Wishes(triggers=True), now=utc_now())
        auditcli.track(self.factory, create=True)
        self._start = self.rows()

    def changes(self) -> list[Change]:
        """All of the log."""
        with self.engine.connect() as connection:
            return list(LogReader(connection, self.tables, dialect=self.dialect).changes())

    def rows(self) -> dict[TableName, list[Image]]:
        """All rows of the shop, as images."""
        with self.engine.connect() as connection:
            reader = RowReader(connection, self.dialect)
            shapes = read_shapes(connection, self.dialect).tables
            own = {name: shape for name, shape in shapes.items() if name not in self.tables.table_names}
            return {name: [row.image for row in reader.page(shape, None, 10**6)] for name, shape in own.items()}

    def check(self) -> None:
        """Fail unless the log, folded step by step onto the start, gives the rows that are there."""
        folded = Counter(_word(table, image) for table, images in self._start.items() for image in images)
        for change in self.changes():
            assert change.source == self.mode.removesuffix("s"), change
            if change.before is not None:
                assert folded[_word(change.table, change.before)] == 1, change
                folded[_word(change.table, change.before)] -= 1
            if change.after is not None:
                folded[_word(change.table, change.after)] += 1
        live = Counter(_word(table, image) for table, images in self.rows().items() for image in images)
        assert +folded == live


def _word(table: TableName, image: Image) -> str:
    return f"{table} {codec.dump(image)}"
