"""What a call did within a window: tokens and steps where they happened, none lost between."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.account.presence import (
    ALONE_RATIO,
    Flight,
    Presence,
    phases_of,
    presences,
    union_s,
)


def _flight(call: str, began: float, ended: float | None, **fields: object) -> Flight:
    known: dict[str, object] = {"engine": "e", "pid": 1}
    return Flight(call=call, began_s=began, ended_s=ended, **{**known, **fields})  # type: ignore[arg-type]


def _one(*flights: Flight, from_s: float = 0.0, to_s: float = 10.0) -> list[Presence]:
    spans = phases_of(flights, to_s=to_s, alone_ratio=ALONE_RATIO)
    return list(presences(spans, from_s=from_s, to_s=to_s))


def test_prompt_tokens_come_before_the_first_token_and_decode_tokens_after() -> None:
    flight = _flight("a", 0.0, 10.0, first_s=2.0, prompt_tokens=100, output_tokens=80)
    (early,) = _one(flight, to_s=1.0)
    assert (early.prompt_tokens, early.decode_tokens) == (50.0, 0.0)
    (middle,) = _one(flight, from_s=1.0, to_s=4.0)
    assert (middle.prompt_tokens, middle.decode_tokens) == (50.0, 20.0)
    (late,) = _one(flight, from_s=4.0, to_s=12.0)
    assert (late.prompt_tokens, late.decode_tokens, late.seconds) == (0.0, 60.0, 6.0)


def test_a_step_is_shared_by_all_that_decode_in_it() -> None:
    a = _flight("a", 0.0, 10.0, first_s=0.0, output_tokens=100)
    b = _flight("b", 5.0, 10.0, first_s=5.0, output_tokens=50)
    first, second = _one(a, b)
    assert first.decode_steps == pytest.approx(50 + 25)
    assert second.decode_steps == pytest.approx(25)


def test_calls_of_other_engines_share_no_steps() -> None:
    a = _flight("a", 0.0, 10.0, first_s=0.0, output_tokens=100)
    b = _flight("b", 0.0, 10.0, first_s=0.0, output_tokens=100, pid=2)
    assert [one.decode_steps for one in _one(a, b)] == [100.0, 100.0]


def test_seconds_in_flight_are_counted_once() -> None:
    flights = [_flight("a", 1.0, 4.0), _flight("b", 2.0, 6.0, pid=2), _flight("c", 8.0, None)]
    assert union_s(flights, from_s=0.0, to_s=10.0) == 7.0
    assert union_s([], from_s=0.0, to_s=10.0) == 0.0


def test_a_call_that_reported_nothing_decodes_like_its_neighbours() -> None:
    known = _flight("a", 0.0, 5.0, first_s=0.0, output_tokens=50)
    silent = _flight("b", 0.0, 5.0, first_s=0.0)
    running = _flight("c", 0.0, None, first_s=0.0, pid=2, decode_tokens_per_s=7.0)
    _, b, c = _one(known, silent, running)
    assert b.decode_tokens == pytest.approx(50.0)
    assert c.decode_tokens == pytest.approx(70.0)


def test_an_answer_in_one_piece_is_split_by_what_its_tokens_take() -> None:
    whole = _flight("a", 0.0, 4.0, prompt_tokens=300, output_tokens=100)
    (early,) = _one(whole, to_s=2.0)
    assert (early.prompt_tokens, early.decode_tokens) == pytest.approx((300.0, 0.0))


def test_an_answer_that_took_no_time_has_its_tokens_all_the_same() -> None:
    at_once = _flight("a", 1.0, 1.0, prompt_tokens=30, output_tokens=10)
    (part,) = _one(at_once)
    assert (part.prompt_tokens, part.decode_tokens, part.seconds) == (30, 10, 0.0)
    (outside,) = _one(at_once, from_s=2.0)
    assert (outside.prompt_tokens, outside.decode_tokens) == (0.0, 0.0)


def test_speeds_say_what_a_decode_token_takes_alone() -> None:
    flight = _flight("a", 0.0, 1.0, prefill_tokens_per_s=90.0, decode_tokens_per_s=30.0)
    assert _one(flight)[0].alone_ratio == 3.0


times = st.floats(0.0, 20.0)
calls = st.builds(
    lambda began, length, share, prompt, output, pid: _flight(
        "",
        began,
        began + length,
        first_s=began + length * share,
        prompt_tokens=prompt,
        output_tokens=output,
        pid=pid,
    ),
    times,
    st.floats(0.01, 10.0),
    st.floats(0.0, 1.0),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.sampled_from([None, 1, 2]),
)


@given(st.lists(calls, max_size=6), st.lists(times, max_size=5))
def test_no_token_is_lost_or_counted_twice_however_windows_are_cut(
    flights: list[Flight], cuts: list[float]
) -> None:
    named = [replace(one, call=str(i)) for i, one in enumerate(flights)]
    marks = sorted({-1.0, 40.0, *cuts})
    prompt, output = dict.fromkeys(map(str, range(9)), 0.0), dict.fromkeys(map(str, range(9)), 0.0)
    steps = 0.0
    for from_s, to_s in pairwise(marks):
        assert 0 <= union_s(named, from_s=from_s, to_s=to_s) <= to_s - from_s + 1e-9
        for one in _one(*named, from_s=from_s, to_s=to_s):
            prompt[one.call] += one.prompt_tokens
            output[one.call] += one.decode_tokens
            steps += one.decode_steps
            assert one.decode_steps <= one.decode_tokens + 1e-6
    for one in named:
        assert prompt[one.call] == pytest.approx(one.prompt_tokens, abs=1e-6)
        assert output[one.call] == pytest.approx(one.output_tokens or 0, abs=1e-6)
    assert steps <= sum(output.values()) + 1e-6
