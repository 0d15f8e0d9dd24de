"""The confidence validator reads log-probabilities and nothing else."""

import math

import pytest

from metabolic.core.attempt import Attempt, Call, Choice, Reply, ReplyChoice
from metabolic.core.request import Request
from metabolic.decide.evidence import summarise
from metabolic.testing.validators import check_validator
from metabolic.validate.confidence import Options, create

pytestmark = pytest.mark.anyio

_REQUEST = Request(id="r", dialect="chat", model="auto")
_CALL = Call(id="c0", stage=0, deployment="d")


def _attempt(*choices: Choice) -> Attempt:
    return Attempt(call=_CALL, began_s=0.0, ended_s=1.0, choices=choices)


async def test_the_summary_of_the_attempt_is_used() -> None:
    attempt = _attempt(Choice(logprobs=summarise([math.log(0.8)])))
    verdict = await create(Options()).check(_REQUEST, attempt, Reply())
    assert verdict.confidence == pytest.approx(0.8)
    assert verdict.well_formed
    assert not verdict.doubtful


async def test_without_a_summary_the_reply_is_summarised() -> None:
    reply = Reply(choices=(ReplyChoice(text="x", logprobs=(math.log(0.5),) * 3),))
    verdict = await create(Options()).check(_REQUEST, _attempt(), reply)
    assert verdict.confidence == pytest.approx(0.5)


async def test_the_least_sure_of_several_choices_counts() -> None:
    attempt = _attempt(
        Choice(logprobs=summarise([math.log(0.9)])), Choice(logprobs=summarise([math.log(0.2)]))
    )
    verdict = await create(Options()).check(_REQUEST, attempt, Reply())
    assert verdict.confidence == pytest.approx(0.2)


async def test_no_log_probabilities_are_no_evidence() -> None:
    verdict = await create(Options()).check(_REQUEST, _attempt(Choice()), Reply())
    assert verdict.confidence is None
    assert verdict.well_formed


async def test_it_conforms() -> None:
    await check_validator(create(Options()))
