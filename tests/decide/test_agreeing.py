"""Stages that go by agreement: two drafts that say the same may end a run."""

import pytest

from metabolic.core.attempt import (
    Attempt,
    Began,
    Check,
    Checked,
    Ended,
    Failure,
    Open,
    Release,
    Verdict,
)
from metabolic.core.decision import Decision, Stage
from metabolic.decide.advance import advance, begin

DECISION = Decision(
    stages=(
        Stage(deployment="tiny", rule="never"),
        Stage(deployment="small", rule="agreement"),
        Stage(deployment="large"),
    )
)


def second(first: Failure | None = None):
    """Return the run when the second draft is there, and its effects."""
    run, effects = advance(begin(DECISION), Began(at_s=0.0))
    for failure in (first, None):
        call = next(one.call for one in effects if isinstance(one, Open))
        attempt = Attempt(call=call, began_s=0.0, ended_s=1.0, failure=failure)
        run, effects = advance(run, Ended(attempt=attempt, at_s=1.0))
        if failure is None and call.id == "c0":
            sure = Verdict(well_formed=True, confidence=1.0)
            run, effects = advance(run, Checked(call="c0", verdict=sure, at_s=1.0))
    return run, effects


def test_the_first_draft_is_never_kept_however_sure_and_the_second_compared_with_it() -> None:
    _, effects = second()
    assert effects == (Check(call="c1", against="c0"),)


@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        (Verdict(well_formed=True, agrees=True), True),
        (Verdict(well_formed=True, agrees=False, confidence=1.0), False),
        (Verdict(well_formed=True), False),
        (Verdict(well_formed=False, agrees=True), False),
        (Verdict(well_formed=True, doubtful=True, agrees=True), False),
    ],
)
def test_only_a_sound_draft_that_agrees_is_kept(verdict: Verdict, *, kept: bool) -> None:
    run, _ = second()
    run, effects = advance(run, Checked(call="c1", verdict=verdict, at_s=2.0))
    assert run.finished is kept
    assert isinstance(effects[0], Release if kept else Open)
    if run.answer is not None:
        assert (run.answer.deployment, run.answer.degraded) == ("small", False)


def test_without_a_first_draft_there_is_nothing_to_agree_with() -> None:
    _, effects = second(Failure(kind="unreachable"))
    assert effects == (Check(call="c1"),)
