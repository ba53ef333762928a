"""`audit serve`: who comes in, what the page asks for, and that the explorer behind it can't write unless told."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSMsgType, WSServerHandshakeError

from auditcli.tui.web import server
from tests.cli.shop import CANCELLED, Shop
from tests.tui.served import Served, serving

pytestmark = pytest.mark.thorough

_ROUTES = ("/", "/ws", "/static/js/textual.js", "/static/fonts/RobotoMono-VariableFont_wght.ttf", "/static/")
_MORE_ROUTES = ("/explorer.js", "/download/abc", "/nothing")
_COUNTED = f" of {CANCELLED}"
_FOREIGN = re.compile(r"(?:https?:)?//(?!127\.0\.0\.1)[\w.-]+\.\w+")
_ESCAPES = re.compile(r"\x1b\[[0-9;?$]*[A-Za-z]")
_SECONDS = 40


@pytest.fixture(scope="module")
def served(built_shop: Path) -> Iterator[Served]:
    """The shop, served for those who only look."""
    with serving("-u", str(built_shop), "serve") as served:
        yield served


def visit(served: Served, story: Callable[[ClientSession], Awaitable[None]]) -> None:
    """Let a client with cookies do what the story says."""

    async def run() -> None:
        async with ClientSession(served.base, cookie_jar=CookieJar(unsafe=True)) as session:
            await asyncio.wait_for(story(session), _SECONDS)

    asyncio.run(run())


def test_an_export_goes_to_the_browser_and_not_to_the_server(served: Served, tmp_path: Path) -> None:
    async def story(session: ClientSession) -> None:
        await status(session, served.address)
        async with session.ws_connect("/ws?width=160&height=40", headers={"Origin": served.base}) as websocket:
            await screen_until(websocket, _COUNTED)
            await websocket.send_json(["stdin", "e"])
            await screen_until(websocket, "export to")
            await websocket.send_json(["stdin", "\r"])
            key = ""
            while not key:
                message = await asyncio.wait_for(websocket.receive(), _SECONDS / 2)
                if message.type is WSMsgType.TEXT and message.json()[0] == "deliver_file_start":
                    key = message.json()[1]
            async with session.get(f"/download/{key}") as response:
                found = await response.text()
                (tmp_path / "found").write_text(found)
                assert "changes.csv" in response.headers["Content-Disposition"]

    before = Path("changes.csv").exists()
    visit(served, story)

    assert (tmp_path / "found").read_text().count("\n") == 1 + CANCELLED
    assert (before, Path("changes.csv").exists()) == (False, False)


def look(served: Served, story: Callable[[ClientWebSocketResponse], Awaitable[None]]) -> None:
    """Open the page's websocket, and do what the story says."""

    async def opened(session: ClientSession) -> None:
        await status(session, served.address)
        async with session.ws_connect("/ws?width=160&height=40", headers={"Origin": served.base}) as websocket:
            await story(websocket)

    visit(served, opened)


async def status(session: ClientSession, path: str, **asked: Any) -> int:
    async with session.get(path, allow_redirects=False, **asked) as response:
        return response.status


async def screen_until(websocket: ClientWebSocketResponse, text: str) -> str:
    """What the explorer draws until a text is in it, without how it is coloured and where it stands."""
    drawn, plain = "", ""
    try:
        async with asyncio.timeout(_SECONDS / 2):
            while text not in plain:
                message = await websocket.receive()
                assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), f"{message.type.name} after {plain[-3000:]}"
                if message.type is WSMsgType.BINARY:
                    drawn += message.data.decode("utf-8", "replace")
                    plain = _ESCAPES.sub("", drawn)
    except TimeoutError:
        raise AssertionError(f"{text!r} never came, but {plain[-3000:]}") from None
    return plain


async def told(websocket: ClientWebSocketResponse) -> list[str]:
    """The next thing that the page is told beside what it draws."""
    while (message := await websocket.receive()).type is WSMsgType.BINARY:
        pass
    words: list[str] = message.json()
    return words


def test_nobody_comes_in_without_the_token(served: Served) -> None:
    wrong = served.token[:-1] + ("A" if served.token[-1] != "A" else "B")

    async def story(session: ClientSession) -> None:
        for path in (*_ROUTES, *_MORE_ROUTES):
            for query in ({}, {"token": ""}, {"token": wrong}, {"token": "ü"}, {"token": served.token + "A"}):
                assert await status(session, path, params=query) == 403, (path, query)
            forged = {"Cookie": f"audit-{served.port}={wrong}", "Origin": served.base}
            assert await status(session, path, headers=forged) == 403, path

    visit(served, story)


def test_a_websocket_is_refused_without_the_token(served: Served) -> None:
    async def story(session: ClientSession) -> None:
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("/ws", headers={"Origin": served.base})

        assert refused.value.status == 403

    visit(served, story)


def test_the_address_that_was_printed_lets_in_and_leaves_the_token_in_no_address(served: Served) -> None:
    async def story(session: ClientSession) -> None:
        async with session.get(served.address) as response:
            page = await response.text()

            assert response.status == 200
            assert str(response.url) == f"{served.base}/"
            assert served.token not in page
        for path in ("/static/js/textual.js", "/static/fonts/RobotoMono-VariableFont_wght.ttf"):
            assert await status(session, path) == 200
        assert await status(session, "/nothing") == 404

    visit(served, story)


def test_the_page_names_no_other_host_and_forbids_the_browser_to_ask_any(served: Served) -> None:
    async def story(session: ClientSession) -> None:
        async with session.get(served.address) as response:
            page, policy = await response.text(), response.headers["Content-Security-Policy"]

        assert _FOREIGN.findall(page) == []
        assert _FOREIGN.findall(policy) == []
        assert policy.startswith("default-src 'none'; ")

    visit(served, story)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": "[::1"},
        {"Host": "192.168.1.7:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "null"},
    ],
)
def test_another_name_or_another_page_is_refused_in_spite_of_the_token(served: Served, headers: dict[str, str]) -> None:
    told = {name: text.format(port=served.port) for name, text in headers.items()}

    async def story(session: ClientSession) -> None:
        await status(session, served.address)
        for path in _ROUTES:
            assert await status(session, path, headers=told) == 403, path
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("/ws", headers={"Origin": served.base, **told})
        assert refused.value.status == 403

    visit(served, story)


def test_a_websocket_that_does_not_say_from_which_page_it_is_is_refused(served: Served) -> None:
    async def story(session: ClientSession) -> None:
        await status(session, served.address)

        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("/ws")

        assert refused.value.status == 403

    visit(served, story)


def test_the_explorer_comes_over_the_websocket_and_takes_keys(served: Served) -> None:
    async def story(websocket: ClientWebSocketResponse) -> None:
        drawn = await screen_until(websocket, "#12")
        await websocket.send_json(["stdin", "?"])
        helped = await screen_until(websocket, "Exclude")

        assert "● read-only" in drawn
        assert "Every key" not in drawn
        assert "Keep only" in helped

    look(served, story)


def test_a_picture_of_the_screen_comes_as_a_download_for_whoever_has_the_token(served: Served) -> None:
    async def story(session: ClientSession) -> None:
        await status(session, served.address)
        async with session.ws_connect("/ws?width=120&height=40", headers={"Origin": served.base}) as websocket:
            await screen_until(websocket, _COUNTED)
            await websocket.send_json(["stdin", "\x10"])
            await screen_until(websocket, "Search for commands")
            await websocket.send_json(["stdin", "screenshot"])
            await screen_until(websocket, "Save an SVG")
            await websocket.send_json(["stdin", "\r"])
            kind, key = await told(websocket)

            assert kind == "deliver_file_start"
            async with ClientSession(served.base) as stranger:
                assert await status(stranger, f"/download/{key}") == 403
            async with session.get(f"/download/{key}") as response:
                assert response.status == 200
                assert (await response.text()).startswith("<svg ")

    visit(served, story)


def test_whoever_may_write_is_offered_an_undo(shop: Shop) -> None:
    async def story(websocket: ClientWebSocketResponse) -> None:
        drawn = await screen_until(websocket, _COUNTED)
        await websocket.send_json(["stdin", "u"])
        await screen_until(websocket, "take back what?")

        assert "read-only" not in drawn

    with serving("-u", str(shop.path), "serve", "--write", "--as", "alice") as served:
        look(served, story)


def test_words_of_the_selection_reach_the_explorer_as_they_are(shop: Shop) -> None:
    word = "grep:$(id) ' ; touch it"

    async def story(websocket: ClientWebSocketResponse) -> None:
        await screen_until(websocket, f"filter ▸  {shlex.quote(word)} ✕")

    with serving("-u", str(shop.path), "serve", word) as served:
        look(served, story)


def test_interrupted_it_says_so_and_ends_the_explorers(shop: Shop) -> None:
    async def story(websocket: ClientWebSocketResponse) -> None:
        await screen_until(websocket, _COUNTED)

        ending = asyncio.create_task(asyncio.to_thread(interrupted.end))
        while (await websocket.receive()).type is WSMsgType.BINARY:
            pass
        code, said = await ending

        assert code == 130
        assert said.splitlines()[-1] == "no longer served"
        assert "Traceback" not in said
        assert _explorers(shop.path.parent.name) == []

    with serving("-u", str(shop.path), "serve", "--as", shop.path.parent.name) as interrupted:
        look(interrupted, story)


def test_a_second_interrupt_waits_for_no_page(shop: Shop) -> None:
    async def story(websocket: ClientWebSocketResponse) -> None:
        await screen_until(websocket, _COUNTED)
        # Nothing is read from here on, like by a page that sleeps: the server's farewell has no answer.
        interrupted.process.send_signal(signal.SIGINT)
        await asyncio.sleep(1)
        begun = time.monotonic()
        code, said = await asyncio.to_thread(interrupted.end)

        assert code == 130
        assert time.monotonic() - begun < 8
        assert "Traceback" not in said

    with serving("-u", str(shop.path), "serve") as interrupted:
        look(interrupted, story)


def test_a_password_stands_in_no_list_of_processes_but_the_one_where_it_was_typed() -> None:
    url = "postgresql://u:s3cret@127.0.0.1:1/x"

    async def story(websocket: ClientWebSocketResponse) -> None:
        drawn = await screen_until(websocket, "can't connect")

        assert "s3cret" not in drawn
        assert [words for words in _explorers() if "s3cret" in words] == []
        assert [words for words in _explorers() if "--as=somebody" in words] != []

    with serving("-u", url, "serve", "--as", "somebody") as served:
        look(served, story)


def test_a_port_that_is_taken_is_named(audit: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ran = audit("serve", "--port", str(port))

    assert ran.code == 2
    assert ran.error == f"port {port} is taken"


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104  # refused
        "::",
        "192.168.1.7",
        "example.org",
        "",
    ],
)
def test_an_address_that_others_reach_is_refused_with_the_reason(audit: Any, host: str) -> None:
    ran = audit("serve", "--host", host)

    assert ran.code == 2
    assert "can be reached from other machines" in ran.error
    assert "ssh -L" in ran.err


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2"])
def test_it_listens_on_this_machine_alone(host: str) -> None:
    with server.listen(host, 0) as listening:
        assert listening.getsockname()[0].startswith("127.0.0.")


def test_a_password_beside_a_profile_is_refused(
    run: Any, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "audit.toml").write_text(f'[profiles.shop]\nurl = "{shop.path}"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    ran = run("-P", "shop", "-u", "postgresql://u:s3cret@127.0.0.1:1/x", "serve")

    assert ran.code == 2
    assert "password" in ran.error
    assert "s3cret" not in ran.err


def test_without_the_extra_it_is_named(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "auditcli.tui.web.server", raising=False)
    monkeypatch.delitem(sys.modules, "textual_serve.server", raising=False)
    monkeypatch.setitem(sys.modules, "textual_serve", None)

    ran = audit("serve")

    assert ran.code == 2
    assert ran.error == "textual-serve is not installed"
    assert "auditcli[serve]" in ran.err


def _command_lines() -> list[str]:
    """The words of every process that can be seen here."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it has ended meanwhile
            continue
    return lines


def _explorers(word: str = "") -> list[str]:
    return [words for words in _command_lines() if " tui --" in words and word in words]
