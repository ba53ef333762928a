"""One transaction that is being recorded: what is running in it, and whether all of it is in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from sqlalchemy.engine import RootTransaction
from sqlalchemy.orm import Session

from auditcli.capture.recorder import Recorder, Unit
from auditcli.capture.scene import quiet
from auditcli.capture.targets import open_savepoints
from auditcli.capture.touching import Touch
from auditcli.errors import CaptureError


@dataclass
class Flush:
    """The unit of a session's flush; a handler of the application's may break the flush off without a word to us."""

    unit: Unit
    session: ref[Session]

    @property
    def is_running(self) -> bool:
        """Whether the session still flushes."""
        session = self.session()
        return session is not None and session._flushing


@dataclass(frozen=True)
class _Moment:
    """The savepoints that were open when a statement began or recording failed, and the failure."""

    savepoints: tuple[str, ...]
    error: BaseException | None = None


@dataclass
class Writing:
    """The recorder of one transaction on one connection, and the statements that are running, innermost last.

    A statement that failed stays among them. `owner` is the tracker that records.
    """

    owner: Any
    root: RootTransaction | None
    recorder: Recorder
    flush: Flush | None = None
    running: list[tuple[Touch, _Moment]] = field(default_factory=list)
    unlogged: _Moment | None = None

    @property
    def unit(self) -> Unit:
        """Where the next statement belongs: to the flush that runs, or to itself."""
        if self.flush is not None and not self.flush.is_running:
            self.finish_flush()
        return self.recorder.unit() if self.flush is None else self.flush.unit

    def begin(self, touch: Touch) -> None:
        """A statement is about to run."""
        self.running.append((touch, self._moment()))

    def end(self, statement: Any) -> Touch | None:
        """A statement ran; None where it is none of ours.

        Raises CaptureError where it is not the one that was about to run.
        """
        places = [place for place, (touch, _) in enumerate(self.running) if touch.statement is statement]
        if places:
            return self.running.pop(places[-1])[0]
        with self.recording():
            if any(touch.statement.table is getattr(statement, "table", None) for touch, _ in self.running):
                raise CaptureError(
                    f"a write to {statement.table} was changed by another listener after its rows had been read",
                    hint="let that listener listen before `auditcli.track` is called",
                )
        return None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside this block an error means that changes were made and are not in the log."""
        try:
            with quiet(self.recorder.connection):
                yield
        except BaseException as error:
            self.unlogged = self.unlogged or self._moment(error)
            raise

    def begin_flush(self, session: Session) -> Flush:
        """What the session writes from now on is one unit."""
        self.finish_flush()
        self.flush = Flush(self.recorder.unit(), ref(session))
        return self.flush

    def finish_flush(self) -> None:
        """Record what a flush did so far."""
        if self.flush is not None:
            with self.recording():
                self.flush.unit.finish()
            if not self.flush.is_running:
                self.flush = None

    def enter_savepoint(self) -> None:
        """A savepoint is about to be set, which has no name yet; what came before it is no part of it."""
        self.finish_flush()
        self.recorder.enter_savepoint(str(len(open_savepoints(self.recorder.connection))))

    def release_savepoint(self, name: str) -> None:
        """What was done inside a savepoint belongs to what is around it."""
        self.recorder.leave_savepoint(self._depth(name), rolled_back=False)

    def roll_back_savepoint(self, name: str) -> None:
        """A savepoint was rolled back, and with it what was done inside it."""
        self.recorder.leave_savepoint(self._depth(name), rolled_back=True)
        self.recorder.scene_is_stale = True
        self.running = [(touch, moment) for touch, moment in self.running if name not in moment.savepoints]
        if self.unlogged is not None and name in self.unlogged.savepoints:
            self.unlogged = None
        if self.flush is not None:
            self.flush.unit = self.recorder.unit()

    def check_complete(self) -> None:
        """Raise CaptureError where the transaction made changes that are not in the log."""
        self.finish_flush()
        if self.flush is not None:
            raise CaptureError("a commit in the middle of a flush: its changes are not recorded yet")
        broken_off = [moment for touch, moment in self.running if touch.may_fail_half_way]
        unlogged = next(iter(broken_off), self.unlogged)
        if unlogged is not None:
            raise CaptureError(
                "this transaction made changes that could not be recorded, so it can't be committed",
                hint="roll it back; a batch that may fail half way belongs into a savepoint (`begin_nested()`)",
            ) from unlogged.error

    def _depth(self, name: str) -> str:
        return str(open_savepoints(self.recorder.connection).index(name))

    def _moment(self, error: BaseException | None = None) -> _Moment:
        return _Moment(tuple(open_savepoints(self.recorder.connection)), error)
