"""The server: one explorer, a process of its own, for each page that is open."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import secrets
import shlex
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp_jinja2
from aiohttp import web
from textual_serve.server import Server, to_int

from auditcli.errors import UsageError
from auditcli.tui.web.gate import LOOPBACK_NAMES, WEBSOCKET_PATH, address, gate, protect

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_FONT_SIZE = 14
_PATIENCE = 3.0
"""Seconds that open pages get to end their explorers."""


class ExplorerServer(Server):
    """Textual's own server, behind a gate, with a page that asks no other host for anything."""

    def __init__(self, command: Sequence[str], listening: socket.socket, *, title: str) -> None:
        host, port = listening.getsockname()[:2]
        # A shell reads the command, and is replaced by it: a signal then reaches the explorer.
        super().__init__(
            f"exec {shlex.join(command)}", host=host, port=port, title=title, templates_path=str(_TEMPLATES)
        )
        self._listening = listening
        self._token = secrets.token_urlsafe(32)
        self._sessions: set[asyncio.Task[Any]] = set()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until ^C or SIGTERM; `ready` is told the address to open."""
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=_PATIENCE)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            ready(address(self.host, self.port, self._token))
            await ended.wait()
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.router.add_get("/explorer.js", _script)
        # A browser keeps the cookies of all ports together.
        app.middlewares.append(gate(self._token, f"audit-{self.port}", {*LOOPBACK_NAMES, self.host}))
        app.on_response_prepare.append(protect)
        return app

    @aiohttp_jinja2.template("explorer.html")
    async def handle_index(self, request: web.Request) -> dict[str, Any]:
        """The page; by the name that the browser knows this server by, which a tunnel may have changed."""
        return {
            "title": self.title,
            "font_size": to_int(request.query.get("fontsize", ""), _FONT_SIZE),
            "websocket_url": f"ws://{request.host}{WEBSOCKET_PATH}",
        }

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run an explorer for as long as its page is open."""
        session = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        try:
            return await super().handle_websocket(request)
        finally:
            self._sessions.discard(session)

    async def on_startup(self, app: web.Application) -> None:
        """Whoever started this one says where it is."""

    async def on_shutdown(self, app: web.Application) -> None:
        """End the explorers of the pages that are still open."""
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=_PATIENCE)


async def _script(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_TEMPLATES / "explorer.js")


def listen(host: str, port: int) -> socket.socket:
    """A port of this machine alone, any free one for 0; raises UsageError where it can't be had."""
    number = _loopback(host)
    family = socket.AF_INET6 if ":" in number else socket.AF_INET
    try:
        return socket.create_server((number, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is taken", hint="name another by --port; 0 is any that is free") from error
        raise UsageError(
            f"can't listen at port {port} of {number}: {error.strerror}", hint="name another by --port"
        ) from error


def _loopback(host: str) -> str:
    number = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(number).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(
            f"{host} can be reached from other machines, and what is served is not encrypted",
            hint="from elsewhere use a tunnel: ssh -L 8000:127.0.0.1:8000 HOST",
        )
    return number
