"""The official Anthropic client works unmodified through every engine."""

import json
from typing import Any

import pytest

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakemessages import SIGNATURE
from metabolic.testing.gateway import Running

anthropic = pytest.importorskip("anthropic", reason="the official Anthropic client is not here")

HI: Any = [{"role": "user", "content": "Hi there"}]
TOOL: Any = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"


@pytest.fixture(scope="module")
def client(gateway: Running) -> Any:
    return anthropic.Anthropic(
        base_url=f"http://127.0.0.1:{gateway.port}", api_key="none", max_retries=0
    )


def last(engines: dict[str, FakeEngine], name: str) -> Any:
    return json.loads(engines[name].seen[-1].body)


def test_a_whole_message(client: Any, engine: str) -> None:
    raw = client.messages.with_raw_response.create(model=engine, max_tokens=500, messages=HI)
    answer = raw.parse()
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert [block.text for block in answer.content if block.type == "text"] == [TEXT]
    assert answer.usage.output_tokens == 60
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) == 2
    assert raw.headers["metabolic-deployment"] == engine


def test_a_streamed_message(client: Any, engine: str) -> None:
    with client.messages.stream(model=engine, max_tokens=500, messages=HI) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()
    assert text == TEXT == whole.content[-1].text
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 60)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_result_is_taken(
    client: Any, engine: str, engines: dict[str, FakeEngine], *, streamed: bool
) -> None:
    asked: Any = {"model": engine, "max_tokens": 500, "tools": [TOOL], "messages": HI}
    if streamed:
        with client.messages.stream(**asked, tool_choice={"type": "any"}) as stream:
            answer = stream.get_final_message()
    else:
        answer = client.messages.create(**asked, tool_choice={"type": "any"})
    (called,) = (block for block in answer.content if block.type == "tool_use")
    assert (called.name, called.input, answer.stop_reason) == (
        "weather",
        {"city": "Paris"},
        "tool_use",
    )
    result = {"type": "tool_result", "tool_use_id": called.id, "content": "It rains."}
    turns = [
        *HI,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    after = client.messages.create(**asked | {"messages": turns})
    assert after.content[-1].text == TEXT
    sent = last(engines, engine)["messages"]
    if engine == "anthropic":
        assert sent[2]["content"] == [result]
    else:
        assert sent[2] == {"role": "tool", "tool_call_id": called.id, "content": "It rains."}


def test_an_image_arrives(client: Any, engine: str, engines: dict[str, FakeEngine]) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    turns = [{"role": "user", "content": content}]
    client.messages.create(model=engine, max_tokens=500, messages=turns)
    sent = last(engines, engine)["messages"][0]["content"][0]
    if engine == "anthropic":
        assert sent == content[0]
    else:
        assert sent["image_url"] == {"url": f"data:image/png;base64,{PIXEL}"}


def test_a_schema_is_kept_to(client: Any, engine: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    extra = {"output_config": wanted}
    answer = client.messages.create(model=engine, max_tokens=500, messages=HI, extra_body=extra)
    assert json.loads(answer.content[-1].text) == {"n": 1}


def test_cache_control_and_thinking_reach_anthropic_untouched(
    client: Any, engines: dict[str, FakeEngine]
) -> None:
    system = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}]
    asked: Any = {
        "model": "anthropic",
        "max_tokens": 3000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "system": system,
        "extra_headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"},
    }
    first = client.messages.create(**asked, messages=HI)
    assert (first.content[0].type, first.content[0].signature) == ("thinking", SIGNATURE)
    turns = [*HI, {"role": "assistant", "content": first.content}, *HI]
    with client.messages.stream(**asked, messages=turns) as stream:
        second = stream.get_final_message()
    assert second.content[0].signature == SIGNATURE
    sent = last(engines, "anthropic")
    assert sent["system"] == system
    assert sent["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "Let me think.",
        "signature": SIGNATURE,
    }
    assert engines["anthropic"].seen[-1].header("anthropic-beta").startswith("interleaved")  # type: ignore[union-attr]


def test_tokens_are_counted_without_asking_anybody(
    client: Any, engines: dict[str, FakeEngine]
) -> None:
    before = sum(len(one.seen) for one in engines.values())
    counted = client.messages.count_tokens(model="auto", messages=HI, system="Be brief.")
    assert 8 < counted.input_tokens < 20
    assert sum(len(one.seen) for one in engines.values()) == before


@pytest.mark.parametrize("name", ["anthropic-cut", "vllm-cut"])
def test_a_stream_that_breaks_off_is_an_error(client: Any, name: str) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="broke off"),
        client.messages.stream(model=name, max_tokens=500, messages=HI) as stream,
    ):
        stream.get_final_message()


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError, match="does not exist here") as caught:
        client.messages.create(model="nobody", max_tokens=5, messages=HI)
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.RateLimitError) as busy:
        client.messages.create(model="vllm-busy", max_tokens=5, messages=HI)
    assert busy.value.body["error"]["type"] == "rate_limit_error"
    assert busy.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.post("/v1/messages", body={"model": "vllm", "messages": HI}, cast_to=object)
    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        client.messages.count_tokens(model="nobody", messages=HI)
