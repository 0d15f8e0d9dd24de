"""The circuit breaker: who is left alone, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.execute.clock import ManualClock
from metabolic.execute.health import Health


def at(clock, seconds):
    clock._at_s += seconds  # moving time without a loop


def test_one_that_cannot_be_reached_is_left_alone_for_two_seconds_then_for_four():
    clock = ManualClock()
    health = Health(clock)
    health.failed("a")
    assert health.ok("a") is False
    assert health.ok("b") is None
    at(clock, 2.0)
    assert health.ok("a") is None
    health.failed("a")
    at(clock, 3.9)
    assert health.ok("a") is False
    at(clock, 0.1)
    assert health.ok("a") is None


def test_after_the_pause_one_call_tries_and_the_others_wait_for_what_it_finds():
    clock = ManualClock()
    health = Health(clock)
    health.failed("a")
    at(clock, 2.0)
    health.began("a")
    assert health.ok("a") is False
    health.answered("a")
    health.ended("a")
    assert health.ok("a") is None
    assert health.open() == ()


def test_a_trial_that_was_cancelled_taught_nothing_and_another_may_try():
    clock = ManualClock()
    health = Health(clock)
    health.failed("a")
    at(clock, 2.0)
    health.began("a")
    health.ended("a")
    assert health.ok("a") is None
    assert health.open() == ("a",)


@pytest.mark.parametrize(("asked_s", "pause_s"), [(7.0, 7.0), (None, 2.0), (4000.0, 300.0)])
def test_a_busy_one_is_left_alone_exactly_as_long_as_it_asked(asked_s, pause_s):
    clock = ManualClock()
    health = Health(clock)
    health.busy("a", retry_after_s=asked_s)
    at(clock, pause_s - 0.001)
    assert health.ok("a") is False
    at(clock, 0.002)
    assert health.ok("a") is None
    health.busy("a", retry_after_s=1.0)  # asking again does not double
    at(clock, 1.0)
    assert health.ok("a") is None


def test_the_third_server_fault_in_a_row_opens_the_circuit():
    health = Health(ManualClock())
    health.faulty("a")
    health.faulty("a")
    assert health.ok("a") is None
    health.faulty("a")
    assert health.ok("a") is False


def test_an_answer_between_faults_begins_the_count_anew():
    health = Health(ManualClock())
    for _ in range(5):
        health.faulty("a")
        health.faulty("a")
        health.answered("a")
    assert health.ok("a") is None


def test_a_fault_of_the_trial_call_opens_it_again():
    clock = ManualClock()
    health = Health(clock)
    health.failed("a")
    at(clock, 2.0)
    health.began("a")
    health.faulty("a")
    assert health.ok("a") is False


@given(st.lists(st.sampled_from(["failed", "faulty", "busy", "wait"]), max_size=40))
def test_a_circuit_always_closes_again_when_nothing_more_fails(events):
    clock = ManualClock()
    health = Health(clock)
    for event in events:
        if event == "wait":
            at(clock, 1.0)
        elif event == "busy":
            health.busy("a", retry_after_s=3.0)
        else:
            getattr(health, event)("a")
    at(clock, 300.0)
    assert health.ok("a") is None
