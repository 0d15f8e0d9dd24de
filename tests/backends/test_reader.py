"""A streamed answer is passed on, gathered, and never taken for whole when it is not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.backends.reader import Reader
from metabolic.core.attempt import Call, ToolCall
from metabolic.core.errors import BadReply, Overloaded, Unreachable
from metabolic.core.request import Request, Sampling, Usage

CALL = Call(id="c0", stage=0, deployment="d")
DONE = b"data: [DONE]\n\n"


def reader_of(*, call: Call = CALL, usage: bool = False, logprobs: bool = False) -> Reader:
    request = Request(
        id="r",
        dialect="chat",
        model="m",
        include_usage=usage,
        sampling=Sampling(logprobs=logprobs),
    )
    return Reader(request, call)


def event(delta: Any = None, *, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
SAID = event({"role": "assistant", "content": "Hel"}) + event({"content": "lo"})
LAST = event(finish="stop")


def test_a_stream_is_passed_on_verbatim_without_done() -> None:
    reader = reader_of()
    assert reader.feed(SAID + LAST + DONE) == SAID + LAST
    assert reader.done
    choice = reader.reply().choices[0]
    assert (choice.text, choice.finish_reason) == ("Hello", "stop")


def test_usage_only_metabolic_asked_for_is_taken_out() -> None:
    hidden, shown = reader_of(), reader_of(usage=True)
    assert hidden.feed(SAID + USAGE + DONE) == SAID
    assert shown.feed(SAID + USAGE + DONE) == SAID + USAGE
    for reader in (hidden, shown):
        assert reader.reply().usage == Usage(input_tokens=3, output_tokens=2)


def test_usage_in_an_event_with_choices_is_cut_out_of_it() -> None:
    body = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {}}
    found = reader_of().feed(b"data: " + json.dumps(body).encode() + b"\n\n")
    assert json.loads(found[5:]) == {"choices": body["choices"]}


def test_usage_null_stays_where_it_is() -> None:
    plain = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n'
    assert reader_of().feed(plain) == plain


def test_logprobs_are_gathered_and_hidden_unless_the_client_wants_them() -> None:
    told = event({"content": "a"}, logprobs={"content": [{"token": "a", "logprob": -0.5}]})
    call = msgspec.structs.replace(CALL, logprobs=True)
    hidden, shown = reader_of(call=call), reader_of(call=call, logprobs=True)
    assert json.loads(hidden.feed(told)[5:])["choices"][0]["logprobs"] is None
    assert shown.feed(told) == told
    assert hidden.reply().choices[0].logprobs == (-0.5,)


def test_tool_calls_reasoning_and_refusals_are_put_together() -> None:
    reader = reader_of()
    pieces = [
        {"reasoning_content": "h"},
        {"reasoning": "m"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 1, "function": {"name": "g", "arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]},
    ]
    for piece in pieces:
        reader.feed(event(piece))
    choice = reader.reply().choices[0]
    assert (choice.reasoning, choice.refusal) == ("hm", "no")
    assert choice.tool_calls == (
        ToolCall(name="f", arguments=""),
        ToolCall(name="g", arguments="{}"),
    )


def test_old_function_calls_and_calls_without_an_index_are_put_together() -> None:
    reader = reader_of()
    for name, arguments in (("f", "1"), (None, "2")):
        reader.feed(event({"function_call": {"name": name, "arguments": arguments}}))
    reader.feed(event({"tool_calls": [{"function": {"name": "g"}}, {"id": "x", "index": 7}]}))
    calls = reader.reply().choices[0].tool_calls
    assert calls[0] == ToolCall(name="f", arguments="12")
    assert ToolCall(name="g", arguments="") in calls


def test_choices_are_kept_apart() -> None:
    reader = reader_of()
    for index in (1, 0, 1):
        reader.feed(event({"content": str(index)}, index=index))
    assert [choice.text for choice in reader.reply().choices] == ["0", "11"]


def test_a_text_completion_stream_is_gathered() -> None:
    reader = reader_of()
    reader.feed(b'data: {"choices":[{"text":"a","logprobs":{"token_logprobs":[-1]}}]}\n\n')
    choice = reader.reply().choices[0]
    assert (choice.text, choice.logprobs) == ("a", (-1.0,))


def test_without_keep_only_finish_and_usage_are_known() -> None:
    reader = reader_of(call=msgspec.structs.replace(CALL, keep=False))
    assert reader.feed(SAID + LAST + USAGE + DONE) == SAID + LAST
    reply = reader.reply()
    assert reply.choices[0].text == ""
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.output_tokens == 2


def test_comments_are_not_passed_on() -> None:
    assert reader_of().feed(b": ping\n\n" + SAID) == SAID


def test_an_end_after_every_finish_reason_is_whole() -> None:
    reader = reader_of()
    reader.feed(SAID + LAST)
    assert reader.finish() == b""
    assert reader.done


def test_an_end_before_a_finish_reason_is_broken_off() -> None:
    reader = reader_of()
    assert reader.feed(SAID) == SAID
    reader.finish()
    assert isinstance(reader.error, Unreachable)
    both = reader_of()
    both.feed(event({}, index=1) + LAST)
    both.finish()
    assert isinstance(both.error, Unreachable)


def test_a_last_event_without_its_empty_line_counts() -> None:
    reader = reader_of()
    reader.feed(SAID + LAST[:-2])
    assert reader.finish() == LAST
    assert reader.done
    done = reader_of()
    done.feed(SAID + b"data: [DONE]")
    assert done.finish() == b""
    assert done.done


@pytest.mark.parametrize("end", [b"", DONE])
def test_nothing_at_all_is_a_bad_reply(end: bytes) -> None:
    reader = reader_of()
    reader.feed(end)
    reader.finish()
    assert isinstance(reader.error, BadReply)
    assert not reader.done


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (b'{"error":{"type":"overloaded_error"}}', Overloaded),
        (b'{"choices":[]}', BadReply),
        (b"<p>hi</p>", BadReply),
    ],
)
def test_a_body_that_is_no_stream_is_said_to_be_none(rest: bytes, error: Any) -> None:
    reader = reader_of()
    reader.feed(rest)
    reader.finish()
    assert type(reader.error) is error


def test_a_stream_that_turns_into_something_else_is_broken_off() -> None:
    reader = reader_of()
    reader.feed(SAID + b"<p>gateway error</p>")
    reader.finish()
    assert isinstance(reader.error, Unreachable)


def test_an_error_event_comes_after_what_was_good() -> None:
    reader = reader_of()
    assert reader.feed(SAID + b'data: {"error":{"code":529}}\n\n' + SAID) == SAID
    assert isinstance(reader.error, Overloaded)
    assert reader.feed(SAID) == b""


def test_a_comment_at_the_end_is_no_fault() -> None:
    reader = reader_of()
    reader.feed(SAID + LAST + b": bye")
    reader.finish()
    assert reader.done


@given(
    st.lists(st.text(max_size=5), min_size=1, max_size=6),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 40),
)
def test_however_it_is_cut_the_text_is_the_same(texts: list[str], end: bytes, step: int) -> None:
    stream = b"".join(event({"content": text}) for text in texts) + LAST + USAGE + DONE
    stream = stream.replace(b"\n", end)
    reader = reader_of()
    passed = b"".join(
        reader.feed(stream[start : start + step]) for start in range(0, len(stream), step)
    )
    assert reader.done
    assert reader.reply().choices[0].text == "".join(texts)
    assert passed == stream[: len(stream) - len((USAGE + DONE).replace(b"\n", end))]


@given(st.binary(max_size=60))
def test_whatever_bytes_come_the_end_is_a_backend_error_or_done(data: bytes) -> None:
    reader = reader_of()
    reader.feed(data)
    reader.finish()
    assert reader.done is (reader.error is None)


def test_the_likeliest_tokens_are_gathered_where_they_are_wanted() -> None:
    request = Request(id="r", dialect="chat", model="auto", body=b"{}")
    event = (
        b'data: {"choices":[{"index":0,"delta":{"content":"4"},"logprobs":{"content":[{"token":"4",'
        b'"logprob":-0.5,"top_logprobs":[{"logprob":-0.5},{"logprob":-1.5}]}]}}]}\n\n'
    )
    found: list[tuple[tuple[float, ...], ...]] = []
    for most in (2, 0):
        call = Call(id="c0", stage=0, deployment="d", logprobs=True, alternatives=most)
        reader = Reader(request, call)
        reader.feed(event)
        (choice,) = reader.reply().choices
        assert choice.logprobs == (-0.5,)
        found.append(choice.alternatives)
    assert found == [((-0.5, -1.5),), ()]
