"""What two changes of one row amount to, pair by pair, and the laws that net changes, inverses and composition obey.

The pairs are those of E-Maj's table of consolidated changes, with changes of the key as steps of the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli import codec
from auditcli.changeset import compose, inverse, net, touched_columns
from auditcli.model import Change, EventType, Image, TableName

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TABLE = TableName("t")
SIGNS = {"TRUNCATE": "!", "SNAPSHOT": "="}

# A row is a key and a value, `1a`; `-` is no row, `!` what TRUNCATE leaves, `=` the row that a SNAPSHOT found.
# Lines are the first change, columns the second one as it may follow: what both are together, `.` for nothing.
MATRIX = {
    "- > 1a": {
        "1a > 1b": "- > 1b",
        "1a > 2a": "- > 2a",
        "1a > 2b": "- > 2b",
        "1a > -": ".",
        "1a > !": ".",
        "1a =": "- > 1a",
    },
    "1b > 1a": {
        "1a > 1b": ".",
        "1a > 1c": "1b > 1c",
        "1a > 2a": "1b > 2a",
        "1a > 2b": "1b > 2b",
        "1a > -": "1b > -",
        "1a > !": "1b > !",
        "1a =": "1b > 1a",
    },
    "2a > 1a": {
        "1a > 1b": "2a > 1b",
        "1a > 2a": ".",
        "1a > 2b": "2a > 2b",
        "1a > 3a": "2a > 3a",
        "1a > 3b": "2a > 3b",
        "1a > -": "2a > -",
        "1a > !": "2a > !",
        "1a =": "2a > 1a",
    },
    "2b > 1a": {
        "1a > 1b": "2b > 1b",
        "1a > 2a": "2b > 2a",
        "1a > 2b": ".",
        "1a > 3b": "2b > 3b",
        "1a > -": "2b > -",
        "1a > !": "2b > !",
        "1a =": "2b > 1a",
    },
    "1a > -": {"- > 1a": ".", "- > 1b": "1a > 1b"},
    "1a > !": {"- > 1a": ".", "- > 1b": "1a > 1b"},
    "1a =": {"1a > 1b": "1a > 1b", "1a > 2a": "1a > 2a", "1a > -": "1a > -", "1a > !": "1a > !", "1a =": "."},
}
PAIRS = [(first, second, both) for first, line in MATRIX.items() for second, both in line.items()]

CHAINS = [
    (["1a > 2a", "2a > 3a", "3a > 1a"], "."),
    (["1a > 2a", "2a > 3a", "3a > 3b"], "1a > 3b"),
    (["1a > 2a", "2a > -", "- > 2b"], "1a > 2b"),
    (["1a > 2a", "2a > 1a", "1a > -"], "1a > -"),
    (["- > 1a", "1a > 2a", "2a > 3b", "3b > -"], "."),
    (["1a > -", "- > 1b", "1b > 1a"], "."),
    (["1a > !", "- > 1b", "1b > !"], "1a > !"),
    (["- > 1a", "1a =", "1a > 2b", "2b ="], "- > 2b"),
]

STATES = st.sampled_from([None, *(key + value for key in "12" for value in "ab")])


@st.composite
def _runs(draw: st.DrawFn) -> list[Change]:
    """An unbroken run of one row's changes, with snapshots among them."""
    states = draw(st.lists(STATES, min_size=2, max_size=7))
    run: list[Change] = []
    for before, after in pairwise(states):
        if before != after:
            run.append(_made(before, after, is_truncate=draw(st.booleans())))
        elif before is not None:
            run.append(_change(f"{before} =", 0))
    return [_numbered(change, at) for at, change in enumerate(run, 1)]


@pytest.mark.parametrize(("first", "second", "both"), PAIRS)
def test_two_changes_of_a_row_are_one(first: str, second: str, both: str) -> None:
    changes = (_change(first, 1), _change(second, 2))

    assert _word(compose(*changes)) == both
    assert _word(net(changes)) == both


@pytest.mark.parametrize(("first", "second", "both"), PAIRS)
def test_what_two_changes_amount_to_is_taken_back_by_their_inverses_in_reverse(
    first: str, second: str, both: str
) -> None:
    changes = (_change(first, 1), _change(second, 2))
    together = compose(*changes)

    back = compose(inverse(changes[1]), inverse(changes[0]))

    assert _word(back) == (_word(inverse(together)) if together is not None else ".")
    assert _word(back) == _back(both)


@pytest.mark.parametrize(("chain", "together"), CHAINS)
def test_a_chain_of_keys_and_events_is_one_change(chain: Sequence[str], together: str) -> None:
    assert _word(net(_change(word, at) for at, word in enumerate(chain, 1))) == together


@pytest.mark.parametrize("word", sorted({word for first, line in MATRIX.items() for word in (first, *line)}))
def test_one_change_alone_is_itself_and_its_inverse_leads_back(word: str) -> None:
    change = _change(word, 1)

    assert _word(net([change])) == ("." if change.event_type is EventType.SNAPSHOT else word)
    assert _word(inverse(change)) == _back(word)
    assert _word(compose(change, inverse(change))) == "."


def test_the_one_change_has_the_identity_of_the_last_one() -> None:
    together = compose(_change("1a > 1b", 7), _change("1b > 2b", 9))

    assert together is not None
    assert (together.id, together.row_id, together.old_row_id) == (9, "2", "1")


def test_a_cell_that_is_back_at_its_first_value_is_not_touched_and_the_others_are() -> None:
    together = compose(_change("1a > 2b", 1), _change("2b > 2a", 2))

    assert together is not None
    assert touched_columns(together) == ("id",)


@given(_runs(), st.integers(0, 6), st.integers(0, 6))
def test_composition_is_associative(run: list[Change], one: int, other: int) -> None:
    first, second = sorted((one, other))
    a, b, c = (net(part) for part in (run[:first], run[first:second], run[second:]))

    assert _same(_composed(_composed(a, b), c), _composed(a, _composed(b, c)))


@given(_runs(), st.integers(0, 7))
def test_the_net_change_of_two_parts_is_their_composition(run: list[Change], cut: int) -> None:
    assert _same(net(run), _composed(net(run[:cut]), net(run[cut:])))


@given(_runs())
def test_the_inverse_of_a_run_is_the_run_of_its_inverses(run: list[Change]) -> None:
    together = net(run)
    back = net([inverse(change) for change in reversed(run)])

    assert _same(back, None if together is None else inverse(together))


@given(_runs())
def test_a_run_and_its_way_back_are_nothing(run: list[Change]) -> None:
    there_and_back = [*run, *(inverse(change) for change in reversed(run))]

    assert net(there_and_back) is None
    assert _same(net([*there_and_back, *run]), net(run))


def _composed(first: Change | None, second: Change | None) -> Change | None:
    if first is None or second is None:
        return first or second
    return compose(first, second)


def _same(first: Change | None, second: Change | None) -> bool:
    return _word(first) == _word(second)


def _made(before: str | None, after: str | None, *, is_truncate: bool) -> Change:
    return _change(f"{before or '-'} > {after or ('!' if is_truncate else '-')}", 0)


def _numbered(change: Change, log_id: int) -> Change:
    return _change(_word(change), log_id)


def _back(word: str) -> str:
    if ">" not in word:
        return word
    before, after = word.replace("!", "-").split(" > ")
    return f"{after} > {before}"


def _change(word: str, log_id: int) -> Change:
    """A change as the tables above write it."""
    left, sign, right = (*word.split(), "")[:3]
    before = _image(left)
    after = before if sign == "=" else _image(right)
    old, new = (None if image is None else codec.row_id_of(image, ["id"]) for image in (before, after))
    kind = "SNAPSHOT" if sign == "=" else "TRUNCATE" if right == "!" else "INSERT" if old is None else "UPDATE"
    return Change(
        id=log_id,
        timestamp=NOON,
        table=TABLE,
        row_id=new if new is not None else old,
        event_type=EventType("DELETE" if right == "-" else kind),
        before=before,
        after=after,
        old_row_id=old if None not in (old, new) and old != new else None,
    )


def _image(row: str) -> Image | None:
    return None if row in "-!" else {"id": int(row[0]), "v": row[1]}


def _row(image: Image | None) -> str | None:
    return None if image is None else f"{image['id']}{image['v']}"


def _word(change: Change | None) -> str:
    """A change as the tables above write it, whose key columns must agree with its images."""
    if change is None:
        return "."
    before, after = _row(change.before), _row(change.after)
    ids = (change.old_row_id, change.row_id)
    moved = before is not None and after is not None and before[0] != after[0]
    assert ids == ((before or "")[:1] if moved else None, (after or before or "")[:1])
    if change.event_type is EventType.SNAPSHOT:
        return f"{before} ="
    kind = EventType.INSERT if before is None else EventType.UPDATE if after is not None else change.event_type
    assert change.event_type is kind
    return f"{before or '-'} > {after or SIGNS.get(kind, '-')}"
