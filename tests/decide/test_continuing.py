"""Who goes on with an answer that died half-way."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.attempt import (
    Attempt,
    Began,
    Check,
    Ended,
    Failure,
    Finish,
    Open,
    Progress,
    Wake,
)
from metabolic.core.decision import Candidate, Decision, Stage
from metabolic.core.delivery import Hedge
from metabolic.decide.advance import advance, begin

LOST = Failure(kind="unreachable", message="lost")
FIT = tuple(Candidate(deployment=name) for name in ("one", "two", "other"))


def decided(*, delivery: Any = "stream", candidates=FIT, hedge=None):
    stage = Stage(deployment="one", timeout_s=10, hedge=hedge)
    fallbacks = (Stage(deployment="other", timeout_s=10),)
    return Decision(stages=(stage,), fallbacks=fallbacks, delivery=delivery, candidates=candidates)


def call_of(effects):
    return next(one.call for one in effects if isinstance(one, Open))


def died(call, *, failure=LOST, at_s=3.0, chars=5, by=("two", "one")):
    attempt = Attempt(call=call, began_s=0.0, ended_s=at_s, failure=failure)
    return Ended(attempt=attempt, at_s=at_s, released_chars=chars, continued_by=by)


def leaving(decision, *, deadline_s=None):
    """Return a run whose first call streams, and that call."""
    run, effects = advance(begin(decision, deadline_s=deadline_s), Began(at_s=0.0))
    call = call_of(effects)
    run, _ = advance(run, Progress(call=call.id, at_s=1.0))
    return run, call


def test_a_replica_goes_on_and_the_run_goes_by_it():
    run, call = leaving(decided())
    run, effects = advance(run, died(call))
    opened, woken = effects
    assert isinstance(opened, Open)
    assert (opened.call.deployment, opened.call.role, opened.call.id) == ("two", "continued", "c1")
    assert woken == Wake(at_s=13.0)
    assert run.released == "c1"
    run, effects = advance(run, Progress(call="c1", at_s=4.0))
    assert effects == ()
    whole = Attempt(call=opened.call, began_s=3.0, ended_s=5.0)
    run, effects = advance(run, Ended(attempt=whole, at_s=5.0))
    assert effects == (Finish(call="c1"),)
    assert run.answer.deployment == "two"
    assert not run.answer.degraded
    assert [one.failure for one in run.attempts] == [LOST, None]


def test_it_goes_on_once_and_then_ends_honestly():
    run, call = leaving(decided())
    run, effects = advance(run, died(call))
    run, effects = advance(run, died(call_of(effects), at_s=4.0))
    assert effects == (Finish(call=None),)
    assert run.finished
    assert run.answer is None


@pytest.mark.parametrize(
    ("candidates", "by", "who"),
    [
        (FIT, ("one",), "one"),
        (FIT, ("one", "two"), "two"),
        ((Candidate(deployment="two", rejected="no"), FIT[0]), ("two", "one"), "one"),
        ((Candidate(deployment="two", rejected="no"), FIT[0]), ("two",), None),
        ((Candidate(deployment="two", variant="deep"), FIT[0]), ("two",), None),
        ((), ("one",), "one"),
        (FIT, (), None),
    ],
)
def test_who_goes_on_may_answer_and_runs_the_same_model(candidates, by, who):
    run, call = leaving(decided(candidates=candidates))
    _, effects = advance(run, died(call, by=by))
    opened = [one.call.deployment for one in effects if isinstance(one, Open)]
    assert opened == ([] if who is None else [who])


@pytest.mark.parametrize(
    ("failure", "goes_on"),
    [
        (LOST, True),
        (Failure(kind="timed_out"), True),
        (Failure(kind="bad_reply", status=500), True),
        (Failure(kind="overloaded"), True),
        (Failure(kind="refused", status=400), False),
        (Failure(kind="cancelled"), False),
    ],
)
def test_only_what_died_is_gone_on_with(failure, goes_on):
    run, call = leaving(decided())
    _, effects = advance(run, died(call, failure=failure))
    assert any(isinstance(one, Open) for one in effects) is goes_on


def test_a_busy_deployment_does_not_go_on_with_its_own():
    run, call = leaving(decided())
    _, effects = advance(run, died(call, failure=Failure(kind="overloaded"), by=("one",)))
    assert effects == (Finish(call=None),)


def test_nothing_seen_or_no_time_left_ends_it():
    run, call = leaving(decided())
    assert advance(run, died(call, chars=0))[0].finished
    assert advance(run, died(call, at_s=10.0))[0].finished
    run, call = leaving(decided(), deadline_s=2.5)
    assert advance(run, died(call, at_s=2.6))[0].finished


def test_one_that_was_not_released_moves_on_as_ever():
    run, effects = advance(begin(decided()), Began(at_s=0.0))
    _, effects = advance(run, died(call_of(effects)))
    assert [one.call.deployment for one in effects if isinstance(one, Open)] == ["other"]


def test_a_window_goes_on_and_is_checked_whole():
    run, call = leaving(decided(delivery="window"))
    run, effects = advance(run, died(call))
    rest = call_of(effects)
    assert rest.keep
    whole = Attempt(call=rest, began_s=3.0, ended_s=5.0)
    run, effects = advance(run, Ended(attempt=whole, at_s=5.0))
    assert effects == (Check(call="c1"),)


def test_what_can_be_replaced_is_not_gone_on_with():
    run, call = leaving(decided(delivery="replace"))
    _, effects = advance(run, died(call))
    assert [one.call.deployment for one in effects if isinstance(one, Open)] == ["other"]


def test_a_call_that_goes_on_has_no_hedge():
    hedge = Hedge(after_s=1.0, deployment="two", late=True)
    run, call = leaving(decided(hedge=hedge))
    run, effects = advance(run, died(call))
    assert call_of(effects).checkpoints == ()
    assert run.hedge_at_s is None
    assert effects[1:] == (Wake(at_s=13.0),)


def test_an_old_record_of_an_end_decodes_and_ends_honestly():
    run, call = leaving(decided())
    old = msgspec.json.encode(replace(died(call), released_chars=0, continued_by=()))
    assert b"released_chars" not in old
    event = msgspec.json.decode(old, type=Ended)
    assert advance(run, event)[1] == (Finish(call=None),)


@given(
    at_s=st.floats(1.0, 20.0),
    chars=st.integers(0, 9),
    by=st.lists(st.sampled_from(["one", "two", "other", "stranger"]), unique=True),
    kind=st.sampled_from(["unreachable", "timed_out", "bad_reply", "overloaded", "refused"]),
)
def test_whatever_happens_at_most_one_call_goes_on_and_the_run_ends(at_s, chars, by, kind):
    run, call = leaving(decided())
    failure, opened = Failure(kind=kind), 0
    for _ in range(4):
        run, effects = advance(
            run, died(call, failure=failure, at_s=at_s, chars=chars, by=tuple(by))
        )
        calls = [one.call for one in effects if isinstance(one, Open)]
        opened += len(calls)
        if not calls:
            break
        assert calls[0].deployment in by
        call = calls[0]
    assert opened <= 1
    assert run.finished
