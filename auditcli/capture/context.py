"""Who and why: the context that the next recorded changes belong to, per task and per thread.

Values live in a context variable. Web frameworks run synchronous dependencies in a worker thread with a *copy* of the
request's context, where a variable set is seen by nobody else; so a request has a `RequestScope`, one object that all
copies share, and a context entered in such a thread is pushed onto it as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from auditcli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a transaction; empty strings count as absent."""

    actor: str | None = None
    reason: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, outer: Context) -> Context:
        """This context on top of another one: what it leaves open comes from there."""
        return Context(self.actor or outer.actor, self.reason or outer.reason, {**outer.more, **self.more})


@dataclass
class RequestScope:
    """The contexts of one request, shared by every copy of its context variables."""

    base: Callable[[], Context] = Context
    entered: list[Context] = field(default_factory=list)

    def context(self) -> Context:
        """All that was entered, the latest on top."""
        merged = self.base()
        for entered in tuple(self.entered):
            merged = entered.inside(merged)
        return merged


_NO_CONTEXT = Context()
_current: ContextVar[Context] = ContextVar("auditcli_context", default=_NO_CONTEXT)
_request: ContextVar[RequestScope | None] = ContextVar("auditcli_request", default=None)
_untracked: ContextVar[str | None] = ContextVar("auditcli_untracked", default=None)


@contextmanager
def context(actor: str | None = None, reason: str | None = None, **more: Any) -> Iterator[None]:
    """Give the changes recorded inside this block an actor, a reason and free keys; blocks nest.

    Raises UsageError for a key whose value JSON can't hold.
    """
    for key, value in more.items():
        if not isinstance(value, str | int | float | bool | None):
            raise UsageError(f"context key {key!r} has a {type(value).__name__}", hint="use text, numbers or booleans")
    entered = Context(actor or None, reason or None, more)
    outer = _current.get()
    scope = _request.get()
    shared = scope is not None and not _in_event_loop()
    _current.set(entered.inside(outer))
    if scope is not None and shared:
        scope.entered.append(entered)
    try:
        yield
    finally:
        # Not `reset`: a framework may leave the block in another copy of the context than it entered it in.
        _current.set(outer)
        if scope is not None and shared:
            scope.entered.remove(entered)


@contextmanager
def untracked(reason: str) -> Iterator[None]:
    """Let statements through that listeners can't record, and leave a gap in the log for each table written."""
    outer = _untracked.get()
    _untracked.set(reason)
    try:
        yield
    finally:
        _untracked.set(outer)


@contextmanager
def request_scope(base: Callable[[], Context]) -> Iterator[RequestScope]:
    """Open a request: `base` is asked for its context each time that something is recorded."""
    scope = RequestScope(base)
    outer = _request.get()
    _request.set(scope)
    try:
        yield scope
    finally:
        _request.set(outer)


def current_context() -> Context:
    """The context that a change recorded now belongs to."""
    scope = _request.get()
    here = _current.get()
    return here if scope is None else here.inside(scope.context())


def untracked_reason() -> str | None:
    """Why statements are let through unrecorded; None where they are not."""
    return _untracked.get()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
