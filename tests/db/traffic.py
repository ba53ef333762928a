"""An hour's worth of generated traffic: many programs, tracked and not, that write to one shop in every way."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from sqlalchemy import Engine, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

import auditcli
from tests.db.write_paths import Article, Maker, Recorded, Review, Tag, article_tag

AN_HOUR = 1_800
"""Transactions, one every two seconds."""

_ACTORS = ("alice", "bob", "svc-web", None)


class Traffic:
    """The same transactions for the same seed."""

    def __init__(self, shop: Recorded, seed: int) -> None:
        self._shop = shop
        self._random = random.Random(seed)
        self._next = 1000

    def run(self, transactions: int) -> None:
        """So many transactions; a few of them, or parts of them, are rolled back."""
        for _ in range(transactions):
            if self._shop.mode == "triggers" and self._random.random() < 0.2:
                self._plain_client(self._shop.engine)
            else:
                self._tracked_program()

    def _tracked_program(self) -> None:
        actor = self._random.choice(_ACTORS)
        with auditcli.context(actor=actor, reason="traffic"), self._shop.factory() as session:
            for _ in range(self._random.randint(1, 3)):
                self._random.choice(self._writes)(session)
                if self._random.random() < 0.05:
                    self._savepoint(session)
            if self._random.random() < 0.05:
                session.rollback()
            else:
                session.commit()

    def _savepoint(self, session: Session) -> None:
        nested = session.begin_nested()
        self._random.choice(self._writes)(session)
        session.flush()
        if self._random.random() < 0.5:
            nested.rollback()

    def _plain_client(self, engine: Engine) -> None:
        number = self._number()
        statement = self._random.choice(
            [
                f"INSERT INTO tag (id, note) VALUES ('plain{number}', 'p')",
                f"UPDATE article SET price = price + 1, title = 'plain {number}' WHERE id % 7 = {number % 7}",
                "UPDATE review SET body = body WHERE id > 0",
                f"DELETE FROM review WHERE id % 11 = {number % 11}",
            ]
        )
        with engine.begin() as connection:
            connection.execute(text(statement))

    def _number(self) -> int:
        self._next += 1
        return self._next

    @property
    def _writes(self) -> Sequence[Callable[[Session], object]]:
        return (
            *(self._new_article, self._new_article, self._new_articles, self._reprice, self._reprice, self._retitle),
            *(self._review, self._review, self._tag, self._untag, self._drop_article, self._move_review),
            *(self._drop_maker, self._clear_old),
        )

    def _new_article(self, session: Session) -> None:
        number = self._number()
        session.add(Article(id=number, code=f"c{number}", title=f"café {number}", price=Decimal(number) / 7))
        session.flush()

    def _new_articles(self, session: Session) -> None:
        maker = Maker(id=self._number(), name="made")
        maker.articles = [
            Article(id=number, photo=bytes([number % 256])) for number in [self._number(), self._number()]
        ]
        session.add(maker)
        session.execute(insert(Tag), [{"id": f"t{self._number()}"} for _ in range(3)])

    def _reprice(self, session: Session) -> None:
        session.execute(update(Article).where(Article.id % 5 == self._random.randrange(5)).values(price=2.5))

    def _retitle(self, session: Session) -> None:
        for article in session.scalars(select(Article).order_by(func.abs(Article.id - self._next)).limit(3)):
            article.title = self._random.choice([None, "x" * 3000, "same", f"title {self._number()}"])
        session.flush()

    def _review(self, session: Session) -> None:
        article = session.scalar(select(func.max(Article.id)))
        session.add(Review(id=self._number(), article_id=article, body="🎵" * self._random.randrange(5)))
        session.flush()

    def _tag(self, session: Session) -> None:
        article, tag = session.scalar(select(func.max(Article.id))), f"tag{self._number()}"
        session.add(Tag(id=tag))
        session.flush()
        if article is not None:
            session.execute(insert(article_tag).values(article_id=article, tag_id=tag))

    def _untag(self, session: Session) -> None:
        session.execute(delete(Tag).where(Tag.id.in_(session.scalars(select(Tag.id).limit(2)).all())))

    def _drop_article(self, session: Session) -> None:
        session.execute(delete(Article).where(Article.id == session.scalar(select(func.min(Article.id)))))

    def _move_review(self, session: Session) -> None:
        oldest = session.scalar(select(func.min(Review.id)))
        session.execute(update(Review).where(Review.id == oldest).values(id=self._number()))

    def _drop_maker(self, session: Session) -> None:
        maker = session.scalars(select(Maker).order_by(Maker.id).limit(1)).first()
        if maker is not None:
            session.delete(maker)
            session.flush()

    def _clear_old(self, session: Session) -> None:
        session.execute(delete(Article).where(Article.id < self._next - 400))
        session.execute(delete(Tag).where(Tag.note == "p"))
