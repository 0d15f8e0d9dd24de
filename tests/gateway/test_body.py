"""Bodies are limited before they are parsed."""

import asyncio

import pytest

from metabolic.config import Config, ServerTable
from metabolic.core.errors import RequestError, TooLarge
from metabolic.gateway.app import App
from metabolic.gateway.body import ClientLeft, Watch, read_body
from metabolic.gateway.seam import Receive
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeRuntime

pytestmark = pytest.mark.anyio
SMALL = Config(server=ServerTable(body_limit_bytes=1024))
PATH = "/v1/chat/completions"


def pieces(*bodies: bytes, left: bool = False) -> Receive:
    waiting = list(bodies)

    async def receive() -> dict[str, object]:
        if not waiting:
            if left:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or left}

    return receive


async def test_pieces_are_put_together() -> None:
    assert await read_body(pieces(b"ab", b"", b"c"), {}, limit=3) == b"abc"


async def test_an_announced_large_body_is_refused_unread() -> None:
    async def receive() -> dict[str, object]:
        msg = "read"
        raise AssertionError(msg)

    with pytest.raises(TooLarge):
        await read_body(receive, {b"content-length": b"4"}, limit=3)


@pytest.mark.parametrize("bodies", [(b"abcd",), (b"ab", b"cd"), (b"ab", b"cd", b"ef")])
async def test_an_unannounced_large_body_is_refused_while_it_is_read(
    bodies: tuple[bytes, ...],
) -> None:
    with pytest.raises(TooLarge):
        await read_body(pieces(*bodies), {}, limit=3)


async def test_a_client_that_leaves_while_sending_is_noticed() -> None:
    with pytest.raises(ClientLeft):
        await read_body(pieces(b"ab", left=True), {}, limit=9)
    with pytest.raises(ClientLeft):
        await read_body(pieces(left=True), {}, limit=9)


async def test_compressed_bodies_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        await read_body(pieces(b"x"), {b"content-encoding": b"gzip"}, limit=9)
    assert caught.value.status == 415


async def test_413_comes_before_parsing_and_without_a_call() -> None:
    runtime = FakeRuntime(SMALL)
    answered = await Client(App(runtime)).request("POST", PATH, b"{" * 1025)
    assert answered.status == 413
    assert answered.error["code"] == "request_too_large"
    assert answered.headers["connection"] == "close"
    assert answered.whole
    assert runtime.asked == []


async def test_413_while_reading_chunks() -> None:
    runtime = FakeRuntime(SMALL)
    answered = await Client(App(runtime)).request("POST", PATH, *[b" " * 400] * 5)
    assert (answered.status, runtime.asked) == (413, [])


async def test_a_watch_resolves_when_the_client_leaves_and_not_before() -> None:
    leaving = asyncio.Event()

    async def receive() -> dict[str, str]:
        if not leaving.is_set():
            await leaving.wait()
            return {"type": "http.request"}
        return {"type": "http.disconnect"}

    watch = Watch(receive)
    await asyncio.sleep(0)
    assert not watch.gone.done()
    leaving.set()
    await watch.gone
    watch.close()


async def test_a_watch_survives_a_receive_that_only_yields():
    calls: list[int] = []

    async def receive() -> dict[str, str]:
        calls.append(1)
        await asyncio.sleep(0)
        return {"type": "http.request" if len(calls) < 3 else "http.disconnect"}

    watch = Watch(receive)
    await watch.gone
    assert len(calls) == 3
    watch.close()


async def test_a_closed_watch_lets_go_of_receive():
    ended: list[str] = []
    waiting = asyncio.Event()

    async def receive() -> dict[str, str]:
        try:
            await waiting.wait()
        finally:
            ended.append("let go")
        return {"type": "http.disconnect"}

    watch = Watch(receive)
    watch.close()
    watch.close()
    waiting.set()
    await asyncio.sleep(0)
    assert ended == ["let go"]
    assert not watch.gone.done()
