"""What waking takes is measured, and unknown is never free."""

import pytest

from metabolic.core.ports import MeterReading
from metabolic.execute.waking import Sample, Wake, WakeMeter, Wakes


def sample(energy_j, at_s, *, in_flight=0, calls=0, **more):
    reading = MeterReading(at_s=at_s, energy_j=energy_j, origin="measured", **more)
    return Sample(reading=reading, in_flight=in_flight, calls=calls)


def measured(before, after, *, pid=None, asleep_w=None):
    found = [before, after]
    meter = WakeMeter(lambda _, __: found.pop(0))
    meter.began("a")
    return meter.ended("a", pid=pid, asleep_w=asleep_w)


def test_a_gpu_that_nobody_else_used_gives_all_above_sleep():
    assert measured(sample(100.0, 0.0), sample(400.0, 10.0), asleep_w=10.0) == (200.0, "measured")
    assert measured(sample(100.0, 0.0), sample(400.0, 10.0)) == (300.0, "measured")


def test_joules_of_a_gpu_on_which_others_were_answered_are_unknown():
    busy = sample(400.0, 10.0, in_flight=1)
    assert measured(sample(100.0, 0.0), busy) is None
    assert measured(sample(100.0, 0.0), sample(400.0, 10.0, calls=1)) is None


def test_a_process_has_its_share_of_the_busy_seconds_above_idle():
    before = sample(0.0, 0.0, idle_j=0.0, busy_cpu_s=0.0)
    after = sample(100.0, 10.0, idle_j=20.0, busy_cpu_s=8.0, cpu_s=((7, 2.0),), in_flight=3)
    assert measured(before, after, pid=7) == (20.0, "derived")


def test_no_meter_and_a_counter_that_was_lost_are_unknown():
    assert measured(None, sample(1.0, 1.0)) is None
    assert measured(sample(1.0, 1.0), None) is None
    assert measured(sample(1.0, 1.0), sample(9.0, 2.0, epoch_id=1)) is None
    assert measured(sample(9.0, 1.0), sample(1.0, 2.0)) is None


def test_the_last_start_is_half_of_the_mean_and_unknown_joules_change_none():
    wakes = Wakes()
    wakes.woke("a", 4.0, (100.0, "measured"))
    wakes.woke("a", 8.0, (300.0, "measured"))
    wakes.woke("a", 6.0)
    assert wakes.of("a") == Wake(
        deployment="a", seconds=6.0, joules=200.0, origin="measured", starts=3
    )
    assert wakes.of("b") is None


def test_what_was_known_is_taken_up_again_and_what_was_measured_since_stands():
    wakes = Wakes()
    wakes.woke("a", 4.0)
    wakes.restore((Wake(deployment="a", seconds=9.0), Wake(deployment="b", seconds=2.0)))
    assert [(one.deployment, one.seconds) for one in wakes.state()] == [("a", 4.0), ("b", 2.0)]


def test_idle_and_sleeping_watts_are_learned_apart():
    wakes = Wakes()
    for watts in (100.0, 110.0):
        wakes.stands("a", watts, "warm")
    wakes.stands("a", 20.0, "asleep")
    wakes.stands("a", 999.0, "starting")
    found = wakes.standing("a")
    assert (found.idle_w, found.asleep_w) == (pytest.approx(101.0), 20.0)
