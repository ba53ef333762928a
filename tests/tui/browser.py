"""A real browser without a window: Chromium, told what to do over its own debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import struct
import subprocess
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 60

# The page keeps its terminal to itself; xterm.js gives itself away where it stores its core.
_CATCH_TERMINAL = """
Object.defineProperty(Object.prototype, "_core", {
  configurable: true,
  set(core) {
    if (core && core.buffer !== undefined && this.loadAddon) window.caughtTerminal = this;
    Object.defineProperty(this, "_core", { value: core, writable: true, configurable: true });
  },
});
"""
_READ_TERMINAL = """
(() => {
  if (!window.caughtTerminal) return "";
  const screen = window.caughtTerminal.buffer.active;
  return Array.from({ length: screen.length }, (_, y) => screen.getLine(y).translateToString(true)).join("\\n");
})()
"""


def chromium() -> str | None:
    """Where the browser is."""
    return next((path for path in map(shutil.which, _NAMES) if path is not None), None)


class Page:
    """One page, and all that it has asked for."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: dict[str, str] = {}
        self.asked: list[str] = []
        """The addresses of its requests and websockets."""
        self.statuses: dict[str, int] = {}
        """What the requests were answered with."""
        self.complaints: list[str] = []
        """What the browser has refused or could not do."""

    async def begin(self) -> None:
        """Open an empty page."""
        target = (await self._do("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self._do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._do(f"{domain}.enable")
        await self._do("Page.addScriptToEvaluateOnNewDocument", source=_CATCH_TERMINAL)

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self._do("Page.navigate", url=address)

    async def press(self, key: str) -> None:
        """Type one character."""
        await self._do("Input.dispatchKeyEvent", type="keyDown", text=key, key=key, unmodifiedText=key)
        await self._do("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def evaluate(self, script: str) -> Any:
        """What a script on the page comes to."""
        answer = await self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    async def text(self) -> str:
        """What the terminal on the page shows."""
        return str(await self.evaluate(_READ_TERMINAL))

    async def until(self, text: str) -> str:
        """Wait until the terminal shows a text; returns all that it shows then."""
        shown = ""
        for _ in range(_SECONDS * 10):
            shown = await self.text()
            if text in shown:
                return shown
            await asyncio.sleep(0.1)
        raise AssertionError(f"{text!r} never came, but {shown!r}; {self.complaints}; {self.statuses}")

    async def picture(self) -> list[bytes]:
        """The page as it is seen, small: its rows of pixels, each as the bytes of red, green, blue (and opacity)."""
        part = {"x": 0, "y": 0, "width": 1200, "height": 700, "scale": 1 / 4}
        answer = await self._do("Page.captureScreenshot", format="png", clip=part)
        return _pixel_rows(base64.b64decode(answer["data"]))

    async def listen(self) -> None:
        """Take in what the browser says, for as long as it is there."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(params["url"])
        elif method == "Network.responseReceived":
            self.statuses[params["response"]["url"]] = params["response"]["status"]
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))

    async def _do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params, **self._session})
        said = await asyncio.wait_for(answer, _SECONDS)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result


@asynccontextmanager
async def page(folder: Path) -> AsyncIterator[Page]:
    """An empty page of a browser that is started for it; `folder` gets the browser's files."""
    program = chromium()
    assert program is not None
    process = subprocess.Popen(  # noqa: ASYNC220  # it is there at once
        [
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            "--enable-unsafe-swiftshader",  # xterm.js draws by WebGL, and there may be no graphics card
            *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1200,800", "about:blank"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with ClientSession() as session, session.ws_connect(await _debugger(folder), max_msg_size=0) as socket:
            opened = Page(socket)
            listening = asyncio.create_task(opened.listen())
            try:
                await opened.begin()
                yield opened
            finally:
                listening.cancel()
    finally:
        process.terminate()
        process.wait(timeout=30)


def hosts(addresses: list[str]) -> set[str]:
    """The hosts that were asked, but for what is in the page itself."""
    return {urlsplit(each).netloc for each in addresses if urlsplit(each).scheme not in ("data", "about", "blob")}


async def _debugger(folder: Path) -> str:
    """Where the browser listens, as soon as it does."""
    told = folder / "DevToolsActivePort"
    for _ in range(_SECONDS * 10):
        if told.exists() and len(lines := told.read_text(encoding="utf-8").split()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.1)
    raise AssertionError("the browser did not start")


def _pixel_rows(png: bytes) -> list[bytes]:
    """The rows of a PNG of 8 bits a colour that is not interlaced, its filters taken off."""
    width, _height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    assert (depth, interlaced) == (8, 0), "another kind of PNG"
    size = {2: 3, 6: 4}[colour]
    packed, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        packed += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    raw, rows, above = zlib.decompress(packed), [], bytes(width * size)
    for start in range(0, len(raw), width * size + 1):
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + width * size], above, size)
        rows.append(above)
    return rows


def _unfiltered(kind: int, row: bytes, above: bytes, size: int) -> bytes:
    """A row of a PNG from the differences that it is stored as."""
    pixels = bytearray(row)
    for at, byte in enumerate(row):
        left = pixels[at - size] if at >= size else 0
        corner = above[at - size] if at >= size else 0
        pixels[at] = (byte + (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))[kind]) % 256
    return bytes(pixels)


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))
