"""The official OpenAI client works unmodified through every engine: chat and responses."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.gateway import Running

HI: Any = [{"role": "user", "content": "Hi there"}]
PARAMETERS: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
FLAT: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
IMAGE = "data:image/png;base64,AAAA"


class Number(BaseModel):
    """What a structured answer must be."""

    n: int


@pytest.fixture(scope="module")
def client(gateway: Running) -> Any:
    return openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0)


def last(engines: dict[str, FakeEngine], name: str) -> Any:
    return json.loads(engines[name].seen[-1].body)


def test_a_whole_chat(client: Any, engine: str) -> None:
    answer = client.chat.completions.create(model=engine, messages=HI)
    assert answer.choices[0].message.content == TEXT
    assert (answer.choices[0].finish_reason, answer.object) == ("stop", "chat.completion")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 60)


def test_a_streamed_chat(client: Any, engine: str) -> None:
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model=engine, messages=HI, stream=True, stream_options=options
    )
    chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == TEXT
    assert chunks[-1].usage.completion_tokens == 60


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called(client: Any, engine: str, *, streamed: bool) -> None:
    asked: Any = {"model": engine, "messages": HI, "tools": [TOOL], "tool_choice": "required"}
    if streamed:
        with client.chat.completions.stream(**asked) as stream:
            answer = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(**asked)
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Paris"},
    )
    assert answer.choices[0].finish_reason == "tool_calls"


def test_an_image_arrives(client: Any, engine: str, engines: dict[str, FakeEngine]) -> None:
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    client.chat.completions.create(model=engine, messages=[{"role": "user", "content": parts}])
    sent = last(engines, engine)["messages"][0]["content"][1]
    if engine == "anthropic":
        assert sent["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    else:
        assert sent == parts[1]


def test_a_schema_is_kept_to(client: Any, engine: str) -> None:
    answer = client.chat.completions.parse(model=engine, messages=HI, response_format=Number)
    assert answer.choices[0].message.parsed == Number(n=1)


def test_a_whole_response(client: Any, engine: str) -> None:
    answer = client.responses.create(model=engine, input="Hi there", instructions="Be brief.")
    assert (answer.output_text, answer.status, answer.object) == (TEXT, "completed", "response")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) in {(4, 60), (2, 60)}
    assert answer.instructions == "Be brief."


def test_a_streamed_response(client: Any, engine: str) -> None:
    with client.responses.stream(model=engine, input="Hi there") as stream:
        events = list(stream)
        whole = stream.get_final_response()
    assert whole.output_text == TEXT
    assert whole.usage.output_tokens == 60
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert [event.sequence_number for event in events[:3]] == [0, 1, 2]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_responses_function_is_called_and_its_output_is_taken(
    client: Any, engine: str, engines: dict[str, FakeEngine], *, streamed: bool
) -> None:
    asked: Any = {"model": engine, "input": "Hi", "tools": [FLAT], "tool_choice": "required"}
    if streamed:
        with client.responses.stream(**asked) as stream:
            answer = stream.get_final_response()
    else:
        answer = client.responses.create(**asked)
    (call,) = (item for item in answer.output if item.type == "function_call")
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
    turns = [{"role": "user", "content": "Hi"}, call.model_dump(exclude_none=True), output]
    after = client.responses.create(model=engine, input=turns, tools=[FLAT])
    assert after.output_text == TEXT
    sent = last(engines, engine)["messages"]
    if engine != "anthropic":
        assert sent[1]["tool_calls"][0]["id"] == call.call_id
        assert sent[2] == {"role": "tool", "tool_call_id": call.call_id, "content": "It rains."}


def test_a_response_keeps_to_a_schema_and_sees_an_image(
    client: Any, engine: str, engines: dict[str, FakeEngine]
) -> None:
    parts = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
    ]
    answer = client.responses.parse(
        model=engine, input=[{"role": "user", "content": parts}], text_format=Number
    )
    assert answer.output_parsed == Number(n=1)
    assert "AAAA" in json.dumps(last(engines, engine)["messages"])


def test_a_response_that_breaks_off_has_failed(client: Any) -> None:
    with client.responses.stream(model="vllm-cut", input="Hi") as stream:
        events = list(stream)
    assert events[-1].type == "response.failed"
    assert "broke off" in events[-1].response.error.message


def test_a_response_that_is_cut_short_is_incomplete(client: Any) -> None:
    answer = client.responses.create(model="vllm", input="Hi", max_output_tokens=5)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("background", True),
        ("tools", [{"type": "web_search"}]),
        ("input", [{"type": "item_reference", "id": "x"}]),
    ],
)
def test_what_needs_a_memory_is_refused_by_name(client: Any, field: str, value: Any) -> None:
    asked = {"model": "vllm", "input": "Hi"} | {field: value}
    with pytest.raises(openai.BadRequestError, match=r"not (supported|known)") as caught:
        client.responses.create(**asked)
    assert caught.value.param.startswith(field)
    assert caught.value.code == "unsupported_parameter"
