"""ASGI middleware that says who a request's changes belong to.

app.add_middleware(AuditMiddleware)                                   # FastAPI, Starlette
app = AuditMiddleware(app, actor=lambda scope: scope["state"]["user"]) # any ASGI application
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from auditcli.capture.context import Context, request_scope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class AuditMiddleware:
    """Gives the changes of each request its actor and request id.

    `actor` is asked at the time of the write, so an authentication that runs inside this middleware is seen. Without it
    the name of `scope["user"]` counts. The request id comes from the `request_id_header`, else it is made up.
    """

    def __init__(
        self,
        app: App,
        *,
        actor: Callable[[Scope], str | None] | None = None,
        request_id_header: str = "x-request-id",
    ) -> None:
        self._app = app
        self._actor = actor or user_name
        self._header = request_id_header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application inside the request's context."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        with request_scope(lambda: Context(actor=self._actor(scope) or None, more={"request_id": request_id})):
            await self._app(scope, receive, send)

    def _request_id(self, scope: Scope) -> str:
        sent = next((value for name, value in scope.get("headers", ()) if name.lower() == self._header), b"")
        return sent.decode("latin-1") or str(uuid.uuid4())


def user_name(scope: Scope) -> str | None:
    """The name of the user that an authentication middleware put into the scope."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", True):
        return None
    name = user.display_name if hasattr(user, "display_name") else getattr(user, "identity", None)
    return None if name is None else str(name)
