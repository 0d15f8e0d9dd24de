"""LangChain and LiteLLM, as clients, work unmodified through every engine."""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.gateway import Running

IMAGE = "data:image/png;base64,AAAA"
PARTS: Any = [
    {"type": "text", "text": "See"},
    {"type": "image_url", "image_url": {"url": IMAGE}},
]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Number(BaseModel):
    """What a structured answer must be."""

    n: int


@pytest.fixture(scope="module")
def langchain() -> Any:
    return pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else its import asks the network
        found = pytest.importorskip("litellm", reason="litellm is not installed")
        found.telemetry = False
        yield found


def last(engines: dict[str, FakeEngine], name: str) -> str:
    return engines[name].seen[-1].body.decode()


@pytest.mark.parametrize("responses", [False, True])
def test_langchain(
    langchain: Any,
    gateway: Running,
    engines: dict[str, FakeEngine],
    engine: str,
    *,
    responses: bool,
) -> None:
    chat = langchain.ChatOpenAI(
        base_url=gateway.base_url,
        api_key="none",
        model=engine,
        max_retries=0,
        use_responses_api=responses,
    )
    whole = chat.invoke("Hi there")
    assert whole.text == TEXT
    assert whole.usage_metadata["output_tokens"] == 60
    assert "".join(chunk.text for chunk in chat.stream("Hi there")) == TEXT
    called = chat.bind_tools([TOOL], tool_choice="weather").invoke("Hi there")
    assert [(one["name"], one["args"]) for one in called.tool_calls] == [
        ("weather", {"city": "Paris"})
    ]
    assert chat.with_structured_output(Number).invoke("Hi there") == Number(n=1)
    chat.invoke([{"role": "user", "content": PARTS}])
    assert "AAAA" in last(engines, engine)


def _ask(litellm: Any, gateway: Running, **more: Any) -> Any:
    messages = [{"role": "user", "content": "Hi there"}]
    asked = {"messages": messages, "api_key": "none", "max_retries": 0, "num_retries": 0} | more
    return litellm.completion(api_base=gateway.base_url, **asked)


def test_litellm(
    litellm: Any, gateway: Running, engines: dict[str, FakeEngine], engine: str
) -> None:
    model = f"openai/{engine}"
    whole = _ask(litellm, gateway, model=model)
    assert whole.choices[0].message.content == TEXT
    assert whole.usage.completion_tokens == 60
    stream = _ask(litellm, gateway, model=model, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT
    called = _ask(litellm, gateway, model=model, tools=[TOOL], tool_choice="required")
    (call,) = called.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    shaped = _ask(litellm, gateway, model=model, response_format=Number)
    assert Number.model_validate_json(shaped.choices[0].message.content) == Number(n=1)
    _ask(litellm, gateway, model=model, messages=[{"role": "user", "content": PARTS}])
    assert "AAAA" in last(engines, engine)


def test_litellm_as_an_anthropic_client(litellm: Any, gateway: Running, engine: str) -> None:
    where = f"http://127.0.0.1:{gateway.port}"
    asked: Any = {
        "model": f"anthropic/{engine}",
        "messages": [{"role": "user", "content": "Hi there"}],
        "api_base": where,
        "api_key": "none",
        "max_tokens": 500,
        "num_retries": 0,
    }
    assert litellm.completion(**asked).choices[0].message.content == TEXT
    stream = litellm.completion(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT
