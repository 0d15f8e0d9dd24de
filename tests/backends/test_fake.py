"""The fake backend says what it is told, fails where it is told, and waits by the clock."""

import asyncio
import json
from typing import Any

import pytest

from metabolic.backends.fake import FakeAnswer, FakeBackend, Options
from metabolic.core.attempt import ToolCall
from metabolic.core.errors import (
    BadReply,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
)
from metabolic.core.request import Message, Request, Text

pytestmark = pytest.mark.anyio


class Clock:
    """Time that only passes when somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_it_answers_by_model_and_counts_tokens(ask: Any, call: Any) -> None:
    options = Options(answers={"small": "one two three"}, logprobs={"small": -2.0})
    reply = await FakeBackend(options, model="small").complete(ask("a b", logprobs=True), call)
    assert reply.choices[0].text == "one two three"
    assert reply.choices[0].logprobs == (-2.0, -2.0, -2.0)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (2, 3)


async def test_it_says_the_same_every_time(ask: Any, call: Any) -> None:
    backend = FakeBackend()
    first, second = await backend.complete(ask(), call), await backend.complete(ask(), call)
    assert first == second
    assert backend.calls == [call, call]


async def test_it_remembers_the_latest_calls_and_does_not_grow(ask: Any, call: Any) -> None:
    backend = FakeBackend()
    for _ in range(3_000):
        await backend.complete(ask(), call)
        assert len(backend.calls) <= 2_000
    assert len(backend.calls) >= 1_000


async def test_a_limit_cuts_and_says_so(ask: Any, call: Any) -> None:
    reply = await FakeBackend().complete(ask(max_tokens=2), call)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("This is ", "length")


async def test_a_script_may_call_tools_and_think(ask: Any, call: Any) -> None:
    answer = FakeAnswer(reasoning="hm", tool=("f", "{}"))
    backend = FakeBackend(script=lambda request, made: answer)
    reply = await backend.complete(ask(n=2), call)
    assert len(reply.choices) == 2
    assert reply.choices[1].tool_calls == (ToolCall(name="f", arguments="{}", id="call_0"),)
    stream = await backend.stream(ask(), call)
    assert [item async for item in stream]
    assert stream.reply().choices[0].tool_calls == (
        ToolCall(name="f", arguments="{}", id="call_0"),
    )
    assert stream.reply().choices[0].reasoning == "hm"


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        ("unreachable", Unreachable),
        ("overloaded", Overloaded),
        ("timed_out", TimedOut),
        ("refused", Refused),
        ("bad_reply", BadReply),
    ],
)
async def test_a_marker_makes_it_fail(ask: Any, call: Any, marker: str, error: Any) -> None:
    with pytest.raises(error):
        await FakeBackend().complete(ask(f"please [[{marker}]]"), call)
    with pytest.raises(error):
        await FakeBackend().stream(ask(f"please [[{marker}]]"), call)


async def test_a_cut_stream_gives_tokens_and_then_breaks(ask: Any, call: Any) -> None:
    stream = await FakeBackend().stream(ask("[[cut:2]]"), call)
    items = [await anext(stream) for _ in range(3)]
    assert b"This" in items[1]
    with pytest.raises(Unreachable):
        await anext(stream)
    assert stream.reply().choices[0].text == "This is "
    with pytest.raises(Unreachable):
        await FakeBackend().complete(ask("[[cut:2]]"), call)


async def test_it_hangs_until_cancelled(ask: Any, call: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await FakeBackend().complete(ask("[[hang]]"), call)


async def test_time_passes_by_the_clock(ask: Any, call: Any) -> None:
    clock = Clock()
    backend = FakeBackend(Options(answer="a b", latency_s=2.0, token_s=0.5), clock=clock)
    await backend.complete(ask(), call)
    assert clock.slept == [2.0, 1.0]
    stream = await backend.stream(ask(), call)
    await anext(stream)
    await stream.aclose()
    assert clock.slept == [2.0, 1.0, 2.0, 0.5]
    assert [item async for item in stream] == []


@pytest.mark.parametrize("dialect", ["completions", "embeddings"])
async def test_it_speaks_the_other_dialects(call: Any, dialect: Any) -> None:
    request = Request(
        id="r",
        dialect=dialect,
        model="m",
        messages=(Message(role="user", content=(Text(text="a"),)),),
        body=b"{}",
    )
    reply = await FakeBackend().complete(request, call)
    body = json.loads(reply.body)
    if dialect == "embeddings":
        assert len(body["data"]) == 1
        return
    assert body["choices"][0]["text"] == reply.choices[0].text
    stream = await FakeBackend().stream(request, call)
    assert [item async for item in stream]
    assert stream.reply().choices[0].text == reply.choices[0].text


async def test_it_can_be_ill(ask: Any) -> None:
    backend = FakeBackend()
    backend.alive = False
    assert not await backend.healthy()
    await backend.aclose()
