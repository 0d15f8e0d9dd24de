"""How many must be awake, and when easy work is worth models of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.decide.consolidate import Pool, Split, break_even_s, draw_w, needed, split

LARGE = Pool(
    name="large",
    replicas=4,
    rate_per_s=5.0,
    answer_j=60.0,
    idle_w=90.0,
    asleep_w=20.0,
    wake_s=15.0,
    wake_j=4900.0,
)
SMALL = replace(
    LARGE, name="small", replicas=2, rate_per_s=20.0, answer_j=7.0, idle_w=60.0, wake_j=960.0
)


def after(seconds, *, easy, hard=0.5, before=None):
    return split(
        LARGE, SMALL, easy_per_s=easy, hard_per_s=hard, before=before or Split(), seconds=seconds
    )


def test_awake_are_as_many_as_the_rate_needs_with_headroom():
    assert [needed(LARGE, rate) for rate in (0.0, 0.1, 3.5, 3.6, 99.0)] == [0, 1, 1, 2, 4]
    assert needed(LARGE, 0.0, least=1) == 1


def test_a_fleet_draws_what_is_awake_what_sleeps_and_what_answers():
    assert draw_w(LARGE, 1, 2.0) == 90.0 + 3 * 20.0 + 120.0


def test_a_little_easy_work_is_not_worth_a_model_of_its_own():
    found = after(1e6, easy=0.5)
    assert (found.apart, found.small, found.credit_j) == (False, 0, 0.0)


def test_much_easy_work_is_once_the_saving_has_paid_for_waking():
    first = after(1.0, easy=4.0)
    assert not first.apart
    assert 0 < first.credit_j < SMALL.wake_j
    assert after(60.0, easy=4.0, before=first).apart


def test_a_split_is_kept_while_it_saves_anything_and_given_up_when_not():
    apart = Split(apart=True, large=1, small=1)
    assert after(1.0, easy=0.8, before=apart).apart
    assert not after(1.0, easy=0.1, before=apart).apart


def test_more_easy_work_than_small_models_can_do_is_not_sent_there():
    assert not after(1e6, easy=50.0, before=Split(apart=True)).apart


def test_without_small_models_nothing_is_split():
    found = split(LARGE, None, easy_per_s=9.0, hard_per_s=0.0, before=Split(), seconds=1e9)
    assert (found.apart, found.large) == (False, 3)


def test_idle_as_long_as_waking_costs():
    assert break_even_s(LARGE) == pytest.approx(70.0)
    assert break_even_s(replace(LARGE, asleep_w=90.0)) == float("inf")


@given(st.floats(0, 40), st.floats(0, 40), st.booleans(), st.floats(0, 1e5))
def test_a_split_never_draws_more_than_none(easy, hard, was, seconds):
    found = split(
        LARGE,
        SMALL,
        easy_per_s=easy,
        hard_per_s=hard,
        before=Split(apart=was),
        seconds=seconds,
    )
    alone = split(LARGE, None, easy_per_s=easy, hard_per_s=hard, before=Split(), seconds=seconds)
    assert found.watts <= alone.watts + draw_w(SMALL, 0, 0.0) + 1e-6
    assert 1 <= found.large <= 4
