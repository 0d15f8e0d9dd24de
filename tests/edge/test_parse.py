"""Parsing, first by example and then for whatever comes in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.errors import RequestError
from metabolic.core.request import (
    Image,
    Opaque,
    ResponseFormat,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from metabolic.edge import parse
from metabolic.edge.strict import MAX_DEPTH

USER = {"role": "user", "content": "hi"}


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "auto", "messages": [USER], **fields}).encode()


def refused(body: bytes, dialect: Any = "chat") -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(dialect, body, request_id="r")
    assert caught.value.status == 400
    return caught.value


def test_a_plain_chat_request_is_understood() -> None:
    body = chat(temperature=0, seed=7, stop="\n", max_tokens=9, stream=True, n=2)
    request = parse("chat", body, request_id="r1")
    assert (request.id, request.dialect, request.model) == ("r1", "chat", "auto")
    assert request.messages[0].content == (Text(text="hi"),)
    assert request.sampling.temperature == 0
    assert request.sampling.stop == ("\n",)
    assert (request.sampling.seed, request.sampling.max_output_tokens) == (7, 9)
    assert (request.n, request.stream, request.include_usage) == (2, True, False)
    assert request.body is body


def test_parts_tool_calls_results_images_and_reasoning_become_blocks() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "content": [{"type": "text", "text": "see"}, image, audio]},
        {"role": "assistant", "reasoning_content": "hm", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
    ]
    blocks = [m.content for m in parse("chat", chat(messages=messages), request_id="r").messages]
    assert blocks == [
        (Text(text="be kind"),),
        (Text(text="see"), Image(), Opaque(kind="input_audio")),
        (Thinking(text="hm"), ToolUse(id="c1", name="f", arguments="{}")),
        (ToolResult(id="c1", text="42"),),
    ]


def test_an_answer_given_as_parts_may_hold_thinking_and_a_refusal() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "refusal", "refusal": "no"}]
    request = parse(
        "chat", chat(messages=[{"role": "assistant", "content": parts}]), request_id="r"
    )
    assert request.messages[0].content == (Thinking(text="hm"), Text(text="no"))


def test_tools_of_every_kind_are_named() -> None:
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "g", "parameters": None}},
        {"type": "custom", "custom": {"name": "h"}},
        {"type": "web_search"},
    ]
    request = parse("chat", chat(tools=tools, functions=[{"name": "old"}]), request_id="r")
    assert [tool.name for tool in request.tools] == ["f", "g", "h", "web_search", "old"]
    assert json.loads(request.tools[0].parameters or b"") == {"type": "object"}
    assert request.tools[1].parameters is None


def test_custom_and_legacy_calls_are_tool_calls_too() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    messages = [
        {"role": "assistant", "tool_calls": [custom, {"id": "d"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "1"}, "refusal": "no"},
        {"role": "function", "name": "f", "content": "ok"},
    ]
    blocks = [m.content for m in parse("chat", chat(messages=messages), request_id="r").messages]
    assert blocks[0][0] == ToolUse(id="c", name="sh", arguments="ls")
    assert blocks[1] == (Text(text="no"), ToolUse(id="", name="f", arguments="1"))


@pytest.mark.parametrize(
    ("given_format", "kind", "schema"),
    [
        ({"type": "text"}, "text", None),
        ({"type": "json_object"}, "json_object", None),
        ({"type": "json_object", "schema": {"type": "object"}}, "json_object", {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "json_schema", None),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}},
            "json_schema",
            {"type": "array"},
        ),
    ],
)
def test_the_response_format_is_read(given_format: Any, kind: Any, schema: Any) -> None:
    found = parse("chat", chat(response_format=given_format), request_id="r").response_format
    assert found.kind == kind
    assert (json.loads(found.schema) if found.schema else None) == schema


def test_max_completion_tokens_goes_before_max_tokens() -> None:
    request = parse("chat", chat(max_tokens=5, max_completion_tokens=3), request_id="r")
    assert request.sampling.max_output_tokens == 3


def test_null_is_absent() -> None:
    names = ("n", "stream", "stream_options", "max_tokens", "stop", "seed", "logprobs", "tools")
    request = parse("chat", chat(**dict.fromkeys(names), response_format=None), request_id="r")
    assert (request.n, request.stream, request.tools) == (1, False, ())
    assert request.response_format == ResponseFormat()


def test_usage_and_logprobs_are_known_to_be_wanted() -> None:
    body = chat(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2)
    request = parse("chat", body, request_id="r")
    assert request.include_usage
    assert request.sampling.logprobs


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        chat() + b" x",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert "could not parse" in str(refused(body))


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"3", b"null", b"true"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert "object" in str(refused(body))


@pytest.mark.parametrize("where", [b'"model":"\xff"', b'"model":"a","other":{"x":"\xc3("}'])
def test_bad_utf8_is_refused_wherever_it_stands(where: bytes) -> None:
    assert "UTF-8" in str(refused(b'{"messages":[{"role":"user","content":"a"}],' + where + b"}"))


def test_a_lone_surrogate_is_refused() -> None:
    refused(b'{"model":"a","messages":[{"role":"user","content":"\\ud800"}]}')


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": 3}, "model", "invalid_type"),
        ({"model": ""}, "model", "empty_string"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [3]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [USER, {"role": "boss"}]}, "messages[1].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty_array"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c"}]},
            "messages[0].content",
            "missing_required_parameter",
        ),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stop": 3}, "stop", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
    ],
)
def test_a_wrong_field_is_named(fields: Any, param: str, code: str) -> None:
    error = refused(chat(**fields))
    assert (error.param, error.code) == (param, code)


def test_missing_fields_are_named() -> None:
    assert refused(b'{"model":"a"}').param == "messages"
    assert refused(b'{"messages":[]}').param in {"model", "messages"}


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_twenty_thousand_levels_are_refused_and_nothing_crashes(
    *, opening: bytes, closed: bool
) -> None:
    close = b"]" if opening == b"[" else b"}"
    deep = opening * 20_000 + b"1" + (close * 20_000 if closed else b"")
    refused(b'{"model":"a","messages":[{"role":"user","content":"a"}],"x":' + deep + b"}")


def test_depth_is_counted_in_levels_not_in_brackets() -> None:
    text = '[{"' * 2000
    wide = chat(messages=[{"role": "user", "content": text + '\\"'}] * 5, x=[[]] * 2000)
    assert parse("chat", wide, request_id="r").model == "auto"
    at_limit = chat(x=json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)))
    assert parse("chat", at_limit, request_id="r").model == "auto"
    over = chat(x=json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH))
    assert "nested deeper" in str(refused(over))


def test_addresses_and_keys_in_a_body_are_not_even_looked_at() -> None:
    body = chat(api_base="http://evil", base_url=["x"], api_key=3)
    assert parse("chat", body, request_id="r").body is body


@pytest.mark.parametrize(
    ("prompt", "blocks"),
    [
        ("a", [Text(text="a")]),
        (["a", "b"], [Text(text="a"), Text(text="b")]),
        ([1, 2, 3], [Opaque(kind="tokens")]),
        ([[1], [2, 3]], [Opaque(kind="tokens"), Opaque(kind="tokens")]),
    ],
)
def test_a_text_completion_takes_texts_and_tokens(prompt: Any, blocks: Any) -> None:
    body = json.dumps({"model": "m", "prompt": prompt, "logprobs": 0, "max_tokens": 0}).encode()
    request = parse("completions", body, request_id="r")
    assert [message.content[0] for message in request.messages] == blocks
    assert request.sampling.logprobs
    assert request.sampling.max_output_tokens == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"stream_options": {}}, "stream_options"),
    ],
)
def test_a_wrong_text_completion_is_refused(fields: Any, param: str) -> None:
    body = json.dumps({"model": "m", "prompt": "a", **fields}).encode()
    assert refused(body, "completions").param == param


def test_embeddings_take_what_completions_take() -> None:
    body = b'{"model":"m","input":["a","b"],"encoding_format":"base64"}'
    request = parse("embeddings", body, request_id="r")
    assert [message.content for message in request.messages] == [
        (Text(text="a"),),
        (Text(text="b"),),
    ]
    assert not request.stream


@pytest.mark.parametrize("given_input", ["", [], None, {}])
def test_nothing_cannot_be_embedded(given_input: Any) -> None:
    body = json.dumps({"model": "m", "input": given_input}).encode()
    assert refused(body, "embeddings").param == "input"


SHORT = st.text(max_size=6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | SHORT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
KNOWN = st.sampled_from(
    ["model", "messages", "n", "stop", "stream", "tools", "response_format", "prompt", "input"]
)


@given(st.sampled_from(["chat", "completions", "embeddings"]), st.binary())
def test_whatever_bytes_come_the_answer_is_a_request_or_a_refusal(
    dialect: Any, body: bytes
) -> None:
    refused(body, dialect)


@given(
    st.sampled_from(["chat", "completions", "embeddings"]), st.dictionaries(KNOWN, JSON, max_size=4)
)
def test_whatever_json_comes_the_answer_is_a_request_or_a_refusal(
    dialect: Any, fields: Any
) -> None:
    body = json.dumps(fields).encode("utf-8", "surrogatepass")
    try:
        request = parse(dialect, body, request_id="r")
    except RequestError:
        return
    assert request.body == body


@given(st.dictionaries(SHORT, JSON, max_size=4))
def test_unknown_fields_never_matter(extra: Any) -> None:
    unknown = {f"x_{name}": value for name, value in extra.items()}
    body = json.dumps({**unknown, "model": "m", "messages": [USER]}, ensure_ascii=True).encode()
    try:
        request = parse("chat", body, request_id="r")
    except RequestError:
        assert b"\\ud" in body.lower()  # a lone surrogate is no text
    else:
        assert request.messages[0].content == (Text(text="hi"),)
