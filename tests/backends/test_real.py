"""The backend against the real llama.cpp server and a real small model."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from metabolic import plugins
from metabolic.core.attempt import Call
from metabolic.core.errors import Refused
from metabolic.core.fleet import LaunchSpec
from metabolic.core.request import Request
from metabolic.testing.backends import check_backend, check_continuation

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CALL = Call(id="c0", stage=0, deployment="small")


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough here."""
    return "asyncio"


@pytest.fixture
async def endpoint(real_models: dict[str, Path]) -> AsyncIterator[Any]:
    smallest = min(real_models.values(), key=lambda path: path.stat().st_size)
    spec = LaunchSpec(deployment="small", model_path=str(smallest), context_tokens=1024)
    engine = plugins.engine("llamacpp", spec=spec)
    yield await engine.start()
    await engine.stop()


@pytest.mark.parametrize("transport", ["raw", "aiohttp"])
async def test_it_conforms(endpoint: Any, transport: str) -> None:
    backend = plugins.backend("openai", {"transport": transport}, endpoint=endpoint)
    await check_backend(backend)


async def test_it_goes_on_with_an_answer_as_if_it_had_not_been_cut(endpoint: Any) -> None:
    """White space at the end of what was given is the trap: every cut is tried."""
    backend = plugins.backend("openai", endpoint=endpoint)
    prompts = ("Name five animals as a numbered list.", "Count from one to twenty in words.")
    for prompt in prompts:
        await check_continuation(backend, prompt=prompt, cuts=tuple(range(2, 20)))
    await backend.aclose()


async def test_usage_counts_the_cached_prefix_the_second_time(endpoint: Any, ask: Any) -> None:
    backend = plugins.backend("openai", endpoint=endpoint)
    request = ask("The quick brown fox jumps over the lazy dog. " * 8, max_tokens=4, seed=1)
    first = await backend.complete(request, CALL)
    second = await backend.complete(request, CALL)
    await backend.aclose()
    assert first.usage.input_tokens == second.usage.input_tokens
    assert (first.usage.cached_tokens or 0) < 20
    assert (second.usage.cached_tokens or 0) > 50
    assert second.usage.output_tokens == 4
    assert second.choices[0].finish_reason == "length"


async def test_text_completions_and_logprobs_work(endpoint: Any) -> None:
    backend = plugins.backend("openai", endpoint=endpoint)
    body = json.dumps({"model": "auto", "prompt": "1 2 3 4", "max_tokens": 5}).encode()
    request = Request(id="r", dialect="completions", model="auto", body=body)
    call = Call(id="c0", stage=0, deployment="small", logprobs=True)
    whole = await backend.complete(request, call)
    stream = await backend.stream(request, call)
    assert [events async for events in stream]
    await stream.aclose()
    await backend.aclose()
    for reply in (whole, stream.reply()):
        assert reply.choices[0].text
        assert len(reply.choices[0].logprobs) == 5
        assert reply.usage.output_tokens == 5


async def test_a_schema_is_kept_and_a_bad_one_is_refused(endpoint: Any, ask: Any) -> None:
    backend = plugins.backend("openai", endpoint=endpoint)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = await backend.complete(ask("a number", response_format=wanted, max_tokens=40), CALL)
    assert isinstance(json.loads(reply.choices[0].text)["n"], int)
    with pytest.raises(Refused):
        await backend.complete(ask("x" * 20_000), CALL)
    await backend.aclose()


async def test_leaving_stops_the_engine_at_once(endpoint: Any, ask: Any) -> None:
    backend = plugins.backend("openai", endpoint=endpoint)
    process = psutil.Process(endpoint.pid)
    stream = await backend.stream(ask("Count to a thousand.", max_tokens=900), CALL)
    for _ in range(3):
        await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0.5)
    before, began_s = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(1)
    used = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began_s)
    await backend.aclose()
    assert used < 0.2
