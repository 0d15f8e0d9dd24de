"""Who drew a window's joules: moments first, then those in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.account.parts import parts_of
from metabolic.account.presence import Flight, Phases, phases_of
from metabolic.account.weights import Weights


def _flight(call: str, began: float, ended: float, **fields: object) -> Flight:
    known: dict[str, object] = {"engine": "e", "first_s": began, "output_tokens": 10}
    return Flight(call=call, began_s=began, ended_s=ended, **{**known, **fields})  # type: ignore[arg-type]


def _parts(
    *flights: Flight, exponent: float = 0.0, from_s: float = 0.0, to_s: float = 10.0
) -> tuple[float, ...]:
    spans = phases_of(flights, to_s=to_s, alone_ratio=3.0)

    def alike(_: Phases) -> Weights:
        return Weights()

    return parts_of(spans, from_s=from_s, to_s=to_s, weights=alike, exponent=exponent)


def test_a_call_alone_is_charged_by_its_time_however_many_tokens() -> None:
    assert _parts(
        _flight("a", 0.0, 6.0, output_tokens=10), _flight("b", 6.0, 8.0, output_tokens=9_000)
    ) == pytest.approx((6.0, 2.0))


def test_calls_together_share_by_their_tokens() -> None:
    parts = _parts(
        _flight("a", 0.0, 10.0, output_tokens=300), _flight("b", 0.0, 10.0, output_tokens=100)
    )
    assert parts == pytest.approx((7.5, 2.5))


def test_a_prompt_weighs_its_tokens_and_a_step_is_shared() -> None:
    prompt = _flight("a", 0.0, 10.0, first_s=10.0, prompt_tokens=600, output_tokens=0)
    alone = _parts(prompt, _flight("b", 0.0, 10.0, output_tokens=100))
    assert alone == pytest.approx((10 * 600 / 900, 10 * 300 / 900))
    pair = _parts(
        prompt,
        _flight("b", 0.0, 10.0, output_tokens=100),
        _flight("c", 0.0, 10.0, output_tokens=100),
    )
    assert pair == pytest.approx((10 * 600 / 1000, 2.0, 2.0))


def test_moments_in_which_more_is_in_flight_weigh_more() -> None:
    lone, one, two = _parts(
        _flight("a", 0.0, 5.0), _flight("b", 5.0, 10.0), _flight("c", 5.0, 10.0), exponent=1.0
    )
    assert (lone, one, two) == pytest.approx((5.0, 5.0, 5.0))


def test_calls_that_did_nothing_known_share_a_moment_equally() -> None:
    parts = _parts(_flight("a", 0.0, 4.0, output_tokens=0), _flight("b", 0.0, 4.0, output_tokens=0))
    assert parts == pytest.approx((2.0, 2.0))


def test_what_lies_outside_the_window_has_no_part() -> None:
    parts = _parts(_flight("a", 0.0, 1.0), _flight("b", 1.0, 3.0), from_s=1.0, to_s=2.0)
    assert parts == pytest.approx((0.0, 1.0))
    assert _parts() == ()


flights = st.builds(
    lambda began, length, share, prompt, output, pid, engine: _flight(
        "",
        began,
        began + length,
        first_s=began + length * share,
        prompt_tokens=prompt,
        output_tokens=output,
        pid=pid,
        engine=engine,
    ),
    st.integers(0, 12).map(float),
    st.integers(1, 8).map(float),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(0, 5000),
    st.none() | st.integers(0, 5000),
    st.sampled_from([None, 1]),
    st.sampled_from(["x", "y"]),
)


@given(st.lists(flights, max_size=8))
def test_all_parts_are_all_the_time_in_which_anything_was_in_flight(calls: list[Flight]) -> None:
    parts = _parts(*calls)
    covered = {t for one in calls for t in range(10) if one.began_s <= t < (one.ended_s or 0)}
    assert sum(parts) == pytest.approx(len(covered), rel=1e-5)
    assert all(part >= 0 for part in parts)
