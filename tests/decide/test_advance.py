"""The life of a request, event by event."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.attempt import (
    Attempt,
    Began,
    Cancel,
    Check,
    Checked,
    ClientGone,
    Ended,
    Failure,
    Finish,
    Open,
    Progress,
    Reached,
    Release,
    Tick,
    Verdict,
    Wake,
)
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.decide.advance import EARLY_ABORT, advance, begin

GOOD = Verdict(well_formed=True, confidence=0.9)
UNSURE = Verdict(well_formed=True, confidence=0.5)
BROKEN = Verdict(well_formed=False, reasons=("json_schema",))
DOUBTFUL = Verdict(well_formed=True, doubtful=True, confidence=0.9, reasons=("refusal",))


def cascade(*names, fallbacks=(), delivery: Any = "hold"):
    last = len(names) - 1
    return Decision(
        stages=tuple(
            Stage(deployment=name, min_confidence=None if i == last else 0.8, timeout_s=10)
            for i, name in enumerate(names)
        ),
        fallbacks=tuple(Stage(deployment=name, timeout_s=10) for name in fallbacks),
        delivery=delivery,
    )


def opened(effects):
    return next(one.call for one in effects if isinstance(one, Open))


def ended(call, at_s=1.0, failure=None):
    attempt = Attempt(call=call, began_s=0.0, ended_s=at_s, failure=failure)
    return Ended(attempt=attempt, at_s=at_s)


def play(decision, *answers):
    """Answer each call in turn with a verdict or a failure; return the run and all effects."""
    run, effects = advance(begin(decision), Began(at_s=0.0))
    log = list(effects)
    for answer in answers:
        call = opened(effects)
        if isinstance(answer, Failure):
            run, effects = advance(run, ended(call, failure=answer))
        else:
            run, effects = advance(run, ended(call))
            assert effects == (Check(call=call.id),)
            run, effects = advance(run, Checked(call=call.id, verdict=answer, at_s=1.0))
        log += effects
    return run, log


def test_an_accepted_draft_is_released_and_ends_the_run():
    run, log = play(cascade("small", "large"), GOOD)
    assert log[-2:] == [Release(call="c0"), Finish(call="c0")]
    assert (run.answer.deployment, run.answer.escalations, run.answer.degraded) == (
        "small",
        0,
        False,
    )
    assert run.answer.confidence == 0.9


def test_a_doubtful_draft_escalates():
    for verdict in (UNSURE, BROKEN, DOUBTFUL, Verdict(well_formed=True)):
        run, log = play(cascade("small", "large"), verdict, GOOD)
        assert run.answer.deployment == "large"
        assert run.answer.escalations == 1
        assert [one.call.deployment for one in log if isinstance(one, Open)] == ["small", "large"]


def test_only_gated_stages_ask_for_log_probabilities():
    _, log = play(cascade("small", "large"), UNSURE, GOOD)
    assert [one.call.logprobs for one in log if isinstance(one, Open)] == [True, False]


def test_the_last_tier_failing_gives_the_best_draft_degraded():
    run, log = play(cascade("small", "large"), UNSURE, Failure(kind="unreachable"))
    assert run.answer.deployment == "small"
    assert run.answer.degraded
    assert log[-2:] == [Release(call="c0"), Finish(call="c0")]


def test_a_doubtful_last_answer_is_given_degraded_and_a_sound_draft_before_it():
    run, _ = play(cascade("large"), DOUBTFUL)
    assert (run.answer.deployment, run.answer.degraded) == ("large", True)
    run, _ = play(cascade("small", "large"), UNSURE, DOUBTFUL)
    assert run.answer.deployment == "small"


def test_no_draft_at_all_falls_back_and_then_ends_without_an_answer():
    down = Failure(kind="unreachable")
    run, _ = play(cascade("large", fallbacks=("small",)), down, GOOD)
    assert (run.answer.deployment, run.answer.degraded) == ("small", True)
    run, log = play(cascade("large", fallbacks=("small",)), down, down, down)
    assert run.answer is None
    assert run.failure == down
    assert log[-1] == Finish(call=None)


@pytest.mark.parametrize(
    "failure",
    [Failure(kind="unreachable"), Failure(kind="bad_reply", status=500)],
    ids=lambda one: one.kind,
)
def test_a_failure_that_may_pass_is_tried_once_more_when_nobody_else_is_left(failure):
    run, log = play(cascade("small", "large"), failure, Failure(kind="timed_out"), GOOD)
    assert (run.answer.deployment, run.answer.degraded) == ("small", False)
    assert [one.call.deployment for one in log if isinstance(one, Open)] == [
        "small",
        "large",
        "small",
    ]


@pytest.mark.parametrize(
    "failure",
    [
        Failure(kind="timed_out"),
        Failure(kind="bad_reply", status=404),
        Failure(kind="bad_reply"),
        Failure(kind="refused", status=401),
        Failure(kind="overloaded", retry_after_s=60.0),
    ],
    ids=str,
)
def test_a_failure_that_will_not_pass_is_final(failure):
    run, log = play(cascade("only"), failure)
    assert run.finished
    assert len([one for one in log if isinstance(one, Open)]) == 1


def test_a_busy_deployment_is_asked_again_when_it_said():
    run, effects = advance(begin(cascade("only")), Began(at_s=0.0))
    busy = Failure(kind="overloaded", retry_after_s=2.0)
    run, effects = advance(run, ended(opened(effects), at_s=1.0, failure=busy))
    assert effects == (Wake(at_s=3.0),)
    assert advance(run, Tick(at_s=2.9)) == (run, ())
    run, effects = advance(run, Tick(at_s=3.0))
    assert opened(effects).id == "c1"
    run, _ = advance(run, ended(opened(effects), at_s=4.0, failure=busy))
    assert run.finished


def test_a_client_that_leaves_while_a_busy_deployment_is_waited_for_ends_the_run():
    run, effects = advance(begin(cascade("only")), Began(at_s=0.0))
    run, _ = advance(run, ended(opened(effects), failure=Failure(kind="overloaded")))
    run, effects = advance(run, ClientGone(at_s=1.1))
    assert effects == (Finish(call=None),)


def test_nobody_is_waited_for_past_the_deadline():
    run, effects = advance(begin(cascade("only"), deadline_s=1.2), Began(at_s=0.0))
    run, _ = advance(run, ended(opened(effects), failure=Failure(kind="overloaded")))
    assert run.finished


def test_a_broken_answer_is_never_given():
    run, log = play(cascade("small", "large"), BROKEN, BROKEN)
    assert run.answer is None
    assert log[-1] == Finish(call=None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_the_upstream_refuses_is_asked_of_nobody_else(status):
    run, log = play(cascade("small", "large"), Failure(kind="refused", status=status))
    assert run.answer is None
    assert len([one for one in log if isinstance(one, Open)]) == 1


def test_a_request_too_long_for_one_is_asked_of_the_next():
    long = Failure(kind="refused", status=400, code="context_length_exceeded")
    run, _ = play(cascade("small", "large"), long, GOOD)
    assert run.answer.deployment == "large"
    run, _ = play(cascade("small", "large"), long, long)
    assert run.failure == long


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_refusal_of_our_key_or_name_moves_on(status):
    run, _ = play(cascade("small", "large"), Failure(kind="refused", status=status), GOOD)
    assert run.answer.deployment == "large"


def test_a_stage_that_takes_too_long_is_cancelled_and_the_next_one_opened():
    run, effects = advance(begin(cascade("small", "large")), Began(at_s=0.0))
    assert effects[1] == Wake(at_s=10.0)
    run, effects = advance(run, Tick(at_s=10.0))
    assert effects == (Cancel(call="c0", why="timeout"),)
    run, effects = advance(run, ended(run.open[0], 10.1, Failure(kind="timed_out")))
    assert opened(effects).deployment == "large"


def test_a_tick_before_its_time_changes_nothing():
    run, _ = advance(begin(cascade("small", "large")), Began(at_s=0.0))
    assert advance(run, Tick(at_s=9.9)) == (run, ())


def test_past_the_deadline_the_best_draft_is_given_and_nothing_is_opened():
    run, effects = advance(begin(cascade("a", "b", "c"), deadline_s=5.0), Began(at_s=0.0))
    assert effects[1] == Wake(at_s=5.0)
    call = opened(effects)
    run, _ = advance(run, ended(call, 6.0))
    run, effects = advance(run, Checked(call=call.id, verdict=UNSURE, at_s=6.0))
    assert run.answer.degraded
    assert effects == (Release(call="c0"), Finish(call="c0"))


def test_a_stream_is_released_by_its_first_bytes_and_never_joined_to_another():
    run, effects = advance(begin(cascade("large", delivery="stream")), Began(at_s=0.0))
    call = opened(effects)
    assert call.keep is False
    run, effects = advance(run, Progress(call=call.id, at_s=0.1))
    assert effects == (Release(call=call.id),)
    run, effects = advance(run, ended(call, failure=Failure(kind="unreachable")))
    assert effects == (Finish(call=None),)
    assert run.answer is None


def test_a_stream_that_fails_before_its_first_byte_may_be_answered_by_another():
    decision = cascade("large", fallbacks=("small",), delivery="stream")
    run, effects = advance(begin(decision), Began(at_s=0.0))
    run, effects = advance(run, ended(opened(effects), failure=Failure(kind="unreachable")))
    assert opened(effects).deployment == "small"


def test_a_client_that_leaves_has_everything_cancelled_and_billed():
    run, effects = advance(begin(cascade("small", "large")), Began(at_s=0.0))
    call = opened(effects)
    run, effects = advance(run, ClientGone(at_s=0.5))
    assert effects == (Cancel(call="c0", why="client gone"),)
    assert not run.finished
    run, effects = advance(run, ended(call, failure=Failure(kind="cancelled")))
    assert effects == (Finish(call=None),)
    assert [one.call.id for one in run.attempts] == ["c0"]


def test_events_after_the_end_change_nothing():
    run, _ = play(cascade("small"), GOOD)
    assert advance(run, Tick(at_s=99.0)) == (run, ())
    assert advance(run, ClientGone(at_s=99.0)) == (run, ())


answers = st.sampled_from(
    [GOOD, UNSURE, BROKEN, DOUBTFUL, *(Failure(kind=k) for k in ("unreachable", "timed_out"))]
)


@given(
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(["hold", "stream"]),
    st.lists(answers, min_size=8, max_size=8),
    st.none() | st.integers(0, 7),
)
def test_every_run_ends_opens_each_stage_once_or_one_again_and_releases_one_answer(
    stages, fallbacks, delivery, script, leaves_at
):
    decision = cascade(
        *(f"s{i}" for i in range(stages)),
        fallbacks=tuple(f"f{i}" for i in range(fallbacks)),
        delivery=delivery,
    )
    run, effects = advance(begin(decision), Began(at_s=0.0))
    log, steps = list(effects), 0
    while not run.finished:
        call = run.open[0]
        answer = script[steps % len(script)]
        steps += 1
        assert steps <= stages + fallbacks + 1
        if steps - 1 == leaves_at:
            run, effects = advance(run, ClientGone(at_s=1.0))
            log += effects
            answer = Failure(kind="cancelled")
        elif delivery == "stream" and not isinstance(answer, Failure):
            run, effects = advance(run, Progress(call=call.id, at_s=1.0))
            log += effects
        failure = answer if isinstance(answer, Failure) else None
        run, effects = advance(run, ended(call, failure=failure))
        log += effects
        if not run.finished and effects and isinstance(effects[0], Check):
            assert isinstance(answer, Verdict)
            run, effects = advance(run, Checked(call=call.id, verdict=answer, at_s=1.0))
            log += effects
    names = [one.call.deployment for one in log if isinstance(one, Open)]
    releases = [one for one in log if isinstance(one, Release)]
    assert len(names) - len(set(names)) == int(run.retried)
    assert len(releases) <= 1
    assert len([one for one in log if isinstance(one, Finish)]) == 1
    assert isinstance(log[-1], Finish)
    assert len(run.attempts) == len(names)
    if run.answer is not None:
        assert releases == [Release(call=run.answer.call)]


CHECKPOINTS = (
    Checkpoint(deployment="small", tokens=8, min_logprob=-1.0),
    Checkpoint(deployment="small", tokens=16, min_logprob=-0.5),
)


def watched(**more):
    made = cascade("small", "large", **more)
    return replace(made, stages=(replace(made.stages[0], checkpoints=CHECKPOINTS), made.stages[1]))


def at_checkpoint(decision, *, tokens=8, logprob=-2.0, deadline_s=None, at_s=0.5):
    run, effects = advance(begin(decision, deadline_s=deadline_s), Began(at_s=0.0))
    call = opened(effects)
    run, effects = advance(run, Reached(call=call.id, tokens=tokens, logprob=logprob, at_s=at_s))
    return run, effects, call


GIVEN_UP = Failure(kind="cancelled", code=EARLY_ABORT)


def test_a_hopeless_draft_is_cancelled_at_its_checkpoint_and_the_next_stage_opened():
    run, effects, call = at_checkpoint(watched())
    assert call.checkpoints == (8, 16)
    assert effects == (Cancel(call="c0", why=EARLY_ABORT),)
    run, effects = advance(run, ended(call, failure=GIVEN_UP))
    assert opened(effects).deployment == "large"
    assert opened(effects).checkpoints == ()
    assert len(run.attempts) == 1  # it ended, and is billed


def test_each_checkpoint_has_its_own_threshold_and_others_are_nothing():
    assert at_checkpoint(watched(), tokens=8, logprob=-0.9)[1] == ()
    assert at_checkpoint(watched(), tokens=16, logprob=-0.9)[1] != ()
    assert at_checkpoint(watched(), tokens=12, logprob=-9.0)[1] == ()
    assert at_checkpoint(cascade("small", "large"))[1] == ()


def test_a_draft_is_not_given_up_when_nobody_else_can_answer_in_time():
    assert at_checkpoint(watched(), deadline_s=0.5)[1] == ()
    made = watched()
    slow = replace(made, stages=(made.stages[0], replace(made.stages[1], expected_s=3.0)))
    assert at_checkpoint(slow, deadline_s=3.0)[1] == ()
    assert at_checkpoint(slow, deadline_s=4.0)[1] != ()
    alone = replace(made, stages=made.stages[:1])
    assert at_checkpoint(alone)[1] == ()


def test_a_draft_given_up_is_written_to_its_end_when_everybody_else_fails():
    run, effects, call = at_checkpoint(watched())
    run, effects = advance(run, ended(call, failure=GIVEN_UP))
    large = opened(effects)
    run, effects = advance(run, ended(large, failure=Failure(kind="timed_out")))
    again = opened(effects)
    assert (again.deployment, again.checkpoints) == ("small", ())
    run, effects = advance(run, ended(again))
    run, effects = advance(run, Checked(call=again.id, verdict=UNSURE, at_s=2.0))
    assert (run.answer.deployment, run.answer.degraded) == ("small", True)
    assert effects[-2:] == (Release(call=again.id), Finish(call=again.id))
