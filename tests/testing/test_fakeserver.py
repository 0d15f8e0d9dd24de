"""The fake server speaks OpenAI well enough for the official client, and commits its faults."""

import asyncio
import time
from typing import Any

import openai
import pytest

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer, serve_in_thread

pytestmark = pytest.mark.anyio

HELLO: Any = [{"role": "user", "content": "hello there"}]


def client_of(server: FakeServer) -> Any:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0)


async def test_it_answers_the_official_client_whole_and_streamed() -> None:
    async with FakeServer() as server, client_of(server) as client:
        whole = await client.chat.completions.create(model="a", messages=HELLO, logprobs=True)
        stream = await client.chat.completions.create(
            model="a", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert whole.choices[0].message.content == TEXT
    assert len(whole.choices[0].logprobs.content) == 60
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == TEXT
    assert chunks[-1].usage.completion_tokens == 60
    assert server.count("a") == 2


async def test_it_calls_a_tool_that_the_user_names() -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    messages: Any = [{"role": "user", "content": "use weather"}]
    async with FakeServer() as server, client_of(server) as client:
        said = await client.chat.completions.create(model="a", messages=messages, tools=tools)
    assert said.choices[0].finish_reason == "tool_calls"
    assert said.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'


async def test_it_embeds_and_completes() -> None:
    async with FakeServer() as server, client_of(server) as client:
        vectors = await client.embeddings.create(
            model="a", input=["one", "two"], encoding_format="float"
        )
        text = await client.completions.create(model="say:yes sir", prompt="well?")
        models = await client.models.list()
    assert [vector.index for vector in vectors.data] == [0, 1]
    assert text.choices[0].text == "yes sir"
    assert [model.id for model in models.data] == ["fake"]


async def test_a_fault_is_committed_by_the_models_name_and_once_means_once() -> None:
    async with FakeServer() as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="fault:500-once", messages=HELLO)
        said = await client.chat.completions.create(model="fault:500-once", messages=HELLO)
    assert said.choices[0].message.content == TEXT


async def test_it_notices_a_client_that_leaves() -> None:
    async with FakeServer() as server, client_of(server) as client:
        asked = asyncio.ensure_future(
            client.chat.completions.create(model="fault:stall", messages=HELLO)
        )
        await server.came()
        left_s = time.monotonic()
        asked.cancel()
        gone = await asyncio.wait_for(server.left(), 2)
    assert gone.model == "fault:stall"
    assert gone.at_s - left_s < 0.5


def test_it_runs_in_a_thread_for_tests_that_are_not_async() -> None:
    with serve_in_thread() as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
        said = client.chat.completions.create(model="say:hi", messages=HELLO)
        client.close()
    assert said.choices[0].message.content == "hi"
