"""The confidence validator reads log-probabilities and nothing else."""

import asyncio
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


# --- other figures ----------------------------------------------------------------------------


TOKENS = ("So ", "it ", "is ", "4", "2", ".")
SURE = (-0.01, -0.02, -3.0, -0.1, -0.2, -0.05)
TOPS = ((-0.01, -5.0), (-0.02, -4.0), (-3.0, -0.1), (-0.1, -2.1), (-0.2, -1.2), (-0.05, -3.0))


def _by(by: str, *, tops: tuple[tuple[float, ...], ...] = TOPS, tokens: tuple[str, ...] = TOKENS):
    choice = ReplyChoice(text="So it is 42.", logprobs=SURE, alternatives=tops, tokens=tokens)
    validator = create(Options(by=by, signals=True))  # pyright: ignore[reportArgumentType]
    return asyncio.run(validator.check(_REQUEST, _attempt(), Reply(choices=(choice,))))


def test_the_quantile_and_the_minimum_see_one_guess_among_sure_words() -> None:
    assert _by("q10").confidence == pytest.approx(math.exp(-3.0))
    assert _by("minimum").confidence == pytest.approx(math.exp(-3.0))
    assert (_by("mean").confidence or 0) > 0.5


def test_the_margin_is_that_of_the_final_answer() -> None:
    assert _by("margin").confidence == pytest.approx(1 / (1 + math.exp(-1.0)))
    whole = _by("margin", tokens=())
    assert whole.confidence == pytest.approx(1 / (1 + math.exp(2.9)))


def test_without_alternatives_margin_and_entropy_say_nothing() -> None:
    assert _by("margin", tops=()).confidence is None
    assert _by("entropy", tops=()).confidence is None
    assert 0 < (_by("entropy").confidence or 0) < 1


def test_the_whole_vector_is_recorded_where_asked_for() -> None:
    names = {one.name for one in _by("mean").signals}
    assert {"lp_mean", "lp_q10", "lp_tokens", "lp_answer_margin", "lp_top_entropy"} <= names
