"""What is broken, what is doubtful, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice, ToolCall, Verdict
from metabolic.core.request import Request, ResponseFormat, Sampling, Tool, Usage
from metabolic.testing.validators import check_validator
from metabolic.validate.shape import Options, create

pytestmark = pytest.mark.anyio

SCHEMA = b'{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]}'
ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="d"), began_s=0.0, ended_s=1.0)
CHAT = Request(id="r", dialect="chat", model="auto")
JSON_OBJECT = Request(
    id="r", dialect="chat", model="auto", response_format=ResponseFormat(kind="json_object")
)
JSON_SCHEMA = Request(
    id="r",
    dialect="chat",
    model="auto",
    response_format=ResponseFormat(kind="json_schema", schema=SCHEMA),
)
TOOLS = Request(
    id="r",
    dialect="chat",
    model="auto",
    tools=(Tool(name="birthday", parameters=SCHEMA), Tool(name="now")),
)


async def judge(request: Request, *choices: ReplyChoice, usage: Usage | None = None) -> Verdict:
    reply = Reply(choices=choices, usage=usage or Usage())
    return await create(Options()).check(request, ATTEMPT, reply)


def text(words: str, finish: str = "stop") -> ReplyChoice:
    return ReplyChoice(text=words, finish_reason=finish)


def calling(name: str, arguments: str) -> ReplyChoice:
    call = ToolCall(name=name, arguments=arguments)
    return ReplyChoice(tool_calls=(call,), finish_reason="tool_calls")


async def test_a_plain_answer_is_fine() -> None:
    assert await judge(CHAT, text("Paris")) == Verdict(well_formed=True, validator="shape")


@pytest.mark.parametrize(
    ("request_", "choice", "reason"),
    [
        (CHAT, text("  \n"), "empty"),
        (CHAT, ReplyChoice(reasoning="hm", finish_reason="stop"), "empty"),
        (JSON_OBJECT, text("Sure! {}"), "json: not JSON"),
        (JSON_OBJECT, text("```json\n{}\n```"), "json: not JSON"),
        (JSON_OBJECT, text("[1]"), "json: not an object"),
        (JSON_OBJECT, text("[" * 100_000), "json: n"),
        (JSON_SCHEMA, text('{"age": "old"}'), "json_schema: $.age expected integer"),
        (JSON_SCHEMA, text('{"age": 1'), "json: not JSON"),
        (TOOLS, calling("weather", "{}"), "tool_call: unknown tool"),
        (TOOLS, calling("birthday", '{"age":'), "tool_call: not JSON"),
        (TOOLS, calling("birthday", "[1]"), "tool_call: arguments are not an object"),
        (TOOLS, calling("birthday", '{"age": "x"}'), "tool_call: $.age expected integer"),
        (CHAT, calling("now", "{}"), "tool_call: unknown tool"),
    ],
)
async def test_broken_answers_are_not_well_formed(
    request_: Request, choice: ReplyChoice, reason: str
) -> None:
    verdict = await judge(request_, choice)
    assert not verdict.well_formed
    assert any(found.startswith(reason) for found in verdict.reasons)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (ReplyChoice(refusal="No.", finish_reason="stop"), "refusal: field"),
        (text("I'm sorry, but I can't help with that."), "refusal: words"),
        (text("It is so. " * 60), "repetition"),
        (text("It goes on and", "length"), "truncated: length"),
        (ReplyChoice(finish_reason="content_filter"), "content_filter"),
    ],
)
async def test_doubtful_answers_may_still_be_given(choice: ReplyChoice, reason: str) -> None:
    assert await judge(CHAT, choice) == Verdict(
        well_formed=True, doubtful=True, reasons=(reason,), validator="shape"
    )


@pytest.mark.parametrize(
    ("request_", "choice"),
    [
        (JSON_OBJECT, text(' {"a": [1, 2]} ')),
        (JSON_SCHEMA, text('{"age": 7}')),
        (TOOLS, calling("birthday", '{"age": 7}')),
        (TOOLS, calling("now", "")),
        (TOOLS, text("No tool is needed.")),
        (JSON_SCHEMA, ReplyChoice(refusal="No.", finish_reason="stop")),
    ],
)
async def test_sound_answers_are_well_formed(request_: Request, choice: ReplyChoice) -> None:
    assert (await judge(request_, choice)).well_formed


async def test_an_answer_cut_by_the_clients_own_limit_is_as_asked() -> None:
    request = Request(id="r", dialect="chat", model="auto", sampling=Sampling(max_output_tokens=5))
    cut = text("one two three four five", "length")
    assert not (await judge(request, cut, usage=Usage(output_tokens=5))).doubtful
    assert not (await judge(request, cut)).doubtful
    assert (await judge(request, cut, usage=Usage(output_tokens=3))).doubtful


async def test_a_raw_completion_may_end_anywhere_and_say_anything() -> None:
    request = Request(id="r", dialect="completions", model="auto")
    assert await judge(request, text("I'm sorry, I can't", "length")) == Verdict(
        well_formed=True, validator="shape"
    )


async def test_embeddings_have_no_shape() -> None:
    request = Request(id="r", dialect="embeddings", model="auto")
    assert (await judge(request)).well_formed


async def test_no_choice_at_all_is_broken() -> None:
    assert not (await judge(CHAT)).well_formed


async def test_one_bad_choice_of_three_spoils_them_all() -> None:
    request = Request(id="r", dialect="chat", model="auto", n=3)
    verdict = await judge(request, text("a"), text(""), text("c"))
    assert not verdict.well_formed
    assert verdict.reasons == ("empty",)


async def test_fewer_choices_than_asked_for_are_doubtful() -> None:
    request = Request(id="r", dialect="chat", model="auto", n=3)
    verdict = await judge(request, text("a"))
    assert (verdict.well_formed, verdict.doubtful) == (True, True)
    assert verdict.reasons == ("choices: 1 of 3",)


async def test_checks_can_be_switched_off() -> None:
    lenient = create(Options(refusal=False, repetition=False, truncation=False))
    choices = (
        ReplyChoice(refusal="No.", finish_reason="stop"),
        text("I cannot help with that."),
        text("again and again " * 40, "length"),
    )
    verdict = await lenient.check(CHAT, ATTEMPT, Reply(choices=choices))
    assert verdict == Verdict(well_formed=True, validator="shape")


async def test_a_schema_nobody_can_judge_leaves_the_answer_alone() -> None:
    request = Request(
        id="r",
        dialect="chat",
        model="auto",
        response_format=ResponseFormat(kind="json_schema", schema=b'{"$ref": "http://x/y"}'),
    )
    assert (await judge(request, text("{}"))).well_formed


async def test_it_conforms() -> None:
    await check_validator(create(Options()))


@given(st.text(max_size=200), st.sampled_from(["stop", "length", "content_filter", "tool_calls"]))
async def test_reasons_hold_no_word_of_the_answer(words: str, finish: str) -> None:
    marked = f"zqx{words}"
    for request in (CHAT, JSON_OBJECT, JSON_SCHEMA, TOOLS):
        verdict = await judge(request, text(marked, finish), calling(marked, marked))
        assert not any("zqx" in reason for reason in verdict.reasons)
