"""Traffic of many programs, on each database: at any point the tables are as a copy that was taken then."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.db.asof import last_id, rows_now, rows_then
from tests.db.traffic import Traffic
from tests.db.write_paths import Recorded

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_copies_that_are_taken_on_the_way_are_found_again(any_engine: Engine, mode: str) -> None:
    traffic = Traffic(Recorded(any_engine, mode), seed=4)
    copies = {}

    for _ in range(6):
        traffic.run(8)
        copies[last_id(any_engine)] = rows_now(any_engine)

    assert len(copies) == 6
    for boundary, copy in copies.items():
        assert rows_then(any_engine, boundary) == copy, f"at {boundary}"
