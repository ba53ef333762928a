"""Changes as files for other programs: the form of a change, four formats, files whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from auditcli import codec
from auditcli.errors import UsageError
from auditcli.export import COLUMNS, ExportFormat, change_to_json, export_changes, format_of, write_file
from auditcli.model import Change, EventType, Source, TableName
from tests.db.logbook import Logbook

HOSTILE = 'a,"b"\t\r\n;=1+1 \\ \x00 \x1b[31m \U0001f3b5 caf\u00e9'
MOMENT = datetime(2026, 3, 2, 8, 0, 1, tzinfo=UTC)


def change(**more: Any) -> Change:
    given: dict[str, Any] = {
        "id": 7,
        "timestamp": MOMENT,
        "table": TableName("item", "shop"),
        "row_id": "1",
        "event_type": EventType.UPDATE,
        "before": {"id": 1, "name": "a", "n": 1},
        "after": {"id": 1, "name": "b", "n": 1},
        "transaction_id": "t-1",
        "actor": "alice",
        "reason": "ticket 42",
        "context": {"request_id": "r1"},
    }
    return Change(**{**given, **more})


HARD = [
    change(),
    change(id=8, event_type=EventType.INSERT, before=None, after={HOSTILE: HOSTILE}, actor=HOSTILE, reason=HOSTILE),
    change(id=9, transaction_id=None, actor=None, reason=None, context={}, row_id=None, table=TableName("item")),
    change(id=10, after={name: codec.encode(value) for name, value, _ in codec.VECTORS}),
]


def exported(changes: list[Change], format: str) -> str:
    stream = io.StringIO(newline="")
    assert export_changes(changes, format, stream) == len(changes)
    return stream.getvalue()


def test_a_change_has_exactly_the_documented_keys() -> None:
    assert change_to_json(change()) == {
        "id": 7,
        "transaction_id": "t-1",
        "timestamp": "2026-03-02T08:00:01.000000Z",
        "actor": "alice",
        "schema": "shop",
        "table": "item",
        "row_id": "1",
        "old_row_id": None,
        "event_type": "UPDATE",
        "changed": ["name"],
        "before": {"id": 1, "name": "a", "n": 1},
        "after": {"id": 1, "name": "b", "n": 1},
        "source": "listener",
        "reason": "ticket 42",
        "context": {"request_id": "r1"},
    }
    assert tuple(change_to_json(change())) == COLUMNS


def test_times_are_in_utc_wherever_they_come_from() -> None:
    local = MOMENT.astimezone(timezone(timedelta(hours=-7))) + timedelta(microseconds=5)

    assert change_to_json(change(timestamp=local))["timestamp"] == "2026-03-02T08:00:01.000005Z"


@pytest.mark.parametrize(
    ("event", "before", "after", "changed"),
    [
        (EventType.INSERT, None, {"a": 1, "b": 2}, ["a", "b"]),
        (EventType.DELETE, {"a": 1, "b": 2}, None, ["a", "b"]),
        (EventType.UPDATE, {"a": 1, "b": 2}, {"a": 1.0, "b": 2}, ["a"]),
        (EventType.SNAPSHOT, {"a": 1}, {"a": 1}, []),
    ],
)
def test_changed_names_the_columns_that_were_written(
    event: EventType, before: dict[str, Any] | None, after: dict[str, Any] | None, changed: list[str]
) -> None:
    assert change_to_json(change(event_type=event, before=before, after=after))["changed"] == changed


@pytest.mark.parametrize("changes", [[], HARD[:1], HARD])
def test_json_is_one_array_and_jsonl_one_object_a_line(changes: list[Change]) -> None:
    expected = [json.loads(json.dumps(change_to_json(each))) for each in changes]

    assert json.loads(exported(changes, "json")) == expected
    assert [json.loads(line) for line in exported(changes, "jsonl").split("\n")[:-1]] == expected


def test_every_value_survives_json_bit_for_bit() -> None:
    image = HARD[3].after
    assert image is not None

    [line] = exported([HARD[3]], "jsonl").splitlines()

    assert codec.same_image(json.loads(line)["after"], image)


def test_csv_has_a_line_a_change_with_images_as_json() -> None:
    lines = list(csv.DictReader(io.StringIO(exported(HARD, "csv"), newline="")))

    assert list(lines[0]) == list(COLUMNS)
    assert [line["id"] for line in lines] == ["7", "8", "9", "10"]
    assert (lines[0]["changed"], lines[0]["schema"], lines[0]["old_row_id"]) == ("name", "shop", "")
    assert json.loads(lines[0]["before"]) == {"id": 1, "name": "a", "n": 1}
    assert (lines[1]["actor"], lines[1]["before"]) == (HOSTILE, "")
    assert json.loads(lines[1]["after"]) == {HOSTILE: HOSTILE}
    assert (lines[2]["actor"], lines[2]["transaction_id"], lines[2]["context"]) == ("", "", "")


def test_data_that_looks_like_a_formula_stays_data() -> None:
    [line] = csv.DictReader(io.StringIO(exported([change(actor="=HYPERLINK(1)")], "csv")))

    assert line["actor"] == "=HYPERLINK(1)"


def test_tsv_has_a_line_a_change_whatever_the_values_are() -> None:
    header, *lines = exported(HARD, "tsv").split("\n")[:-1]

    assert header == "\t".join(COLUMNS)
    assert [len(line.split("\t")) for line in lines] == [len(COLUMNS)] * len(HARD)
    assert "\\t\\r\\n;=1+1 \\\\ " in lines[1]


def test_an_export_streams() -> None:
    stream = io.StringIO()
    written_before_the_last = []

    def changes() -> Iterator[Change]:
        yield change()
        yield change()
        written_before_the_last.append(stream.getvalue())
        yield change()

    export_changes(changes(), ExportFormat.JSON, stream)

    assert written_before_the_last[0].count('"id":7') == 2


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "csv"), ("a.TSV", "tsv"), ("a.json", "json"), ("a.b.jsonl", "jsonl"), ("a.ndjson", "jsonl")],
)
def test_the_suffix_says_the_format(name: str, format: str) -> None:
    assert format_of(Path(name)) == format


def test_an_unknown_format_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'xml'") as by_name:
        exported([], "xml")
    with pytest.raises(UsageError, match=r"log\.parquet") as by_suffix:
        write_file([], tmp_path / "log.parquet")

    assert "csv, tsv, json, jsonl" in (by_name.value.hint or "")
    assert "-o FORMAT" in (by_suffix.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_holds_what_was_exported(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    assert write_file(HARD, path) == len(HARD)

    assert path.read_bytes().decode() == exported(HARD, "csv")
    assert list(tmp_path.iterdir()) == [path]


def test_a_given_format_goes_before_the_suffix(tmp_path: Path) -> None:
    write_file(HARD, tmp_path / "log.txt", "jsonl")

    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == exported(HARD, "jsonl")


@pytest.mark.parametrize("existing", [None, "what was there"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, existing: str | None) -> None:
    path = tmp_path / "log.jsonl"
    if existing is not None:
        path.write_text(existing)

    def broken() -> Iterator[Change]:
        yield change()
        assert not path.exists() or path.read_text() == existing
        raise RuntimeError("the connection is gone")

    with pytest.raises(RuntimeError, match="connection"):
        write_file(broken(), path)

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == (
        [] if existing is None else [("log.jsonl", existing)]
    )


def test_a_file_that_is_replaced_keeps_its_permissions_and_a_new_one_gets_the_usual(tmp_path: Path) -> None:
    private, new, usual = tmp_path / "private.json", tmp_path / "new.json", tmp_path / "usual"
    private.touch(mode=0o600)
    usual.touch()

    write_file([], private)
    write_file([], new)

    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_missing_folder_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        write_file([], tmp_path / "nowhere" / "log.csv")
    with pytest.raises(UsageError, match="is a folder"):
        write_file([], tmp_path, "csv")


def test_the_log_of_a_database_goes_out_as_it_is(engine: Engine, tmp_path: Path) -> None:
    book = Logbook.create(engine)
    book.write_many(1_200)

    with book.reader() as reader:
        count = write_file(reader.changes(), tmp_path / "log.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    assert count == 1_200
    assert [line["id"] for line in lines] == list(range(1, 1_201))
    assert lines[0]["changed"] == ["price"]
    assert lines[0]["source"] == Source.LISTENER
