"""What an upstream answered is read from the bytes that were passed on, in every dialect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.edge import Dialect
from metabolic.edge.heard import heard

CHAT = (
    b'{"choices":[{"message":{"content":"Hi","tool_calls":[{"id":"c","function":'
    b'{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,'
    b'"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}'
)
CHUNKS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"H"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"i","tool_calls":[{"index":0,"id":"c",'
    b'"function":{"name":"f","arguments":"{"}}]}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":'
    b'{"arguments":"}"}}]},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}\n\ndata: [DONE]\n\n'
)
MESSAGE = (
    b'{"content":[{"type":"text","text":"Hi"},{"type":"tool_use","id":"c","name":"f","input":{}}],'
    b'"stop_reason":"stop","usage":{"input_tokens":2,"cache_read_input_tokens":3,'
    b'"output_tokens":2}}'
)
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":2,'
    b'"cache_read_input_tokens":3}}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
    b'data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c",'
    b'"name":"f","input":{}}}\n\n'
    b'data: {"type":"content_block_delta","index":1,"delta":{"partial_json":"{}"}}\n\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"stop"},"usage":{"output_tokens":2}}\n\n'
)
RESPONSE = (
    b'{"status":"completed","output":[{"type":"message","content":[{"type":"output_text",'
    b'"text":"Hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}],'
    b'"usage":{"input_tokens":5,"output_tokens":2,"input_tokens_details":{"cached_tokens":3}}}'
)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("chat", CHAT),
        ("chat", CHUNKS),
        ("messages", MESSAGE),
        ("messages", EVENTS),
        ("responses", RESPONSE),
        ("responses", b'data: {"type":"response.completed","response":' + RESPONSE + b"}\n\n"),
    ],
)
def test_text_calls_and_tokens_are_the_same_in_every_dialect(dialect: Dialect, body: bytes) -> None:
    reply = heard(dialect, body)
    assert reply is not None
    one = reply.choices[0]
    assert (one.text, one.finish_reason) == ("Hi", "stop")
    assert [(call.id, call.name, call.arguments) for call in one.tool_calls] == [("c", "f", "{}")]
    usage = reply.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (5, 3, 2)


@given(st.sampled_from(["chat", "completions", "messages", "responses"]), st.binary(max_size=200))
def test_bytes_that_are_no_answer_are_none(dialect: Dialect, body: bytes) -> None:
    reply = heard(dialect, body)
    assert reply is None or reply.choices


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": 3}', b'{"choices":[{"message":{}}]}'])
def test_an_answer_without_anything_said_is_none(body: bytes) -> None:
    assert heard("chat", body) is None
