"""A draft that is given up is given up at the engine too: over a real connection."""

import asyncio
from typing import Any

import msgspec
import pytest

from metabolic.backends.openai import Options, create
from metabolic.core.attempt import Call
from metabolic.core.fleet import Endpoint
from metabolic.core.ports import Stream
from metabolic.core.request import Message, Request, Text
from metabolic.execute.checkpoints import GivenUp, Watcher
from metabolic.testing.fakeserver import FakeServer

LONG = "word " * 100_000


def asked(model: str) -> tuple[Request, Call]:
    body = {"model": model, "messages": [{"role": "user", "content": "Go on."}]}
    request = Request(
        id="r",
        dialect="chat",
        model=model,
        messages=(Message(role="user", content=(Text(text="Go on."),)),),
        body=msgspec.json.encode(body),
    )
    return request, Call(id="c0", stage=0, deployment="d", logprobs=True, checkpoints=(4, 8))


def test_each_checkpoint_is_told_once_in_order_also_when_several_tokens_come_at_once() -> None:
    told: list[tuple[int, float]] = []

    def reached(tokens: int, mean: float) -> bool:
        told.append((tokens, mean))
        return False

    class Written:
        def logprobs(self) -> list[float]:
            return [-1.0] * 4 + [-3.0] * 4

    stream: Any = Written()
    watcher = Watcher((8, 4), reached)
    watcher.look(stream)
    watcher.look(stream)
    assert told == [(4, -1.0), (8, -2.0)]


async def read(stream: Stream, watcher: Watcher) -> None:
    async for _ in stream:
        watcher.look(stream)


@pytest.mark.anyio
async def test_a_server_sees_the_client_leave_at_the_checkpoint_and_writes_no_further() -> None:
    async with FakeServer(answers={"slow:2": LONG}) as server:
        endpoint = Endpoint(deployment="d", base_url=server.base_url, model="slow:2")
        backend = create(Options(), endpoint=endpoint)
        request, call = asked("slow:2")
        stream = await backend.stream(request, call)
        watcher = Watcher(call.checkpoints, lambda tokens, _: tokens == 8)
        with pytest.raises(GivenUp) as end:
            await read(stream, watcher)
        await stream.aclose()
        async with asyncio.timeout(5):
            gone = await server.left()
        await backend.aclose()
    assert gone.model == "slow:2"
    assert 8 <= end.value.tokens < 500
    assert server.sent_bytes < len(LONG)
