"""The order in which one table's steps are recorded, so that no key is ever held by two rows on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from auditcli.shape import TableShape

Step: TypeAlias = tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]
"""A row's stored values before and after; None where it did not exist."""

_Key: TypeAlias = "tuple[Any, ...]"


def with_replaced_rows(shape: TableShape, steps: Sequence[Step]) -> list[Step]:
    """A row that went and one with its key that came are one row that changed."""
    made = {_key(shape, new): new for old, new in steps if old is None}
    gone = {_key(shape, old): old for old, new in steps if new is None}
    replaced = made.keys() & gone.keys() if shape.primary_key else set()
    merged: list[Step] = []
    for old, new in steps:
        key = _key(shape, new if old is None else old)
        if new is None and key in replaced:
            merged.append((old, made[key]))
        elif old is not None or key not in replaced:
            merged.append((old, new))
    return merged


def in_possible_order(shape: TableShape, steps: Sequence[Step]) -> list[Step]:
    """Rows that go first, then those that stay, each once its key is free, then new ones.

    Where keys went round in a circle the rows are matched by their keys instead, since no order of moves is possible.
    """
    gone = [step for step in steps if step[1] is None]
    made = [step for step in steps if step[0] is None]
    stayed = {_key(shape, old): (old, new) for old, new in steps if old is not None and new is not None}
    return [*gone, *_untangled(shape, stayed), *made]


def _untangled(shape: TableShape, stayed: Mapping[_Key, Step]) -> list[Step]:
    wanted = {_key(shape, new): key for key, (_, new) in stayed.items()}
    waiting = dict(stayed)
    ordered: list[Step] = []
    for key, (_, new) in stayed.items():
        free: _Key | None = key if _key(shape, new) == key or _key(shape, new) not in stayed else None
        while free is not None and free in waiting:
            ordered.append(waiting.pop(free))
            free = wanted.get(free)
    by_new_key = {_key(shape, new): new for _, new in waiting.values()}
    return ordered + [(old, by_new_key[key]) for key, (old, _) in waiting.items()]


def _key(shape: TableShape, values: tuple[Any, ...] | None) -> _Key:
    return () if values is None else tuple(values[place] for place in shape.key_places)
