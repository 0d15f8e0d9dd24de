"""Where a draft may be given up, and how that is learned."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Stage
from metabolic.core.request import Ask
from metabolic.decide.checkpoints import Draft, learn_checkpoints, watched, with_release
from metabolic.decide.tokens import first_tokens

AT = (
    Checkpoint(deployment="small", tokens=16, min_logprob=-1.0),
    Checkpoint(deployment="small", tokens=8, min_logprob=-2.0),
    Checkpoint(deployment="small", tokens=8, min_logprob=-0.5, lane="code"),
    Checkpoint(deployment="other", tokens=8, min_logprob=-0.1),
)
STAGES = (Stage(deployment="small", min_confidence=0.8), Stage(deployment="large"))


def drafts(count, *, seed=0, length=20):
    """Drafts that are kept when they are sure, with a little noise; the first tokens show it."""
    lot = random.Random(seed)
    made = []
    for _ in range(count):
        sure = lot.random()
        logprobs = tuple(-abs(lot.gauss(1 - sure, 0.1)) for _ in range(length))
        made.append(Draft(logprobs=logprobs, kept=sure + lot.gauss(0, 0.1) > 0.5))
    return made


def test_a_gated_stage_with_another_after_it_is_watched_at_its_own_checkpoints_in_order():
    first, last = watched(STAGES, Ask(id="r", at_s=0.0), "open_qa", AT)
    assert [one.tokens for one in first.checkpoints] == [8, 16]
    assert last.checkpoints == ()


def test_the_lanes_own_checkpoints_go_before_those_of_all_lanes():
    first, _ = watched(STAGES, Ask(id="r", at_s=0.0), "code", AT)
    assert [one.min_logprob for one in first.checkpoints] == [-0.5]


@pytest.mark.parametrize(
    "ask",
    [
        Ask(id="r", at_s=0.0, n=2),
        Ask(id="r", at_s=0.0, dialect="completions"),
        Ask(id="r", at_s=0.0, needs=("tools",)),
        Ask(id="r", at_s=0.0, needs=("logprobs",)),
    ],
    ids=["choices", "completions", "tools", "logprobs"],
)
def test_several_choices_tools_and_other_dialects_are_not_watched(ask):
    assert watched(STAGES, ask, "open_qa", AT) == STAGES


def test_a_stage_that_goes_by_agreement_is_not_watched():
    stages = (Stage(deployment="small", rule="never"), Stage(deployment="large"))
    assert watched(stages, Ask(id="r", at_s=0.0), "open_qa", AT) == stages


def test_too_few_kept_drafts_give_no_checkpoint():
    # 1 % at one checkpoint with 90 % confidence takes 230 kept drafts even without a loss.
    assert (
        learn_checkpoints(drafts(400), deployment="small", counts=(8,), max_missed_ratio=0.01) == ()
    )
    assert learn_checkpoints([], deployment="small") == ()


def test_a_checkpoint_that_would_stop_nothing_is_left_out():
    sure = [Draft(logprobs=(-0.1,) * 20, kept=True)] * 500
    assert learn_checkpoints(sure, deployment="small", counts=(8,)) == ()


def test_drafts_that_end_before_a_checkpoint_are_not_given_up_there():
    short = [Draft(logprobs=(-0.1,) * 4, kept=True)] * 500
    long = [Draft(logprobs=(-3.0,) * 40, kept=False)] * 10
    assert learn_checkpoints([*short, *long], deployment="small", counts=(8,)) == ()


def test_given_up_drafts_that_would_have_been_kept_are_as_rare_as_promised():
    fresh = [one for one in drafts(3000, seed=99, length=8) if one.kept]
    firsts = [{count: first_tokens(one.logprobs, count) for count in (4, 8)} for one in fresh]
    exceeded = 0
    for seed in range(30):
        rows = drafts(400, seed=seed, length=8)
        learned = learn_checkpoints(rows, deployment="small", counts=(4, 8))
        assert learned
        missed = sum(any(one[at.tokens] < at.min_logprob for at in learned) for one in firsts)
        exceeded += missed > 0.05 * len(fresh)
    assert exceeded <= 8  # 10 % of 30, and three standard deviations


@settings(max_examples=30)
@given(st.integers(0, 3000), st.floats(0.001, 0.5), st.floats(0.01, 0.5))
def test_what_is_learned_never_gives_up_more_of_its_own_kept_drafts_than_allowed(n, share, delta):
    made = drafts(n % 150, seed=n, length=6)
    for at in learn_checkpoints(
        made, deployment="small", counts=(4,), max_missed_ratio=share, delta=delta
    ):
        kept = [one for one in made if one.kept]
        missed = sum((first_tokens(one.logprobs, 4) or 0.0) < at.min_logprob for one in kept)
        assert missed <= share * len(kept)


def let_out(drafts, checkpoints):
    """Share of refused drafts that a window would give, over all checkpoints."""
    refused = [one for one in drafts if not one.kept]
    out = [
        any(
            at.release_logprob is not None
            and (mean := first_tokens(one.logprobs, at.tokens)) is not None
            and mean >= at.release_logprob
            for at in checkpoints
        )
        for one in refused
    ]
    return sum(out) / len(refused)


def test_a_window_opens_for_sure_drafts_and_for_few_that_would_be_refused():
    learned = drafts(600)
    found = with_release((), learned, deployment="small", counts=(8, 16))
    assert [(one.tokens, one.min_logprob) for one in found] == [(8, -100.0), (16, -100.0)]
    assert all(one.release_logprob is not None and one.release_logprob <= 0 for one in found)
    assert let_out(drafts(3000, seed=1), found) <= 0.05
    kept = [one for one in drafts(3000, seed=1) if one.kept]
    assert (
        sum(first_tokens(one.logprobs, 16) >= (found[1].release_logprob or 0.0) for one in kept)
        > 900
    )


def test_both_thresholds_of_a_checkpoint_stand_together_and_in_order():
    learned = drafts(600)
    stops = learn_checkpoints(learned, deployment="small", counts=(8,))
    (both,) = with_release(stops, learned, deployment="small", counts=(8,))
    assert both.min_logprob == stops[0].min_logprob
    assert both.release_logprob is not None


def test_too_few_refused_drafts_open_no_window():
    learned = [one for one in drafts(600) if one.kept] + [drafts(600)[0]]
    assert with_release((), learned, deployment="small") == ()


def test_drafts_that_end_before_the_checkpoint_are_not_let_out_there():
    learned = drafts(600, length=4)
    assert with_release((), learned, deployment="small", counts=(8,)) == ()


@settings(max_examples=15)
@given(st.integers(0, 50))
def test_few_refused_drafts_of_others_are_let_out(seed):
    found = with_release((), drafts(300, seed=seed), deployment="small", counts=(8,))
    assert let_out(drafts(1000, seed=seed + 1000), found) <= 0.05 + 0.03
