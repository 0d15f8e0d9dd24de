"""Windows, hedges and answers that are taken back, event by event."""

import pytest
from delivery_play import BROKEN, DOUBT, DOWN, GOOD, STOPPED, UNSURE, WINDOW, Play, decided
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.attempt import (
    Cancel,
    Check,
    ClientGone,
    Failure,
    Finish,
    Open,
    Release,
    Retract,
    Tick,
    Wake,
)
from metabolic.core.delivery import Hedge
from metabolic.decide.advance import EARLY_ABORT, LOST

# --- replace ---------------------------------------------------------------------------------


def test_a_draft_that_may_be_replaced_is_shown_at_once_and_kept_when_it_is_good():
    play = Play(decided("small", "large", delivery="replace"))
    call = play.run.open[0]
    assert (call.keep, call.live, call.logprobs) == (True, True, True)
    assert play.progress("c0") == (Release(call="c0"),)
    assert play.answered("c0", GOOD) == (Finish(call="c0"),)


def test_a_refused_draft_is_taken_back_by_the_first_bytes_of_the_next():
    play = Play(decided("small", "large", delivery="replace"))
    play.progress("c0")
    play.answered("c0", UNSURE)
    assert play.progress("c1") == (Retract(call="c0"), Release(call="c1"))
    assert play.answered("c1", GOOD) == (Finish(call="c1"),)
    assert play.run.answer.escalations == 1


def test_a_refused_draft_stays_when_nobody_else_answers_and_is_marked():
    play = Play(decided("small", "large", delivery="replace"))
    play.progress("c0")
    play.answered("c0", UNSURE)
    assert play.ended("c1", DOWN) == (Finish(call="c0"),)
    assert play.run.answer.degraded
    assert not any(isinstance(one, Retract) for one in play.log)


def test_a_draft_shown_again_after_its_replacement_broke_takes_that_back():
    play = Play(decided("small", "large", delivery="replace"))
    play.progress("c0")
    play.answered("c0", UNSURE)
    play.progress("c1")
    effects = play.ended("c1", DOWN)
    assert effects == (Retract(call="c1"), Release(call="c0"), Finish(call="c0"))
    assert play.run.answer.degraded


def test_a_shown_draft_that_breaks_off_may_be_replaced():
    play = Play(decided("small", "large", delivery="replace"))
    play.progress("c0")
    play.ended("c0", DOWN)
    assert play.progress("c1") == (Retract(call="c0"), Release(call="c1"))
    assert play.answered("c1", GOOD) == (Finish(call="c1"),)


def test_a_shown_draft_is_given_up_at_its_checkpoint():
    play = Play(decided("small", "large", delivery="replace", checkpoints=(WINDOW,)))
    play.progress("c0")
    assert play.reached("c0", 8, -3.0) == (Cancel(call="c0", why=EARLY_ABORT),)


# --- window ----------------------------------------------------------------------------------


def windowed(**more):
    return Play(decided("small", "large", delivery="window", checkpoints=(WINDOW,), **more))


def test_a_draft_that_is_sure_at_the_end_of_its_window_is_let_out_and_bound_to():
    play = windowed()
    assert play.progress("c0") == ()
    assert play.reached("c0", 8, -0.1) == (Release(call="c0"),)
    # Whatever the whole of it is worth, no other answer may follow.
    assert play.answered("c0", UNSURE) == (Finish(call="c0"),)
    assert (play.run.answer.degraded, play.run.answer.confidence) == (True, 0.5)
    assert play.opened() == [("small", "answer")]


def test_a_draft_between_the_thresholds_is_held_to_its_end():
    play = windowed()
    assert play.reached("c0", 8, -0.5) == ()
    assert play.answered("c0", GOOD) == (Release(call="c0"), Finish(call="c0"))
    assert not play.run.answer.degraded


def test_a_draft_in_doubt_at_the_end_of_its_window_is_stopped_and_the_next_one_streams():
    play = windowed()
    assert play.reached("c0", 8, -2.5) == (Cancel(call="c0", why=EARLY_ABORT),)
    play.ended("c0", Failure(kind="cancelled", code=EARLY_ABORT))
    assert play.run.open[0].live
    assert play.progress("c1") == (Release(call="c1"),)
    assert play.answered("c1", GOOD) == (Finish(call="c1"),)


def test_a_draft_let_out_that_breaks_off_ends_the_run():
    play = windowed(fallbacks=("other",))
    play.reached("c0", 8, 0.0)
    assert play.ended("c0", DOWN) == (Finish(call=None),)
    assert play.run.answer is None


def test_a_draft_that_ends_within_its_window_is_checked_as_if_it_were_held():
    play = windowed()
    effects = play.answered("c0", BROKEN)
    assert isinstance(effects[0], Open)


# --- hedge -----------------------------------------------------------------------------------


def hedged(delivery="hedge", **more):
    hedge = Hedge(after_s=2.0, doubt=DOUBT)
    return Play(decided("small", "large", delivery=delivery, hedge=hedge), **more)


def test_the_next_stage_is_asked_beside_the_first_when_its_time_has_come():
    play = hedged()
    assert play.first[1] == Wake(at_s=2.0)
    assert play(Tick(at_s=1.9)) == ()
    opened, wake = play(Tick(at_s=2.0))
    assert (opened.call.deployment, opened.call.role, opened.call.stage) == ("large", "hedge", 1)
    assert wake == Wake(at_s=12.0)
    assert len(play.run.open) == 2


def test_the_first_good_answer_wins_and_the_other_is_stopped_and_billed():
    for winner, loser in (("c0", "c1"), ("c1", "c0")):
        play = hedged()
        play(Tick(at_s=2.0))
        play.ended(winner)
        effects = play.checked(winner, GOOD)
        assert effects == (Release(call=winner), Cancel(call=loser, why=LOST))
        assert not play.run.finished
        assert play.ended(loser, STOPPED) == (Finish(call=winner),)
        assert play.run.failure is None
        assert {one.call.id for one in play.run.attempts} == {"c0", "c1"}


def test_a_refused_draft_waits_for_the_one_beside_it():
    play = hedged()
    play(Tick(at_s=2.0))
    assert play.answered("c0", UNSURE) == ()
    assert play.answered("c1", GOOD) == (Release(call="c1"), Finish(call="c1"))
    assert play.opened() == [("small", "answer"), ("large", "hedge")]


def test_a_draft_accepted_before_its_time_needs_nobody_else():
    play = hedged()
    play.answered("c0", GOOD)
    assert play.opened() == [("small", "answer")]
    assert play.run.finished


def test_a_refused_draft_before_its_time_goes_on_as_if_it_were_held():
    play = hedged()
    opened, wake = play.answered("c0", UNSURE)
    assert (opened.call.role, wake) == ("answer", Wake(at_s=11.0))


def test_doubt_opens_the_hedge_at_once():
    play = hedged()
    assert play.run.open[0].checkpoints == (4,)
    assert play.reached("c0", 4, -0.4) == ()
    opened, _ = play.reached("c0", 4, -0.6)
    assert opened.call.role == "hedge"
    assert play(Tick(at_s=2.0)) == ()  # once is enough


def test_a_hedge_that_fails_leaves_the_draft_to_its_verdict():
    play = hedged()
    play(Tick(at_s=2.0))
    assert play.ended("c1", DOWN) == ()
    assert play.answered("c0", UNSURE) == (Release(call="c0"), Finish(call="c0"))
    assert play.run.answer.degraded
    assert play.opened() == [("small", "answer"), ("large", "hedge")]


def test_an_answer_with_the_validators_is_waited_for():
    play = hedged()
    play(Tick(at_s=2.0))
    play.ended("c1")
    play.ended("c0", DOWN)
    assert len(play.opened()) == 2
    assert play.checked("c1", GOOD)[-1] == Finish(call="c1")


def test_nobody_is_hedged_who_could_not_answer_in_time():
    made = decided("small", "large", delivery="hedge", hedge=Hedge(after_s=2.0))
    slow = replace(made, stages=(made.stages[0], replace(made.stages[1], expected_s=4.0)))
    play = Play(slow, deadline_s=5.0)
    assert play(Tick(at_s=2.0)) == (Wake(at_s=5.0),)
    assert play(Tick(at_s=5.0)) == (Cancel(call="c0", why="timeout"),)


def test_both_are_cancelled_when_time_is_up_or_the_client_leaves():
    for event, why in ((Tick(at_s=12.0), "timeout"), (ClientGone(at_s=3.0), "client gone")):
        play = hedged()
        play(Tick(at_s=2.0))
        assert play(event) == (Cancel(call="c0", why=why), Cancel(call="c1", why=why))
        play.ended("c0", Failure(kind="cancelled"))
        play.ended("c1", Failure(kind="cancelled"))
        assert play.run.finished
        assert play.run.answer is None


def test_a_client_that_leaves_after_the_answer_was_given_changes_nothing_of_it():
    play = hedged()
    play(Tick(at_s=2.0))
    play.answered("c0", GOOD)
    play(ClientGone(at_s=3.0))
    assert play.ended("c1", STOPPED) == (Finish(call="c0"),)


# --- late first bytes ------------------------------------------------------------------------


def late(delivery):
    hedge = Hedge(after_s=1.0, deployment="twin", late=True)
    return Play(decided("one", delivery=delivery, hedge=hedge))


def test_a_stream_whose_first_bytes_are_late_is_asked_of_a_replica_too():
    play = late("stream")
    opened, _ = play(Tick(at_s=1.0))
    assert (opened.call.deployment, opened.call.role, opened.call.keep) == ("twin", "hedge", False)
    assert play.progress("c1") == (Release(call="c1"), Cancel(call="c0", why=LOST))
    assert play.progress("c0") == ()
    assert play.ended("c0", STOPPED) == ()
    assert play.ended("c1") == (Finish(call="c1"),)
    assert play.run.answer.deployment == "twin"
    assert play.run.answer.escalations == 0


def test_first_bytes_in_time_end_the_wait_for_a_replica():
    play = late("stream")
    assert play.progress("c0") == (Release(call="c0"), Wake(at_s=10.0))
    assert play(Tick(at_s=1.0)) == ()
    assert play(Tick(at_s=10.0)) == (Cancel(call="c0", why="timeout"),)


def test_a_loser_that_ends_well_in_the_same_moment_is_not_given():
    play = late("stream")
    play(Tick(at_s=1.0))
    play.progress("c1")
    assert play.ended("c0") == ()
    assert play.ended("c1") == (Finish(call="c1"),)


def test_a_held_answer_is_raced_to_its_first_bytes_too():
    play = late("hold")
    assert play.run.open[0].live
    play(Tick(at_s=1.0))
    assert play.progress("c1") == (Cancel(call="c0", why=LOST),)
    play.ended("c0", STOPPED)
    assert play.answered("c1", GOOD) == (Release(call="c1"), Finish(call="c1"))


def test_the_winner_of_a_race_that_breaks_off_ends_the_run():
    play = late("stream")
    play(Tick(at_s=1.0))
    play.progress("c1")
    play.ended("c1", DOWN)
    assert not play.run.finished  # the loser has still to end, and is billed
    assert play.ended("c0", STOPPED) == (Finish(call=None),)


# --- all of them -----------------------------------------------------------------------------

MODES = ("hold", "stream", "window", "hedge", "replace")


@st.composite
def decisions(draw):
    names = [f"s{i}" for i in range(draw(st.integers(1, 3)))]
    hedge = draw(
        st.none()
        | st.builds(Hedge, after_s=st.sampled_from([0.5, 2.0]), doubt=st.just(DOUBT) | st.none())
        | st.builds(Hedge, after_s=st.just(0.5), deployment=st.just("twin"), late=st.just(True))
    )
    return decided(
        *names,
        delivery=draw(st.sampled_from(MODES)),
        checkpoints=draw(st.sampled_from([(), (WINDOW,)])),
        hedge=hedge,
        fallbacks=draw(st.sampled_from([(), ("f0",), ("f0", "f1")])),
    )


def happen(draw, play, at_s):
    """Let something happen that can happen now; return the effects."""
    checking = {one.call for one in play.log if isinstance(one, Check)} - {
        call for call, _ in play.run.verdicts
    }
    kinds = ["gone", "tick"]
    if play.run.open:
        kinds += ["progress", "reached", "answer", "answer", "fail"]
    if checking:
        kinds += ["checked"] * 3
    kind = draw(st.sampled_from(kinds))
    call = draw(st.sampled_from(sorted(checking))) if kind == "checked" else None
    if call is None and play.run.open:
        call = draw(st.sampled_from([one.id for one in play.run.open]))
    match kind:
        case "gone":
            return play(ClientGone(at_s=at_s))
        case "tick":
            return play(Tick(at_s=at_s))
        case "progress":
            return play.progress(call, at_s)
        case "reached":
            tokens = draw(st.sampled_from([4, 8]))
            return play.reached(call, tokens, draw(st.sampled_from([-3.0, -1.0, 0.0])), at_s)
        case "checked":
            return play.checked(call, draw(st.sampled_from([GOOD, UNSURE, BROKEN])), at_s)
        case _:
            return play.ended(call, DOWN if kind == "fail" else None, at_s)


def told(log):
    """Return whose answers the client sees, in order, with what was taken back between."""
    return [one for one in log if isinstance(one, Release | Retract)]


@given(st.data())
def test_whatever_happens_two_answers_are_never_joined_and_every_call_is_billed(data):
    decision = data.draw(decisions())
    play = Play(decision)
    events = 0
    while not play.run.finished:
        events += 1
        at_s = 0.4 * events
        if events < 25:
            happen(data.draw, play, at_s)
        elif play.run.open:  # in the end everything that is open ends
            play.ended(play.run.open[0].id, DOWN, at_s)
        elif play.run.retry_at_s is not None:
            play(Tick(at_s=play.run.retry_at_s))
        else:
            left = [one.call for one in play.log if isinstance(one, Check)]
            play.checked(left[-1], BROKEN, at_s)
            play(ClientGone(at_s=at_s))
    calls = [one.call.id for one in play.log if isinstance(one, Open)]
    assert len(calls) == len(set(calls))
    assert sorted(calls) == sorted(one.call.id for one in play.run.attempts)
    seen = told(play.log)
    # Between any two releases stands the retraction of the first, and only where clients know it.
    for before, between, after in zip(seen[::2], seen[1::2], seen[2::2], strict=False):
        assert isinstance(before, Release)
        assert between == Retract(call=before.call)
        assert isinstance(after, Release)
    assert decision.delivery == "replace" or len(seen) <= 1
    assert [one for one in play.log if isinstance(one, Finish)] == [play.log[-1]]
    if play.run.answer is not None:
        assert seen[-1] == Release(call=play.run.answer.call)


@pytest.mark.parametrize("delivery", MODES)
def test_at_most_two_calls_are_open_and_only_where_a_hedge_was_decided(delivery):
    play = Play(decided("small", "large", delivery=delivery))
    play(Tick(at_s=9.0))
    assert len(play.run.open) == 1
