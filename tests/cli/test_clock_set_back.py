"""The clock of the application's machine is set back: nothing is lost, the log's order holds, and times say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine

from tests.cli.conftest import Audit
from tests.cli.shop import Customer, Shop, build_shop, open_shop

DAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The shop, whose last two moves were stamped before all that came before them."""
    build_shop(tmp_path / "shop.db", DAY)
    shop = open_shop(tmp_path / "shop.db")
    shop.clock.now = DAY - timedelta(hours=5)
    move(shop, "Linz")
    move(shop, "Wels")
    yield shop
    shop.close()


def move(shop: Shop, city: str) -> None:
    shop.write("dave", "moving", lambda session: setattr(session.get_one(Customer, 2), "city", city))


def ids(audit: Audit, *words: str) -> list[int]:
    return [json.loads(line)["id"] for line in audit(*words, "-o", "jsonl").lines]


@pytest.mark.usefixtures("shop")
def test_the_log_keeps_its_order(audit: Audit) -> None:
    listed = ids(audit, "log")

    assert listed == sorted(listed, reverse=True)
    assert ids(audit, "log", "actor:dave") == listed[:2]
    assert ids(audit, "export") == listed[::-1]
    assert "dave" in audit("blame", "customer/2", "-o", "jsonl").lines[-1]
    assert audit("verify").code == 0


@pytest.mark.usefixtures("shop")
def test_a_time_that_means_two_places_is_told(audit: Audit) -> None:
    last = ids(audit, "log", "-n", "1")[0]
    before_all = (DAY - timedelta(hours=1)).isoformat()

    for words in (
        ("log", "--until", before_all),
        ("at", before_all, "--table", "customer"),
        ("row", "customer/2", "--at", before_all),
    ):
        ran = audit(*words)
        assert ran.code == 0
        assert "note: the clock was set back: change #" in ran.err
        assert f"means up to #{last} here" in ran.err
    assert "clock" not in audit("log", "--until", str(last)).err
    assert "clock" not in audit("log", "--since", (DAY + timedelta(days=30)).isoformat()).err


def test_what_was_stamped_too_early_is_undone_and_redone(shop: Shop, audit: Audit) -> None:
    assert audit("undo", "actor:dave", "--yes").code == 0
    assert shop.value(Customer, 2, "city") == "Graz"
    assert audit("redo", "--yes").code == 0
    assert shop.value(Customer, 2, "city") == "Wels"
    assert audit("verify").code == 0


def test_a_copy_follows_past_the_step(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")

    assert audit("replay", "--to", copy, "--create-tables", "--yes").code == 0
    shop.clock.now = DAY - timedelta(days=1)
    move(shop, "Steyr")
    assert audit("replay", "--to", copy, "--yes").code == 0

    assert audit("verify", "--against", copy).code == 0
    engine = create_engine(URL.create("sqlite", database=copy))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT city FROM customer WHERE id = 2").scalar_one() == "Steyr"
    engine.dispose()
