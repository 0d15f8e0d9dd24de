"""Needs are sorted capability words; the token estimate counts bytes by four."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.edge import estimate_tokens, measure, needs, parse


def request_of(dialect: Any = "chat", **fields: Any) -> Any:
    basis: dict[str, Any] = {"model": "m"}
    if dialect == "chat":
        basis["messages"] = [{"role": "user", "content": "hi"}]
    return parse(dialect, json.dumps({**basis, **fields}).encode(), request_id="r")


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "x"}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ()),
        ({"tools": [TOOL]}, ("tools",)),
        ({"messages": [RESULT]}, ("tools",)),
        ({"logprobs": True, "tools": [TOOL]}, ("logprobs", "tools")),
        ({"response_format": {"type": "json_object"}}, ("json",)),
        ({"response_format": SCHEMA}, ("json_schema",)),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, ("vision",)),
    ],
)
def test_needs_follow_from_what_is_asked(fields: Any, wanted: tuple[str, ...]) -> None:
    request = request_of(**fields)
    assert needs(request) == wanted
    assert measure(request) == (wanted, estimate_tokens(request))


def test_other_dialects_are_needs() -> None:
    assert needs(request_of("completions", prompt="a", logprobs=1)) == ("completions", "logprobs")
    assert needs(request_of("embeddings", input="a")) == ("embeddings",)


@pytest.mark.parametrize(
    ("content", "tokens"), [("", 6), ("abcd", 7), ("abcde", 8), ("你好", 8), ("x" * 4000, 1006)]
)
def test_four_bytes_are_a_token(content: str, tokens: int) -> None:
    request = request_of(messages=[{"role": "user", "content": content}])
    assert estimate_tokens(request) == tokens
    assert measure(request) == ((), tokens)


def test_images_tools_and_token_prompts_count() -> None:
    plain = estimate_tokens(request_of())
    assert estimate_tokens(request_of(messages=[{"role": "user", "content": [IMAGE]}])) > 700
    assert estimate_tokens(request_of(tools=[TOOL])) > plain
    assert estimate_tokens(request_of(response_format=SCHEMA)) > plain
    assert estimate_tokens(request_of("completions", prompt=[1, 2, 3, 4])) == 11
    call = {"id": "c", "function": {"name": "f", "arguments": "12345678"}}
    assert estimate_tokens(request_of(messages=[{"role": "assistant", "tool_calls": [call]}])) == 9
    assert estimate_tokens(request_of(messages=[{**RESULT, "content": "12345678"}])) == 8


def test_a_part_nobody_knows_counts_by_its_size() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "A" * 4000}}
    assert estimate_tokens(request_of(messages=[{"role": "user", "content": [part]}])) > 1000


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_more_text_is_never_fewer_tokens(one: str, two: str) -> None:
    short = estimate_tokens(request_of(messages=[{"role": "user", "content": one}]))
    long = estimate_tokens(request_of(messages=[{"role": "user", "content": one + two}]))
    assert short <= long
