"""Every fault of the wire becomes the right error, on both transports and both event loops."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
import pytest

from metabolic.backends.openai import OpenAIBackend, Options, create
from metabolic.core.attempt import Call
from metabolic.core.errors import (
    BackendError,
    BadReply,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
)
from metabolic.core.fleet import Endpoint
from metabolic.core.request import Request
from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer

pytestmark = pytest.mark.anyio

Ask = Callable[..., Request]


class Reach(Protocol):
    """Makes a backend for a model of the fake server; keyword arguments are options."""

    def __call__(self, model: str, **options: Any) -> OpenAIBackend: ...


NOTICED_S = 0.1
"""Within this time an upstream must see that nobody waits for it any longer."""

WHOLE: list[tuple[str, type[BackendError]]] = [
    ("cut-body", Unreachable),
    ("long-length", Unreachable),
    ("short-length", BadReply),
]
EITHER: list[tuple[str, type[BackendError]]] = [
    ("reset", Unreachable),
    ("reset-headers", Unreachable),
    ("garbage", BadReply),
    ("giant-headers", BadReply),
    ("giant-header", BadReply),
    ("html", BadReply),
    ("empty", BadReply),
    ("array", BadReply),
    ("no-choices", BadReply),
    ("huge", BadReply),
    ("redirect", BadReply),
    ("upgrade", BadReply),
    ("500", BadReply),
    ("503", Overloaded),
    ("504", TimedOut),
    ("401", BadReply),
    ("422", Refused),
    ("early", Refused),
]
BEFORE = [(*case, False) for case in WHOLE + EITHER] + [(*case, True) for case in EITHER]


@pytest.fixture(params=["raw", "aiohttp"])
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest.fixture
async def reach(server: FakeServer, transport: Any) -> AsyncIterator[Reach]:
    made: list[OpenAIBackend] = []

    def make(model: str, **options: Any) -> OpenAIBackend:
        endpoint = Endpoint(deployment="d", base_url=server.base_url, model=model, api_key="sk-1")
        small: dict[str, Any] = {"max_event_bytes": 65_536, "max_reply_bytes": 1_000_000, **options}
        made.append(create(Options(transport=transport, **small), endpoint=endpoint))
        return made[-1]

    yield make
    for backend in made:
        await backend.aclose()


async def collect(backend: OpenAIBackend, request: Request, call: Call) -> tuple[bytes, Any]:
    stream = await backend.stream(request, call)
    try:
        return b"".join([events async for events in stream]), stream.reply()
    finally:
        await stream.aclose()


@pytest.mark.parametrize(("fault", "error", "streamed"), BEFORE)
async def test_a_fault_before_the_answer_is_the_right_error(
    reach: Reach, ask: Ask, call: Call, fault: str, error: type[BackendError], *, streamed: bool
) -> None:
    backend = reach(f"fault:{fault}")
    with pytest.raises(error) as caught:
        await (collect(backend, ask(), call) if streamed else backend.complete(ask(), call))
    assert type(caught.value) is error
    assert "sk-1" not in str(caught.value)


async def test_half_a_body_of_unknown_length_is_never_an_answer(
    reach: Reach, ask: Ask, call: Call
) -> None:
    with pytest.raises((Unreachable, BadReply)):
        await reach("fault:until-reset").complete(ask(), call)


@pytest.mark.parametrize("fault", ["drip", "until-close", "continue", "close-idle"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_odd_but_whole_answer_is_an_answer(
    reach: Reach, ask: Ask, call: Call, fault: str, *, streamed: bool
) -> None:
    backend = reach(f"fault:{fault}")
    if streamed:
        _, reply = await collect(backend, ask(), call)
    else:
        reply = await backend.complete(ask(), call)
    assert reply.choices[0].text == TEXT


@pytest.mark.parametrize("fault", ["no-done", "crlf", "linger"])
async def test_an_odd_but_whole_stream_is_an_answer(
    reach: Reach, ask: Ask, call: Call, fault: str
) -> None:
    events, reply = await collect(reach(f"fault:{fault}"), ask(), call)
    assert reply.choices[0].text == TEXT
    assert b"[DONE]" not in events
    assert b"note" not in events


@pytest.mark.parametrize(
    ("fault", "error", "events"),
    [
        ("cut0", Unreachable, 0),
        ("cut4", Unreachable, 4),
        ("cut40", Unreachable, 40),
        ("resetat4", Unreachable, 4),
        ("no-finish", Unreachable, 5),
        ("error-event", BadReply, 3),
        ("error-field", BadReply, 3),
        ("malformed", BadReply, 3),
        ("giant-event", BadReply, 3),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
async def test_a_stream_that_breaks_gives_what_came_and_then_the_error(
    reach: Reach,
    ask: Ask,
    call: Call,
    fault: str,
    error: type[BackendError],
    events: int,
    *,
    keep: bool,
) -> None:
    stream = await reach(f"fault:{fault}").stream(ask(), msgspec.structs.replace(call, keep=keep))
    given: list[bytes] = []

    async def take() -> None:
        async for item in stream:
            given.append(item)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(error):
        await take()
    await stream.aclose()
    assert b"".join(given).count(b"data: ") == events


async def test_busy_says_how_long_in_seconds_or_by_date(reach: Reach, ask: Ask, call: Call) -> None:
    with pytest.raises(Overloaded) as seconds:
        await reach("fault:429").complete(ask(), call)
    with pytest.raises(Overloaded) as date:
        await reach("fault:429-date").stream(ask(), call)
    assert seconds.value.retry_after_s == 7
    assert date.value.retry_after_s == pytest.approx(30, abs=5)


async def test_a_refusal_keeps_status_and_body(reach: Reach, ask: Ask, call: Call) -> None:
    with pytest.raises(Refused) as caught:
        await reach("fault:422").stream(ask(), call)
    assert caught.value.status == 422
    assert b'"message":"fault 422"' in caught.value.body


async def test_an_error_whose_text_never_comes_is_still_that_error(
    reach: Reach, ask: Ask, call: Call
) -> None:
    with pytest.raises(BadReply, match="500"):
        await reach("fault:stall-error", connect_timeout_s=0.1).stream(ask(), call)


async def test_a_refused_connection_fails_at_once(ask: Ask, call: Call, transport: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    endpoint = Endpoint(deployment="d", base_url=f"http://127.0.0.1:{port}", model="m")
    backend = create(Options(transport=transport), endpoint=endpoint)
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match="no connection"):
        await backend.complete(ask(), call)
    assert time.monotonic() - began_s < 0.5
    assert not await backend.healthy()
    await backend.aclose()


async def test_a_peer_that_does_not_take_the_connection_times_out(
    ask: Ask, call: Call, transport: Any
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        options = Options(transport=transport, connect_timeout_s=0.2)
        backend = create(options, endpoint=Endpoint(deployment="d", base_url=url, model="m"))
        with pytest.raises(TimedOut, match="no connection"):
            await backend.complete(ask(), call)
        await backend.aclose()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("close", ["-once", ""])
async def test_a_kept_connection_that_was_closed_is_replaced_unnoticed(
    server: FakeServer, reach: Reach, ask: Ask, call: Call, close: str
) -> None:
    backend = reach(f"fault:close-idle{close}")
    for _ in range(4):
        assert (await backend.complete(ask(), call)).choices[0].text == TEXT
    assert len(server.seen) == 4


async def test_connections_are_used_again(
    server: FakeServer, reach: Reach, ask: Ask, call: Call
) -> None:
    backend = reach("m")
    for _ in range(3):
        await backend.complete(ask(), call)
        await collect(backend, ask(), call)
    assert server.accepted == 1


async def test_at_most_as_many_connections_as_allowed(
    server: FakeServer, reach: Reach, ask: Ask, call: Call
) -> None:
    backend = reach("slow:1", max_connections=2)
    replies = await asyncio.gather(*(backend.complete(ask(), call) for _ in range(6)))
    assert len(replies) == 6
    assert server.accepted == 2


async def test_cancelling_a_call_is_noticed_upstream_at_once(
    server: FakeServer, reach: Reach, ask: Ask, call: Call
) -> None:
    task = asyncio.ensure_future(reach("fault:stall").complete(ask(), call))
    await server.came()
    left_s = time.monotonic()
    task.cancel()
    assert (await server.left()).at_s - left_s < NOTICED_S
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("how", ["before", "waiting", "aclose"])
async def test_leaving_a_stream_is_noticed_upstream_at_once(
    server: FakeServer, reach: Reach, ask: Ask, call: Call, how: str
) -> None:
    backend = reach("fault:stall" if how == "before" else "fault:stall3")
    opening = asyncio.ensure_future(backend.stream(ask(), call))
    await server.came()
    if how == "before":
        left_s = time.monotonic()
        opening.cancel()
    else:
        stream = await opening
        assert await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        left_s = time.monotonic()
        waiting.cancel()
        if how == "aclose":
            await stream.aclose()
    assert (await server.left()).at_s - left_s < NOTICED_S


async def test_a_time_limit_from_outside_closes_the_connection(
    server: FakeServer, reach: Reach, ask: Ask, call: Call
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reach("fault:stall").complete(ask(), call)
    await server.left()


async def test_a_reader_that_waits_makes_the_upstream_wait(
    server: FakeServer, reach: Reach, ask: Ask, call: Call
) -> None:
    backend = reach("fault:flood", max_event_bytes=1 << 20)
    stream = await backend.stream(ask(), msgspec.structs.replace(call, keep=False))
    before = -1
    while server.sent_bytes != before:
        before = server.sent_bytes
        await asyncio.sleep(0.05)
    assert server.sent_bytes < 32 << 20
    size = 0
    async for events in stream:
        size += len(events)
    await stream.aclose()
    assert size > 64 << 20


async def test_after_closing_nothing_more_is_sent(reach: Reach, ask: Ask, call: Call) -> None:
    backend = reach("fault:stall")
    waiting = asyncio.ensure_future(backend.complete(ask(), call))
    await asyncio.sleep(0.02)
    await backend.aclose()
    with pytest.raises(Unreachable):
        await waiting
    with pytest.raises(Unreachable):
        await backend.complete(ask(), call)


async def test_health_is_asked_of_health_and_then_of_the_models(
    server: FakeServer, reach: Reach
) -> None:
    backend = reach("m")
    assert await backend.healthy()
    server.healthy = False
    assert not await backend.healthy()
