"""The own HTTP client, against a server that says exactly what the test wants."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from metabolic.backends import rawhttp
from metabolic.backends.rawhttp import RawTransport
from metabolic.backends.transport import Link, target
from metabolic.core.errors import BadReply, Unreachable

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Say = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(say: Say, **link: Any) -> AsyncGenerator[tuple[RawTransport, list[int]], None]:
    """Call ``say`` for each request with the connection's number; yields those numbers too."""
    seen: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(writers)
        writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                seen.append(number)
                await say(number, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = RawTransport(Link(target=target(f"http://127.0.0.1:{port}"), **link))
    try:
        yield transport, seen
    finally:
        await transport.aclose()
        server.close()
        for writer in writers:
            writer.close()


def saying(*answers: bytes) -> Say:
    """Say the same to every request, in these pieces."""

    async def say(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            await writer.drain()
            await asyncio.sleep(0)

    return say


async def settled() -> None:
    """Let what is on its way on loopback arrive."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_interim_responses_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    async with serving(saying(hints, hints + OK)) as (transport, seen):
        for _ in range(2):
            response = await transport.fetch("GET", "/")
            assert (response.status, response.body) == (200, b"ok")
            assert response.headers == ((b"content-length", b"2"),)
    assert seen == [0, 0]


@pytest.mark.parametrize("piece", [OK, b"x", b"\r\nHTTP/1.1 200"])
async def test_a_second_response_nobody_asked_for_ends_the_connection(piece: bytes) -> None:
    async with serving(saying(OK + piece)) as (transport, seen):
        for _ in range(2):
            assert (await transport.fetch("GET", "/")).body == b"ok"
    assert seen == [0, 1]


async def test_bytes_on_an_idle_connection_end_it() -> None:
    async with serving(saying(OK, OK)) as (transport, seen):
        assert (await transport.fetch("GET", "/")).body == b"ok"
        await settled()
        assert (await transport.fetch("GET", "/")).body == b"ok"
    assert seen == [0, 1]


async def test_a_server_that_says_close_is_believed() -> None:
    async with serving(saying(OK.replace(b"OK", b"OK\r\nconnection: close"))) as (transport, seen):
        for _ in range(2):
            await transport.fetch("GET", "/")
    assert seen == [0, 1]


async def test_old_connections_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rawhttp, "_MAX_IDLE_S", 0.0)
    async with serving(saying(OK)) as (transport, seen):
        for _ in range(2):
            await transport.fetch("GET", "/")
    assert seen == [0, 1]


async def test_trailers_are_dropped() -> None:
    body = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    async with serving(saying(body)) as (transport, _):
        response = await transport.fetch("GET", "/")
    assert response.body == b"ok"
    assert len(response.headers) == 1


def dropping(first: int) -> Say:
    """Answer once on each of the first connections, and drop the next request on them."""
    answered: set[int] = set()

    async def say(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number in answered or number >= first:
            raise ConnectionError
        answered.add(number)
        writer.write(OK)

    return say


@pytest.mark.parametrize("limit", [1, 8])
async def test_a_stale_connection_is_replaced_once(limit: int) -> None:
    async with serving(dropping(2), max_connections=limit) as (transport, seen):
        for _ in range(2):
            assert (await transport.fetch("GET", "/")).body == b"ok"
        with pytest.raises(Unreachable, match="without an answer"):
            await transport.fetch("GET", "/")
    assert seen == [0, 0, 1, 1, 2]


async def test_a_fresh_connection_that_is_dropped_is_not_tried_again() -> None:
    async with serving(dropping(0)) as (transport, seen):
        with pytest.raises(Unreachable):
            await transport.open("/", b"{}")
    assert seen == [0]


async def test_a_stale_one_gives_way_even_when_no_more_are_allowed() -> None:
    hold = asyncio.Event()
    held: list[int] = []

    async def say(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number == 0 and held:
            raise ConnectionError
        if number == 0:
            held.append(number)
        else:
            await hold.wait()
        writer.write(OK)

    async with serving(say, max_connections=2) as (transport, seen):
        await transport.fetch("GET", "/")
        one = asyncio.ensure_future(transport.fetch("GET", "/"))
        two = asyncio.ensure_future(transport.fetch("GET", "/"))
        await settled()
        hold.set()
        assert [(await call).body for call in (one, two)] == [b"ok", b"ok"]
    assert sorted(seen[:2]) == [0, 0]


async def test_a_waiter_that_leaves_gives_its_turn_on() -> None:
    hold = asyncio.Event()

    async def say(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.write(OK)

    async with serving(say, max_connections=1) as (transport, _):
        calls = [asyncio.ensure_future(transport.fetch("GET", "/")) for _ in range(4)]
        await settled()
        calls[1].cancel()
        hold.set()
        await calls[0]
        calls[2].cancel()
        assert (await calls[3]).body == b"ok"


async def test_who_comes_later_does_not_go_before_those_who_wait() -> None:
    order: list[int] = []

    async with serving(saying(OK), max_connections=1) as (transport, seen):

        async def again(number: int, times: int) -> None:
            for _ in range(times):
                await transport.fetch("GET", "/")
                order.append(number)

        await asyncio.gather(*(again(number, 5) for number in range(4)))
    assert order == [0, 1, 2, 3] * 5, "each in its turn, on one connection"
    assert set(seen) == {0}


async def test_closing_ends_those_who_wait_for_a_connection() -> None:
    async with serving(saying(), max_connections=1) as (transport, _):
        calls = [asyncio.ensure_future(transport.fetch("GET", "/")) for _ in range(3)]
        await settled()
        await transport.aclose()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in ended] == [Unreachable] * 3


async def test_a_stream_ends_and_its_connection_serves_again_before_it_is_read() -> None:
    body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with serving(saying(body)) as (transport, seen):
        first = await transport.open("/", b"")
        await settled()
        second = await transport.fetch("GET", "/")
        assert await first.read() == b"ok"
        assert await first.read() == b""
        first.close()
        assert second.body == b"ok"
    assert seen == [0, 0]


async def test_what_came_before_a_break_is_given_first() -> None:
    async def say(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz")
        await writer.drain()
        writer.close()

    async with serving(say) as (transport, _):
        download = await transport.open("/", b"")
        await settled()
        assert await download.read() == b"ok"
        with pytest.raises((Unreachable, BadReply)):
            await download.read()
        await download.drain(0.01)


async def test_a_large_body_that_is_refused_early_is_still_understood() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"
    async with serving(saying(refusal)) as (transport, _):
        response = await transport.fetch("POST", "/", b"x" * 20_000_000)
        assert response.status == 413
        assert not transport._idle


async def test_the_bytes_that_go_out_are_plain_http() -> None:
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = Link(target=target(f"http://127.0.0.1:{port}"), headers=(("x", "y"),))
    transport = RawTransport(link)
    await transport.fetch("POST", "/v1/x", b"{}")
    await transport.aclose()
    server.close()
    assert got == [
        f"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx: y\r\ncontent-length: 2\r\n\r\n"
        "{}".encode()
    ]
