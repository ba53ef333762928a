"""Rows and tables are shown as one types them."""

from __future__ import annotations

import pytest

from auditcli.model import EventType, RowKey, TableName


@pytest.mark.parametrize(
    ("table", "row_id", "word"),
    [
        (TableName("Track"), "12", "Track/12"),
        (TableName("PlaylistTrack"), "[1,42]", "PlaylistTrack/1,42"),
        (TableName("t", "shop"), "a/b", "shop.t/a/b"),
        (TableName('a.b/"c'), "1", '"a.b/""c"/1'),
        (TableName("t"), '["x"]', 't/["x"]'),
        (TableName("t"), "[1.5,2]", "t/[1.5,2]"),
        (TableName("t"), '["a,b",2]', 't/["a,b",2]'),
        (TableName("t"), "[not json", "t/[not json"),
    ],
)
def test_a_row_is_shown_as_the_word_that_finds_it(table: TableName, row_id: str, word: str) -> None:
    assert str(RowKey(table, row_id)) == word


def test_a_truncated_row_is_a_removed_one() -> None:
    assert [event.letter for event in EventType if event.removes] == ["D", "T"]
