"""A deadline: stages that would miss it are skipped while there is a draft to give."""

import pytest

from metabolic.core.attempt import Attempt, Began, Checked, Ended, Failure, Open, Verdict
from metabolic.core.decision import Belief, Decision, Stage
from metabolic.core.request import Ask, Limits
from metabolic.core.signals import Signals
from metabolic.decide.advance import advance, begin
from metabolic.decide.decide import decide
from metabolic.testing.fleets import deployment, policy_of, situation_of

UNSURE = Verdict(well_formed=True, confidence=0.1)


def after_a_draft(*, at_s: float, failure: Failure | None = None, middle_s: float | None = 8.0):
    """Return the run and its effects once the first of three stages gave an unsure draft."""
    decision = Decision(
        stages=(
            Stage(deployment="small", min_confidence=0.8, expected_s=1.0),
            Stage(deployment="middle", min_confidence=0.8, expected_s=middle_s),
            Stage(deployment="large", expected_s=3.0),
        )
    )
    run, effects = advance(begin(decision, deadline_s=10.0), Began(at_s=0.0))
    (opened,) = [one for one in effects if isinstance(one, Open)]
    attempt = Attempt(call=opened.call, began_s=0.0, ended_s=at_s, failure=failure)
    run, effects = advance(run, Ended(attempt=attempt, at_s=at_s))
    if failure is None:
        run, effects = advance(run, Checked(call="c0", verdict=UNSURE, at_s=at_s))
    return run, [one.call.deployment for one in effects if isinstance(one, Open)]


def test_the_next_stage_is_opened_while_there_is_time() -> None:
    assert after_a_draft(at_s=1.0)[1] == ["middle"]


def test_a_stage_that_would_miss_the_deadline_is_skipped() -> None:
    assert after_a_draft(at_s=5.0)[1] == ["large"]


def test_the_draft_is_given_when_nobody_would_be_in_time() -> None:
    run, opened = after_a_draft(at_s=8.0)
    assert opened == []
    assert run.answer is not None
    assert (run.answer.deployment, run.answer.degraded) == ("small", True)


def test_an_unknown_time_is_tried() -> None:
    assert after_a_draft(at_s=8.0, middle_s=None)[1] == ["middle"]


def test_without_a_draft_everything_is_tried() -> None:
    assert after_a_draft(at_s=8.0, failure=Failure(kind="unreachable"))[1] == ["middle"]


@pytest.mark.parametrize(("deadline_s", "known"), [(60.0, True), (None, False)])
def test_times_are_worked_out_only_for_a_deadline(deadline_s, *, known: bool) -> None:
    small = deployment("small", parameters=500_000_000, decode_tokens_per_s=48)
    large = deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12)
    beliefs = (
        Belief(
            deployment="small",
            lane="*",
            p_correct=0.73,
            p_accept=0.65,
            p_correct_accepted=0.97,
            evidence=600,
        ),
        Belief(deployment="large", lane="*", p_correct=0.92, evidence=600),
    )
    ask = Ask(id="r", at_s=1.0, input_tokens=50, limits=Limits(deadline_s=deadline_s))
    seen = Signals(task="open_qa", lane="open_qa", expected_output_tokens=40)
    chosen = decide(ask, seen, situation_of(small, large), policy_of(*beliefs))
    assert [one.expected_s is not None for one in chosen.stages] == [known, known]
