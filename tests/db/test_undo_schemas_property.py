"""Whatever history a database accepted, whatever its tables: undoing it leads to the start, redoing it to the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from auditcli.clock import utc_now
from auditcli.driver import define, dialect_of
from auditcli.errors import ConflictError
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables
from tests.databases import scratch_url
from tests.db.histories import History, beginning, histories
from tests.db.recorded import enforce_foreign_keys
from tests.db.rewound import Rewound, Stretch
from tests.db.schemas import FLAVOURS, NAMES, Flavour, Schema, schemas
from tests.soak import soaking

pytestmark = pytest.mark.thorough

Story = tuple[Schema, History, set[int]]
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


class Ground:
    """Where the tables of one example after another are made and dropped."""

    def __init__(self, flavour: Flavour, engine: Engine) -> None:
        self.flavour = flavour
        self._engine = engine
        self._write(flavour.beforehand)

    def make(self, schema: Schema, first: History) -> Rewound:
        """The tables of a schema, recorded by triggers, after a first history."""
        self._clear()
        self._write(schema.definitions())
        for addition in schema.additions():
            try:
                self._write([addition])
            except DBAPIError:
                continue
        tables = log_tables()
        with self._engine.connect() as connection:
            prepare(connection, tables, dialect_of(connection), Wishes(triggers=True, bookkeeping={}), now=utc_now())
        rewound = Rewound(self._engine, schema.names)
        rewound.run(first)
        return rewound

    def _clear(self) -> None:
        names = [name for name in inspect(self._engine).get_table_names() if name in NAMES]
        before, drop, after = self.flavour.dropping
        self._write([before, *(drop.format(name) for name in names), after])

    def _write(self, statements: Sequence[str]) -> None:
        with self._engine.connect() as connection:
            for statement in statements:
                define(connection, statement)
            connection.commit()


@pytest.fixture(params=sorted(FLAVOURS))
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    with scratch_url(request.param, Path()) as url:
        if request.param == "sqlite":
            engine = create_engine("sqlite://", poolclass=StaticPool)
            event.listen(engine, "connect", enforce_foreign_keys)
        else:
            engine = create_engine(url)
        yield Ground(FLAVOURS[request.param], engine)
        engine.dispose()


@st.composite
def _stories(draw: st.DrawFn, flavour: Flavour) -> Story:
    """A schema, a history of its tables, and the transactions (by their places) to be taken back alone."""
    schema = draw(schemas(flavour))
    return schema, draw(histories(schema)), draw(st.sets(st.integers(0, 4), min_size=1))


def test_undo_redo_and_undo_again_lead_to_start_end_and_start(ground: Ground) -> None:
    @settings(max_examples=soaking(ground.flavour.examples), suppress_health_check=PATIENT)
    @given(_stories(ground.flavour))
    def holds(story: Story) -> None:
        schema, history, picked = story
        rewound = ground.make(schema, beginning(schema))
        stretches = rewound.run(history)
        if stretches:
            _undo_and_redo_all(rewound, stretches)
            _undo_and_redo_some(rewound, [stretches[place % len(stretches)] for place in sorted(picked)])
            _undo_and_redo_one_by_one(rewound, stretches)

    holds()


def _undo_and_redo_all(rewound: Rewound, stretches: Sequence[Stretch]) -> None:
    start, end = stretches[0].before, stretches[-1].after
    for _ in range(2):
        undone = rewound.apply_cleanly(rewound.undo(stretches))
        assert rewound.rows() == start
        assert rewound.undo(stretches).nothing_but_already
        if undone.transaction_id is not None:
            rewound.apply_cleanly(rewound.redo(undone.transaction_id))
        assert rewound.rows() == end


def _undo_and_redo_some(rewound: Rewound, some: Sequence[Stretch]) -> None:
    """Of any transactions: either they can be undone and redone, or nothing is written."""
    end, last_id = rewound.rows(), rewound.last_id()
    plan = rewound.undo(some)
    try:
        undone = rewound.apply(plan)
    except ConflictError:
        assert (rewound.rows(), rewound.last_id()) == (end, last_id)
        return
    assert rewound.undo(some).is_empty
    if undone.transaction_id is not None:
        rewound.apply_cleanly(rewound.redo(undone.transaction_id))
    assert rewound.rows() == end


def _undo_and_redo_one_by_one(rewound: Rewound, stretches: Sequence[Stretch]) -> None:
    """Transaction by transaction from the newest to the oldest and back; ends where the history began."""
    undone: list[tuple[str | None, Stretch]] = []
    for stretch in reversed(stretches):
        undone.append((rewound.apply_cleanly(rewound.undo([stretch])).transaction_id, stretch))
        assert rewound.rows() == stretch.before
    for transaction_id, stretch in reversed(undone):
        if transaction_id is not None:
            rewound.apply_cleanly(rewound.redo(transaction_id))
        assert rewound.rows() == stretch.after
    rewound.apply_cleanly(rewound.undo(stretches))
    assert rewound.rows() == stretches[0].before
