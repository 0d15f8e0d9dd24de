"""Counters that wrap, power that is summed up, and what of it is idle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.sense.counter import IdleEnergy, Integral, MeanPower, Unwrapped


def test_a_wrap_goes_on_and_a_reset_begins_anew() -> None:
    counter = Unwrapped(range_j=100.0, limit_w=50.0)
    for at_s, value in ((1.0, 90.0), (2.0, 98.0), (3.0, 4.0)):
        counter.advance(value, at_s)
    assert (counter.total_j, counter.epoch) == (pytest.approx(14.0), 0)
    unknown = Unwrapped(range_j=None, limit_w=50.0)
    unknown.advance(90.0, 1.0)
    unknown.advance(4.0, 2.0)
    assert (unknown.total_j, unknown.epoch) == (0.0, 1)


def test_a_leap_no_device_could_draw_is_not_counted() -> None:
    counter = Unwrapped(range_j=None, limit_w=50.0)
    counter.advance(0.0, 1.0)
    counter.advance(3.69e12, 2.0)
    assert (counter.total_j, counter.epoch) == (0.0, 1)


@given(
    st.lists(st.floats(0.0, 40.0), min_size=1, max_size=30),
    st.floats(0.0, 1000.0, exclude_max=True),
)
def test_however_often_it_wraps_all_is_counted(steps: list[float], start: float) -> None:
    counter, shown, at_s = Unwrapped(range_j=1000.0, limit_w=50.0), start, 0.0
    counter.advance(shown, at_s)
    for step in steps:
        shown, at_s = (shown + step) % 1000.0, at_s + 1.0
        counter.advance(shown, at_s)
    assert counter.total_j == pytest.approx(sum(steps), abs=1e-6)
    assert counter.epoch == 0


def test_power_is_summed_by_trapezoids_and_a_gap_is_a_gap() -> None:
    integral = Integral()
    for at_s, watts in ((0.0, 10.0), (1.0, 20.0), (2.0, 20.0)):
        integral.advance(watts, at_s)
    assert (integral.total_j, integral.epoch) == (35.0, 0)
    integral.advance(20.0, 60.0)
    assert (integral.total_j, integral.epoch) == (35.0, 1)
    integral.advance(20.0, 59.0)
    assert integral.epoch == 2


def test_power_follows_from_a_counter_and_not_across_an_epoch() -> None:
    power = MeanPower("it")
    assert power.advance(0.0, 0.0, epoch=0) is None
    assert power.advance(0.1, 9.0, epoch=0) is None
    reading = power.advance(1.0, 30.0, epoch=0)
    assert reading is not None
    assert (reading.value, reading.origin) == (30.0, "derived")
    assert power.advance(2.0, 30.0, epoch=1) is None
    power.forget()
    assert power.advance(3.0, 60.0, epoch=1) is None


def test_idle_power_is_learned_in_idle_windows_alone() -> None:
    idle = IdleEnergy(None)
    idle.advance(0.0, 0.0, epoch=0, busy_ratio=None)
    idle.advance(1.0, 60.0, epoch=0, busy_ratio=0.9)
    assert (idle.watts, idle.total_j) == (None, 0.0)
    idle.advance(2.0, 65.0, epoch=0, busy_ratio=0.01)
    assert (idle.watts, idle.total_j) == (5.0, 5.0)
    idle.advance(3.0, 125.0, epoch=0, busy_ratio=0.9)
    assert idle.total_j == 10.0
    idle.advance(4.0, 0.0, epoch=1, busy_ratio=0.0)
    assert idle.total_j == 10.0


def test_a_known_idle_power_is_kept_and_never_more_than_was_drawn() -> None:
    idle = IdleEnergy(8.0)
    idle.advance(0.0, 0.0, epoch=0, busy_ratio=None)
    idle.advance(1.0, 3.0, epoch=0, busy_ratio=0.0)
    assert (idle.watts, idle.total_j) == (8.0, 3.0)
