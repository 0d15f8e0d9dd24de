"""Claims are held against the evidence that the request carries."""

import asyncio
import time

import pytest

from metabolic import plugins
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text, ToolResult
from metabolic.testing.validators import check_validator
from metabolic.validate.claims import MAX_CLAIMS, claims

ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="d"), began_s=0.0, ended_s=1.0)
SOURCE = (
    "The bridge was opened on 4 May 1932 by the mayor. It is 503 metres long and carries eight"
    " lanes of traffic. Building it cost 6.25 million pounds and took eight years. Sixteen workers"
    " died during construction. The bridge is painted grey."
)


def verdict(answer, context=SOURCE, **options):
    messages = [Message(role="user", content=(Text(text="Tell me about the bridge."),))]
    if context:
        messages.insert(0, Message(role="tool", content=(ToolResult(id="t", text=context),)))
    request = Request(id="r", dialect="chat", model="auto", messages=tuple(messages))
    reply = Reply(choices=(ReplyChoice(text=answer, finish_reason="stop"),))
    validator = plugins.validator("grounding", options)
    return asyncio.run(validator.check(request, ATTEMPT, reply))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("The bridge was opened on 4 May 1932 by the mayor.", "supported"),
        ("It is 503 metres long and carries eight lanes of traffic.", "supported"),
        ("It is 530 metres long and carries eight lanes of traffic.", "contradicted"),
        ("The bridge is not painted grey.", "contradicted"),
        ("Penguins breed on icy Antarctic coasts every winter.", "no_evidence"),
        ("The mayor called it “a triumph of patient engineering”.", "contradicted"),
    ],
)
def test_each_claim_gets_its_status(answer, status):
    assert [one.status for one in verdict(answer).claims] == [status]


def test_spans_point_into_answer_and_evidence():
    answer = "Nice bridge. It is 530 metres long and carries eight lanes of traffic."
    wrong = verdict(answer).claims[-1]
    assert answer[wrong.from_chars : wrong.to_chars].startswith("It is 530")
    assert wrong.source == "context"
    assert "503" in SOURCE[wrong.evidence_from_chars : wrong.evidence_to_chars]


def test_a_contradiction_is_doubtful_or_only_reported():
    answer = "It is 530 metres long and carries eight lanes of traffic."
    assert verdict(answer).doubtful
    told = verdict(answer, contradiction="report")
    assert not told.doubtful
    assert told.reasons == ("contradicted: number",)


def test_without_evidence_nothing_is_said():
    said = verdict("It is 530 metres long.", context="")
    assert (said.claims, said.confidence, said.doubtful) == ((), None, False)


@pytest.mark.parametrize(
    "answer",
    [
        "Building it cost 6,250,000 pounds and took eight years.",
        "Building it cost 6.25m pounds and took 8 years.",
        "Sixteen workers died during construction.",
        "16 workers died during construction.",
        "The bridge is over 500 metres long and carries eight lanes of traffic.",
    ],
)
def test_other_writings_of_a_number_are_no_contradiction(answer):
    assert all(one.why != "number" for one in verdict(answer).claims)


def test_announced_arithmetic_is_allowed():
    context = "Alice sold 14 loaves of bread on Monday. Bob sold 17 loaves of bread on Monday."
    right = verdict("In total 31 loaves of bread were sold on Monday.", context=context)
    wrong = verdict("In total 38 loaves of bread were sold on Monday.", context=context)
    assert not right.doubtful
    assert wrong.doubtful


def test_a_fact_base_is_evidence(tmp_path):
    (tmp_path / "bridge.txt").write_text(SOURCE, encoding="utf-8")
    index = tmp_path / "facts.sqlite"
    options = {"facts": [str(tmp_path / "bridge.txt")], "facts_index": str(index)}
    good = verdict("Sixteen workers died during construction.", context="", **options)
    bad = verdict("It is 530 metres long and carries eight lanes of traffic.", "", **options)
    assert good.claims[0].status == "supported"
    assert good.claims[0].source == "facts:bridge.txt#0"
    assert bad.claims[0].status == "contradicted"


def test_a_changed_fact_is_indexed_anew_and_a_removed_one_forgotten(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("The tower is 300 metres tall.", encoding="utf-8")
    second.write_text("The river is 90 metres wide here.", encoding="utf-8")
    options = {"facts": [str(tmp_path)], "facts_index": str(tmp_path / "index.db")}
    answer = "The tower is 330 metres tall."
    assert verdict(answer, "", **options).claims[0].status == "contradicted"
    first.write_text("The tower is 330 metres tall.", encoding="utf-8")
    second.unlink()
    assert verdict(answer, "", **options).claims[0].status == "supported"
    assert not verdict("The river is wide.", "", **options).claims


@pytest.mark.parametrize(
    "options", [{"facts": ["/no/such/file"]}, {"nli": "/no/such/folder"}, {"wrong": 1}]
)
def test_what_cannot_be_used_is_said_at_the_start(options):
    with pytest.raises(ConfigError):
        plugins.validator("grounding", options)


def test_questions_code_and_lone_words_are_no_claims():
    text = (
        "Sure.\nWhat is it? It spans the river.\n```\nx = 1. y = 2.\n```\nIt is grey, Mr. Hu said."
    )
    kept = [text[one.begin : one.end] for one in claims(text)]
    assert kept == ["It spans the river.", "It is grey, Mr. Hu said."]


@pytest.mark.parametrize(
    "answer", ["the " * 9000, "It is 5. " * 5000, "." * 40000, '"' * 20000, "a b " * 9000]
)
def test_hostile_answers_take_bounded_time(answer):
    context = ("the bridge is 5 metres long and " * 2500)[:60_000]
    began_s = time.process_time()
    said = verdict(answer, context=context)
    assert len(said.claims) <= MAX_CLAIMS
    assert time.process_time() - began_s < 4.0


@pytest.mark.parametrize("kind", ["grounding", "content", "learned"])
def test_validators_keep_the_contract_of_their_seam(kind):
    asyncio.run(check_validator(plugins.validator(kind)))
