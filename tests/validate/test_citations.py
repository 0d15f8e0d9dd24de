"""A citation must be of a source that the request gives, where it gives any."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic import plugins
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice
from metabolic.core.request import Message, Request, Text, ToolResult
from metabolic.validate.citations import unknown_citations

SOURCES = "[1] The bridge opened in 1932.\n[2] It is 1149 m long.\nSource 3: It is painted grey."
LINKED = "The record is at https://example.org/a/b.html, and nothing else is known of it. " * 3
ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="d"), began_s=0.0, ended_s=1.0)


def made_up(answer: str, asked: str = SOURCES) -> bool:
    return unknown_citations(answer, asked=asked, evidence=asked)


@pytest.mark.parametrize(
    "answer",
    [
        "It opened in 1932 [1].",
        "It is long[2] and grey [1, 3].",
        "All of it [1-3].",
        "Nothing is cited.",
        "See [4](https://x) for a link that is none of the sources.",
        "In code `a[7]` and x[9] are no citations.",
        "```\n[8]\n```",
    ],
)
def test_given_sources_may_be_cited(answer: str) -> None:
    assert not made_up(answer)


@pytest.mark.parametrize(
    "answer",
    ["It opened in 1932 [4].", "Long [1, 7].", "All [2-5].", "So【9†source】.", "Yes.[^8]"],
)
def test_a_source_that_was_not_given_is_made_up(answer: str) -> None:
    assert made_up(answer)


def test_without_numbered_sources_brackets_mean_nothing() -> None:
    assert not made_up("It opened in 1932 [4].", "When did the bridge open?")
    assert not made_up("The list is [4].", "[1] a single line is no list of sources")


def test_addresses_are_held_against_those_given() -> None:
    assert not made_up("See https://example.org/a/b.html.", LINKED)
    assert made_up("See https://example.org/c.html.", LINKED)
    assert not made_up("See https://example.org/c.html.", "Name a page about bridges.")


def verdict(answer: str, *blocks: Text | ToolResult, **options: object):
    request = Request(
        id="r", dialect="chat", model="auto", messages=(Message(role="user", content=blocks),)
    )
    reply = Reply(choices=(ReplyChoice(text=answer, finish_reason="stop"),))
    return asyncio.run(plugins.validator("content", options).check(request, ATTEMPT, reply))


def test_the_validator_doubts_an_answer_that_cites_what_is_not_there() -> None:
    said = verdict("It opened in 1932 [4].", Text(text=SOURCES))
    assert (said.well_formed, said.doubtful, said.reasons) == (True, True, ("citation",))
    assert verdict("It opened in 1932 [4].", Text(text=SOURCES), citations=False).reasons == ()
    assert verdict("It opened in 1932 [1].", Text(text=SOURCES)).reasons == ()


def test_what_a_tool_returned_is_a_source() -> None:
    found = ToolResult(id="t", text=SOURCES)
    assert verdict("Grey [3].", found).reasons == ()
    assert verdict("Grey [5].", found).reasons == ("citation",)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_read(answer: str, asked: str) -> None:
    assert unknown_citations(answer, asked=asked, evidence=asked) in {True, False}
