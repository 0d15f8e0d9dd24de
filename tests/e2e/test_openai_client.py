"""The official client works unmodified."""

import json
from typing import Any

import openai
import pytest

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer
from metabolic.testing.gateway import Running

HI: list[Any] = [{"role": "user", "content": "Hi there"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def last_body(upstream: FakeServer) -> dict[str, Any]:
    """Return what the upstream got last."""
    return json.loads(upstream.seen[-1].body)


@pytest.mark.parametrize("model", ["good", "solid", "auto", "auto:fast", "auto:best"])
def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    whole = ["good"] if model == "good" else ["good", "thinker", "slow"]
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=HI, extra_headers={"metabolic-deadline": "60"}
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 60
    assert raw.headers["metabolic-deployment"] in whole
    assert raw.headers["x-request-id"] == raw.headers["metabolic-decision"]
    assert raw.headers["metabolic-degraded"] in {"true", "false"}


def test_a_receipt_can_be_read_afterwards(client: openai.OpenAI, gateway: Running) -> None:
    raw = client.chat.completions.with_raw_response.create(model="good", messages=HI)
    identity = raw.headers["metabolic-decision"]
    receipt: Any = client.get(f"/receipts/{identity}", cast_to=object)
    assert receipt["id"] == identity
    assert receipt["answer"]["deployment"] == "good"
    assert receipt["usage"]["output_tokens"] == 60
    with pytest.raises(openai.NotFoundError):
        client.get("/receipts/mr-none", cast_to=object)


@pytest.mark.parametrize("delivery", ["auto", "hold", "stream"])
def test_a_stream(client: openai.OpenAI, delivery: str) -> None:
    stream = client.chat.completions.create(
        model="good", messages=HI, stream=True, extra_headers={"metabolic-delivery": delivery}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    told: Any = (chunks[-1].model_extra or {})["metabolic"]
    assert told["deployment"] == "good"
    assert told["decision"].startswith("mr-")
    assert all("metabolic" not in (chunk.model_extra or {}) for chunk in chunks[:-1])


def test_usage_in_a_stream_comes_when_it_is_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="good", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 60
    assert "metabolic" in (last.model_extra or {})


@pytest.mark.anyio
async def test_the_async_client_whole_and_streamed(gateway: Running) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key="none") as client:
        answer = await client.chat.completions.create(model="good", messages=HI)
        assert answer.choices[0].message.content == TEXT
        stream = await client.chat.completions.create(model="good", messages=HI, stream=True)
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(parts) == TEXT


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, *, stream: bool) -> None:
    answer: Any = client.chat.completions.create(
        model="solid", messages=HI, tools=[TOOL], tool_choice="required", stream=stream
    )
    if stream:
        deltas = [call for chunk in answer for call in chunk.choices[0].delta.tool_calls or ()]
        name = deltas[0].function.name
        arguments = "".join(call.function.arguments or "" for call in deltas)
    else:
        (call,) = answer.choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
        assert answer.choices[0].finish_reason == "tool_calls"
    assert name == "weather"
    assert "city" in json.loads(arguments)


@pytest.mark.parametrize("caller", ["slow", "thinker"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_result_goes_back_to_who_called(
    client: openai.OpenAI, caller: str, *, stream: bool
) -> None:
    first: Any = client.chat.completions.create(
        model=caller,
        messages=HI,
        tools=[TOOL],
        tool_choice="required",
        stream=stream,
        extra_headers={"metabolic-delivery": "hold"},
    )
    said = [chunk.choices[0].delta for chunk in first] if stream else [first.choices[0].message]
    identity = next(call.id for one in said for call in one.tool_calls or () if call.id)
    turns: list[Any] = [
        *HI,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": identity,
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": identity, "content": "sun"},
    ]
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=turns, max_tokens=2
    )
    assert raw.headers["metabolic-deployment"] == caller


def test_a_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = client.chat.completions.create(model="solid", messages=HI, response_format=form)
    assert isinstance(json.loads(answer.choices[0].message.content or "")["age"], int)


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_come_when_they_are_asked_for(client: openai.OpenAI, *, stream: bool) -> None:
    answer: Any = client.chat.completions.create(
        model="solid", messages=HI, logprobs=True, top_logprobs=1, stream=stream
    )
    choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
    tokens = [
        token for choice in choices if choice.logprobs for token in choice.logprobs.content or ()
    ]
    assert len(tokens) == 60
    assert tokens[0].logprob == pytest.approx(-0.05)


def test_n_stop_seed_and_the_output_limit_reach_the_engine(
    client: openai.OpenAI, upstream: FakeServer
) -> None:
    answer = client.chat.completions.create(
        model="good", messages=HI, n=2, seed=7, stop=["word04"], max_completion_tokens=9
    )
    assert [choice.message.content for choice in answer.choices] == ["word01 word02 word03 "] * 2
    body = last_body(upstream)
    assert (body["n"], body["seed"], body["stop"]) == (2, 7, ["word04"])
    assert body["max_completion_tokens"] == 9
    cut = client.chat.completions.create(model="good", messages=HI, max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"


def test_an_image_passes_through(client: openai.OpenAI, upstream: FakeServer) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    part: Any = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    turns: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}]
    client.chat.completions.create(model="solid", messages=turns)
    assert last_body(upstream)["messages"][0]["content"][1] == part


def test_what_metabolic_does_not_know_passes_through(
    client: openai.OpenAI, upstream: FakeServer
) -> None:
    client.chat.completions.create(
        model="good", messages=HI, extra_body={"top_k": 3, "base_url": "http://evil.example"}
    )
    body = last_body(upstream)
    assert body["top_k"] == 3
    assert "base_url" not in body


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_content_is_kept(client: openai.OpenAI, *, stream: bool) -> None:
    answer: Any = client.chat.completions.create(model="thinker", messages=HI, stream=stream)
    if stream:
        extras = [chunk.choices[0].delta.model_extra or {} for chunk in answer]
        thought = "".join(extra.get("reasoning_content") or "" for extra in extras)
    else:
        thought = answer.choices[0].message.model_extra["reasoning_content"]
    assert thought == "Let me think."


@pytest.mark.parametrize("stream", [False, True])
def test_text_completions(client: openai.OpenAI, *, stream: bool) -> None:
    answer: Any = client.completions.create(model="good", prompt="Once", stream=stream)
    chunks = list(answer) if stream else [answer]
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="good", input=["a", "bb"], encoding_format="float")
    assert [item.embedding[0] for item in answer.data] == [1.0, 2.0]


def test_models_are_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:3] == ["auto", "auto:fast", "auto:best"]
    assert {"good", "solid"} <= set(names)
    assert client.models.retrieve("good").id == "good"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


CLASSES = [
    ("nothing", False, openai.NotFoundError),
    ("nothing", True, openai.NotFoundError),
    ("busy", False, openai.RateLimitError),
    ("busy-too", True, openai.RateLimitError),
    ("refusing", False, openai.UnprocessableEntityError),
    ("refusing", True, openai.UnprocessableEntityError),
    ("locked", False, openai.InternalServerError),
    ("broken", False, openai.InternalServerError),
    ("broken", True, openai.InternalServerError),
    ("garbage", False, openai.InternalServerError),
    ("dead", True, openai.InternalServerError),
    ("hopeless", False, openai.InternalServerError),
]


@pytest.mark.parametrize(("model", "stream", "error"), CLASSES)
def test_errors_are_the_clients_classes(
    faulty_client: openai.OpenAI, model: str, error: type[openai.APIStatusError], *, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        faulty_client.chat.completions.create(model=model, messages=HI, stream=stream)
    assert caught.value.status_code >= 400
    assert isinstance(caught.value.body, dict)


def test_a_bad_request_is_the_clients_fault(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="good", messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="metabolic-max-cost"):
        client.chat.completions.create(
            model="good", messages=HI, extra_headers={"metabolic-max-cost": "none"}
        )


def test_a_dead_deployment_is_passed_over(faulty_client: openai.OpenAI) -> None:
    raw = faulty_client.chat.completions.with_raw_response.create(model="shaky", messages=HI)
    assert raw.headers["metabolic-deployment"] == "good"
