"""Who may come in: a browser on this machine that was given the token, asking from the page that it got here."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

WEBSOCKET_PATH = "/ws"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_TOKEN = "token"  # noqa: S105  # the name of the parameter

_HEADERS = {
    # The browser itself asks no other host for anything, whatever a page or a script says.
    # Style elements: xterm.js sizes its cells by them.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self' {websocket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def gate(token: str, cookie: str, names: Collection[str]) -> Middleware:
    """Let through what carries the token, in a cookie that the printed address sets; all else is answered by 403.

    `names` are the hosts by which this server may be called.
    """

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_names(request, names)
        told = request.query.get(_TOKEN) if request.path == "/" else None
        if not _is_same(request.cookies.get(cookie, "") if told is None else told, token):
            raise _refused("open the address that `audit serve` has printed")
        if told is None:
            return await handler(request)
        entered = web.HTTPSeeOther(request.rel_url.with_query(_without_token(request)))
        entered.set_cookie(cookie, token, httponly=True, samesite="Strict")
        raise entered

    return admit


def address(host: str, port: int, token: str) -> str:
    """What a browser is to open."""
    return f"http://{_bracketed(host)}:{port}/?{_TOKEN}={token}"


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the browser what no page of this server needs."""
    for name, text in _HEADERS.items():
        response.headers[name] = text.format(websocket=f"ws://{request.host}")


def _check_names(request: web.Request, names: Collection[str]) -> None:
    """Refuse a name that somebody else's DNS leads here, and a page that somebody else's server sent."""
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        name = None
    if name not in names:
        raise _refused("this server answers to names of this machine alone")
    origin = request.headers.get("Origin")
    needs_origin = request.path == WEBSOCKET_PATH
    if origin != f"http://{request.host}" and (needs_origin or origin is not None):
        raise _refused("another page may not ask this server")


def _without_token(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.query.items() if name != _TOKEN}


def _is_same(word: str, token: str) -> bool:
    """In a time that tells nothing about the token."""
    return hmac.compare_digest(word.encode("utf-8", "surrogateescape"), token.encode())


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refused(reason: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(text=f"403: {reason}\n")
