"""`audit demo`: the sample database, its story, and the main job done on it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.errors import ExitCode, LogError, UsageError

if TYPE_CHECKING:
    from auditcli.log.reader import LogReader
    from auditcli.sample import Story

_FILE = "audit-demo.db"
_SIGNATURE = "made by audit demo"
"""The reason of the mark by which a sample is known again; nothing else may be replaced."""


def demo(
    app: AppContext,
    where: Annotated[str, typer.Argument(metavar="[FILE|FOLDER]", help=f"Where to put it; else ./{_FILE}.")] = _FILE,
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace the sample database that is there.")] = False,
) -> None:
    """Build a music store with two weeks of history, find what went wrong in it, and take that back.

    Examples:
      audit demo
      audit demo /tmp/store.db
      audit demo --fresh
    """
    path = _file(Path(where).expanduser())
    story = _build(app, path, fresh=fresh)
    _Tour(app, path, story).run()


def _file(where: Path) -> Path:
    return where / _FILE if where.is_dir() else where


def _build(app: AppContext, path: Path, *, fresh: bool) -> Story:
    from auditcli.clock import utc_now
    from auditcli.log.marks import set_mark
    from auditcli.sample import build_sample

    if path.exists() and not fresh:
        raise UsageError(f"{path} exists already", hint="--fresh replaces it, or name another file")
    if path.exists():
        _remove_sample(path)
    app.out.note(f"building a music store with two weeks of history in {path} …")
    story = build_sample(path, end=utc_now())
    with _opened(path, writing=True) as reader:
        set_mark(reader.connection, reader.tables, "story-begin", 0, now=utc_now(), reason=_SIGNATURE)
        reader.connection.commit()
    return story


def _remove_sample(path: Path) -> None:
    """Remove an earlier sample; raises where the file is anything else."""
    from auditcli.log.marks import list_marks

    refused = UsageError(f"{path} was not made by this command, so it stays", hint="name another file")
    try:
        with _opened(path) as reader:
            marks = list_marks(reader.connection, reader.tables)
    except LogError as error:
        raise refused from error
    if not any(mark.reason == _SIGNATURE for mark in marks):
        raise refused
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, *, writing: bool = False) -> Iterator[LogReader]:
    from auditcli.config import Target, database_url
    from auditcli.connect import open_database

    database = open_database(Target(database_url(str(path)), "audit demo"), writing=writing)
    try:
        with database.log() as reader:
            yield reader
    finally:
        database.close()


class _Tour:
    """Commands as one would type them, each with what it prints."""

    def __init__(self, app: AppContext, path: Path, story: Story) -> None:
        self._out = app.out
        self._app = AppContext(replace(app.options, url=str(path), profile=None, no_pager=True))
        self._story = story
        self._database = f"-u {shlex.quote(str(path))}"

    def run(self) -> None:
        """The main job, from the suspicion to the undo."""
        story = self._story
        self._say(
            f"In it: {story.transactions} transactions by {len(story.actors)} people and programs.",
            "Two days ago customers began to complain about prices. What touched the most rows?",
        )
        self._do("log --transactions --sort rows -n 5")
        bad, rows = self._bad_import()
        self._say(f"{story.import_actor} did: {story.import_reason}. What came of it?")
        self._do(f"diff tx:{bad} --stat")
        self._do(f"diff tx:{bad} event:update table:Track -n 3")
        self._say("Can it be taken back without hurting what people did since?")
        self._do(f"undo tx:{bad} --dry-run")
        self._say("Nearly all of it: what others changed since is a conflict and stays. The rest goes back:")
        self._do(f"undo tx:{bad} --skip-conflicts --confirm {rows} -m 'bad price list'")
        self._say("That undo is recorded too, and can be taken back in turn. Five commands to try next:")
        track = f"Track/{story.sample_track_id}"
        for command in (
            f"row {track}",
            f"blame {track}",
            "stats --by actor",
            "log table:Customer --since 14d",
            "redo --dry-run",
        ):
            self._out.text(f"  {_program()} {self._database} {command}\n")

    def _say(self, *sentences: str) -> None:
        self._out.text("\n" + "".join(f"# {sentence}\n" for sentence in sentences))

    def _do(self, arguments: str) -> None:
        """Print a command and do it."""
        from auditcli.cli.app import main

        self._out.text(f"\n$ audit {self._database} {arguments}\n")
        self._out.flush()
        lists = not arguments.startswith("undo")
        words = [*shlex.split(f"{self._database} {arguments}"), "--no-pager", *(["-o", "table"] if lists else [])]
        if main(words) == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt

    def _bad_import(self) -> tuple[str, int]:
        """The transaction of the bad import, and how many rows its undo can write."""
        from auditcli.plan import PlanOptions
        from auditcli.present import SHORT_ID
        from auditcli.undo import plan_undo

        with self._app.log() as reader:
            chosen = self._app.choose(reader, [f"actor:{self._story.import_actor}"])
            largest = next(reader.transactions(chosen.selection, sort="rows", limit=1))
            options = PlanOptions(skip_conflicts=True)
            plan = plan_undo(reader.connection, reader.tables, transaction=largest.id, options=options)
        return str(largest.id)[:SHORT_ID], plan.rows


def _program() -> str:
    """This program as one can type it: by its path where the shell would not find it."""
    started = Path(sys.argv[0])
    found = shutil.which("audit")
    if started.name != "audit" or (found is not None and started.samefile(found)):
        return "audit"
    return shlex.quote(os.path.relpath(started))
