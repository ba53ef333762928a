"""Between a program and a server: passes on what both say, and hangs up on both when it is told to."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import URL

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Connections to one server; `said` counts the bytes that it has sent.

    After `limit` of those all connections are reset, as when the server or the way to it goes away. Where something is
    to happen to the server at that moment, `at_limit` does it, once; then there may be new connections.
    """

    def __init__(self, address: tuple[str, int], at_limit: Callable[[], None] | None) -> None:
        self.said = 0
        self.limit: int | None = None
        self._at_limit = at_limit
        self._address = address
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def allow(self, limit: int | None) -> None:
        """Count from the beginning, up to a limit."""
        self.said, self.limit = 0, limit

    def close(self) -> None:
        """Take no more connections, and hang up."""
        # A thread that waits in accept is not woken by closing alone.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._address)
            self._open += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                self.said += len(data) * is_answer
                if self.limit is not None and self.said > self.limit:
                    self._break_off()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _break_off(self) -> None:
        if self._at_limit is not None:
            self.limit = None
            self._at_limit()
        self._hang_up()

    def _hang_up(self) -> None:
        while self._open:
            connection = self._open.pop()
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@contextmanager
def proxied(url: URL, at_limit: Callable[[], None] | None = None) -> Iterator[tuple[Proxy, str]]:
    """The same database by a way that can be cut."""
    address = url.host or "127.0.0.1", url.port or {"postgresql": 5432}.get(url.get_backend_name(), 3306)
    proxy = Proxy(address, at_limit)
    try:
        yield proxy, url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    finally:
        proxy.close()
