"""The files that exports are written to: plain or compressed, as their names say."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import IO, TextIO, cast

from auditcli.errors import UsageError
from auditcli.export.formats import Compression

_GZIP_LEVEL = 6
_EXTRA = "pip install 'auditcli[zstd]'"


def check_compression(compression: Compression | None) -> None:
    """Raise UsageError where this Python can't compress so."""
    if compression is Compression.ZSTD:
        _zstd_open()


@contextmanager
def text_stream(file: IO[bytes], compression: Compression | None) -> Iterator[TextIO]:
    """A stream of text into an open file; what is not valid Unicode is written with backslashes."""
    with _compressed(file, compression) as binary:
        text = TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="", write_through=False)
        try:
            yield text
        finally:
            text.flush()
            text.detach()


@contextmanager
def _compressed(file: IO[bytes], compression: Compression | None) -> Iterator[IO[bytes]]:
    if compression is None:
        yield file
    elif compression is Compression.GZIP:
        # Without a name and a time the same changes make the same bytes.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    else:
        with _zstd_open()(file, "wb") as packed:
            yield packed


def _zstd_open() -> Callable[[IO[bytes], str], AbstractContextManager[IO[bytes]]]:
    """`open` of the first module for it that is there."""
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            found: Callable[[IO[bytes], str], AbstractContextManager[IO[bytes]]] = import_module(module).open
            return found
        except ImportError:
            continue
    raise UsageError("this Python can't write .zst files", hint=f"{_EXTRA}, or write .gz")
