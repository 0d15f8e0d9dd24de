"""An agent's loop over real sockets: the soft limit, the hard limit, the circle, nothing lost."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "search", "parameters": {"type": "object", "properties": {}}},
    }
]
FLEET = """
[[deployment]]
name = "dear"
base_url = "{url}"
upstream_model = "say:done"
tier = "large"
capabilities = ["chat", "tools", "logprobs"]
input_usd_per_million_tokens = 1000.0
output_usd_per_million_tokens = 1000.0
[[deployment]]
name = "cheap"
base_url = "{url}"
upstream_model = "say:done"
tier = "small"
capabilities = ["chat", "tools", "logprobs"]
input_usd_per_million_tokens = 200.0
output_usd_per_million_tokens = 200.0
[[belief]]
deployment = "dear"
p_correct = 0.9
evidence = 1000
[[belief]]
deployment = "cheap"
p_correct = 0.89
evidence = 1000
[profile]
name = "edge"
preference = 0.0
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serve_in_thread() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: FakeServer) -> Iterator[Running]:
    text = config_for({}) + FLEET.format(url=upstream.base_url)
    with gateway_in_thread(text) as running:
        yield running


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="k", max_retries=2) as made:
        yield made


def turn(number: int, *, answer: str = "nothing found") -> list[Any]:
    """Return one call of the tool and its result, as agents send them along."""
    call = {
        "id": f"call-{number}",
        "type": "function",
        "function": {"name": "search", "arguments": '{"q": "the answer"}'},
    }
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call-{number}", "content": answer},
    ]


def ask(client: openai.OpenAI, name: str, *, messages: Any = None, **headers: str) -> Any:
    """Ask as a turn of the task ``name``; header names are given with underscores."""
    return client.chat.completions.with_raw_response.create(
        model="auto",
        messages=messages or [{"role": "user", "content": f"Go on with {name}."}],
        extra_headers={
            "metabolic-task": name,
            **{f"metabolic-{key.replace('_', '-')}": value for key, value in headers.items()},
        },
    )


def until_refused(limit: int, once: Callable[[int], object]) -> openai.APIStatusError:
    """Go on until it is refused, and return the refusal."""
    for number in range(limit):
        try:
            once(number)
        except openai.APIStatusError as error:
            return error
    message = f"not refused in {limit} turns"
    raise AssertionError(message)


def test_the_receipt_shows_the_task_so_far(client: openai.OpenAI) -> None:
    tokens = 0
    for number in range(1, 4):
        raw = ask(client, "/sums", messages=[{"role": "user", "content": f"Step {number}"}])
        tokens += raw.parse().usage.total_tokens
        assert raw.headers["metabolic-task-id"] == "sums"
        assert raw.headers["metabolic-task-requests"] == str(number)
        assert raw.headers["metabolic-task-tokens"] == str(tokens)
        assert "metabolic-task-state" not in raw.headers
        receipt: Any = client.get(f"/receipts/{raw.headers['metabolic-decision']}", cast_to=object)
        assert receipt["agent_task"]["requests"] == number
        assert receipt["agent_task"]["usd"] == pytest.approx(
            float(raw.headers["metabolic-task-usd"]), rel=1e-4
        )


def test_the_soft_limit_moves_the_dial_and_the_hard_limit_ends_the_task(
    client: openai.OpenAI, upstream: FakeServer
) -> None:
    who: list[str] = []

    def once(number: int) -> None:
        said = [{"role": "user", "content": f"Step {number}"}]
        raw = ask(client, "run-1", messages=said, task_budget_usd="0.1")
        assert raw.parse().choices[0].message.content == "done"
        who.append(raw.headers["metabolic-deployment"])
        if raw.headers["metabolic-task-state"] == "thrift":
            assert float(raw.headers["metabolic-task-spent-ratio"]) > 0.8

    error = until_refused(200, once)
    assert set(who) == {"dear", "cheap"}
    assert who == sorted(who, reverse=True)
    assert (error.status_code, error.code) == (402, "task_budget_exceeded")
    assert "USD" in error.message
    assert error.response.headers["metabolic-task-state"] == "spent"
    assert error.response.headers["metabolic-task-requests"] == str(len(who))
    asked = len(upstream.seen)
    with pytest.raises(openai.APIStatusError):
        ask(client, "run-1")
    assert len(upstream.seen) == asked
    raw = ask(client, "run-1", task_budget_usd="10")
    assert raw.headers["metabolic-task-state"] == "within"


def test_tokens_and_joules_are_limits_as_well(client: openai.OpenAI) -> None:
    def once(number: int) -> None:
        said = [{"role": "user", "content": f"Step {number}"}]
        ask(client, "run-2", messages=said, task_budget_tokens="60")

    assert "tokens" in until_refused(50, once).message


@pytest.mark.parametrize("value", ["0", "-1", "much", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(client: openai.OpenAI, value: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "run-3", task_budget_usd=value)
    assert "metabolic-task-budget-usd" in refused.value.message


def test_a_loop_is_found_and_reported(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "Find the answer."}]
    said: list[str | None] = []
    for number in range(5):
        raw = ask(client, "/loop-1", messages=messages)
        said.append(raw.headers.get("metabolic-task-loop"))
        messages = [*messages, *turn(number)]
    assert said == [None, None, None, "tool=3", "tool=4"]


def test_progress_is_no_loop(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "Find the answer."}]
    for number in range(5):
        raw = ask(client, "/loop-2", messages=messages)
        assert "metabolic-task-loop" not in raw.headers
        messages = [*messages, *turn(number, answer=f"page {number}")]


def test_the_same_request_again_and_again_is_a_loop(client: openai.OpenAI) -> None:
    said = [ask(client, "/loop-3").headers.get("metabolic-task-loop") for _ in range(4)]
    assert said == [None, None, "request=3", "request=4"]


def test_a_stream_s_last_chunk_shows_the_task(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            extra_headers={"metabolic-task": "/streamed"},
        )
    )
    extra: Any = [chunk.model_extra for chunk in chunks]
    told = next(one["metabolic"] for one in extra if one and "metabolic" in one)
    assert told["agent_task"]["id"] == "streamed"
    assert told["agent_task"]["requests"] == 1


def test_a_word_without_a_budget_is_the_kind_of_question_as_ever(client: openai.OpenAI) -> None:
    raw = ask(client, "summarization")
    assert "metabolic-task-id" not in raw.headers
    both = ask(client, "summarization/minutes-7")
    assert both.headers["metabolic-task-id"] == "minutes-7"
    receipt: Any = client.get(f"/receipts/{both.headers['metabolic-decision']}", cast_to=object)
    assert receipt["task"] == "summarization"


def test_nothing_is_lost_of_a_task_in_anthropic_s_words(gateway: Running) -> None:
    with anthropic.Anthropic(
        base_url=gateway.base_url.removesuffix("/v1"), api_key="k", max_retries=0
    ) as made:
        hi: Any = [{"role": "user", "content": "Hi"}]
        headers = {"metabolic-task": "claude-1", "metabolic-task-budget-tokens": "6"}
        first = made.messages.with_raw_response.create(
            model="auto", max_tokens=50, messages=hi, extra_headers=headers
        )
        assert first.headers["metabolic-task-requests"] == "1"
        made.messages.create(model="auto", max_tokens=50, messages=hi, extra_headers=headers)
        made.messages.create(model="auto", max_tokens=50, messages=hi, extra_headers=headers)
        with pytest.raises(anthropic.APIStatusError) as ended:
            made.messages.create(model="auto", max_tokens=50, messages=hi, extra_headers=headers)
    assert ended.value.status_code == 402
    body: Any = ended.value.body
    assert body["type"] == "error"


def test_the_responses_api_carries_a_budget_too(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="auto", input="Hi", extra_headers={"metabolic-task": "/responses-1"}
    )
    assert raw.headers["metabolic-task-requests"] == "1"


def test_the_operator_may_end_loops_and_limit_every_session(upstream: FakeServer) -> None:
    text = config_for({}) + FLEET.format(url=upstream.base_url)
    text += '[tasks]\non_loop = "stop"\ndetect = "session"\nbudget_tokens = 24\n'
    with (
        gateway_in_thread(text) as running,
        openai.OpenAI(base_url=running.base_url, api_key="k", max_retries=0) as made,
    ):
        looped = until_refused(4, lambda _: ask(made, "/agent"))
        assert (looped.status_code, looped.code) == (422, "task_loop_detected")
        ended = until_refused(
            30,
            lambda number: made.chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": json.dumps(number)}],
                extra_headers={"metabolic-session": "s"},
            ),
        )
        assert ended.status_code == 402
