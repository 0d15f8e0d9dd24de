"""Messages and Responses: what is read, what is refused, and how broken streams end."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.errors import RequestError
from metabolic.core.request import Image, Text, ToolResult, ToolUse
from metabolic.edge import measure, parse
from metabolic.edge.messages_answer import error_json, message_of
from metabolic.edge.messages_stream import MessageEvents
from metabolic.edge.responses_stream import ResponseEvents

USER = {"role": "user", "content": "Hi"}
META = b'{"decision":"d"}'


def messages(**fields: Any) -> Any:
    body = json.dumps({"model": "auto", "max_tokens": 9, "messages": [USER]} | fields).encode()
    return parse("messages", body, request_id="r", headers={b"anthropic-beta": b"x"})


def chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "m", "choices": [choice], **more}).encode() + b"\n\n"


def kinds(events: bytes) -> list[str]:
    return [line[7:].decode() for line in events.splitlines() if line.startswith(b"event: ")]


def bodies(events: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in events.splitlines() if line.startswith(b"data: ")]


def test_a_message_is_read_in_openais_words_and_kept_as_it_came() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x.example/y"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "See"}, image]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]},
    ]
    tool = {"name": "f", "input_schema": {"type": "object"}}
    request = messages(messages=turns, tools=[tool], system="Be brief.", stream=True)
    assert [type(block) for turn in request.messages for block in turn.content] == [
        Text,
        Text,
        Image,
        ToolUse,
        ToolResult,
    ]
    assert (request.dialect, request.stream, request.include_usage) == ("chat", True, True)
    assert request.sampling.max_output_tokens == 9
    assert measure(request)[0] == ("tools", "vision")
    assert request.native is not None
    assert json.loads(request.native.body)["messages"] == turns
    assert request.native.headers == (("anthropic-beta", "x"),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"temperature": 1.5}, "temperature"),
    ],
)
def test_a_malformed_message_is_refused_by_field(fields: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        messages(**fields)
    assert caught.value.param == param


def test_text_reasoning_and_two_tools_become_blocks_of_their_own() -> None:
    events = MessageEvents(identity="r", model="auto")
    out = events.feed(chunk({"role": "assistant", "content": ""}))
    out += events.feed(chunk({"reasoning_content": "hm"}) + chunk({"content": "Yes"}))
    for index, name in enumerate(("f", "g")):
        call = {"index": index, "id": f"t{index}", "function": {"name": name, "arguments": "{}"}}
        out += events.feed(chunk({"tool_calls": [call]}))
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    out += events.feed(chunk({}, "tool_calls") + chunk({}, usage=usage))
    out += events.finish(META)
    opened = [one["content_block"]["type"] for one in bodies(out) if "content_block" in one]
    assert opened == ["thinking", "text", "tool_use", "tool_use"]
    assert kinds(out).count("content_block_start") == kinds(out).count("content_block_stop") == 4
    assert kinds(out)[0] == "message_start"
    assert kinds(out)[-2:] == ["message_delta", "message_stop"]
    last = bodies(out)[-2]
    assert (last["delta"]["stop_reason"], last["metabolic"]) == ("tool_use", {"decision": "d"})
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (5, 7)


@given(st.integers(1, 200), st.text(max_size=30))
def test_native_events_pass_as_they_came_however_they_are_cut(size: int, text: str) -> None:
    delta = json.dumps({"type": "content_block_delta", "text": text})
    head = b'event: message_start\ndata: {"type":"message_start"}\n\n'
    body = b"event: content_block_delta\ndata: " + delta.encode() + b"\n\n"
    end = b'event: message_delta\ndata: {"type":"message_delta"}\n\n'
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    pieces = [head, *[body] * (size % 5), end + stop] if size % 2 else [head + body * 2 + end, stop]
    events = MessageEvents(identity="r", model="auto")
    passed = b"".join(events.feed(piece) for piece in pieces)
    assert passed == b"".join(pieces).partition(end)[0]
    rest = events.finish(META)
    assert rest == end.replace(b"}\n", b',"metabolic":' + META + b"}\n") + stop


def test_a_message_that_breaks_off_has_no_stop() -> None:
    events = MessageEvents(identity="r", model="auto")
    events.feed(chunk({"content": "half"}))
    out = events.fail(b'data: {"error":{"message":"broke","code":"upstream_timeout"}}\n\n')
    assert kinds(out) == ["error"]
    assert bodies(out)[0]["error"] == {"type": "timeout_error", "message": "broke"}


def test_what_is_anthropics_already_comes_back_as_it_is() -> None:
    whole = b'{"type":"message","content":[],"x":1}'
    assert message_of(whole, identity="r") == whole
    error = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'
    assert error_json(400, error, identity="r") == error


def test_a_response_that_breaks_off_is_failed_and_never_completed() -> None:
    events = ResponseEvents(b'{"model":"m","input":"x"}', identity="r", created_s=1)
    out = events.feed(chunk({"content": "half"}))
    out += events.fail(b'data: {"error":{"message":"broke","code":"c"}}\n\n')
    assert kinds(out)[:2] == ["response.created", "response.in_progress"]
    assert kinds(out)[-1] == "response.failed"
    assert "response.completed" not in kinds(out)
    assert bodies(out)[-1]["response"]["error"] == {"code": "c", "message": "broke"}
    numbers = [one["sequence_number"] for one in bodies(out)]
    assert numbers == list(range(len(numbers)))
