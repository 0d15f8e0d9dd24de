"""What a client has of an answer that died, what is asked for then, and how the two are joined."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from metabolic.backends.continuing import going_on, prefilled
from metabolic.core.errors import Refused
from metabolic.core.request import Given, Message, Request, ResponseFormat, Sampling, Text
from metabolic.edge.continuing import Joiner, can_go_on, released

HEAD = {"id": "a-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
VLLM = (("continue_final_message", "true"), ("add_generation_prompt", "false"))


def event(delta: Any, *, finish: str | None = None, head: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    made = {**(head or HEAD), "choices": [choice], **more}
    return b"data: " + json.dumps(made).encode() + b"\n\n"


def said(*pieces: str, head: Any = None) -> bytes:
    first = event({"role": "assistant", "content": ""}, head=head)
    return first + b"".join(event({"content": piece}, head=head) for piece in pieces)


def chunks(events: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in events.split(b"\n") if line.startswith(b"data: ")]


def text(events: bytes) -> str:
    found = [choice["delta"].get("content") for one in chunks(events) for choice in one["choices"]]
    return "".join(one or "" for one in found)


def request(**more: Any) -> Request:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **more}
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text="Hi"),)),),
        body=json.dumps(body).encode(),
    )


def test_what_was_released_is_its_text_without_the_space_behind_it():
    found = released(said("Hello", " there", ".\n", "\n"))
    assert found is not None
    assert found.given == Given(text="Hello there.", tokens=3)
    assert found.space == "\n\n"
    assert found.text == "Hello there.\n\n"
    assert found.head == {"id": "a-1", "created": 7, "model": "m"}


@pytest.mark.parametrize(
    "events",
    [
        b"",
        said(),
        said(" \n"),
        said("half \ufffd"),
        said("<think>", "hm"),
        said("a <|im_end|>"),
        said("a") + event({"reasoning_content": "hm"}),
        said("a") + event({"reasoning": "hm"}),
        said("a") + event({"refusal": "no"}),
        said("a") + event({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}),
        said("a") + event({"function_call": {"name": "f"}}),
        said("a") + event({}, finish="stop"),
        said("a") + event({"content": "b"}).replace(b'"index": 0', b'"index": 1'),
        said("a") + b'data: {"error":{"message":"x"}}\n\n',
        said("a") + b"data: {\n\n",
    ],
)
def test_what_cannot_be_gone_on_from_exactly_is_nothing(events):
    assert released(events) is None


def test_plain_chats_and_prompts_can_be_gone_on_with():
    assert can_go_on(request(max_tokens=5, tools=[{}], tool_choice="auto"))
    prompt = json.dumps({"prompt": "Once"}).encode()
    assert can_go_on(Request(id="r", dialect="completions", model="m", body=prompt))


@pytest.mark.parametrize(
    "asked",
    [
        replace(request(), n=2),
        replace(request(), sampling=Sampling(logprobs=True)),
        replace(request(), response_format=ResponseFormat(kind="json_object")),
        replace(request(), messages=(Message(role="assistant"),)),
        replace(request(), messages=()),
        request(tool_choice="required"),
        request(tool_choice={"type": "function"}),
        request(guided_regex="a+"),
        request(grammar="root ::= x"),
        request(continue_final_message=True),
        replace(request(prompt=["a"]), dialect="completions"),
        replace(request(prompt="a", echo=True), dialect="completions"),
        replace(request(prompt="a", suffix="b"), dialect="completions"),
        replace(request(prompt="a", best_of=2), dialect="completions"),
        replace(request(), dialect="embeddings"),
    ],
)
def test_what_has_a_shape_or_several_choices_cannot(asked):
    assert not can_go_on(asked)


def fields_of(asked: Request, given: Given, continues: Any) -> dict[str, Any]:
    fields = msgspec.json.decode(asked.body, type=dict[str, Raw])
    going_on(fields, asked, given, continues)
    return json.loads(msgspec.json.encode(fields))


def test_a_chat_goes_on_from_its_last_message_within_what_is_left_of_the_limit():
    made = fields_of(request(max_tokens=9, top_p=0.5), Given(text="Hel", tokens=2), VLLM)
    assert made["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert made["messages"][:-1] == [{"role": "user", "content": "Hi"}]
    assert made["max_tokens"] == 7
    assert made["top_p"] == 0.5
    assert made["continue_final_message"] is True
    assert made["add_generation_prompt"] is False


def test_a_text_completion_goes_on_behind_its_prompt_on_any_engine():
    asked = replace(request(prompt="Once"), dialect="completions")
    assert fields_of(asked, Given(text=" upon", tokens=1), None)["prompt"] == "Once upon"


def test_an_engine_that_begins_anew_and_a_spent_limit_are_refused():
    with pytest.raises(Refused, match="anew"):
        fields_of(request(), Given(text="a", tokens=1), None)
    with pytest.raises(Refused, match="limit"):
        fields_of(request(max_completion_tokens=3), Given(text="a", tokens=3), ())


def test_claude_is_prefilled_unless_it_thinks_or_keeps_to_a_shape():
    body = {"max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    made = json.loads(prefilled(json.dumps(body).encode(), Given(text="Hel", tokens=4)))
    assert made["max_tokens"] == 6
    assert made["messages"][-1] == {"role": "assistant", "content": "Hel"}
    for more in (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"format": {}}},
        {"tool_choice": {"type": "any"}},
        {"max_tokens": 4},
    ):
        with pytest.raises(Refused):
            prefilled(json.dumps({**body, **more}).encode(), Given(text="Hel", tokens=4))


def joiner(*pieces: str) -> Joiner:
    found = released(said(*pieces))
    assert found is not None
    return Joiner(found)


def test_the_rest_reads_as_the_same_answer():
    made = joiner("Hello", " ")
    other = {"id": "b-2", "object": "x", "created": 9, "model": "n", "system_fingerprint": "f"}
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 2,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 12},
    }
    joined = made.join(
        said(" there", "!", head=other) + event({}, finish="stop", head=other, usage=usage)
    )
    assert text(joined) == "there!"
    assert made.text == "Hello there!"
    seen = chunks(joined)
    assert {(one["id"], one["created"], one["model"]) for one in seen} == {("a-1", 7, "m")}
    assert not any("system_fingerprint" in one for one in seen)
    assert not any("role" in one["choices"][0]["delta"] for one in seen)
    assert len(seen) == 3
    assert seen[-1]["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 11},
    }


def test_calls_of_tools_and_comments_in_the_rest_pass():
    made = joiner("Hello")
    called = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    joined = made.join(b": ping\n\n" + event({"role": "assistant", "content": None, **called}))
    assert joined.startswith(b": ping\n\n")
    assert chunks(joined)[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("space", "rest", "shown"),
    [
        ("\n", "\n\nNext", "\nNext"),
        ("\n\n", "\nNext", "Next"),
        (" ", "\nNext", "\nNext"),
        (" ", "Next", "Next"),
        (" ", " ", ""),
    ],
)
def test_only_the_space_that_the_client_has_is_left_out(space, rest, shown):
    assert text(joiner("Hello", space).join(said(rest))) == shown


WORDS = st.text(st.sampled_from("aß東🎉 \n\t."), min_size=1, max_size=12)


@settings(max_examples=200)
@given(whole=WORDS, cut=st.integers(0, 12), sizes=st.lists(st.integers(1, 4), min_size=1))
@example(whole="a \n b", cut=2, sizes=[1])
@example(whole="a  \n", cut=2, sizes=[2, 1])
def test_an_answer_cut_anywhere_is_whole_again(whole, cut, sizes):
    """However the engine cuts what it writes into pieces."""
    found = released(said(*whole[:cut]))
    if found is None:
        assert not whole[:cut].strip()
        return
    made, rest, joined = Joiner(found), whole[len(found.given.text) :], b""
    while rest:
        size = sizes[len(rest) % len(sizes)]
        joined += made.join(said(rest[:size]))
        rest = rest[size:]
    assert found.text + text(joined) == whole
    assert made.text == whole
