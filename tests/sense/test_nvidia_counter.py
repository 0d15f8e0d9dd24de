"""A counter that never falls, whatever the driver's does."""

from hypothesis import given
from hypothesis import strategies as st

from metabolic.sense.nvidia_counter import EnergyCounter


def test_steps_forward_add_up() -> None:
    counter = EnergyCounter()
    assert counter.advance(0.0, 1e6) == 0.0
    assert counter.advance(1.0, 1e6 + 300.0, limit_w=400.0) == 300.0
    assert counter.advance(1.01, 1e6 + 330.0, limit_w=400.0) == 330.0, "it moves in steps"
    assert counter.epoch == 0


def test_a_fall_and_a_leap_are_gaps() -> None:
    counter = EnergyCounter()
    counter.advance(0.0, 500.0)
    assert counter.advance(1.0, 20.0) == 0.0
    assert counter.advance(2.0, 1e9) == 0.0
    assert counter.epoch == 2
    assert counter.advance(3.0, 1e9 + 50.0) == 50.0


def test_what_is_lost_is_not_counted() -> None:
    counter = EnergyCounter()
    counter.lose()
    assert counter.epoch == 0, "nothing was read yet"
    counter.advance(0.0, 100.0)
    counter.lose()
    counter.lose()
    assert counter.advance(1.0, 400.0) == 0.0
    assert counter.epoch == 1


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e9)), min_size=1, max_size=30))
def test_it_never_falls_nor_exceeds_what_the_gpu_can_draw(steps: list[tuple[float, float]]) -> None:
    counter, at_s, before = EnergyCounter(), 0.0, 0.0
    for seconds, energy_j in steps:
        at_s += seconds
        now = counter.advance(at_s, energy_j, limit_w=300.0)
        assert before <= now <= before + 1.5 * 300.0 * max(seconds, 0.5) * (1 + 1e-9)
        before = now


@given(st.lists(st.integers(0, 400), min_size=1, max_size=50))
def test_whatever_moves_as_it_may_is_counted_exactly(watts: list[int]) -> None:
    counter, energy_j = EnergyCounter(), 7.0
    counter.advance(0.0, energy_j)
    for second, power in enumerate(watts, start=1):
        energy_j += power
        counter.advance(float(second), energy_j, limit_w=400.0)
    assert counter.total_j == sum(watts)
    assert counter.epoch == 0
