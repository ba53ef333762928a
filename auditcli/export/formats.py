"""The formats of an export, and what a file's name says of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from auditcli.errors import UsageError


class ExportFormat(StrEnum):
    """What changes can be written as."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    JSONL = "jsonl"
    SQL = "sql"


class Compression(StrEnum):
    """How a file may be compressed."""

    GZIP = "gz"
    ZSTD = "zst"


def named_format(name: str) -> ExportFormat:
    """The format of that name."""
    try:
        return ExportFormat(name.lower())
    except ValueError as error:
        raise UsageError(f"no export format {name!r}", hint=f"formats: {', '.join(ExportFormat)}") from error


def format_of(path: Path) -> ExportFormat:
    """The format that a file's suffix names; that of a compression stands behind it."""
    suffix = (path.with_suffix("") if compression_of(path) else path).suffix.lstrip(".").lower()
    if suffix == "ndjson":
        return ExportFormat.JSONL
    try:
        return ExportFormat(suffix)
    except ValueError as error:
        raise UsageError(
            f"{path.name} does not say in which format to write it",
            hint=f"end its name in {', '.join('.' + each for each in ExportFormat)}, or give `-o FORMAT`",
        ) from error


def compression_of(path: Path) -> Compression | None:
    """The compression that a file's last suffix names, if any."""
    suffix = path.suffix.lstrip(".").lower()
    return Compression(suffix) if suffix in tuple(Compression) else None
