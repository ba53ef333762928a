"""`audit export` as a whole: cells, SQL, compression, manifests, going on with a file; and what goes wrong."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import create_engine

from auditcli.export import opening
from tests.cli.programs import running, start, wait_for
from tests.cli.shop import ROOT, SHIPPED, Order, Ran, Shop
from tests.db.logbook import Logbook

pytestmark = pytest.mark.thorough

Audit = Callable[..., Ran]


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that takes a while to export."""
    path = tmp_path_factory.mktemp("long") / "long.db"
    engine = create_engine(f"sqlite:///{path}")
    Logbook.create(engine).write_many(60_000)
    engine.dispose()
    return path


# What is written


def test_cells_are_one_line_each(audit: Audit) -> None:
    ran = audit("export", "-o", "csv", "--cells", str(SHIPPED), "12")

    lines = list(csv.reader(io.StringIO(ran.out)))
    assert lines[0] == ["change_id", "timestamp", "actor", "table", "row_id", "column", "old", "new"]
    assert [line[2:] for line in lines[1:]] == [
        ["bob", "orders", "1", "status", "pending", "shipped"],
        ["bob", "orders", "3", "id", "3", ""],
        ["bob", "orders", "3", "customer_id", "1", ""],
        ["bob", "orders", "3", "status", "pending", ""],
        ["bob", "orders", "3", "total", "0", ""],
    ]


def test_cells_in_json_keep_their_types(audit: Audit) -> None:
    ran = audit("export", "-o", "jsonl", "--cells", "12")

    cells = [json.loads(line) for line in ran.lines]
    assert [(cell["column"], cell["old"], cell["new"]) for cell in cells][-1] == ("total", 0, None)


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.jsonl.zst"])
def test_a_compressed_file_holds_the_same(audit: Audit, tmp_path: Path, name: str) -> None:
    plain, packed = tmp_path / "plain.jsonl", tmp_path / name

    assert audit("export", str(plain)).code == audit("export", str(packed)).code == 0

    unpack: Callable[[bytes], bytes] = gzip.decompress if name.endswith("gz") else _unzstd
    assert unpack(packed.read_bytes()) == plain.read_bytes()


def _unzstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data) as stream:
        return stream.read()


def test_without_a_module_for_it_zstd_is_refused_with_the_extra(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(opening, "import_module", missing)

    ran = audit("export", str(tmp_path / "out.csv.zst"))

    assert (ran.code, "auditcli[zstd]" in ran.hint) == (2, True)
    assert not (tmp_path / "out.csv.zst").exists()


def test_a_manifest_says_what_is_in_the_file(audit: Audit, tmp_path: Path) -> None:
    assert audit("pause", "tag", "--as", "dora", "-m", "load").code == 0
    file = tmp_path / "orders.csv"

    assert audit("export", str(file), "table:orders", "--manifest").code == 0

    manifest = json.loads((tmp_path / "orders.csv.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (manifest["count"], manifest["first_id"], manifest["last_id"]) == (8, 3, 12)
    assert (manifest["selection"], manifest["null_actors"], manifest["last_verify"]) == ("table:orders", 0, None)
    assert [(gap["table"], gap["reason"]) for gap in manifest["gaps"]] == [("tag", "load")]
    assert {"log_uuid", "version", "written_at", "after_id", "until_id", "bytes"} <= manifest.keys()


def test_sql_does_it_again_and_the_inverse_takes_it_back(audit: Audit, shop: Shop, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(shop.path, copy)
    before = _rows(copy)

    for name, more in (("back.sql", ["--inverse"]), ("again.sql", [])):
        assert audit("export", str(tmp_path / name), "--since", "6", *more).code == 0
    _run_sql(copy, tmp_path / "back.sql")
    taken_back = _rows(copy)
    _run_sql(copy, tmp_path / "again.sql")

    assert [row[2:] for row in taken_back] == [("pending", 10), ("pending", 20), ("pending", 30)]
    assert _rows(copy) == before


def test_a_diff_as_sql_is_a_patch(audit: Audit, shop: Shop, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(shop.path, copy)
    before = _rows(copy)

    back, again = (audit("diff", "--since", "6", "--sql", *more) for more in (["--inverse"], []))
    (tmp_path / "back.sql").write_text(back.out)
    (tmp_path / "again.sql").write_text(again.out)
    _run_sql(copy, tmp_path / "back.sql")
    taken_back = _rows(copy)
    _run_sql(copy, tmp_path / "again.sql")

    assert (back.code, again.code, back.err) == (0, 0, "")
    assert len(taken_back) == 3
    assert _rows(copy) == before


def test_a_diff_by_names_only(audit: Audit) -> None:
    ran = audit("diff", "--since", "6", "--name-only", "--exit-code")

    assert (ran.code, ran.lines) == (1, ["customer/2", "orders/1", "orders/2", "orders/3"])


@pytest.mark.parametrize(
    "words",
    [
        ["--stat", "--sql"],
        ["--name-only", "--sql"],
        ["--inverse"],
        ["--sql", "-o", "csv"],
        ["--name-only", "-o", "json"],
    ],
)
def test_forms_of_a_diff_that_do_not_go_together(audit: Audit, words: list[str]) -> None:
    assert audit("diff", "--since", "6", *words).code == 2


def _rows(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT id, customer_id, status, total FROM orders ORDER BY id").fetchall()
    connection.close()
    return found


def _run_sql(path: Path, script: Path) -> None:
    command = [str(shutil.which("sqlite3")), str(path)]
    ran = subprocess.run(command, input=script.read_text(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


# Going on with a file


@pytest.mark.parametrize("more", [[], ["--cells"]])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("cut", [0, 1, 25])
def test_a_resumed_file_is_what_one_export_would_have_been(
    audit: Audit, tmp_path: Path, suffix: str, more: list[str], cut: int
) -> None:
    whole, part = tmp_path / f"whole.{suffix}", tmp_path / f"part.{suffix}"
    assert audit("export", str(whole), *more).code == 0
    assert audit("export", str(part), "--until", "9", *more).code == 0
    os.truncate(part, part.stat().st_size - cut)

    ran = audit("export", str(part), "--resume", *more)

    assert (ran.code, "added to" in ran.err) == (0, True)
    assert part.read_bytes() == whole.read_bytes()
    assert audit("export", str(part), "--resume", *more).code == 0
    assert part.read_bytes() == whole.read_bytes()


def test_a_file_cut_within_a_transaction_gets_the_rest_of_it(audit: Audit, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    assert audit("export", str(whole)).code == 0
    part.write_text("".join(line for line in whole.read_text().splitlines(keepends=True)[:9]))

    assert audit("export", str(part), "--resume").code == 0

    assert part.read_bytes() == whole.read_bytes()


def test_a_resumed_manifest_is_about_the_whole_file(audit: Audit, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert audit("export", str(file), "--until", "7", "--manifest").code == 0

    assert audit("export", str(file), "--resume").code == 0

    manifest = json.loads((tmp_path / "out.csv.manifest.json").read_text())
    assert (manifest["count"], manifest["first_id"], manifest["last_id"]) == (12, 1, 12)
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_resuming_a_file_that_is_not_there_makes_it(audit: Audit, tmp_path: Path) -> None:
    assert audit("export", str(tmp_path / "new.csv"), "--resume").code == 0
    assert audit("export", str(tmp_path / "old.csv")).code == 0

    assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "old.csv").read_bytes()


_AS_CSV = ["-o", "csv"]
_UNNAMED = ("out.unknown", "out.xml.gz")


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("out.json", ["--resume"], "has an end"),
        ("out.sql", ["--resume"], "has an end"),
        ("out.csv.gz", ["--resume"], "is compressed"),
        ("out.csv", ["--resume", "--since", "3"], "goes on where the file ends"),
        ("out.csv", ["--resume", "--manifest"], "no manifest"),
        ("out.csv", ["--resume", "--cells"], "does not begin as"),
        ("out.csv", ["--follow"], "is there already"),
        ("out.csv", ["--inverse"], "is for SQL"),
        ("new.json", ["--cells"], "--cells does not go with json"),
        ("new.json", ["--follow"], "has an end"),
        ("new.csv", ["--follow", "--until", "9"], "no end"),
        ("out.unknown", [], "does not say in which format"),
        ("out.xml.gz", [], "does not say in which format"),
    ],
)
def test_what_does_not_go_together_is_refused_and_the_file_stays(
    audit: Audit, tmp_path: Path, file: str, words: list[str], message: str
) -> None:
    if file.startswith("out"):
        assert audit("export", str(tmp_path / file), "--until", "9", *(_AS_CSV if file in _UNNAMED else [])).code == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*s*")}

    ran = audit("export", str(tmp_path / file), *words)

    assert (ran.code, message in ran.error) == (2, True), ran.err
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*s*")} == before


def test_a_file_of_another_log_is_refused(audit: Audit, tmp_path: Path) -> None:
    file, manifest = tmp_path / "out.csv", tmp_path / "out.csv.manifest.json"
    assert audit("export", str(file), "--manifest").code == 0
    other = json.loads(manifest.read_text()) | {"log_uuid": "another"}
    manifest.write_text(json.dumps(other))

    ran = audit("export", str(file), "--resume")

    assert (ran.code, "from another log" in ran.error) == (2, True)


def test_a_file_with_changes_that_the_log_does_not_have_is_refused(audit: Audit, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text('{"id":99,"transaction_id":null}\n')

    ran = audit("export", str(file), "--resume")

    assert (ran.code, "not in this log" in ran.error) == (2, True)


# Following


def test_a_followed_file_grows_and_is_gone_on_with(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    file = tmp_path / "feed.jsonl"
    with running("-u", str(shop.path), "export", str(file), "--follow") as following:
        wait_for(lambda: file.exists() and file.read_text().count("\n") == 12)
        shop.write("eve", None, lambda session: setattr(session.get(Order, 2), "status", "lost"))
        wait_for(lambda: file.read_text().count("\n") == 13)
        following.send_signal(signal.SIGINT)
        _, told = following.communicate(timeout=30)
    shop.write("eve", None, lambda session: setattr(session.get(Order, 2), "status", "found"))

    resumed = audit("export", str(file), "--resume")

    assert (following.returncode, "--resume --follow" in told) == (130, True)
    assert resumed.code == 0
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == list(range(1, 15))


# What goes wrong


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(long_log: Path, tmp_path: Path, number: signal.Signals) -> None:
    exporting = start("-u", str(long_log), "export", str(tmp_path / "out.csv"), "--manifest")
    wait_for(lambda: any(path.stat().st_size for path in tmp_path.glob(".out.csv-*")))

    exporting.send_signal(number)
    out, _ = exporting.communicate(timeout=30)

    assert (exporting.returncode, out) == (130 if number is signal.SIGINT else 143, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz"])
def test_a_full_disk_is_named_and_leaves_what_was_there(long_log: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("what was there")

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    exporting = start("-u", str(long_log), "export", str(tmp_path / name), preexec_fn=little_room)
    _, told = exporting.communicate(timeout=60)

    assert exporting.returncode == 8
    assert told.splitlines()[0].startswith(f"error: can't write {tmp_path / name}: ")
    assert "free some space" in told.splitlines()[1]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "what was there")]


def test_a_full_disk_behind_stdout_is_named(long_log: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "auditcli", "-u", str(long_log), "export", "-o", "csv"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ran.returncode == 8
    assert "No space left" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_a_reader_that_leaves_early_is_no_failure(long_log: Path, form: str) -> None:
    command = " ".join([sys.executable, "-m", "auditcli", "-u", str(long_log), "export", "-o", form])

    ran = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command} | head -n 1 | wc -l"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, "1")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_file_that_can_not_be_written_is_named(audit: Audit, tmp_path: Path, more: list[str]) -> None:
    missing = audit("export", str(tmp_path / "nowhere" / "out.csv"), *more)
    forbidden = audit("export", "/proc/out.csv", *more)
    folder = audit("export", str(tmp_path), "-o", "csv", *more)

    assert [ran.code for ran in (missing, forbidden, folder)] == [2, 2, 2]
    assert "no folder" in missing.error
    assert "can't write /proc/out.csv" in forbidden.error
    assert "is a folder" in folder.error


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No unfinished file stays behind, whatever happens."""
    yield
    assert list(tmp_path.glob(".*.part")) == []
