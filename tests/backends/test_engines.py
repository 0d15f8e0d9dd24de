"""Every engine's fake passes the same suite as the real parts, and shows what differs there."""

import json
from typing import Any

import pytest

from metabolic import plugins
from metabolic.backends.traits import NAMES, find
from metabolic.core.attempt import Call
from metabolic.core.errors import ConfigError, Overloaded, Refused, Unreachable
from metabolic.core.fleet import Endpoint, Variant
from metabolic.core.request import Message, Native, Request, Sampling, Text
from metabolic.testing.backends import check_backend
from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakemessages import SIGNATURE

pytestmark = pytest.mark.anyio
CALL = Call(id="c0", stage=0, deployment="d")
USER = {"role": "user", "content": "Hi there you"}


def backend_of(server: FakeEngine, model: str = "m", **options: Any) -> Any:
    traits = server.traits
    endpoint = Endpoint(
        deployment="d",
        base_url=server.base_url,
        model=model,
        api_key=server.api_key,
        backend=traits.backend,
        engine=traits.name,
    )
    return plugins.backend(traits.backend, options, endpoint=endpoint)


def chat(**fields: Any) -> Request:
    body = {"model": "auto", "messages": [USER]} | fields
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text="Hi there you"),)),),
        sampling=Sampling(logprobs=fields.get("logprobs") is True),
        include_usage=(fields.get("stream_options") or {}).get("include_usage") is True,
        body=json.dumps(body).encode(),
    )


def native(**fields: Any) -> Request:
    body = {"model": "x", "max_tokens": 99, "messages": [USER]} | fields
    headers = (("anthropic-beta", "one,two"), ("x-other", "no"))
    return Request(
        id="r",
        dialect="chat",
        model="x",
        body=b"{}",
        native=Native(dialect="messages", body=json.dumps(body).encode(), headers=headers),
    )


async def events_of(backend: Any, request: Request) -> tuple[bytes, Any]:
    stream = await backend.stream(request, CALL)
    passed = b"".join([event async for event in stream])
    await stream.aclose()
    return passed, stream.reply()


def chunks_of(events: bytes) -> list[Any]:
    return [json.loads(line[5:]) for line in events.splitlines() if line.startswith(b"data:")]


@pytest.mark.parametrize("name", NAMES)
async def test_a_fake_of_every_engine_passes_the_conformance_suite(name: str) -> None:
    async with FakeEngine(name, api_key="key-1") as server:
        await check_backend(backend_of(server), logprobs=server.traits.logprobs)
    assert server.sim.requests > 4
    assert server.sim.running == server.sim.kv_used == 0


@pytest.mark.parametrize("name", NAMES)
def test_traits_say_what_they_were_read_from(name: str) -> None:
    traits = find(name)
    assert traits.name == name
    assert plugins.traits(name) is traits
    assert "chat" in traits.capabilities
    assert not (traits.logprobs is False and "logprobs" in traits.capabilities)
    control = traits.speculation
    assert (control.granularity == "request") == (control.field is not None)


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown engine 'vlm'; known are anthropic, azure"):
        find("vlm")


async def test_azure_has_its_own_path_header_and_version() -> None:
    async with FakeEngine("azure", api_key="key-1") as server:
        backend = backend_of(server, model="gpt:4", api_version="2025-01-01")
        await backend.complete(chat(top_k=3), CALL)
        seen = server.seen[0]
        assert seen.path == "/openai/deployments/gpt%3A4/chat/completions?api-version=2025-01-01"
        assert seen.header("api-key") == "key-1"
        assert seen.header("authorization") is None
        assert "top_k" not in json.loads(seen.body)
        await backend.aclose()


def test_azures_newer_api_needs_no_version() -> None:
    endpoint = Endpoint(
        deployment="d", base_url="https://x.example/openai/v1", model="m", engine="azure"
    )
    made: Any = plugins.backend("openai", endpoint=endpoint)
    assert made._paths["chat"] == "/openai/v1/chat/completions"


@pytest.mark.parametrize("name", ["tgi", "lmstudio", "ollama"])
async def test_an_engine_that_knows_one_name_for_the_limit_gets_that(name: str) -> None:
    async with FakeEngine(name) as server:
        backend = backend_of(server)
        reply = await backend.complete(chat(max_completion_tokens=3), CALL)
        sent = json.loads(server.seen[0].body)
        assert (sent["max_tokens"], "max_completion_tokens" in sent) == (3, False)
        assert reply.choices[0].finish_reason == "length"
        await backend.aclose()


async def test_log_probabilities_are_not_asked_of_an_engine_without() -> None:
    async with FakeEngine("lmstudio") as server:
        backend = backend_of(server)
        reply = await backend.complete(chat(), Call(id="c", stage=0, deployment="d", logprobs=True))
        assert "logprobs" not in json.loads(server.seen[0].body)
        assert reply.choices[0].logprobs == ()
        await backend.aclose()


async def test_an_openai_request_is_translated_for_messages() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    call = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig=="}
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://x.example/y.png"}},
            ],
        },
        {"role": "assistant", "content": "", "thinking_blocks": [thought], "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "2"},
        {"role": "user", "content": "and now?"},
    ]
    async with FakeEngine("anthropic", api_key="key-1") as server:
        backend = backend_of(server)
        asked = chat(
            messages=messages,
            tools=[tool],
            tool_choice="required",
            parallel_tool_calls=False,
            temperature=1.5,
            stop="END",
            user="u1",
            seed=7,
        )
        reply = await backend.complete(asked, CALL)
        sent = json.loads(server.seen[0].body)
        assert server.seen[0].header("x-api-key") == "key-1"
        assert server.seen[0].header("anthropic-version") == "2023-06-01"
        await backend.aclose()
    assert sent["system"] == "Be brief."
    assert sent["max_tokens"] == 4096
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    first, second, third = (turn["content"] for turn in sent["messages"])
    assert first[0] == messages[1]["content"][0]  # type: ignore[index]
    assert first[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert first[2]["source"] == {"type": "url", "url": "https://x.example/y.png"}
    assert second == [thought, {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}]
    assert third[0] == {"type": "tool_result", "tool_use_id": "t1", "content": "2"}
    assert third[1] == {"type": "text", "text": "and now?"}
    assert sent["tools"] == [{"name": "add", "input_schema": {"type": "object"}}]
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert (sent["temperature"], sent["stop_sequences"]) == (1.0, ["END"])
    assert sent["metadata"] == {"user_id": "u1"}
    assert "seed" not in sent
    assert reply.choices[0].tool_calls[0].name == "add"
    assert json.loads(reply.body)["choices"][0]["finish_reason"] == "tool_calls"


async def test_effort_becomes_thinking_and_its_signature_comes_back() -> None:
    async with FakeEngine("anthropic") as server:
        backend = backend_of(server)
        asked = chat(reasoning_effort="low", max_tokens=100)
        reply = await backend.complete(asked, CALL)
        sent = json.loads(server.seen[0].body)
        events, streamed = await events_of(backend, asked)
        await backend.aclose()
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert sent["max_tokens"] == 2048
    signed = [{"type": "thinking", "thinking": "Let me think.", "signature": SIGNATURE}]
    message = json.loads(reply.body)["choices"][0]["message"]
    assert (message["content"], message["thinking_blocks"]) == (TEXT, signed)
    assert reply.choices[0].reasoning == streamed.choices[0].reasoning == "Let me think."
    deltas = [one["choices"][0]["delta"] for one in chunks_of(events)]
    assert [one["thinking_blocks"] for one in deltas if "thinking_blocks" in one] == [signed]


async def test_cached_tokens_are_input_tokens_too() -> None:
    async with FakeEngine("anthropic") as server:
        backend = backend_of(server)
        asked = chat(stream=True, stream_options={"include_usage": True})
        whole = await backend.complete(asked, CALL)
        events, streamed = await events_of(backend, asked)
        await backend.aclose()
    for usage in (whole.usage, streamed.usage):
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3, 1, 60)
    assert chunks_of(events)[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


async def test_what_came_as_messages_goes_on_and_comes_back_untouched() -> None:
    blocks = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    thinking = {"type": "thinking", "thinking": "x", "signature": SIGNATURE}
    messages = [
        {"role": "user", "content": blocks},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": "word"},
    ]
    request = native(messages=messages, future={"kept": [1, 2]})
    async with FakeEngine("anthropic") as server:
        backend = backend_of(server, model="claude-x")
        reply = await backend.complete(request, CALL)
        events, streamed = await events_of(backend, request)
        sent = json.loads(server.seen[0].body)
        headers = dict(server.seen[0].headers)
        await backend.aclose()
    assert sent["model"] == "claude-x"
    assert (sent["messages"], sent["future"]) == (messages, {"kept": [1, 2]})
    assert headers["anthropic-beta"] == "one,two"
    assert "x-other" not in headers
    body = json.loads(reply.body)
    assert (body["type"], body["content"][0]["text"]) == ("message", TEXT)
    assert events.startswith(b"event: message_start\ndata: {")
    assert b"event: ping\n" in events
    assert events.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert streamed.choices[0].text == reply.choices[0].text == TEXT


async def test_a_variant_lowers_the_limit_of_a_native_request() -> None:
    short = Variant(name="short", max_output_tokens=5)
    call = Call(id="c", stage=0, deployment="d", variant="short")
    async with FakeEngine("anthropic") as server:
        endpoint = Endpoint(deployment="d", base_url=server.base_url, model="m", engine="anthropic")
        backend: Any = plugins.backend(
            "anthropic",
            {"variants": [{"name": "short", "max_output_tokens": 5}]},
            endpoint=endpoint,
        )
        assert backend._variants["short"] == short
        reply = await backend.complete(native(), call)
        assert reply.choices[0].finish_reason == "length"
        assert json.loads(server.seen[0].body)["max_tokens"] == 5
        await backend.aclose()


@pytest.mark.parametrize("make", [chat, native])
async def test_a_stream_of_messages_that_is_cut_is_no_answer(make: Any) -> None:
    async with FakeEngine("anthropic") as server:
        backend = backend_of(server, model="fault:cut5")
        with pytest.raises(Unreachable, match="broke off"):
            await events_of(backend, make())
        await backend.aclose()


async def test_messages_errors_are_mapped() -> None:
    async with FakeEngine("anthropic", api_key="right") as server:
        busy = backend_of(server, model="fault:529")
        with pytest.raises(Overloaded, match="529"):
            await busy.complete(chat(), CALL)
        late = backend_of(server, model="fault:429")
        with pytest.raises(Overloaded) as caught:
            await late.complete(chat(), CALL)
        assert caught.value.retry_after_s == 7.0
        with pytest.raises(Refused):
            await busy.complete(Request(id="e", dialect="embeddings", model="m"), CALL)
        await busy.aclose()
        await late.aclose()
