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
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from auditcli.errors import UsageError
from auditcli.tui.web.gate import LOOPBACK_NAMES, WEBSOCKET_PATH, address, gate, protect

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_FONT_SIZE = 14
_USUAL_SIZE = {"width": 80, "height": 24}
_HEARTBEAT = 15.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, ended.set)
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=_PATIENCE)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            ready(address(self.host, self.port, self._token))
            await ended.wait()
        finally:
            for number in _SIGNALS:
                # A second one does not wait for a page that has gone to sleep.
                loop.remove_signal_handler(number)
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
        websocket = web.WebSocketResponse(heartbeat=_HEARTBEAT, timeout=_PATIENCE)
        await websocket.prepare(request)

        async def close() -> None:
            await websocket.close()

        session = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        explorer = _Explorer(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        try:
            await explorer.start(
                to_int(request.query.get("width", ""), 80), to_int(request.query.get("height", ""), 24)
            )
            await self._process_messages(websocket, explorer)
        except asyncio.CancelledError:
            await close()
        finally:
            await explorer.stop()
            self._sessions.discard(session)
        return websocket

    async def on_startup(self, app: web.Application) -> None:
        """Whoever started this one says where it is."""

    async def on_shutdown(self, app: web.Application) -> None:
        """End the explorers of the pages that are still open."""
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=3 * _PATIENCE)


async def _script(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_TEMPLATES / "explorer.js")


class _Explorer(AppService):
    """One process; when it is stopped it has ended, if need be by force."""

    async def stop(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await super().stop()
                await self._reap()
        except TimeoutError:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await self._reap()

    async def _reap(self) -> None:
        if self._process is not None:
            # What nobody reads any more would keep it from ending.
            await self._process.communicate()


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
