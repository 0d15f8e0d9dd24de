"""Bodies go out as they came in but for what must differ; answers come back the same way."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.backends.wire import NEVER_FORWARDED, reply_of, strip_logprobs, upstream_body
from metabolic.core.attempt import Call, ToolCall
from metabolic.core.errors import BadReply, Overloaded, Refused
from metabolic.core.fleet import Variant
from metabolic.core.request import Request, Sampling, Usage

CALL = Call(id="c0", stage=0, deployment="d")
WITH_LOGPROBS = Call(id="c0", stage=0, deployment="d", logprobs=True)


def request_of(body: bytes, dialect: Any = "chat", **fields: Any) -> Request:
    return Request(id="r", dialect=dialect, model="auto", body=body, **fields)


def sent(body: bytes, call: Call = CALL, **options: Any) -> dict[str, Any]:
    more: dict[str, Any] = {"model": "up", "streamed": False, **options}
    return json.loads(upstream_body(request_of(body), call, **more))


def test_only_the_model_differs_in_a_whole_call() -> None:
    body = b'{"model":"auto", "stream":true,"stream_options":null,"x":{"a" : [1.50, "\\u00e9"]}}'
    found = upstream_body(request_of(body), CALL, model="up", streamed=False)
    assert found == b'{"model":"up","x":{"a" : [1.50, "\\u00e9"]}}'


def test_a_stream_always_reports_usage_and_keeps_the_other_options() -> None:
    assert sent(b"{}", streamed=True)["stream_options"] == {"include_usage": True}
    options = b'{"stream":false,"stream_options":{"include_usage":false,"x":1}}'
    found = sent(options, streamed=True)
    assert found["stream"] is True
    assert found["stream_options"] == {"include_usage": True, "x": 1}


def test_logprobs_are_asked_for_when_the_call_wants_them_and_the_client_does_not() -> None:
    assert sent(b"{}", WITH_LOGPROBS)["logprobs"] is True
    assert "logprobs" not in sent(b"{}")
    text = upstream_body(request_of(b"{}", "completions"), WITH_LOGPROBS, model="m", streamed=False)
    assert json.loads(text)["logprobs"] == 1
    vectors = request_of(b"{}", "embeddings")
    assert b"logprobs" not in upstream_body(vectors, WITH_LOGPROBS, model="m", streamed=False)
    asked = request_of(b'{"logprobs":5}', "completions", sampling=Sampling(logprobs=True))
    found = upstream_body(asked, WITH_LOGPROBS, model="m", streamed=False)
    assert json.loads(found)["logprobs"] == 5


@pytest.mark.parametrize("name", sorted(NEVER_FORWARDED))
def test_addresses_and_keys_are_never_forwarded(name: str) -> None:
    assert sent(json.dumps({name: "x", "y": 1}).encode()) == {"model": "up", "y": 1}


@pytest.mark.parametrize(
    ("asked", "most", "name", "limit"),
    [
        (None, 9, "max_tokens", 9),
        (20, 9, "max_tokens", 9),
        (5, 9, "max_tokens", 5),
        (20, 9, "max_completion_tokens", 9),
    ],
)
def test_a_variant_lowers_the_output_budget_and_never_raises_it(
    asked: int | None, most: int, name: str, limit: int
) -> None:
    body = b"{}" if asked is None else json.dumps({name: asked}).encode()
    request = request_of(body, sampling=Sampling(max_output_tokens=asked))
    variant = Variant(name="short", reasoning_effort="low", max_output_tokens=most)
    found = upstream_body(request, CALL, model="m", streamed=False, variant=variant)
    assert json.loads(found) == {"model": "m", "reasoning_effort": "low", name: limit}


ANSWER: dict[str, Any] = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Hi",
                "reasoning_content": "hm",
                "refusal": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.5}, {"token": "!"}]},
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


def test_a_whole_answer_is_read() -> None:
    body = json.dumps(ANSWER).encode()
    reply = reply_of(body, request_of(b"{}"), CALL)
    choice = reply.choices[0]
    assert (choice.text, choice.reasoning, choice.refusal) == ("Hi", "hm", None)
    assert choice.tool_calls == (ToolCall(name="f", arguments="{}", id="1"),)
    assert choice.logprobs == (-0.5,)
    assert reply.usage == Usage(
        input_tokens=10, cached_tokens=6, output_tokens=4, reasoning_tokens=2
    )
    assert reply.body is body


def test_logprobs_only_metabolic_asked_for_are_not_shown() -> None:
    body = json.dumps(ANSWER).encode()
    hidden = reply_of(body, request_of(b"{}"), WITH_LOGPROBS)
    wanted = {**ANSWER, "choices": [{**ANSWER["choices"][0], "logprobs": None}]}
    assert json.loads(hidden.body) == wanted
    assert hidden.choices[0].logprobs == (-0.5,)
    shown = reply_of(body, request_of(b"{}", sampling=Sampling(logprobs=True)), WITH_LOGPROBS)
    assert shown.body is body


LOGPROBS = {"content": [{"token": '"logprobs":{}', "logprob": -1.0, "top_logprobs": []}]}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"logprobs": LOGPROBS, "text": '"logprobs":1'}, {"logprobs": LOGPROBS}]},
        {"choices": [{"logprobs": None}, {"text": "a"}], "x": 1},
        {"choices": [{"message": {"logprobs": LOGPROBS}, "logprobs": LOGPROBS}]},
        {"choices": [{"logprobs": {}}], "logprobs": LOGPROBS},
        {"choices": []},
        {"usage": {}},
    ],
)
def test_however_it_is_written_only_the_choices_own_logprobs_become_null(
    answer: Any, separators: tuple[str, str]
) -> None:
    found = json.loads(strip_logprobs(json.dumps(answer, separators=separators).encode()))
    wanted = [
        {**choice, **({"logprobs": None} if "logprobs" in choice else {})}
        for choice in answer.get("choices", [])
    ]
    assert found.get("choices", []) == wanted
    assert {name: found[name] for name in answer if name != "choices"} == {
        name: answer[name] for name in answer if name != "choices"
    }


def test_other_spellings_are_read() -> None:
    old = {"message": {"reasoning": "hm", "function_call": {"name": "f", "arguments": "1"}}}
    parts = {"message": {"content": [{"type": "text", "text": "a"}, {"type": "x"}]}}
    custom = {"message": {"tool_calls": [{"custom": {"name": "sh"}}, {"id": "?"}]}}
    answer = {
        "choices": [old, parts, custom],
        "usage": {"prompt_cache_hit_tokens": 3},
        "timings": {"cache_n": 9, "prompt_n": 2, "predicted_n": 5},
    }
    reply = reply_of(json.dumps(answer).encode(), request_of(b"{}"), CALL)
    assert reply.choices[0].reasoning == "hm"
    assert reply.choices[0].tool_calls == (ToolCall(name="f", arguments="1"),)
    assert reply.choices[1].text == "a"
    assert reply.choices[2].tool_calls == (ToolCall(name="sh", arguments=""),)
    assert reply.usage == Usage(input_tokens=11, cached_tokens=3, output_tokens=5)


def test_a_text_completion_is_read() -> None:
    answer = {
        "choices": [{"text": "yes", "logprobs": {"token_logprobs": [None, -1.0]}}],
        "usage": {"prompt_tokens": -1},
    }
    reply = reply_of(json.dumps(answer).encode(), request_of(b"{}", "completions"), CALL)
    assert reply.choices[0].text == "yes"
    assert reply.choices[0].logprobs == (-1.0,)
    assert reply.usage.input_tokens is None


def test_embeddings_have_no_choices() -> None:
    body = b'{"data":[{"embedding":[1.0]}],"usage":{"prompt_tokens":3}}'
    reply = reply_of(body, request_of(b"{}", "embeddings"), CALL)
    assert (reply.choices, reply.usage.input_tokens, reply.body) == ((), 3, body)
    with pytest.raises(BadReply):
        reply_of(b'{"data":[]}', request_of(b"{}", "embeddings"), CALL)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<p>",
        b"[]",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[3]}',
        b'{"choices":[{"text":"\xff"}]}',
    ],
)
def test_what_is_no_answer_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        reply_of(body, request_of(b"{}"), CALL)


def test_an_error_that_comes_with_200_is_an_error() -> None:
    body = b'{"error":{"code":429,"message":"slow down"}}'
    with pytest.raises(Overloaded):
        reply_of(body, request_of(b"{}"), CALL)
    with pytest.raises(Refused) as caught:
        reply_of(
            b'{"error":{"code":"400","message":"sk-1"}}', request_of(b"{}"), CALL, secret="sk-1"
        )
    assert b"sk-1" not in caught.value.body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
SET = {"model", "stream", "stream_options", "logprobs"}


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5), st.booleans())
def test_every_other_field_goes_out_byte_for_byte(fields: Any, streamed: Any) -> None:
    body = json.dumps(fields, indent=1).encode()
    found = upstream_body(request_of(body), CALL, model="up", streamed=streamed)
    before = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(found, type=dict[str, msgspec.Raw])
    for name in before.keys() - SET - NEVER_FORWARDED:
        assert bytes(after[name]) == bytes(before[name])
    assert after.keys() - before.keys() <= SET


def test_the_likeliest_tokens_are_asked_for_and_read_where_they_are_wanted() -> None:
    call = Call(id="c0", stage=0, deployment="d", logprobs=True, alternatives=3)
    asked = Request(id="r", dialect="chat", model="auto", body=b'{"messages":[]}')
    sent = msgspec.json.decode(upstream_body(asked, call, model="m", streamed=False))
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 3)
    top = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -2.0}]
    token = {"token": "4", "logprob": -0.1, "top_logprobs": top}
    body = msgspec.json.encode(
        {"choices": [{"index": 0, "message": {"content": "4"}, "logprobs": {"content": [token]}}]}
    )
    (choice,) = reply_of(body, asked, call).choices
    assert (choice.logprobs, choice.alternatives) == ((-0.1,), ((-0.1, -2.0),))
    assert choice.tokens == ("4",)
    plain = msgspec.structs.replace(call, alternatives=0)
    assert reply_of(body, asked, plain).choices[0].alternatives == ()
    assert "top_logprobs" not in msgspec.json.decode(
        upstream_body(asked, plain, model="m", streamed=False)
    )
