"""The rights that an application's role needs on PostgreSQL: it adds to the log and can't change or delete it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import sessionmaker

import auditcli
from auditcli.clock import utc_now
from auditcli.init import Wishes, prepare
from tests.databases import scratch_url
from tests.db.write_paths import WRITES, Recorded, Tag

pytestmark = pytest.mark.thorough

README = (Path(__file__).parents[2] / "README.md").read_text()

LISTENERS = re.search(r"-- listeners\n(.*?)```", README, re.DOTALL)
TRIGGERS = re.search(r"-- triggers\n(.*?)\n\n", README, re.DOTALL)


def _documented(found: re.Match[str] | None) -> list[str]:
    assert found is not None, "the README lists the grants"
    return [line.rstrip(";") for line in found[1].splitlines() if line.startswith("GRANT")]


@pytest.fixture(params=["listeners", "triggers"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorded]:
    """The shop, whose log and tables belong to somebody else than its application."""
    with scratch_url("postgresql 18", tmp_path) as url:
        owner = create_engine(url)
        shop = Recorded(owner, request.param)
        auditcli.untrack(shop.factory)
        with owner.connect() as connection:
            wanted = Wishes(triggers=request.param == "triggers")
            prepare(connection, shop.tables, shop.dialect, wanted, now=utc_now())
        yield shop
        owner.dispose()


@pytest.fixture
def app(shop: Recorded) -> Iterator[Engine]:
    """The application, with the rights that the README names and no others."""
    grants = _documented(TRIGGERS)
    if shop.mode == "listeners":
        grants += _documented(LISTENERS)
    with shop.engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS app"))
        connection.execute(text("CREATE ROLE app LOGIN"))
        for name in ("maker", "article", "article_tag", "review", "tag"):
            connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO app"))
        connection.execute(text("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app"))
        for grant in grants:
            connection.execute(text(grant))
    engine = create_engine(shop.engine.url.set(username="app"))
    yield engine
    engine.dispose()
    with shop.engine.begin() as connection:
        connection.execute(text("DROP OWNED BY app"))
        connection.execute(text("DROP ROLE app"))


@pytest.mark.parametrize(
    "how", ["orm insert", "core update", "orm delete with cascade in the database", "same row twice"]
)
def test_an_application_with_the_documented_rights_is_recorded(shop: Recorded, app: Engine, how: str) -> None:
    factory = sessionmaker(app)
    auditcli.track(factory)

    with auditcli.context(actor="alice", reason="first"), factory.begin() as session:
        WRITES[how](session)
        session.flush()
        with auditcli.context(reason="said later"):
            session.add(Tag(id="more"))
            session.flush()

    shop.check()
    changes = shop.changes()
    assert {change.actor for change in changes} == {"alice"}
    assert {change.reason for change in changes} == {"said later"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE changelog SET actor = 'bob'",
        "DELETE FROM changelog",
        "TRUNCATE changelog",
        "UPDATE changelog_transaction SET reason = 'none'",
        "DELETE FROM changelog_transaction",
        "UPDATE changelog_meta SET value = '{}'",
        "INSERT INTO changelog_meta (name, value) VALUES ('x', 'y')",
        "DROP TABLE changelog",
        "ALTER TABLE article DISABLE TRIGGER ALL",
    ],
)
def test_an_application_can_not_change_what_the_log_holds(app: Engine, statement: str) -> None:
    with app.begin() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        connection.exec_driver_sql(statement)
