"""What an auditor needs to know of a file of changes: a JSON file beside it says it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from auditcli import __version__
from auditcli.clock import utc_text
from auditcli.errors import UsageError
from auditcli.export.asked import Asked, Tally
from auditcli.log.reader import Gap, LogReader
from auditcli.log.verified import read_verified

_BLOCK = 1 << 20
_NEEDED = frozenset({"log_uuid", "selection", "count", "first_id", "last_id", "null_actors"})


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file is."""
    return path.with_name(f"{path.name}.manifest.json")


def manifest_of(
    reader: LogReader, asked: Asked, tally: Tally, path: Path, *, written: Path, now: datetime
) -> dict[str, Any]:
    """The manifest of a file, which is finished under the name `written` and will be called `path`."""
    window = asked.window
    verified = read_verified(reader.connection, reader.tables)
    gaps = reader.gaps(after_id=window.since_id, until_id=window.until_id)
    return {
        "file": path.name,
        "format": asked.format.value,
        "cells": asked.cells,
        "inverse": asked.inverted,
        "selection": asked.words,
        "log_uuid": reader.log_uuid(),
        "after_id": window.since_id,
        "until_id": window.until_id,
        "first_id": tally.first_id,
        "last_id": tally.last_id,
        "count": tally.count,
        "null_actors": tally.null_actors,
        "gaps": [_gap(gap) for gap in gaps],
        "last_verify": None if verified is None else verified.to_json(),
        "bytes": written.stat().st_size,
        "sha256": _sha256(written),
        "written_at": utc_text(now),
        "version": __version__,
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it stands in its file."""
    return json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest beside a file, if there is one; raises UsageError where it can't be read."""
    beside = manifest_path(path)
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{beside} can't be read: {error}", hint="remove it, or name another file") from error
    if not isinstance(found, dict) or not found.keys() >= _NEEDED:
        raise UsageError(f"{beside} is no manifest", hint="remove it, or name another file")
    return found


def tally_so_far(manifest: Mapping[str, Any] | None) -> Tally:
    """What a manifest says was exported before."""
    if manifest is None:
        return Tally()
    return Tally(manifest["count"], manifest["first_id"], manifest["last_id"], manifest["null_actors"])


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "table": str(gap.table),
        "after_id": gap.after_id,
        "until_id": gap.until_id,
        "since": utc_text(gap.timestamp),
        "until": None if gap.until_timestamp is None else utc_text(gap.until_timestamp),
        "actor": gap.actor,
        "reason": gap.reason,
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
