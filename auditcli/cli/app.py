"""The entry point: runs a command line and turns what goes wrong into two lines and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from auditcli import __version__
from auditcli.errors import AuditError, ExitCode, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; every outcome is an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _quietly_if_nobody_reads(lambda: _run(words))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except AuditError as error:
        return _report(error, error, words)
    except Exception as error:  # noqa: BLE001  # the last resort: whatever it is, it is exit code 8 and two lines
        from auditcli.failure import explained

        return _report(error, explained(error), words)


def run() -> NoReturn:
    """The `audit` program."""
    # What is printed to a stream that the caller closed is for nobody.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets its number, not a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # the real streams are text files
    sys.exit(main())


def _run(words: list[str]) -> int:
    words = [_as_text(word) for word in words]
    if words == ["--version"]:
        # Answered before anything is imported: scripts ask for it often.
        sys.stdout.write(f"auditcli {__version__}\n")
        return ExitCode.DONE
    if "_AUDIT_COMPLETE" in os.environ:
        return _complete(words)
    from auditcli.cli.program import run_words

    return run_words(words)


def _complete(words: list[str]) -> int:
    """Answer a shell that asks how a command line may go on."""
    from auditcli.cli.completion import answer

    try:
        answer(os.environ, words)
    except Exception:  # noqa: BLE001  # somebody is typing, and must not find an error in the line
        return ExitCode.FAILURE
    return ExitCode.DONE


def _as_text(word: str) -> str:
    """The word as it was typed; a locale without UTF-8 has its bytes as lone surrogates."""
    if not any("\ud800" <= character <= "\udfff" for character in word):
        return word
    try:
        return word.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise UsageError(f"{word!r} is not valid text", hint="write it in UTF-8") from error


def _report(error: BaseException, explained: AuditError, words: list[str]) -> int:
    from auditcli.cli.render import warn

    if "--debug" in words:
        import traceback

        for line in "".join(traceback.format_exception(error)).rstrip().split("\n"):
            warn(line)
    warn(f"error: {explained.message}")
    if explained.hint:
        warn(f"hint: {explained.hint}")
    return explained.exit_code


def _quietly_if_nobody_reads(run: Callable[[], int]) -> int:
    """What `run` returns; 0 where the reader at the other end of the pipe has gone."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return code
