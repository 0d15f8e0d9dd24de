"""Times refitted from answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.fleet import Load
from metabolic.decide.roofline import (
    Constants,
    Pace,
    believed,
    constants,
    observe,
    shown,
    spread,
    token_s,
)

TRUE = Constants(overhead_s=0.05, prompt_s=0.0004, weights_s=0.008, share_s=0.0005)


def answered(pace, batch, *, prompt=500.0, output=200.0, belief=None, true=TRUE):
    first = true.overhead_s + true.prompt_s * prompt
    pace = observe(pace, seconds=first, batch=batch, prompt_tokens=prompt, belief=belief)
    rest = output * token_s(true, batch)
    return observe(
        pace, seconds=rest, batch=batch, output_tokens=output, first=False, belief=belief
    )


def test_nothing_is_said_before_two_answers():
    assert constants(Pace()) is None
    assert constants(observe(Pace(), seconds=1.0, batch=1, output_tokens=10)) is None


def test_two_probes_of_different_batches_say_what_others_take():
    pace = answered(answered(Pace(), 1, prompt=100), 32, prompt=900)
    found = constants(pace, believed(2000.0, 100.0))
    assert found is not None
    for batch in (1, 8, 16, 64):
        assert token_s(found, batch) == pytest.approx(token_s(TRUE, batch), rel=0.1)


@pytest.mark.parametrize("wrong", [0.1, 10.0])
def test_speeds_that_are_wrong_by_ten_are_soon_forgotten(wrong):
    belief = believed(1 / TRUE.prompt_s * wrong, 100.0 * wrong)
    pace = Pace()
    for batch in (1, 4, 16, 2, 8):
        pace = answered(pace, batch, prompt=100.0 * batch, belief=belief)
    found = constants(pace, belief)
    assert found is not None
    assert token_s(found, 8) == pytest.approx(token_s(TRUE, 8), rel=0.1)
    assert found.prompt_s * 1000 + found.overhead_s == pytest.approx(0.45, rel=0.15)


def test_a_machine_that_slows_down_is_followed():
    slow = Constants(*(value * 3 for value in (0.05, 0.0004, 0.008, 0.0005)))
    pace = Pace()
    for n in range(60):
        pace = answered(pace, 1 + n % 8)
    for n in range(120):
        pace = answered(pace, 1 + n % 8, true=slow)
    found = constants(pace)
    assert found is not None
    assert token_s(found, 4) == pytest.approx(token_s(slow, 4), rel=0.05)


def test_whole_answers_teach_too():
    pace = Pace()
    for n in range(1, 40):
        prompt, output, batch = 37.0 * (n % 11), 10.0 + 13 * (n % 7), 1 + n % 5
        seconds = 0.05 + 0.0004 * prompt + output * token_s(TRUE, batch)
        pace = observe(
            pace, seconds=seconds, batch=batch, prompt_tokens=prompt, output_tokens=output
        )
    found = constants(pace)
    assert found is not None
    assert token_s(found, 3) == pytest.approx(token_s(TRUE, 3), rel=0.1)


def test_a_load_says_what_an_answer_waits_for():
    load = Load(deployment="a", ttft_s=0.1, ttft_per_token_s=0.001, tpot_s=0.01)
    assert shown(load, fresh=400, output=50, slots=2) == (pytest.approx(0.5), 0.01)
    busy = Load(
        deployment="a", running=2, waiting=1, ttft_s=0.1, ttft_per_token_s=0.001, tpot_s=0.01
    )
    assert shown(busy, fresh=400, output=50, slots=2)[0] == pytest.approx(0.5 + 1.0)


def test_unknown_speeds_are_no_belief():
    assert believed(None, 10.0) is None
    assert believed(10.0, None) is None


@given(
    st.lists(
        st.tuples(st.floats(1e-4, 100), st.floats(1, 64), st.floats(0, 5000), st.floats(0, 2000)),
        max_size=20,
    )
)
def test_constants_are_never_negative_and_grow_with_the_batch(spans):
    pace, belief = Pace(), believed(500.0, 20.0)
    for seconds, batch, prompt, output in spans:
        pace = observe(
            pace,
            seconds=seconds,
            batch=batch,
            prompt_tokens=prompt,
            output_tokens=output,
            belief=belief,
        )
    found = constants(pace, belief)
    if found is not None:
        assert min(found.overhead_s, found.prompt_s, found.weights_s, found.share_s) >= 0.0
        assert token_s(found, 2) <= token_s(found, 3)
    assert spread(0.0) == 1.0
