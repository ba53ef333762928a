"""The music store as a SQLite file, with its story played and recorded: what `audit demo` explores."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from sqlalchemy import URL, create_engine

from auditcli.errors import AuditError, UsageError

_PACKAGE = "auditcli.sample_db"
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Story:
    """What happened in the sample's two weeks, for those who tell it or check it."""

    started_at: datetime
    ended_at: datetime
    actors: tuple[str, ...]
    """Everybody who changed something, in alphabetical order."""
    transactions: int
    """How many were committed."""

    import_actor: str
    import_reason: str
    import_at: datetime
    repriced_tracks: int
    """Tracks whose price the bad import overwrote, those that it then deleted included."""
    sample_track_id: int
    """A repriced track that nothing touched since."""

    artist: str
    artist_id: int
    """The artist that the bad import deleted."""
    deleted_albums: int
    deleted_tracks: int
    deleted_playlist_entries: int
    orphaned_tracks: int
    """The artist's tracks that had been sold and therefore only lost their album."""

    overcharged_order: int
    """An invoice at the import's prices; it was cancelled (deleted) when the customer complained."""
    corrected_track_ids: tuple[int, ...]
    """Repriced tracks that somebody gave another price by hand: taking the import back meets a conflict there."""
    restored_track_id: int
    """A repriced track that somebody gave its old price again: nothing is left to take back."""
    respelt_track_ids: tuple[int, ...]
    """Repriced tracks whose composers got another spelling since: taking the import back must keep that."""

    customer_id: int
    """The customer whose address was corrected."""
    playlist_id: int
    """The playlist that was edited through its many-to-many table."""


def build_sample(path: Path, *, end: datetime) -> Story:
    """Write the sample with its story to a new file, whole or not at all; the story ends just before `end`."""
    _refuse_taken(path)
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent}", hint="make it first, or name another file")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        unfinished = Path(folder) / "sample.db"
        story = _write(unfinished, end)
        _flush_to_disk(unfinished)
        _refuse_taken(path)
        unfinished.rename(path)
    return story


def sample_module(name: str) -> ModuleType:
    """Import a module of the sample database's package: `models`, `build` or `story`."""
    _load_package()
    return importlib.import_module(f"{_PACKAGE}.{name}")


def _refuse_taken(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists already", hint="name another file, or remove this one first")


def _write(path: Path, end: datetime) -> Story:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        sample_module("build").build(engine)
        story: Story = sample_module("story").play(engine, end=end)
    finally:
        engine.dispose()
    return story


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _load_package() -> None:
    """Give the folder, wherever it lies, its one name; only a wheel has it where an import would look."""
    if _PACKAGE in sys.modules:
        return
    folder = _folder()
    spec = spec_from_file_location(_PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise AuditError(f"{folder} can't be imported", hint="reinstall auditcli")
    package = module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)


def _folder() -> Path:
    for folder in (_HERE / "sample_db", _HERE.parent / "sample_db"):
        if (folder / "chinook").is_dir():
            return folder
    raise AuditError("the sample database is not part of this installation", hint="reinstall auditcli")
