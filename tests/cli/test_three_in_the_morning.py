"""3 a.m.: an UPDATE of thousands of rows went wrong twenty minutes ago, and the shop is open."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.cli.shop import Ran
from tests.databases import scratch_url

Audit = Callable[..., Ran]

ROWS, TOUCHED = int(os.environ.get("AUDIT_TEST_STORY_ROWS", "4000")), 129
LOCK_TIMEOUT = 5.0

pytestmark = pytest.mark.thorough


@pytest.fixture
def night(tmp_path: Path, run: Audit) -> Iterator[tuple[Engine, Audit]]:
    """The bad UPDATE, twenty minutes old, and 129 prices that were set by hand since."""
    with scratch_url("postgresql", tmp_path) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE product (id int PRIMARY KEY, name text, price int, stock int)"))
            connection.execute(text(f"INSERT INTO product SELECT n, 'p' || n, n, 0 FROM generate_series(1, {ROWS}) n"))

        def audit(*words: str) -> Ran:
            return run("-u", url.render_as_string(hide_password=False), *words)

        assert audit("init").code == 0
        with engine.begin() as connection:
            connection.execute(text("UPDATE product SET price = price * 100"))
            connection.execute(text("UPDATE changelog SET timestamp = timestamp - interval '20 minutes'"))
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL application_name = 'svc-web'"))
            connection.execute(text(f"UPDATE product SET price = 0 WHERE id <= {TOUCHED}"))
        yield engine, audit
        engine.dispose()


class Traffic:
    """Customers who buy, one product at a time; `longest` is what one of them waited, in seconds."""

    def __init__(self, engine: Engine) -> None:
        self.over = threading.Event()
        self.sales = 0
        self.longest = 0.0
        self._engine = engine

    def run(self) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            with self._engine.begin() as connection:
                sale = text("UPDATE product SET stock = stock + 1 WHERE id = :id")
                connection.execute(sale, {"id": self.sales * 37 % ROWS + 1})
            self.sales += 1
            self.longest = max(self.longest, time.monotonic() - began)
            self.over.wait(0.01)


def test_it_is_found_seen_and_taken_back_in_five_commands(night: tuple[Engine, Audit]) -> None:
    engine, audit = night
    traffic = Traffic(engine)

    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(traffic.run)
        listed = audit("log", "--transactions", "--sort", "rows", "--since", "1h", "-n", "1", "-o", "jsonl")
        [worst] = map(json.loads, listed.out.splitlines())
        bad = f"tx:{worst['transaction_id'][:8]}"
        seen = audit("show", bad)
        planned = audit("undo", bad, "--dry-run", "--skip-conflicts")
        undone = audit("undo", bad, "--skip-conflicts", "--confirm", str(ROWS - TOUCHED), "-m", "prices were fine")
        traffic.over.set()
        selling.result()

    assert (worst["updates"], seen.code, planned.code, undone.code) == (ROWS, 0, 0, 7)
    assert f"{ROWS - TOUCHED:,} clean, {TOUCHED} changed since" in planned.out
    assert f"--skip-conflicts --confirm {ROWS - TOUCHED}" in planned.err
    assert "to take it back: audit redo tx:" in undone.err
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM product WHERE price = id")) >= ROWS - TOUCHED
        assert connection.scalar(text(f"SELECT count(*) FROM product WHERE price = 0 AND id <= {TOUCHED}")) == TOUCHED
        assert connection.scalar(text("SELECT sum(stock) FROM product")) == traffic.sales
    assert 0 < traffic.longest < LOCK_TIMEOUT
