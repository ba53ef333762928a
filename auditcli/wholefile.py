"""Files that appear whole or not at all, and files that grow."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from auditcli.errors import AuditError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def appearing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """An empty file in the same folder, which takes the name in one step when the block ends, and goes when it fails.

    A file of that name is replaced at the end; until then, and where anything fails, it stays as it was.
    Its permissions stay too, unless a `mode` is given.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file in it")
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-", suffix=".part")
        os.close(descriptor)
    except OSError as error:
        raise _not_written(path, error) from error
    unfinished = Path(name)
    try:
        yield unfinished
        _flush(unfinished)
        unfinished.chmod(_permissions(path) if mode is None else mode)
        unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_written(path, error) from error
        raise
    _flush_folder(path.parent)


@contextmanager
def appending(path: Path, size: int) -> Iterator[IO[bytes]]:
    """A file, made where it is not there, of which so many bytes are kept, to be written on from there."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file in it")
    try:
        with path.open("r+b" if path.exists() else "xb") as file:
            file.truncate(size)
            file.seek(size)
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _not_written(path, error) from error


def _permissions(path: Path) -> int:
    """Those of the file that is replaced, else what a new file gets."""
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # Without this the new name may be lost in a crash; some systems don't open folders and keep names by themselves.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _not_written(path: Path, error: OSError) -> AuditError:
    if error.errno in _FULL:
        return AuditError(f"can't write {path}: {error.strerror}", hint="free some space, or write somewhere else")
    if not path.parent.is_dir():
        return UsageError(
            f"no folder {path.parent} to write {path.name} to", hint="make it first, or name another file"
        )
    return UsageError(f"can't write {path}: {error.strerror or error}", hint="name a file that you may write")
