"""What a variant says, in the words of each engine and dialect."""

import json
from typing import Any

import pytest

from metabolic.backends.claude import messages_body
from metabolic.backends.traits import NAMES, find
from metabolic.backends.variants import spoken
from metabolic.backends.wire import upstream_body
from metabolic.core.attempt import Call
from metabolic.core.fleet import Variant
from metabolic.core.request import Native, Request, Sampling

CALL = Call(id="c0", stage=0, deployment="d", variant="v")
TALK = [{"role": "user", "content": "Hello"}]
TEMPLATES = {
    *("llamacpp", "llama-swap", "llm-d", "dynamo", "mlx-lm", "ray-serve", "sglang"),
    *("sglang-gateway", "vllm", "tensorrt-llm"),
}


def asked(**more: Any) -> Request:
    body = {"model": "auto", "messages": TALK} | more
    most = more.get("max_completion_tokens") or more.get("max_tokens")
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        sampling=Sampling(max_output_tokens=most),
        body=json.dumps(body).encode(),
    )


def sent(variant: Variant, engine: str = "openai", **more: Any) -> dict[str, Any]:
    said = spoken(variant, find(engine))
    body = upstream_body(asked(**more), CALL, model="m", streamed=False, variant=said)
    return json.loads(body)


@pytest.mark.parametrize("engine", sorted({*NAMES} - {"anthropic"}))
def test_thinking_is_switched_as_the_engine_reads_it(engine):
    found = sent(Variant(name="off", thinking=False), engine)
    if engine in TEMPLATES:
        assert found["chat_template_kwargs"] == {"enable_thinking": False}
        assert "reasoning_effort" not in found
    else:
        assert found["reasoning_effort"] == "none"
        assert "chat_template_kwargs" not in found


def test_effort_and_limit_go_out_by_the_names_the_client_uses():
    variant = Variant(name="low", reasoning_effort="low", max_output_tokens=100)
    assert sent(variant)["reasoning_effort"] == "low"
    assert sent(variant)["max_tokens"] == 100
    assert sent(variant, max_completion_tokens=500)["max_completion_tokens"] == 100
    assert sent(variant, max_completion_tokens=50)["max_completion_tokens"] == 50


def test_fields_of_the_operators_own_go_out_and_the_clients_template_arguments_stay():
    variant = Variant(name="v", thinking=False, body='{"top_k": 20}')
    found = sent(variant, "vllm", chat_template_kwargs={"documents": []})
    assert found["top_k"] == 20
    assert found["chat_template_kwargs"] == {"documents": [], "enable_thinking": False}
    own = Variant(name="v", thinking=True, body='{"chat_template_kwargs": {"thinking": true}}')
    assert sent(own, "vllm")["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}


def messages(variant: Variant, **more: Any) -> dict[str, Any]:
    return json.loads(messages_body(asked(**more), model="m", streamed=False, variant=variant))


def native(variant: Variant, **more: Any) -> dict[str, Any]:
    body = {"model": "auto", "max_tokens": 300, "messages": TALK} | more
    request = Request(
        id="r",
        dialect="chat",
        model="auto",
        native=Native(dialect="messages", body=json.dumps(body).encode()),
    )
    return json.loads(messages_body(request, model="m", streamed=False, variant=variant))


@pytest.mark.parametrize("said", [messages, native])
def test_anthropic_is_told_a_budget_of_thinking_with_room_for_the_answer(said):
    found = said(Variant(name="v", reasoning_effort="high"), temperature=0.5)
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    assert found["max_tokens"] > 16384
    assert "temperature" not in found
    own = said(Variant(name="v", thinking_tokens=2000))
    assert own["thinking"]["budget_tokens"] == 2000
    least = said(Variant(name="v", thinking_tokens=5))
    assert least["thinking"]["budget_tokens"] == 1024
    assert said(Variant(name="v", thinking=True))["thinking"]["budget_tokens"] == 4096


@pytest.mark.parametrize("said", [messages, native])
def test_anthropic_is_told_nothing_where_nobody_may_think(said):
    assert "thinking" not in said(Variant(name="v", thinking=False))
    forced = {"tool_choice": {"type": "any"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    if said is messages:
        forced = {"tool_choice": "required", "tools": tools}
    assert "thinking" not in said(Variant(name="v", reasoning_effort="high"), **forced)


def test_what_a_client_says_of_thinking_to_anthropic_stays():
    own = {"type": "enabled", "budget_tokens": 1500}
    assert native(Variant(name="v", reasoning_effort="high"), thinking=own)["thinking"] == own


def test_a_limit_alone_changes_nothing_else_of_a_native_request():
    found = native(Variant(name="v", max_output_tokens=100), metadata={"user_id": "u"})
    assert (found["max_tokens"], found["metadata"]) == (100, {"user_id": "u"})
    assert native(Variant(name="v", body='{"top_k": 5}'))["top_k"] == 5
